"""Adam without a learning rate: the step size is a lower bound of the distance to the solution, which grows.

Each is a whole optimizer: the estimate is part of what the gradients are averaged with, so that neither the learning
rate nor the weight decay can be a rule of its own.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, DecayMask, NonNegative, Positive, SumDecay
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, debias, ema, where_aligned


class DadaptAdamw(TreeRule):
    """AdamW whose learning rate is an estimate of the distance to the solution, by D-Adaptation.

        c  = learning_rate d sqrt(1 - b2^t) / (1 - b1^t)
        r <- sqrt(b2) r + (1 - sqrt(b2)) c <g, s / (sqrt(v) + eps)>   with s and v of the step before
        m <- b1 m + (1 - b1) c g
        v <- b2 v + (1 - b2) |g|^2
        s <- sqrt(b2) s + (1 - sqrt(b2)) c g
        d <- max(d, r / ((1 - sqrt(b2)) |s|_1)),   from d = estim_lr0
        u  = -m / (sqrt(v) + eps) - weight_decay c p   with <,> and |.|_1 over all leaves

    The update has its sign: nothing is to follow but `apply_updates`. While |s|_1 is 0, d stays.

    Args:
      learning_rate: what d is multiplied by; a schedule of warm-up and decay whose largest value is 1.
      betas: b1 and b2, the decays of the mean and of the mean square, in [0, 1).
      eps: added outside the root.
      estim_lr0: what d begins with, lower than the distance.
      weight_decay: decoupled, times c.
      mask: True for the leaves that decay, as in `add_decayed_weights`. None: all.
      independent: whether the decay is weight_decay p alone, not times c.
      cautious: whether an element decays only where m does not move it the other way, as in `add_decayed_weights`.

    Raises:
      ValueError: `update` was called without parameters.

    Defazio & Mishchenko 2023, arXiv:2301.07733, D-Adapt Adam, with the bias correction and with v of the step before
    in r, as in the authors' code. optax: contrib.dadapt_adamw, which for a gradient of 0 at the first step gives NaN.
    torch: none; DAdaptAdam of the package dadaptation, without bias correction unless told.
    """

    learning_rate: NonNegative = 1.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    weight_decay: NonNegative = 0.0
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)
    independent: bool = dataclasses.field(default=False, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    exp_avg = Slot()
    exp_avg_sq = Slot(signed=False)
    grad_sum = Slot()
    estim_lr = Slot(init="estim_lr0", axes=(), signed=False)
    numerator_weighted = Slot(axes=())

    def update(self, updates, slots, tree):
        b1, b2 = self.betas
        b3 = b2**0.5
        rate = corrected(slots.estim_lr * self.learning_rate, b1, b2, tree.step)
        scaled = tree.map(lambda s, v: s / (jnp.sqrt(v) + self.eps), slots.grad_sum, slots.exp_avg_sq)
        numerator = ema(slots.numerator_weighted, rate * tree.vdot(updates, scaled), b3)
        mean = tree.map(lambda m, g: ema(m, rate * g, b1), slots.exp_avg, updates)
        square = tree.map(lambda v, g: ema(v, abs_sq(g), b2), slots.exp_avg_sq, updates)
        grad_sum = tree.map(lambda s, g: ema(s, rate * g, b3), slots.grad_sum, updates)
        estimate = grown(slots.estim_lr, numerator, (1 - b3) * tree.norm(grad_sum, 1))
        decay = decay_of(self, rate)
        step = tree.map(
            lambda d, m, v, p: shrunk(self, decay, d, m, p) - m / (jnp.sqrt(v) + self.eps),
            *(tree.decays, mean, square, tree.params),
        )
        return step, slots._replace(
            exp_avg=mean, exp_avg_sq=square, grad_sum=grad_sum, estim_lr=estimate, numerator_weighted=numerator
        )


class Prodigy(TreeRule):
    """AdamW whose learning rate is an estimate of the distance to the solution, which grows faster than D-Adaptation's.

        c  = learning_rate d sqrt(1 - b2^t) / (1 - b1^t)
        m <- b1 m + (1 - b1) d g
        v <- b2 v + (1 - b2) |d g|^2
        r <- beta3 r + c d / estim_lr0 <g, p_0 - p>
        s <- beta3 s + c d / estim_lr0 g,   with safeguard_warmup d^2 / estim_lr0 g
        d <- max(d, estim_lr_coef r / |s|_1),   from d = estim_lr0
        u  = -c m / (sqrt(v) + d eps) - weight_decay c p   with <,> and |.|_1 over all leaves

    The update has its sign: nothing is to follow but `apply_updates`. While |s|_1 is 0, d stays.

    Args:
      learning_rate: what d is multiplied by; a schedule of warm-up and decay whose largest value is 1.
      betas: b1 and b2, the decays of the mean and of the mean square, in [0, 1).
      beta3: the decay of r and s, in [0, 1]. None: sqrt(b2).
      eps: added outside the root, times d.
      estim_lr0: what d begins with, lower than the distance.
      estim_lr_coef: what the estimate is multiplied by.
      weight_decay: decoupled, times c.
      safeguard_warmup: keep the learning rate out of s, so that a long warm-up does not make d too large.
      mask: True for the leaves that decay, as in `add_decayed_weights`. None: all.
      independent: whether the decay is weight_decay p alone, not times c.
      cautious: whether an element decays only where m does not move it the other way, as in `add_decayed_weights`.

    Raises:
      ValueError: `update` was called without parameters.

    Mishchenko & Defazio 2023, arXiv:2306.06101, algorithm 4, with the bias correction and with the new d beside eps, as
    in the authors' code; (1 - sqrt(b2)) estim_lr0 is taken out of r and of s, and of their ratio. optax:
    contrib.prodigy, which for a gradient of 0 at the first step gives NaN. torch: none; Prodigy of the package
    prodigyopt, without bias correction unless told.
    """

    learning_rate: NonNegative = 1.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    beta3: SumDecay | None = None
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    estim_lr_coef: NonNegative = 1.0
    weight_decay: NonNegative = 0.0
    safeguard_warmup: bool = False
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)
    independent: bool = dataclasses.field(default=False, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    exp_avg = Slot()
    exp_avg_sq = Slot(signed=False)
    grad_sum = Slot()
    params0 = Slot(copy=True)
    estim_lr = Slot(init="estim_lr0", axes=(), signed=False)
    numerator_weighted = Slot(axes=())

    def update(self, updates, slots, tree):
        b1, b2 = self.betas
        b3 = b2**0.5 if self.beta3 is None else self.beta3
        d = slots.estim_lr
        rate = corrected(d * self.learning_rate, b1, b2, tree.step)
        weight = (d if self.safeguard_warmup else rate) * d / self.estim_lr0
        way = tree.map(jnp.subtract, slots.params0, tree.params)
        numerator = b3 * slots.numerator_weighted + d / self.estim_lr0 * rate * tree.vdot(updates, way)
        mean = tree.map(lambda m, g: ema(m, d * g, b1), slots.exp_avg, updates)
        square = tree.map(lambda v, g: ema(v, abs_sq(d * g), b2), slots.exp_avg_sq, updates)
        grad_sum = tree.map(lambda s, g: b3 * s + weight * g, slots.grad_sum, updates)
        estimate = grown(d, self.estim_lr_coef * numerator, tree.norm(grad_sum, 1))
        decay = decay_of(self, rate)
        step = tree.map(
            lambda d, m, v, p: shrunk(self, decay, d, m, p) - rate * m / (jnp.sqrt(v) + estimate * self.eps),
            *(tree.decays, mean, square, tree.params),
        )
        return step, slots._replace(
            exp_avg=mean, exp_avg_sq=square, grad_sum=grad_sum, estim_lr=estimate, numerator_weighted=numerator
        )


def corrected(rate, b1, b2, step):
    """rate sqrt(1 - b2^t) / (1 - b1^t): Adam's two bias corrections in one number."""
    return debias(rate, b1, step) / jnp.sqrt(debias(jnp.ones_like(rate), b2, step))


def decay_of(rule, rate):
    """What the parameters are multiplied by and shrink by."""
    return rule.weight_decay if rule.independent else rule.weight_decay * rate


def shrunk(rule, decay, decays, mean, param):
    """What the decay adds to the update of a leaf whose step goes along -mean."""
    if not decays:
        return 0
    return -decay * (where_aligned(param, mean) if rule.cautious else param)


def grown(estimate, numerator, denominator):
    """max(estimate, numerator / denominator), and the estimate where the denominator is 0."""
    found = numerator / jnp.where(denominator == 0, 1, denominator)
    return jnp.where(denominator == 0, estimate, jnp.maximum(estimate, found))


dadapt_adamw = transform(DadaptAdamw)
prodigy = transform(Prodigy)
