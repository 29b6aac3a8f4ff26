"""Rules that take the step size from a model of the loss, built from its values: they need `value` in `update`."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Extra, Metric, Slot
from gradxform.core.fields import Decay, DecayMask, Hyper, NonNegative
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, alignment, debias, ema


class Momo(TreeRule):
    """Momentum whose step is the one that brings a model of the loss down to its lower bound, if that is shorter.

        f <- beta f + (1 - beta) value,  m <- beta m + (1 - beta) g,  c <- beta c + (1 - beta) <g, p>
        h  = (1 + w) (f - lower_bound - c) + <m, p>,   w = learning_rate weight_decay
        u  = -min(learning_rate, max(h, 0) / |m|^2) m - w / (1 + w) p   with <,> and |.| over all leaves

    The first step takes value, g and <g, p> as they are. With adapt_lower_bound, b is in the place of lower_bound: if
    (1 + w) (f - b - c) + <m, p> < 0 then b <- max(((1 + w) (f - c) + <m, p>) / (2 (1 + w)), lower_bound) before the
    step, and b <- max(f + <m, p> - c - step |m|^2 / 2, lower_bound) after it. The update has its sign: nothing is to
    follow but `apply_updates`.

    Args:
      learning_rate: the longest step; chosen large.
      beta: decay of the means, in [0, 1).
      lower_bound: what the loss cannot fall below.
      weight_decay: decoupled, times the learning rate.
      adapt_lower_bound: estimate the lower bound from the model, from lower_bound on.
      mask: True for the leaves that decay, as in `add_decayed_weights`; for the others w is 0. None: all.
      independent: whether w is weight_decay alone, not times the learning rate.
      cautious: whether an element decays only where m does not move it the other way, as in `add_decayed_weights`; for
        the others w is 0, in the model too.

    Extra arguments of `update`: value, the loss at the parameters, a number or an array of shape ().

    Metrics: `step_size`, by which m was multiplied.

    Raises:
      ValueError: `update` was called without parameters or without value.

    Schaipp et al. 2024, arXiv:2305.07583, algorithm 1; with weight decay the proximal step of its model would be
    (p - step m) / (1 + w), and optax's, which this is, leaves step m whole. optax: contrib.momo. torch: none; Momo of
    the package momo-opt.
    """

    learning_rate: NonNegative = 1.0
    beta: Decay = 0.9
    lower_bound: Hyper = 0.0
    weight_decay: NonNegative = 0.0
    adapt_lower_bound: bool = False
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)
    independent: bool = dataclasses.field(default=False, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    exp_avg = Slot()
    barf = Slot(axes=())
    gamma = Slot(axes=())
    lb = Slot(init="lower_bound", axes=())
    value = Extra()
    step_size = Metric()

    def update(self, updates, slots, tree):
        decay = jnp.where(tree.step == 1, 0, jnp.asarray(self.beta, slots.barf.dtype))
        barf = ema(slots.barf, tree.extra["value"], decay)
        mean = tree.map(lambda m, g: ema(m, g, decay), slots.exp_avg, updates)
        gamma = ema(slots.gamma, tree.vdot(updates, tree.params), decay)
        shrink, grown = decay_of(self)
        decays = decaying(self, tree, mean)
        stretched = tree.map(lambda d, m: jnp.where(d, m, grown * m), decays, mean)
        cap = grown * (barf - gamma) + tree.vdot(stretched, tree.params)
        bound = lowered(self, slots.lb, cap, grown)
        tau = jnp.minimum(self.learning_rate, model_step(cap - grown * bound, tree.vdot(stretched, mean)))
        if self.adapt_lower_bound:
            square, inner = tree.vdot(mean, mean), tree.vdot(mean, tree.params)
            bound = jnp.maximum(barf + inner - gamma - tau * square / 2, self.lower_bound)
        step = tree.map(lambda d, m, p: jnp.where(d, -shrink / grown * p, 0) - tau * m, decays, mean, tree.params)
        return step, slots._replace(exp_avg=mean, barf=barf, gamma=gamma, lb=bound, step_size=tau)


class MomoAdam(TreeRule):
    """Adam whose step is the one that brings a model of the loss down to its lower bound, if that is shorter.

        f <- b1 f + (1 - b1) value,  m <- b1 m + (1 - b1) g,  c <- b1 c + (1 - b1) <g, p>,  a = 1 - b1^t
        v <- b2 v + (1 - b2) |g|^2,  d = eps + sqrt(v / (1 - b2^t))
        h  = (1 + w) (f - a lower_bound - c) + <m, p>,   w = learning_rate weight_decay
        u  = -min(learning_rate / a, max(h, 0) / <m, m / d>) m / d - w / (1 + w) p   with <,> over all leaves

    Weight decay is as in `momo`. With adapt_lower_bound the bound is estimated as there, over a. The update has
    its sign: nothing is to follow but `apply_updates`.

    Args:
      learning_rate: the longest step; chosen large.
      b1: decay of the means of the loss and of the gradient, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root.
      lower_bound: what the loss cannot fall below.
      weight_decay: decoupled, times the learning rate.
      adapt_lower_bound: estimate the lower bound from the model, from lower_bound on.
      mask: True for the leaves that decay, as in `add_decayed_weights`; for the others w is 0. None: all.
      independent: whether w is weight_decay alone, not times the learning rate.
      cautious: whether an element decays only where m does not move it the other way, as in `add_decayed_weights`; for
        the others w is 0, in the model too.

    Extra arguments of `update`: value, the loss at the parameters, a number or an array of shape ().

    Metrics: `step_size`, by which m / d was multiplied.

    Raises:
      ValueError: `update` was called without parameters or without value.

    Schaipp et al. 2024, arXiv:2305.07583, algorithm 2. optax: contrib.momo_adam. torch: none; MomoAdam of the package
    momo-opt.
    """

    learning_rate: NonNegative = 1e-2
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    lower_bound: Hyper = 0.0
    weight_decay: NonNegative = 0.0
    adapt_lower_bound: bool = False
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)
    independent: bool = dataclasses.field(default=False, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    exp_avg = Slot()
    exp_avg_sq = Slot(signed=False)
    barf = Slot(axes=())
    gamma = Slot(axes=())
    lb = Slot(init="lower_bound", axes=())
    value = Extra()
    step_size = Metric()

    def update(self, updates, slots, tree):
        barf = ema(slots.barf, tree.extra["value"], self.b1)
        mean = tree.map(lambda m, g: ema(m, g, self.b1), slots.exp_avg, updates)
        square = tree.map(lambda v, g: ema(v, abs_sq(g), self.b2), slots.exp_avg_sq, updates)
        root = tree.map(lambda v: self.eps + jnp.sqrt(debias(v, self.b2, tree.step)), square)
        direction = tree.map(jnp.divide, mean, root)
        gamma = ema(slots.gamma, tree.vdot(updates, tree.params), self.b1)
        shrink, grown = decay_of(self)
        decays = decaying(self, tree, mean)
        stretched = tree.map(lambda d, m: jnp.where(d, m, grown * m), decays, mean)
        weight = 1 / debias(jnp.ones_like(barf), self.b1, tree.step)
        cap = grown * (barf - gamma) + tree.vdot(stretched, tree.params)
        bound = lowered(self, slots.lb, cap, grown * weight)
        tau = jnp.minimum(
            self.learning_rate / weight, model_step(cap - grown * weight * bound, tree.vdot(stretched, direction))
        )
        if self.adapt_lower_bound:
            weighted, inner = tree.vdot(mean, direction), tree.vdot(mean, tree.params)
            bound = jnp.maximum((barf + inner - gamma - tau * weighted / 2) / weight, self.lower_bound)
        step = tree.map(lambda d, u, p: jnp.where(d, -shrink / grown * p, 0) - tau * u, decays, direction, tree.params)
        return step, slots._replace(exp_avg=mean, exp_avg_sq=square, barf=barf, gamma=gamma, lb=bound, step_size=tau)


def decay_of(rule):
    """w and 1 + w."""
    shrink = rule.weight_decay if rule.independent else rule.learning_rate * rule.weight_decay
    return shrink, 1 + shrink


def decaying(rule, tree, mean):
    """For each leaf, whether it decays; with `cautious` for each of its elements."""
    if not rule.cautious:
        return tree.decays
    return tree.map(lambda d, m, p: (alignment(m, p) >= 0) & d, tree.decays, mean, tree.params)


def lowered(rule, bound, cap, weight):
    """The lower bound before the step: if the model cannot reach it, half of what the model says of it."""
    if not rule.adapt_lower_bound:
        return bound
    return jnp.where(cap < weight * bound, jnp.maximum(cap / (2 * weight), rule.lower_bound), bound)


def model_step(gap, square):
    """max(gap, 0) / square; 0 where the square is next to 0, at float64's rounding in every dtype."""
    has_way = square > float(jnp.finfo("float64").eps)
    return jnp.where(has_way, jnp.maximum(gap, 0) / jnp.where(has_way, square, 1), 0)


momo = transform(Momo)
momo_adam = transform(MomoAdam)
