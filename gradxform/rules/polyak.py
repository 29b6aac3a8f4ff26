"""Polyak's step size, which reads the value of the loss."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Extra, Metric
from gradxform.core.fields import Hyper, NonNegative
from gradxform.core.rule import TreeScaleRule
from gradxform.core.transform import transform

VARIANTS = ("sps", "sps+")
# A squared norm at which the gradient is taken to be 0, as optax has it.
VANISHING = 2.0**-52


class ScaleByPolyak(TreeScaleRule):
    """Multiplies the gradient by the step that would reach the least loss if the loss were linear.

        u = g min((f - f_min) / (|g|^2 + eps), max_learning_rate)   with |g| over all leaves
        u = 0 where |g|^2 + eps is at most 2^-52

    With variant "sps+" it is max(f - f_min, 0) in place of f - f_min. f is the loss before the step: call
    `update(updates, state, params, value=f)`.

    Args:
      f_min: the least loss, or a guess that is below it.
      max_learning_rate: the largest step.
      eps: added to the squared norm.
      variant: "sps" or "sps+".

    Raises:
      ValueError: another variant, or `update` was called without value.

    Metrics: `step_size`, what the gradient was multiplied by.

    Loizou et al. 2021, arXiv:2002.10542, equation 3 (SPS_max) with c = 1; sps+: Garrigos et al. 2023, arXiv:2307.14528.
    optax: scale_by_polyak. torch: none.
    """

    f_min: Hyper = 0.0
    max_learning_rate: NonNegative = 1.0
    eps: NonNegative = 0.0
    variant: str = "sps"

    value = Extra()
    step_size = Metric()

    def check(self):
        if self.variant not in VARIANTS:
            raise ValueError(f"scale_by_polyak: variant must be one of {', '.join(VARIANTS)}; got {self.variant!r}")

    def factor(self, updates, slots, tree):
        square = jnp.square(tree.norm(updates)) + self.eps
        gap = jnp.asarray(tree.extra["value"]).astype(square.dtype) - self.f_min
        gap = jnp.maximum(gap, 0) if self.variant == "sps+" else gap
        vanishes = square <= VANISHING
        step = jnp.where(vanishes, 0, jnp.minimum(gap / jnp.where(vanishes, 1, square), self.max_learning_rate))
        return step, slots._replace(step_size=step)


scale_by_polyak = transform(ScaleByPolyak)
