"""LaProp: momentum of gradients that were divided first."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, debias, ema


class ScaleByLaprop(LeafRule):
    """The running mean of gradients, each divided by the root mean square of those up to it.

        nu <- b2 nu + (1 - b2) |g|^2
        mu <- b1 mu + (1 - b1) g / (sqrt(nu / (1 - b2^t) + eps_root) + eps)
        u   = mu / (1 - b1^t)

    Adam divides the mean, by which old gradients are divided anew at each step; here b1 may be larger than b2. With
    b2 = 0 it is the mean of signs.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.

    Ziyin, Wang & Ueda 2020, arXiv:2002.04839, algorithm 1. The authors' code
    (github.com/Z-T-WANG/LaProp-Optimizer) multiplies by the learning rate inside mu, which differs under a schedule.
    optax: none. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    eps_root: NonNegative = 0.0
    mu_dtype: Dtype | None = None

    mu = Slot(dtype="mu_dtype")
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        root = jnp.sqrt(debias(nu, self.b2, leaf.step) + self.eps_root)
        mu = ema(slots.mu, grad / (root + self.eps), self.b1)
        return debias(mu, self.b1, leaf.step), slots._replace(mu=mu, nu=nu)


scale_by_laprop = transform(ScaleByLaprop)
