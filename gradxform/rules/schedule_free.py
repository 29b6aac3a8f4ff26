"""Schedule-free learning: an average takes the place of a decaying learning rate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Slot
from gradxform.core.fields import Dtype, Hyper, NonNegative, Positive
from gradxform.core.precision import compute_dtype, rounded
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class ScheduleFree(TreeRule):
    """Trains at a point between the steps of an optimizer and their average, in place of a decaying learning rate.

        z <- z + the update of base_optimizer, for the gradient at y
        m <- max(m, learning_rate),   s <- s + m^weight_lr_power,   c = m^weight_lr_power / s
        x <- (1 - c) x + c z
        y <- (1 - b1) z + b1 x,   u = the way of y

    y are the parameters that are trained; `eval_params` gives x, which is not kept: x = (y - (1 - b1) z) / b1. So
    nothing is to change the update after it, and y must not be rounded much: in bfloat16 x is lost in y's rounding.

    Args:
      base_optimizer: the transform whose updates are added to z, ours or optax's, without momentum, which b1 takes the
        place of.
      learning_rate: that of base_optimizer, a number or a schedule with a warm-up and without a decay; it weighs the
        average alone.
      b1: how far y is from z to x, more than 0 and at most 1.
      weight_lr_power: how much more later steps of a warm-up weigh in the average.
      state_dtype: what z is kept in. None: the parameters' dtype, float32 at least.

    Extra arguments of `update`: those of base_optimizer.

    Raises:
      ValueError: b1 out of its range, or `update` was called without parameters.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1, with the largest rate so far in the weight, as in the authors'
    code. optax: contrib.schedule_free, which takes a schedule a step ahead, and sums the weights in the dtype of the
    parameters: in bfloat16 the sum of ones stays at 256. torch: none; the package schedulefree.
    """

    base_optimizer: GradientTransformation
    learning_rate: Hyper
    b1: Positive = 0.9
    weight_lr_power: NonNegative = 2.0
    state_dtype: Dtype | None = None

    # `schedule_free_eval_params` reads it in the state, where scripts of optax's do too.
    mix = Slot(init="b1", axes=(), called="b1")
    weight_sum = Slot(axes=(), signed=False)
    max_lr = Slot(axes=(), signed=False)
    base_optimizer_state = Inner("base_optimizer")
    z = Slot(copy=True, dtype="state_dtype")

    def check(self):
        self.check_transform("base_optimizer", may_keep_params=False)
        if isinstance(self.b1, int | float) and self.b1 > 1:
            raise ValueError(f"{self.call_name}: b1 must be more than 0 and at most 1; got {self.b1!r}")

    def update(self, updates, slots, tree):
        params = tree.params
        base, base_state = tree.inner(self.base_optimizer, updates, slots.base_optimizer_state)
        max_lr = jnp.maximum(slots.max_lr, self.learning_rate)
        weight = max_lr**self.weight_lr_power
        weight_sum = slots.weight_sum + weight
        # A warm-up begins with a rate of 0.
        c = weight / jnp.where(weight_sum == 0, 1, weight_sum)

        def moved(old, step):
            new = old + step
            return new if self.state_dtype is None else rounded(new, self.state_dtype)

        def way(y, old, new):
            # y is where the b1 of the step before has put it.
            x = (y - (1 - slots.b1) * old) / slots.b1
            return self.b1 * c * (new - x) + (1 - self.b1) * (new - old) + (self.b1 - slots.b1) * (x - old)

        fast = tree.map(moved, slots.z, base)
        b1 = jnp.ones_like(slots.b1) * self.b1
        new = slots._replace(b1=b1, weight_sum=weight_sum, max_lr=max_lr, base_optimizer_state=base_state, z=fast)
        return tree.map(way, params, slots.z, fast), new

    def evaluated(self, params, slots, tree):
        return tree.map(lambda y, z: (y - (1 - slots.b1) * z) / slots.b1, params, slots.z)


schedule_free = transform(ScheduleFree)


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The averaged parameters of a run of `schedule_free`, for evaluation.

        x = (y - (1 - b1) z) / b1,   y the parameters that are trained

    Args:
      state: the state of `schedule_free`, `schedule_free_adamw` or `schedule_free_sgd`, or any pytree with one such
        state in it, as that of a chain.
      params: the parameters that are trained.

    Returns:
      A pytree like the parameters, computed in float32 at least.

    Raises:
      ValueError: no such state, or more than one.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1. optax: contrib.schedule_free_eval_params, which takes the
    wrapper's own state only. torch: none.
    """
    found = [part for part in jax.tree.leaves(state, is_leaf=_is_schedule_free) if _is_schedule_free(part)]
    if len(found) != 1:
        raise ValueError(
            f"schedule_free_eval_params: expected a state with one ScheduleFreeState in it, got {len(found)}"
        )
    b1, fast = found[0].b1, found[0].z

    def evaluated(y: Any, z: Any) -> jax.Array:
        dtype = compute_dtype(y.dtype, z.dtype)
        beta = jnp.asarray(b1, dtype)
        return ((y.astype(dtype) - (1 - beta) * z.astype(dtype)) / beta).astype(y.dtype)

    return jax.tree.map(evaluated, params, fast)


def _is_schedule_free(part: Any) -> bool:
    return isinstance(part, optax.contrib.ScheduleFreeState | schedule_free.State)
