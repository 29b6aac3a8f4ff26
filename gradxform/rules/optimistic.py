"""Rules that look at the gradient of the step before: the optimistic gradient."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Hyper
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class ScaleByOptimisticGradient(LeafRule):
    """Adds how the gradient has changed since the step before, as a forecast of how it will change.

        u = (alpha + beta) g_t - beta g_(t-1),   at the first step g_(t-1) = g_t

    Args:
      alpha: how much of the gradient.
      beta: how much of its change.

    Daskalakis et al. 2018, arXiv:1711.00141, equation 3, with alpha = beta = 1; Mokhtari et al. 2020,
    arXiv:1901.08511, equation 7, with two numbers. optax: scale_by_optimistic_gradient. torch: none.
    """

    alpha: Hyper = 1.0
    beta: Hyper = 1.0

    previous_gradient = Slot()

    def update(self, grad, slots, leaf):
        before = jnp.where(leaf.step == 1, grad, slots.previous_gradient)
        return (self.alpha + self.beta) * grad - self.beta * before, slots._replace(previous_gradient=grad)


scale_by_optimistic_gradient = transform(ScaleByOptimisticGradient)
