"""Adam with another denominator: its maximum, its sign, its centre, its rectification, its norm, its past."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, DecayMask, Dtype, Hyper, NonNegative, SumDecay
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, clip_modulus, corrected_mean, debias, ema, safe_root, where_aligned


def fourth_root(step: jax.Array) -> jax.Array:
    """step^(1/4): the bound of ADOPT's clipping."""
    return step**0.25


class ScaleByAmsgrad(LeafRule):
    """Adam whose denominator never shrinks: it takes the largest mean square so far.

        mu  <- b1 mu + (1 - b1) g
        nu  <- b2 nu + (1 - b2) |g|^2
        top <- max(top, nu / (1 - b2^t))
        u    = mu / (1 - b1^t) / (sqrt(top + eps_root) + eps)

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      bias_correction_mu: whether mu is divided by 1 - b1^t.
      bias_correction_nu: whether nu is divided by 1 - b2^t before the maximum.

    Reddi, Kale & Kumar 2018, arXiv:1904.09237, algorithm 2, which corrects neither mean. optax: scale_by_amsgrad.
    torch: torch.optim.Adam(amsgrad=True), which takes the maximum of nu as it is and corrects it afterwards: u with
    bias_correction_nu=False and eps c, times c = sqrt(1 - b2^t). It takes the parts of complex leaves for leaves of
    their own.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: Dtype | None = None
    bias_correction_mu: bool = True
    bias_correction_nu: bool = True

    mu = Slot(dtype="mu_dtype")
    nu = Slot(signed=False)
    nu_max = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        mean = debias(mu, self.b1, leaf.step) if self.bias_correction_mu else mu
        square = debias(nu, self.b2, leaf.step) if self.bias_correction_nu else nu
        nu_max = jnp.maximum(slots.nu_max, square)
        return mean / (jnp.sqrt(nu_max + self.eps_root) + self.eps), slots._replace(mu=mu, nu=nu, nu_max=nu_max)


class ScaleByAdamax(LeafRule):
    """Adam with the decaying maximum of the gradient in the place of its root mean square.

        mu <- b1 mu + (1 - b1) g
        nu <- max(b2 nu, |g| + eps)
        u   = mu / (1 - b1^t) / nu

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the maximum, in [0, 1].
      eps: added to each gradient's size; 0 makes 0/0 of an element that has had no gradient yet.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 2, which has no eps. optax: scale_by_adamax. torch:
    torch.optim.Adamax, which takes the parts of complex leaves for leaves of their own.
    """

    b1: Decay = 0.9
    b2: SumDecay = 0.999
    eps: NonNegative = 1e-8

    mu = Slot()
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        nu = jnp.maximum(jnp.abs(grad) + self.eps, self.b2 * slots.nu)
        return debias(mu, self.b1, leaf.step) / nu, slots._replace(mu=mu, nu=nu)


class ScaleByBelief(LeafRule):
    """Adam with the mean square of the gradient's surprise, g - mu, in the place of its own.

        mu <- b1 mu + (1 - b1) g
        nu <- b2 nu + (1 - b2) |g - mu|^2 + eps_root
        u   = m / (sqrt(nu / (1 - b2^t)) + eps)
        m   = mu / (1 - b1^t),   with nesterov b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added to nu at every step, and kept in it.
      nesterov: look ahead by one step.

    Zhuang et al. 2020, arXiv:2010.07468, algorithm 2, where eps and eps_root are one. optax: scale_by_belief. torch:
    none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    nesterov: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot()
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(slots.nu, abs_sq(grad - mu), self.b2) + self.eps_root
        mean = corrected_mean(mu, grad, self.b1, leaf.step, self.nesterov)
        return mean / (jnp.sqrt(debias(nu, self.b2, leaf.step)) + self.eps), slots._replace(mu=mu, nu=nu)


class ScaleByYogi(LeafRule):
    """Adam whose mean square moves by a step of the gradient's size, and so shrinks slowly.

        mu <- b1 mu + (1 - b1) g,                        from mu = initial_accumulator_value
        nu <- nu - (1 - b2) sign(nu - |g|^2) |g|^2,      from nu = initial_accumulator_value
        u   = mu / (1 - b1^t) / (sqrt(nu / (1 - b2^t) + eps_root) + eps)

    Args:
      b1: decay of the mean, in [0, 1).
      b2: 1 less the size of nu's steps, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root.
      initial_accumulator_value: what both mu and nu begin with.

    Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization", algorithm 2, which begins mu at 0 and corrects
    neither; with an initial value above 0 an element moves before it has had a gradient. optax: scale_by_yogi, the
    same in both. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-3
    eps_root: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 1e-6

    mu = Slot(init="initial_accumulator_value")
    nu = Slot(init="initial_accumulator_value", signed=False)

    def update(self, grad, slots, leaf):
        square = abs_sq(grad)
        mu = ema(slots.mu, grad, self.b1)
        nu = slots.nu - (1 - self.b2) * jnp.sign(slots.nu - square) * square
        root = jnp.sqrt(debias(nu, self.b2, leaf.step) + self.eps_root)
        return debias(mu, self.b1, leaf.step) / (root + self.eps), slots._replace(mu=mu, nu=nu)


class ScaleByRadam(LeafRule):
    """Adam whose denominator waits until it can be trusted, and is rectified for its variance from then on.

        mu <- b1 mu + (1 - b1) g
        nu <- b2 nu + (1 - b2) |g|^2
        u   = r m / (sqrt(nu / (1 - b2^t) + eps_root) + eps)   where rho_t >= threshold, else m
        m   = mu / (1 - b1^t),   with nesterov b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
        r^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)
        rho = 2 / (1 - b2) - 1,   rho_t = rho - 2 t b2^t / (1 - b2^t)

    rho_t is taken without its cancellation: as written, in float32 it may fall on the wrong side of the threshold.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      threshold: the rho_t from which on the denominator is used; where rho_t <= 4 there is no r, and it is not.
      nesterov: look ahead by one step.

    Liu et al. 2020, arXiv:1908.03265, algorithm 2, with threshold 4. optax: scale_by_radam, which is NaN for a
    threshold below 4, has NaN derivatives in the first steps, and takes rho_t as written. torch: torch.optim.RAdam,
    with eps before the bias correction, where it is the schedule eps / sqrt(1 - b2^t) here. It takes the parts of
    complex leaves for leaves of their own.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    threshold: Hyper = 5.0
    nesterov: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot()
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        mean = corrected_mean(mu, grad, self.b1, leaf.step, self.nesterov)
        most, now = 2 / (1 - self.b2) - 1, averaged_length(self.b2, leaf.step.astype(nu.dtype))
        trusted = (now >= self.threshold) & (now > 4)
        now = jnp.where(trusted, now, most)
        rectifier = jnp.sqrt(jnp.where(trusted, (now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now), 1))
        root = jnp.sqrt(debias(nu, self.b2, leaf.step) + self.eps_root)
        return jnp.where(trusted, rectifier * mean / (root + self.eps), mean), slots._replace(mu=mu, nu=nu)


class ScaleByNovograd(LeafRule):
    """Momentum of gradients that were divided, a whole leaf at a time, by their running norm.

        nu <- b2 nu + (1 - b2) |g|^2,   at the first step nu <- |g|^2   (one number a leaf)
        mu <- b1 mu + g / (sqrt(nu + eps_root) + eps) + weight_decay p
        u   = mu
        cautious: only those elements of p where p g >= 0

    Args:
      b1: decay of the momentum, in [0, 1].
      b2: decay of the squared norm, in [0, 1).
      eps: added outside the root.
      eps_root: added inside the root.
      weight_decay: how much of the parameter is added to the normalised gradient; a schedule if it changes.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      mask: True for the leaves that decay, as in `add_decayed_weights`. None: all.
      cautious: as in `add_decayed_weights`, by the gradient, with which the decay is gathered.

    Raises:
      ValueError: `update` was called without parameters.

    Ginsburg et al. 2019, arXiv:1905.11286, algorithm 1. optax: scale_by_novograd. torch: none.
    """

    b1: SumDecay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    mu_dtype: Dtype | None = None
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot(dtype="mu_dtype")
    nu = Slot(axes=(), signed=False)

    def update(self, grad, slots, leaf):
        square = jnp.square(leaf.norm(grad))
        nu = jnp.where(leaf.step == 1, square, ema(slots.nu, square, self.b2))
        normalised = grad / (safe_root(nu + self.eps_root, 2) + self.eps)
        decay = 0
        if leaf.decays:
            decay = self.weight_decay * (where_aligned(leaf.param, grad) if self.cautious else leaf.param)
        mu = self.b1 * slots.mu + (normalised + decay)
        return mu, slots._replace(mu=mu, nu=nu)


class ScaleByAcprop(LeafRule):
    """AdaBelief whose denominator is that of the step before, so that it does not depend on the gradient it divides.

        u   = g / (sqrt(nu / (1 - b2^(t-1))) + eps),   at the first step g / (1 + eps)
        nu <- b2 nu + (1 - b2) |g - mu|^2 + eps_root
        mu <- b1 mu + (1 - b1) g,   with paper before nu

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added to nu at every step, and kept in it.
      paper: measure the surprise from the new mean, which makes it smaller by b1, and so the steps larger.

    Zhuang et al. 2021, arXiv:2110.05454, the algorithm ACProp, with paper=True. optax: contrib.scale_by_acprop, which
    documents the paper's formula and measures the surprise from the mean of the step before. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    paper: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot()
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        surprise = grad - (mu if self.paper else slots.mu)
        nu = ema(slots.nu, abs_sq(surprise), self.b2) + self.eps_root
        before = debias(slots.nu, self.b2, jnp.maximum(leaf.step - 1, 1))
        root = jnp.sqrt(jnp.where(leaf.step == 1, 1, before))
        return grad / (root + self.eps), slots._replace(mu=mu, nu=nu)


class ScaleByAdopt(LeafRule):
    """Momentum of gradients that were divided by the root mean square of those before them, and then clipped.

        x   = clip(g / max(sqrt(nu), eps), -c, c),   c = clip_value_fn(t - 1)
        nu <- b2 nu + (1 - b2) |g|^2
        mu <- b1 mu + (1 - b1) x
        u   = mu,   with nesterov b1 mu + (1 - b1) x

    The first step only sets nu <- |g|^2; its update is 0. Complex values are clipped by their modulus.

    Args:
      b1: decay of the momentum, in [0, 1].
      b2: decay of the mean square, in [0, 1).
      eps: the least denominator.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      nesterov: look ahead by one step.
      use_clipping: whether to clip.
      clip_value_fn: the number of steps so far, from 0 on, as a floating-point array of shape () -> the bound.

    Taniguchi et al. 2024, arXiv:2411.02853, algorithm 2; without clipping algorithm 1, which multiplies by the rate in
    mu. optax: contrib.scale_by_adopt. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.9999
    eps: NonNegative = 1e-6
    mu_dtype: Dtype | None = None
    nesterov: bool = dataclasses.field(default=False, kw_only=True)
    use_clipping: bool = dataclasses.field(default=True, kw_only=True)
    clip_value_fn: Callable[[jax.Array], jax.Array] = dataclasses.field(default=fourth_root, kw_only=True)

    mu = Slot(dtype="mu_dtype")
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        is_first, square = leaf.step == 1, abs_sq(grad)
        ratio = grad / jnp.maximum(safe_root(slots.nu, 2), self.eps)
        if self.use_clipping:
            bound = self.clip_value_fn((leaf.step - 1).astype(square.dtype))
            ratio = clip_modulus(ratio, bound)
        nu = jnp.where(is_first, square, ema(slots.nu, square, self.b2))
        mu = jnp.where(is_first, slots.mu, ema(slots.mu, ratio, self.b1))
        ahead = jnp.where(is_first, mu, ema(mu, ratio, self.b1)) if self.nesterov else mu
        return ahead, slots._replace(mu=mu, nu=nu)


def averaged_length(decay, step):
    """rho_t = (1 + d) / (1 - d) - 2 t d^t / (1 - d^t): over how many values a running mean averages after t steps.

    With x = -log d it is coth(x / 2) - t (coth(t x / 2) - 1), and with L(y) = coth y - 1 / y the large parts of both
    cotangents cancel on paper: rho_t = t + L(x / 2) - t L(t x / 2).
    """
    half = -0.5 * jnp.log1p(decay - jnp.ones_like(step))
    return step + _langevin(half) - step * _langevin(step * half)


def _langevin(y):
    """coth y - 1 / y for y > 0, by its series where it would cancel."""
    large = jnp.where(y > 0.1, y, 1)
    small = jnp.where(y > 0.1, 0, y)
    square = jnp.square(small)
    series = small * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
    return jnp.where(y > 0.1, 1 / jnp.tanh(large) - 1 / large, series)


scale_by_amsgrad = transform(ScaleByAmsgrad)
scale_by_adamax = transform(ScaleByAdamax)
scale_by_belief = transform(ScaleByBelief)
scale_by_yogi = transform(ScaleByYogi)
scale_by_radam = transform(ScaleByRadam)
scale_by_novograd = transform(ScaleByNovograd)
scale_by_acprop = transform(ScaleByAcprop)
scale_by_adopt = transform(ScaleByAdopt)
