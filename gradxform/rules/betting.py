"""Coin betting: each parameter is a gambler who bets on the sign of its next gradient."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import NonNegative, Positive
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class ScaleByCocob(LeafRule):
    """Moves each parameter to where a gambler who bets on its gradients would stand.

        L <- max(L, |g|),   from L = eps
        G <- G + |g|
        R <- max(R - g (p - p_0), 0)
        C <- C - g
        u  = p_0 - p + C (L + R) / (L max(G + L, alpha L))

    The update has its sign: nothing is to follow but `apply_updates`.

    Args:
      alpha: what bounds the first bets: the first steps are at most 1 / alpha.
      eps: what L begins with.

    Raises:
      TypeError: complex leaves, whose gradients have no sign.
      ValueError: `update` was called without parameters.

    Orabona & Tommasi 2017, arXiv:1705.07795, algorithm 2, where L begins with 0. optax: contrib.scale_by_cocob. torch:
    none.
    """

    alpha: NonNegative = 100.0
    eps: Positive = 1e-8

    init_particles = Slot(copy=True)
    cumulative_gradients = Slot()
    scale = Slot(init="eps", signed=False)
    subgradients = Slot(signed=False)
    reward = Slot(signed=False)

    real_only = True

    def update(self, grad, slots, leaf):
        scale = jnp.maximum(slots.scale, jnp.abs(grad))
        total = slots.subgradients + jnp.abs(grad)
        reward = jnp.maximum(slots.reward - grad * (leaf.param - slots.init_particles), 0)
        won = slots.cumulative_gradients - grad
        bet = won / (scale * jnp.maximum(total + scale, self.alpha * scale)) * (scale + reward)
        new = slots._replace(cumulative_gradients=won, scale=scale, subgradients=total, reward=reward)
        return slots.init_particles - leaf.param + bet, new


scale_by_cocob = transform(ScaleByCocob)
