"""Rules that bound the updates: by value, by the norm of a leaf, a unit or the whole tree; and rules against NaN."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core import checks
from gradxform.core.declarations import Metric
from gradxform.core.fields import Hyper, NonNegative
from gradxform.core.rule import LeafRule, TreeScaleRule
from gradxform.core.transform import Transform, transform
from gradxform.maths import Axis, shrink_factor, unit_axes


class Clip(LeafRule):
    """Bounds each element.

        u = min(max(g, -max_delta), max_delta)

    NaN stays NaN; infinity becomes the bound.

    Args:
      max_delta: the bound on |u|, at least 0.

    Raises:
      TypeError: complex leaves, which have no order; clip their norm instead.

    optax: clip. torch: torch.nn.utils.clip_grad_value_.
    """

    max_delta: NonNegative

    real_only = True

    def update(self, grad, slots, leaf):
        return jnp.clip(grad, -self.max_delta, self.max_delta), slots


class ClipByNorm(LeafRule):
    """Shrinks each leaf alone until its norm is at most `max_norm`.

        u = g min(1, max_norm / |g|)   for each leaf

    A leaf with NaN becomes NaN; one with infinity becomes 0 where it is finite and NaN where it is not.

    Args:
      max_norm: the bound on the norm of a leaf, at least 0.
      ord: the order of the norm, at least 1, or infinity.

    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1, for each leaf. optax: none for a leaf. torch:
    torch.nn.utils.clip_grad_norm_ of one tensor, which adds 1e-6 to the norm.
    """

    max_norm: NonNegative
    ord: float = dataclasses.field(default=2, kw_only=True)

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, grad, slots, leaf):
        return grad * shrink_factor(leaf.norm(grad, self.ord), self.max_norm), slots


class ClipByGlobalNorm(TreeScaleRule):
    """Shrinks all updates together until their joint norm is at most `max_norm`; the direction is kept.

        u = g min(1, max_norm / |g|)   with |g| over all leaves

    What is under the bound is untouched. NaN anywhere makes every update NaN, so that it shows; infinity makes finite
    elements 0 and infinite ones NaN.

    Args:
      max_norm: the bound on the norm, at least 0.
      ord: the order of the norm, at least 1, or infinity.

    Metrics: `norm`, the norm before clipping.

    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1. optax: clip_by_global_norm, of order 2. torch:
    torch.nn.utils.clip_grad_norm_, which adds 1e-6 to the norm.
    """

    max_norm: NonNegative
    ord: float = dataclasses.field(default=2, kw_only=True)

    norm = Metric()

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def factor(self, updates, slots, tree):
        norm = tree.norm(updates, self.ord)
        return shrink_factor(norm, self.max_norm), slots._replace(norm=norm)


class NormalizeByGlobalNorm(TreeScaleRule):
    """Makes the joint norm of all updates `scale_factor`, whatever it was: gradient normalisation.

        u = g scale_factor / |g|   with |g| over all leaves;   0 where |g| = 0

    Args:
      scale_factor: the norm that the updates shall have.
      ord: the order of the norm, at least 1, or infinity.

    Metrics: `norm`, the norm before.

    Hazan, Levy & Shalev-Shwartz 2015, arXiv:1507.02030, algorithm 1. optax: none; normalize_by_update_norm adds
    eps to the norm. torch: none.
    """

    scale_factor: NonNegative = 1.0
    ord: float = dataclasses.field(default=2, kw_only=True)

    norm = Metric()

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def factor(self, updates, slots, tree):
        norm = tree.norm(updates, self.ord)
        factor = jnp.where(norm == 0, 0, self.scale_factor / jnp.where(norm == 0, 1, norm))
        return factor, slots._replace(norm=norm)


class NormalizeByUpdateNorm(TreeScaleRule):
    """Divides all updates by their joint norm plus a small number.

        u = g scale_factor / (|g| + eps)   with |g| over all leaves;   0 where |g| + eps = 0

    Args:
      scale_factor: the norm that the updates shall have.
      eps: added to the norm.

    Metrics: `norm`, the norm before.

    Hazan, Levy & Shalev-Shwartz 2015, arXiv:1507.02030, algorithm 1, with eps. optax: normalize_by_update_norm. torch:
    none.
    """

    scale_factor: Hyper = 1.0
    eps: NonNegative = 1e-6

    norm = Metric()

    def factor(self, updates, slots, tree):
        norm = tree.norm(updates)
        is_zero = norm + self.eps == 0
        factor = jnp.where(is_zero, 0, self.scale_factor / jnp.where(is_zero, 1, norm + self.eps))
        return factor, slots._replace(norm=norm)


class ClipByBlockRms(LeafRule):
    """Shrinks each leaf alone until its root mean square is at most `threshold`.

        u = g min(1, threshold / rms(g))   for each leaf

    Args:
      threshold: the bound on the root mean square of a leaf, at least 0.

    Shazeer & Stern 2018, arXiv:1804.04235, algorithm 5. optax: clip_by_block_rms. torch: inside torch.optim.Adafactor.
    """

    threshold: NonNegative

    def update(self, grad, slots, leaf):
        return grad * shrink_factor(leaf.rms(grad), self.threshold), slots


class AdaptiveGradClip(LeafRule):
    """Shrinks the update of each unit until its norm is at most a fraction of the norm of the unit's weights.

        u = g min(1, clipping max(|w|, eps) / |g|)   for each unit

    A unit is what leads to one output: the whole of a vector, a column of a matrix (in, out) or of (in, heads, depth),
    a filter of a convolution (..., in, out).

    Args:
      clipping: the fraction.
      eps: the least norm that weights are taken to have, so that those that begin at 0 can grow.
      axis: the axes over which a unit extends. None: as above, by the number of axes.

    Raises:
      ValueError: `update` was called without parameters, or a leaf is spread over devices and `on_axes` does not
        tell how.

    Brock et al. 2021, arXiv:2102.06171, equation 3. optax: adaptive_grad_clip, which takes at most 5 axes. torch: none.
    """

    clipping: NonNegative
    eps: NonNegative = 1e-3
    axis: Axis = None

    def update(self, grad, slots, leaf):
        axis = unit_axes(leaf.shape) if self.axis is None else self.axis
        bound = self.clipping * jnp.maximum(leaf.norm_along(leaf.param, axis), self.eps)
        return grad * shrink_factor(leaf.norm_along(grad, axis), bound), slots


class ZeroNans(LeafRule):
    """Puts 0 in the place of NaN; infinity stays.

        u = 0 where g is NaN, else g

    Metrics: `found_nan`, for each leaf whether there was one.

    optax: zero_nans. torch: torch.nan_to_num.
    """

    found_nan = Metric(init=False, dtype=bool)

    def update(self, grad, slots, leaf):
        is_nan = jnp.isnan(grad)
        return jnp.where(is_nan, 0, grad), slots._replace(found_nan=leaf.any(is_nan))


def normalize() -> Transform:
    """Makes the joint norm of all updates 1: `normalize_by_global_norm()` under the name that optax.contrib has for it.

        u = g / |g|   with |g| over all leaves;   0 where |g| = 0

    Hazan, Levy & Shalev-Shwartz 2015, arXiv:1507.02030, algorithm 1. optax: contrib.normalize, which for zeros gives
    NaN. torch: none.
    """
    return normalize_by_global_norm()


clip = transform(Clip)
clip_by_norm = transform(ClipByNorm)
clip_by_global_norm = transform(ClipByGlobalNorm)
normalize_by_global_norm = transform(NormalizeByGlobalNorm)
normalize_by_update_norm = transform(NormalizeByUpdateNorm)
clip_by_block_rms = transform(ClipByBlockRms)
adaptive_grad_clip = transform(AdaptiveGradClip)
zero_nans = transform(ZeroNans)
