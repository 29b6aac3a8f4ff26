"""Rules that stand in front of an optimizer and mix each gradient with those before it: MARS and Grokfast."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Hyper, NonNegative
from gradxform.core.rule import LeafRule, TreeRule
from gradxform.core.transform import transform
from gradxform.maths import ema, shrink_factor


class Mars(TreeRule):
    """Adds to the gradient its change since the step before, against the variance of stochastic gradients, and clips.

        d  = g - g_before,   at the first step 0
        c  = g + gamma b1 / (1 - b1) d
        u  = c min(1, max_norm / |c|)   with |c| over all leaves

    It stands in front of an optimizer with momentum of the same b1:

        gx.chain(gx.mars(), gx.adamw(3e-3, 0.95, 0.99))

    Memory: a gradient, g_before.

    Args:
      b1: decay of the momentum that follows, in [0, 1).
      gamma: how much of the change is added; a number or a schedule. 0 clips, and does no more.
      max_norm: the bound on the norm. None: no clipping.

    Yuan et al. 2024, arXiv:2411.10438, algorithm 2, as MARS-approx: g_before is the gradient of the batch before, at
    the parameters before, which asks for no second pass. The authors' code (github.com/AGI-Arena/MARS) clips each
    parameter alone, `chain(mars(max_norm=None), clip_by_norm(1.0))`, leaves vectors as they are,
    `masked(mars(), by_ndim(2))`, and begins with g_before = 0, so that the first c is (1 + gamma b1 / (1 - b1)) g,
    where the algorithm has x_1 = x_0, and so no change. optax: none. torch: none.
    """

    b1: Decay = 0.95
    gamma: NonNegative = 0.025
    max_norm: NonNegative | None = 1.0

    grad_before = Slot()

    def update(self, updates, slots, tree):
        weight = self.gamma * self.b1 / (1 - self.b1)

        def corrected(grad, before):
            return grad + weight * jnp.where(tree.step == 1, 0, grad - before)

        result = tree.map(corrected, updates, slots.grad_before)
        if self.max_norm is not None:
            shrink = shrink_factor(tree.norm(result), self.max_norm)
            result = tree.map(lambda leaf: leaf * shrink, result)
        return result, slots._replace(grad_before=updates)


class Grokfast(LeafRule):
    """Adds to the gradient its running mean, which makes what all batches agree on weigh more.

        mu <- alpha mu + (1 - alpha) g,   at the first step mu <- g
        u   = g + lamb mu

    It stands in front of an optimizer: `gx.chain(gx.grokfast(), gx.adamw(1e-3))`.

    Args:
      alpha: decay of the mean, in [0, 1).
      lamb: the weight of the mean; a number or a schedule.

    Lee et al. 2024, arXiv:2405.20233, Grokfast-EMA, with the first step and the defaults of the authors' gradfilter_ema
    (github.com/ironjr/grokfast). optax: none. torch: none.
    """

    alpha: Decay = 0.98
    lamb: Hyper = 2.0

    mu = Slot()

    def update(self, grad, slots, leaf):
        mu = jnp.where(leaf.step == 1, grad, ema(slots.mu, grad, self.alpha))
        return grad + self.lamb * mu, slots._replace(mu=mu)


mars = transform(Mars)
grokfast = transform(Grokfast)
