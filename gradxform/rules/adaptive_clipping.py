"""Clipping by bounds that follow what the norms of the gradients have been: ZClip, AutoClip and AdaGC."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from gradxform.core.declarations import Metric, Slot
from gradxform.core.fields import Decay, NonNegative, check_count
from gradxform.core.rule import TreeRule, TreeScaleRule
from gradxform.core.transform import transform
from gradxform.maths import ema, length, shrink_factor, unit_scale


class Zclip(TreeScaleRule):
    """Shrinks all updates together when their joint norm is an outlier among the norms so far, the more the farther.

        z = (|g| - m) / (s + eps)   with |g| over all leaves
        c = m + z_max^2 s / z   where z > z_max,   else |g|
        u = g c / |g|
        m <- decay m + (1 - decay) c
        s^2 <- decay s^2 + (1 - decay) (c - m)^2   with the new m

    z_max is `max_deviations`. In the first `warm_up` steps nothing is clipped, and m and s are the mean and the
    standard deviation of their norms. NaN anywhere makes every update NaN, so that it shows; infinity makes finite
    elements 0 and infinite ones NaN, but passes in the warm-up. Neither counts in m and s, or as a step of the warm-up;
    nor does a norm of 0, of which the paper does not speak: a mean of 0 would make every update 0 for ever.

    Memory: two numbers and a count.

    Args:
      max_deviations: how many standard deviations above the mean a norm may be, z_thres in the paper.
      decay: of the mean and the variance, alpha in the paper.
      warm_up: of how many norms the first mean and deviation are made; one at least.
      eps: added to the deviation.

    Metrics: `norm`, the norm before clipping; `clipped`, whether it was shrunk.

    Raises:
      ValueError: max_deviations or eps is negative, or warm_up is no integer of at least 0.

    Kumar et al. 2025, arXiv:2504.02507, with eps as in the authors' code, github.com/bluorion-com/ZClip; its
    max_grad_norm is `clip_by_global_norm` behind this rule. optax: none. torch: none.
    """

    max_deviations: NonNegative = 2.5
    decay: Decay = 0.97
    warm_up: int = 25
    eps: NonNegative = dataclasses.field(default=1e-6, kw_only=True)

    mean = Slot(axes=(), signed=False)
    deviation = Slot(axes=(), signed=False)
    taken = Slot(axes=(), dtype=jnp.int32)
    norm = Metric()
    clipped = Metric(init=False, dtype=bool)

    def check(self):
        check_count(f"{self.call_name}: warm_up", self.warm_up)

    def factor(self, updates, slots, tree):
        norm = tree.norm(updates)
        mean, deviation = slots.mean, slots.deviation
        above = norm - mean
        warms_up = slots.taken < max(self.warm_up, 1)
        over = ~warms_up & (above > self.max_deviations * (deviation + self.eps))
        bound = mean + self.max_deviations**2 * deviation * ((deviation + self.eps) / jnp.where(over, above, 1))
        taken_as = jnp.where(over, bound, norm)
        # The first so many norms count alike. Roots of sums of squares, by `hypot`, in which no square overflows.
        count = (slots.taken + 1).astype(norm.dtype)
        share = jnp.where(warms_up, 1 / count, 1 - self.decay)
        change = taken_as - mean
        spread = jnp.where(warms_up, jnp.sqrt(1 - share), 1 - share) * jnp.sqrt(share)
        counted = jnp.isfinite(norm) & (norm > 0)
        return shrink_factor(norm, taken_as), slots._replace(
            mean=jnp.where(counted, mean + share * change, mean),
            deviation=jnp.where(counted, jnp.hypot(jnp.sqrt(1 - share) * deviation, spread * change), deviation),
            taken=jnp.where(counted, slots.taken + 1, slots.taken),
            norm=norm,
            clipped=over,
        )


class Autoclip(TreeScaleRule):
    """Shrinks all updates together until their joint norm is at most a percentile of the last norms, its own included.

        c = the percentile of the last `window` norms |g|, interpolated linearly
        u = g min(1, c / |g|)   with |g| over all leaves

    The first step is never clipped; with percentile 0 all norms are those of the smallest in the window, with 100 none
    is clipped. NaN anywhere makes every update NaN, so that it shows; infinity makes finite elements 0 and infinite
    ones NaN, but passes where there were no norms. Neither joins the window.

    Memory: `window` numbers, which are sorted at each step.

    Args:
      percentile: which, from 0 to 100.
      window: how many norms are remembered.

    Metrics: `norm`, the norm before clipping; `clipped`, whether it was shrunk.

    Raises:
      ValueError: percentile is not from 0 to 100, or window is no integer of at least 1.

    Seetharaman et al. 2020, arXiv:2007.14469, algorithm 1, of which the window is the whole history. optax: none.
    torch: none; github.com/pseeth/autoclip.
    """

    percentile: NonNegative = 10.0
    window: int = 1000

    norms = Slot(axes=(), length="window", signed=False)
    taken = Slot(axes=(), dtype=jnp.int32)
    norm = Metric()
    clipped = Metric(init=False, dtype=bool)

    def check(self):
        check_count(f"{self.call_name}: window", self.window, least=1)
        if isinstance(self.percentile, float | int) and not self.percentile <= 100:
            raise ValueError(f"{self.call_name}: percentile must be from 0 to 100; got {self.percentile!r}")

    def factor(self, updates, slots, tree):
        norm = tree.norm(updates)
        places = jnp.arange(self.window, dtype=jnp.int32)
        counted = jnp.isfinite(norm)
        taken = jnp.where(counted, slots.taken + 1, slots.taken)
        norms = jnp.where(counted & (places == slots.taken % self.window), norm, slots.norms)
        filled = jnp.minimum(taken, self.window)
        # What is not filled yet goes behind.
        bound = percentile_of(jnp.sort(jnp.where(places < filled, norms, jnp.inf)), filled, self.percentile)
        return shrink_factor(norm, bound), slots._replace(norms=norms, taken=taken, norm=norm, clipped=norm > bound)


class Adagc(TreeRule):
    """Shrinks each leaf alone until its norm is at most a multiple of its own running norm.

        the first `warm_up` steps:   u_i = g_i min(1, max_norm / |g|),   r_i <- min(r_i, |u_i|)
        then:   u_i = g_i min(1, max_ratio r_i / |g_i|),   r_i <- decay r_i + (1 - decay) |u_i|

    |g| is the norm over all leaves, |g_i| that of leaf i, and r_i begins as the first |u_i|. What the paper does not
    say: a norm of 0 does not count in r_i, or a leaf without a gradient in the warm-up would stay at 0 for ever.
    NaN makes its leaf NaN, in the warm-up all of them, as infinity does where it is; neither counts in r_i.

    Memory: a number a leaf.

    Args:
      max_ratio: how much greater than its running norm the norm of a leaf may be, lambda_rel in the paper.
      decay: of the running norms, beta in the paper.
      warm_up: how many steps are clipped by the joint norm, T_start - 1 in the paper.
      max_norm: the bound on the joint norm in the warm-up, lambda_abs in the paper.

    Metrics: `clipped`, the share of the leaves that were shrunk.

    Raises:
      ValueError: max_ratio or max_norm is negative, or warm_up is no integer of at least 0.

    Wang et al. 2025, arXiv:2502.11034, its clipping alone, with the defaults of the authors' code, which is
    ClipGradByAdaptiveNorm in PaddlePaddle; in the warm-up that takes for r_i the norms before clipping. optax: none.
    torch: none.
    """

    max_ratio: NonNegative = 1.04
    decay: Decay = 0.99
    warm_up: int = 100
    max_norm: NonNegative = dataclasses.field(default=1.0, kw_only=True)

    # 0 where a leaf has had no norm yet.
    running_norm = Slot(measure="first", signed=False)
    clipped = Metric()

    def check(self):
        check_count(f"{self.call_name}: warm_up", self.warm_up)

    def first(self, params):
        """A zero for each leaf."""
        return jax.tree.map(lambda leaf: jnp.zeros((), leaf.real.dtype), params)

    def update(self, updates, slots, tree):
        if not updates:
            return updates, slots
        norms, running = jnp.stack(tree.norms(updates)), jnp.stack(jax.tree.leaves(slots.running_norm))
        scale = unit_scale(jnp.max(norms))
        joint = length(norms * scale, axis=0) / scale
        warms_up, is_new = tree.step <= self.warm_up, running == 0
        own = shrink_factor(norms, jnp.where(is_new, jnp.inf, self.max_ratio * running))
        factors = jnp.where(warms_up, shrink_factor(joint, self.max_norm), own)
        shrunk = norms * factors
        moved = jnp.where(warms_up, jnp.minimum(running, shrunk), ema(running, shrunk, self.decay))
        counted = jnp.isfinite(shrunk) & (shrunk > 0)
        running = jnp.where(counted, jnp.where(is_new, shrunk, moved), running)
        return tree.map(lambda g, factor: g * factor, updates, list(factors)), slots._replace(
            running_norm=tree.whole(list(running)), clipped=jnp.mean((factors < 1).astype(norms.dtype))
        )


def percentile_of(ordered, count, percentile):
    """A percentile of the first `count` of ordered numbers, interpolated linearly; infinity for none."""
    last = jnp.maximum(count - 1, 0)
    position = percentile / 100 * last.astype(ordered.dtype)
    below = jnp.minimum(jnp.floor(position).astype(jnp.int32), last)
    low, high = ordered[below], ordered[jnp.minimum(below + 1, last)]
    return jnp.where(count == 0, jnp.inf, low + (position - below.astype(ordered.dtype)) * (high - low))


zclip = transform(Zclip)
autoclip = transform(Autoclip)
adagc = transform(Adagc)
