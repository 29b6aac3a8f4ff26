"""Dual averaging: the next parameters from the first ones and the sum of all gradients."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, safe_root


class ScaleByMadgrad(LeafRule):
    """Dual averaging with a cube root and momentum; what leaves is the step to add to the parameters.

        l   = (learning_rate + eps) sqrt(t)
        n  <- n + l |g|^2
        s  <- s + l g
        z   = x0 - s / (cbrt(n) + eps),   x0 the first parameters
        u   = (1 - momentum) (z - p)

    Args:
      learning_rate: the step size; a number or a schedule. eps is added to it, as the authors' code does.
      momentum: how much of p stays from step to step, in [0, 1).
      eps: added to the cube root, and to the learning rate.

    Raises:
      ValueError: `update` was called without parameters.

    Defazio & Jelassi 2021, arXiv:2101.11075, algorithm 1, whose c is 1 - momentum. optax: contrib.scale_by_madgrad,
    which takes sqrt(t) in float32 for float64 parameters too. torch: none.
    """

    learning_rate: NonNegative
    momentum: Decay = 0.9
    eps: NonNegative = 1e-6

    grad_sum_sq = Slot(signed=False)
    s = Slot()
    x0 = Slot(copy=True)

    def update(self, grad, slots, leaf):
        weight = (self.learning_rate + self.eps) * jnp.sqrt(leaf.step.astype(slots.grad_sum_sq.dtype))
        squares = slots.grad_sum_sq + weight * abs_sq(grad)
        s = slots.s + weight * grad
        goal = slots.x0 - s / (safe_root(squares, 3) + self.eps)
        return (1 - self.momentum) * (goal - leaf.param), slots._replace(grad_sum_sq=squares, s=s)


scale_by_madgrad = transform(ScaleByMadgrad)
