"""Rules that scale the update of each leaf by the size of its parameter: trust ratios and block norms."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Metric
from gradxform.core.fields import Hyper, Mask, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class ScaleByTrustRatio(LeafRule):
    """Gives each leaf's update the size of its parameter.

        u = g r,   r = trust_coefficient max(|p|, min_norm) / (max(|g|, min_norm) + eps)   for each leaf
        r = 1 where one of the two norms is 0

    Args:
      min_norm: the least that either norm is taken to be.
      trust_coefficient: how far to trust the layer.
      eps: added to the norm of the update.
      mask: bools, a prefix of the parameters' tree, or a function of the tree that returns them: False where updates
        stay as they are. None: everywhere.

    Raises:
      ValueError: `update` was called without parameters.

    Metrics: `trust_ratio`, r for each leaf.

    You, Gitman & Ginsburg 2017, arXiv:1708.03888, equation 6; You et al. 2020, arXiv:1904.00962, algorithm 2 with
    phi(x) = x. The former divides by |g| + weight_decay |p|, here g has the decay in it already. optax:
    scale_by_trust_ratio, which has no mask. torch: none.
    """

    min_norm: NonNegative = 0.0
    trust_coefficient: Hyper = 1.0
    eps: NonNegative = 0.0
    mask: Mask | None = dataclasses.field(default=None, kw_only=True)

    trust_ratio = Metric(init=1.0)

    def update(self, grad, slots, leaf):
        of_param, of_update = leaf.norm(leaf.param), leaf.norm(grad)
        ratio = trust_ratio(of_param, of_update, self.min_norm, self.trust_coefficient, self.eps)
        return grad * ratio, slots._replace(trust_ratio=ratio)


class Fromage(LeafRule):
    """Steps of a fixed size relative to each leaf, then shrinks the leaf so that it does not grow.

        p <- (p - learning_rate r g) / sqrt(1 + learning_rate^2)
        r  = max(|p|, min_norm) / max(|g|, min_norm)   for each leaf;   1 where one of the two is 0

    What leaves is the step to add to the parameters.

    Args:
      learning_rate: the relative size of a step; a number or a schedule.
      min_norm: the least that either norm is taken to be.

    Raises:
      ValueError: `update` was called without parameters.

    Metrics: `trust_ratio`, r for each leaf.

    Bernstein et al. 2020, arXiv:2002.03432, algorithm 1, without min_norm. optax: fromage, as a chain of three rules.
    torch: none.
    """

    learning_rate: NonNegative
    min_norm: NonNegative = 1e-6

    trust_ratio = Metric(init=1.0)

    def update(self, grad, slots, leaf):
        ratio = trust_ratio(leaf.norm(leaf.param), leaf.norm(grad), self.min_norm, 1.0, 0.0)
        # 1 / sqrt(1 + learning_rate^2) is close to 1: its distance from 1 is taken with all of its digits.
        loss = jnp.expm1(-0.5 * jnp.log1p(jnp.square(self.learning_rate)))
        step = -self.learning_rate * (1 + loss) * ratio * grad
        return step + loss * leaf.param, slots._replace(trust_ratio=ratio)


class ScaleByParamBlockNorm(LeafRule):
    """Multiplies each leaf's update by the norm of its parameter.

        u = g max(|p|, min_scale)   for each leaf

    Args:
      min_scale: the least factor.

    Raises:
      ValueError: `update` was called without parameters.

    optax: scale_by_param_block_norm. torch: none.
    """

    min_scale: NonNegative = 1e-3

    def update(self, grad, slots, leaf):
        return grad * jnp.maximum(leaf.norm(leaf.param), self.min_scale), slots


class ScaleByParamBlockRms(LeafRule):
    """Multiplies each leaf's update by the root mean square of its parameter.

        u = g max(rms(p), min_scale)   for each leaf

    Args:
      min_scale: the least factor.

    Raises:
      ValueError: `update` was called without parameters.

    Shazeer & Stern 2018, arXiv:1804.04235, algorithm 4, line 4. optax: scale_by_param_block_rms. torch: inside
    torch.optim.Adafactor.
    """

    min_scale: NonNegative = 1e-3

    def update(self, grad, slots, leaf):
        return grad * jnp.maximum(leaf.rms(leaf.param), self.min_scale), slots


def trust_ratio(of_param, of_update, min_norm, coefficient, eps):
    """coefficient |p| / (|g| + eps) of norms that are at least min_norm; 1 where one of them is 0."""
    of_param, of_update = jnp.maximum(of_param, min_norm), jnp.maximum(of_update, min_norm)
    is_zero = (of_param == 0) | (of_update == 0)
    return jnp.where(is_zero, 1, coefficient * of_param / (jnp.where(is_zero, 1, of_update) + eps))


scale_by_trust_ratio = transform(ScaleByTrustRatio)
fromage = transform(Fromage)
scale_by_param_block_norm = transform(ScaleByParamBlockNorm)
scale_by_param_block_rms = transform(ScaleByParamBlockRms)
