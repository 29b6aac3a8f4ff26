"""Rules that take the step size from the distance travelled so far, so that no learning rate is needed."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Metric, Slot
from gradxform.core.fields import Dtype, Hyper, NonNegative
from gradxform.core.rule import LeafRule, TreeScaleRule
from gradxform.core.transform import transform


class ScaleByDistanceOverGradients(LeafRule):
    """Scales each leaf by its distance from where it began over the root of the sum of its squared gradient norms.

        d <- max(d, |p - p_0|),   from d = reps_rel (1 + |p_0|)
        s <- s + |g|^2
        u  = global_scale g d / sqrt(s + eps)   for each leaf

    The authors recommend to average the parameters.

    Args:
      reps_rel: the first distance, relative to 1 + |p_0|; 1e-4 for models with batch normalisation.
      eps: added inside the root.
      param_dtype: what p_0 is kept in, a real dtype.
      global_scale: a number for all leaves, with its sign.

    Raises:
      ValueError: `update` was called without parameters.

    Ivgi, Hinder & Carmon 2023, arXiv:2302.12022, algorithm 1 for each layer (L-DoG), without the averaging. optax:
    scale_by_distance_over_gradients. torch: none.
    """

    reps_rel: NonNegative = 1e-6
    eps: NonNegative = 1e-8
    param_dtype: Dtype = jnp.float32
    global_scale: Hyper = 1.0

    max_dist = Slot(axes=(), signed=False)
    grad_sum_of_squares = Slot(axes=(), signed=False)
    init_params = Slot(dtype="param_dtype", copy=True)

    # param_dtype is real, and would drop the imaginary part of p_0.
    real_only = True

    def update(self, grad, slots, leaf):
        dist = leaf.norm(leaf.param - slots.init_params)
        # The first parameters are p_0 without the rounding to param_dtype.
        first = leaf.either(
            leaf.step == 1, lambda: self.reps_rel * (1 + leaf.norm(leaf.param)), lambda: jnp.zeros_like(slots.max_dist)
        )
        max_dist = jnp.maximum(jnp.maximum(slots.max_dist, first), dist)
        total = slots.grad_sum_of_squares + leaf.norm(grad) ** 2
        update = grad * (self.global_scale * max_dist / jnp.sqrt(total + self.eps))
        return update, slots._replace(max_dist=max_dist, grad_sum_of_squares=total)


class ScaleByDog(TreeScaleRule):
    """Scales by the distance from the first parameters over the root of the sum of squared gradient norms.

        d <- max(d, |p - p_0|)
        s <- s + |g|^2
        u  = g d / sqrt(s + eps)   with norms over all leaves

    Args:
      init_step: what `init_value` tells of the first step. "distance": d begins with it. "heuristic": d begins with
        init_value (1 + |p_0|). "learning_rate": d begins with 0, and the first step is init_value g.
      init_value: that number; for the heuristic 1e-6, and 1e-4 for models with batch normalisation.
      eps: added inside the root.

    Metrics: `learning_rate`, by which the gradient was multiplied.

    Raises:
      ValueError: another init_step, or `update` was called without parameters.

    Ivgi, Hinder & Carmon 2023, arXiv:2302.12022, algorithm 1, without the averaging. optax: inside contrib.dog, which
    takes the first two arguments as a pair. torch: none.
    """

    init_step: str = "heuristic"
    init_value: NonNegative = 1e-6
    eps: NonNegative = 1e-8

    init_params = Slot(copy=True)
    max_dist = Slot(axes=(), signed=False)
    sum_sq_norm_grads = Slot(axes=(), signed=False)
    learning_rate = Metric()

    def check(self):
        if self.init_step not in ("distance", "learning_rate", "heuristic"):
            raise ValueError(
                f"{self.call_name}: init_step must be 'distance', 'learning_rate' or 'heuristic'; "
                f"got {self.init_step!r}"
            )

    def factor(self, updates, slots, tree):
        is_first, zero = tree.step == 1, jnp.zeros_like(slots.max_dist)
        match self.init_step:
            case "distance":
                first = jnp.where(is_first, self.init_value, zero)
            case "heuristic":
                first = tree.either(
                    is_first, lambda: self.init_value * (1 + tree.norm(slots.init_params)), lambda: zero
                )
            case _:
                first = zero
        dist = tree.distance(tree.params, slots.init_params)
        max_dist = jnp.maximum(jnp.maximum(slots.max_dist, first), dist)
        total = slots.sum_sq_norm_grads + tree.norm(updates) ** 2
        rate = max_dist / jnp.sqrt(total + self.eps)
        if self.init_step == "learning_rate":
            rate = jnp.where(is_first, self.init_value, rate)
        return rate, slots._replace(max_dist=max_dist, sum_sq_norm_grads=total, learning_rate=rate)


class ScaleByDowg(TreeScaleRule):
    """Scales by the squared distance over the root of the sum of squared gradient norms, weighted by those distances.

        d2 <- max(d2, |p - p_0|^2),   from d2 = init_estim_sq_dist
        v  <- v + d2 |g|^2
        u   = g d2 / (sqrt(v) + eps)   with norms over all leaves

    Args:
      init_estim_sq_dist: a first, low, guess of the squared distance to the solution. None: eps.
      eps: added outside the root.

    Metrics: `learning_rate`, by which the gradient was multiplied.

    Raises:
      ValueError: `update` was called without parameters.

    Khaled, Mishchenko & Jin 2023, arXiv:2305.16284, algorithm 1, where there is no eps. optax: inside contrib.dowg.
    torch: none.
    """

    init_estim_sq_dist: NonNegative | None = None
    eps: NonNegative = 1e-4

    init_params = Slot(copy=True)
    weighted_sq_norm_grads = Slot(axes=(), signed=False)
    estim_sq_dist = Slot(init="first_estimate", axes=(), signed=False)
    learning_rate = Metric()

    @property
    def first_estimate(self):
        """What the estimate begins with."""
        return self.eps if self.init_estim_sq_dist is None else self.init_estim_sq_dist

    def factor(self, updates, slots, tree):
        dist = tree.distance(tree.params, slots.init_params)
        estimate = jnp.maximum(slots.estim_sq_dist, dist**2)
        total = slots.weighted_sq_norm_grads + estimate * tree.norm(updates) ** 2
        rate = estimate / (jnp.sqrt(total) + self.eps)
        return rate, slots._replace(estim_sq_dist=estimate, weighted_sq_norm_grads=total, learning_rate=rate)


scale_by_distance_over_gradients = transform(ScaleByDistanceOverGradients)
scale_by_dog = transform(ScaleByDog)
scale_by_dowg = transform(ScaleByDowg)
