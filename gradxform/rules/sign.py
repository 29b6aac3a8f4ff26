"""Rules that keep the sign of the gradient and leave its size."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class ScaleBySign(LeafRule):
    """The sign of each element.

        u = sign(g),   of a complex element g / |g|;   0 where g = 0

    Bernstein et al. 2018, arXiv:1802.04434, algorithm 1. optax: scale_by_sign. torch: none.
    """

    def update(self, grad, slots, leaf):
        return jnp.sign(grad), slots


scale_by_sign = transform(ScaleBySign)
