"""Adam with another numerator: the mean mixed with its change, with a slower mean, or with the gradient."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, Hyper, NonNegative, SumDecay
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, debias, ema


class ScaleByAdan(LeafRule):
    """Adam with Nesterov's look-ahead, which adds the running mean of the gradient's change to that of the gradient.

        d   = g - g_before,   at the first step 0
        m  <- b1 m + (1 - b1) g
        v  <- b2 v + (1 - b2) d
        n  <- b3 n + (1 - b3) |g + w d|^2,   w = difference_weight
        u   = (m / (1 - b1^t) + w v / (1 - b2^t)) / (sqrt(n / (1 - b3^t) + eps_root) + eps)

    Args:
      b1: decay of the mean of the gradient, in [0, 1).
      b2: decay of the mean of its change, in [0, 1).
      b3: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      difference_weight: how far to look ahead. None: b2, as in the paper. optax has 1 - b2.

    Xie et al. 2022, arXiv:2208.06677, algorithm 1, whose betas are ours taken from 1: its 1 - beta_2 is b2. It begins
    with m = g and n = |g|^2 in the place of the bias corrections, which the authors' code has. optax: scale_by_adan,
    which weighs the change by 1 - b2 = 0.08 where the paper has 0.92; difference_weight=0.08 gives its numbers. torch:
    none.
    """

    b1: Decay = 0.98
    b2: Decay = 0.92
    b3: Decay = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    difference_weight: NonNegative | None = dataclasses.field(default=None, kw_only=True)

    m = Slot()
    v = Slot()
    n = Slot(signed=False)
    g = Slot()

    def update(self, grad, slots, leaf):
        weight = self.b2 if self.difference_weight is None else self.difference_weight
        change = jnp.where(leaf.step == 1, 0, grad - slots.g)
        m = ema(slots.m, grad, self.b1)
        v = ema(slots.v, change, self.b2)
        n = ema(slots.n, abs_sq(grad + weight * change), self.b3)
        ahead = debias(m, self.b1, leaf.step) + weight * debias(v, self.b2, leaf.step)
        root = jnp.sqrt(debias(n, self.b3, leaf.step) + self.eps_root)
        return ahead / (root + self.eps), slots._replace(m=m, v=v, n=n, g=grad)


class ScaleByAdemamix(LeafRule):
    """Adam with a second, slower running mean of the gradient beside the first.

        m1 <- b1 m1 + (1 - b1) g
        m2 <- b3 m2 + (1 - b3) g
        nu <- b2 nu + (1 - b2) |g|^2
        u   = (m1 / (1 - b1^t) + alpha m2) / (sqrt(nu / (1 - b2^t) + eps_root) + eps)

    m2 has no bias correction, so that it fills slowly.

    Args:
      b1: decay of the fast mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      b3: decay of the slow mean, in [0, 1); a schedule if it warms up.
      alpha: the weight of the slow mean; a schedule if it warms up.
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      mu_dtype: what m1 and m2 are kept in. None: the parameter's dtype, float32 at least.

    Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137, algorithm 1. optax: contrib.scale_by_ademamix, which keeps nu
    too in mu_dtype, where its mean square comes to a stop in bfloat16; here it is float32 at least. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    alpha: Hyper = 6.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: Dtype | None = None

    m1 = Slot(dtype="mu_dtype")
    m2 = Slot(dtype="mu_dtype")
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        m1 = ema(slots.m1, grad, self.b1)
        m2 = ema(slots.m2, grad, self.b3)
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        mean = debias(m1, self.b1, leaf.step) + self.alpha * m2
        root = jnp.sqrt(debias(nu, self.b2, leaf.step) + self.eps_root)
        return mean / (root + self.eps), slots._replace(m1=m1, m2=m2, nu=nu)


class ScaleBySimplifiedAdemamix(LeafRule):
    """AdEMAMix with one mean: the decaying sum of the gradients, and the gradient itself beside it.

        m  <- b1 m + g
        n  <- b2 n + (1 - b2) |g|^2
        u   = (m + alpha g) / (sqrt(n / (1 - b2^t) + eps_root) + eps)

    m is a sum, about 1 / (1 - b1) times a mean: the learning rate is to be smaller than Adam's by as much.

    Args:
      b1: decay of the sum, in [0, 1].
      b2: decay of the mean square, in [0, 1).
      alpha: the weight of the gradient beside the sum; a number or a schedule.
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.

    Morwani et al. 2025, arXiv:2502.02431, section on simplified AdEMAMix. optax: contrib.scale_by_simplified_ademamix,
    which squares complex gradients without their modulus. torch: none.
    """

    b1: SumDecay = 0.99
    b2: Decay = 0.95
    alpha: Hyper = 0.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0

    m = Slot()
    n = Slot(signed=False)

    def update(self, grad, slots, leaf):
        m = self.b1 * slots.m + grad
        n = ema(slots.n, abs_sq(grad), self.b2)
        root = jnp.sqrt(debias(n, self.b2, leaf.step) + self.eps_root)
        return (m + self.alpha * grad) / (root + self.eps), slots._replace(m=m, n=n)


scale_by_adan = transform(ScaleByAdan)
scale_by_ademamix = transform(ScaleByAdemamix)
scale_by_simplified_ademamix = transform(ScaleBySimplifiedAdemamix)
