"""AdaDelta: steps in the units of the parameters."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, ema


class ScaleByAdadelta(LeafRule):
    """Scales the gradient by the root mean square of past updates over that of past gradients.

        e_g <- rho e_g + (1 - rho) |g|^2
        u   = g sqrt(e_x + eps) / sqrt(e_g + eps)
        e_x <- rho e_x + (1 - rho) |u|^2

    Args:
      rho: decay of both mean squares, in [0, 1).
      eps: added inside both roots; at 0 nothing ever moves.

    Zeiler 2012, arXiv:1212.5701, algorithm 1. optax: scale_by_adadelta. torch: torch.optim.Adadelta,
    which takes the parts of complex leaves for leaves of their own.
    """

    rho: Decay = 0.9
    eps: NonNegative = 1e-6

    e_g = Slot(signed=False)
    e_x = Slot(signed=False)

    def update(self, grad, slots, leaf):
        e_g = ema(slots.e_g, abs_sq(grad), self.rho)
        update = grad * (jnp.sqrt(slots.e_x + self.eps) / jnp.sqrt(e_g + self.eps))
        return update, slots._replace(e_g=e_g, e_x=ema(slots.e_x, abs_sq(update), self.rho))


scale_by_adadelta = transform(ScaleByAdadelta)
