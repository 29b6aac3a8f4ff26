"""Rules that use second derivatives of the loss: they need the loss as a function, `obj_fn`, in `update`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.declarations import Extra, Inner, Key, Metric, Slot
from gradxform.core.fields import Decay, Dtype, NonNegative, Positive, Seed
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias, ema


class HutchinsonEstimatorDiagHessian(TreeRule):
    """Puts an unbiased estimate of the diagonal of the loss's Hessian in the place of the gradient.

        u = z (H z)   where each element of z is 1 or -1, at random

    Inside `shard_map`, obj_fn is to return the loss of all devices together.

    Args:
      random_seed: an integer or a key of jax.random. None: 0.

    Extra arguments of `update`: obj_fn, the loss as a function of the parameters alone.

    Raises:
      TypeError: complex leaves.
      ValueError: `update` was called without parameters or without obj_fn.

    Hutchinson 1989; Liu et al. 2023, arXiv:2305.14342, algorithm 1, with a normal z. optax:
    contrib.hutchinson_estimator_diag_hessian, with other random numbers. torch: none.
    """

    random_seed: Seed | None = None

    rng = Key(seed="seed")
    obj_fn = Extra()

    real_only = True

    @property
    def seed(self):
        """The seed that is used."""
        return 0 if self.random_seed is None else self.random_seed

    def update(self, updates, slots, tree):
        def slope(params):
            return jax.grad(lambda leaves: tree.extra["obj_fn"](tree.whole(leaves)))(params)

        signs = tree.random_signs(slots.rng, tree.params)
        _, product = jax.jvp(slope, (tree.params,), (signs,))
        return tree.map(jnp.multiply, signs, product), slots


hutchinson_estimator_diag_hessian = transform(HutchinsonEstimatorDiagHessian)
HUTCHINSON = hutchinson_estimator_diag_hessian()


class ScaleBySophia(TreeRule):
    """Divides the running mean of the gradient by that of the Hessian's diagonal, and bounds each element.

        mu <- b1 mu + (1 - b1) g
        u   = clip(mu / (1 - b1^t) / max(gamma h, eps), clip_threshold)
        h  <- b2 h + (1 - b2) diagonal   at the first step and then at every update_interval-th

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the diagonal's mean, in [0, 1), from one estimate to the next.
      eps: the least that is divided by.
      gamma: what the diagonal is multiplied by; greater, fewer elements are clipped.
      clip_threshold: the bound on |u|. None: no bound.
      update_interval: at every how many steps the diagonal is estimated.
      hessian_diagonal_fn: a transform, ours or optax's, whose updates are the estimate.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      verbose: whether to print the win rate.
      print_win_rate_every_n_steps: at every how many steps; 0 for never.

    Extra arguments of `update`: those of hessian_diagonal_fn, such as obj_fn, the loss as a function of the parameters.

    Metrics: `win_rate`, the share of elements that were not clipped when the diagonal was last estimated; between 0.1
    and 0.5 in a good run.

    Raises:
      TypeError: complex leaves.
      ValueError: `update` was called without parameters or without obj_fn.

    Liu et al. 2023, arXiv:2305.14342, algorithm 3, which divides by the h that holds the estimate of the step, and has
    no bias correction. optax: inside contrib.sophia. torch: none.
    """

    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: Positive = 1e-8
    gamma: NonNegative = 0.01
    clip_threshold: NonNegative | None = 1.0
    update_interval: int = 10
    hessian_diagonal_fn: GradientTransformation = HUTCHINSON
    mu_dtype: Dtype | None = None
    verbose: bool = False
    print_win_rate_every_n_steps: int = 0

    mu = Slot(dtype="mu_dtype")
    nu = Slot()
    hessian_fn_state = Inner("hessian_diagonal_fn")
    win_rate = Metric()

    real_only = True

    def update(self, updates, slots, tree):
        mu = tree.map(lambda m, g: ema(m, g, self.b1), slots.mu, updates)
        bound = jnp.inf if self.clip_threshold is None else self.clip_threshold

        def newton():
            floored = tree.map(lambda h: jnp.maximum(self.gamma * h, self.eps), slots.nu)
            return tree.map(lambda m, h: debias(m, self.b1, tree.step) / h, mu, floored)

        def estimated():
            diagonal, state = tree.inner(self.hessian_diagonal_fn, updates, slots.hessian_fn_state)
            nu = tree.map(lambda h, d: ema(h, d, self.b2), slots.nu, diagonal)
            # Taken anew, so that no copy of it has to be kept for the steps that do not ask.
            inside = tree.sum(tree.map(lambda u: jnp.abs(u) < bound, newton()))
            return nu, state, inside / max(tree.size(mu), 1)

        is_due = (tree.step - 1) % self.update_interval == 0
        nu, state, win_rate = tree.either(is_due, estimated, lambda: (slots.nu, slots.hessian_fn_state, slots.win_rate))
        if self.verbose and self.print_win_rate_every_n_steps:
            tree.either(
                tree.step % self.print_win_rate_every_n_steps == 0,
                lambda: jax.debug.print("Sophia's win rate: {}", win_rate),
                lambda: None,
            )
        step = tree.map(lambda u: jnp.clip(u, -bound, bound), newton())
        return step, slots._replace(mu=mu, nu=nu, hessian_fn_state=state, win_rate=win_rate)


scale_by_sophia = transform(ScaleBySophia)
