"""Rules that divide by the size of past gradients, element by element: the Adam family, RMSprop and AdaGrad."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import lax

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, corrected_mean, debias, ema, shrink_factor


class ScaleByAdam(LeafRule):
    """Divides the running mean of the gradient by the root of its running mean square.

        mu <- b1 mu + (1 - b1) g
        nu <- b2 nu + (1 - b2) |g|^2
        u   = m / (sqrt(nu / (1 - b2^t) + eps_root) + eps)
        m   = mu / (1 - b1^t),   with nesterov b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    A clipping_threshold d adds StableAdamW's update clipping, which shrinks the update of a leaf whose gradient is
    larger than nu expects:

        u <- u / max(1, r / d),   r = rms(g / max(sqrt(nu / (1 - b2^t)), eps))   over the leaf

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      nesterov: look ahead by one step.
      clipping_threshold: d, in the paper 1; it takes the elements of a leaf together. None: no clipping. For a bound on
        each element of u put `clip` behind this rule.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; nesterov: Dozat 2016, algorithm 2, without its extra b2 on nu;
    clipping: Wortsman et al. 2023, arXiv:2304.13013, algorithm 2. optax: scale_by_adam, without clipping. torch:
    torch.optim.Adam, without eps_root, nesterov and clipping.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: Dtype | None = None
    nesterov: bool = dataclasses.field(default=False, kw_only=True)
    clipping_threshold: NonNegative | None = dataclasses.field(default=None, kw_only=True)

    mu = Slot(dtype="mu_dtype")
    nu = Slot(signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        mean = corrected_mean(mu, grad, self.b1, leaf.step, self.nesterov)
        square = debias(nu, self.b2, leaf.step)
        update = mean / (jnp.sqrt(square + self.eps_root) + self.eps)
        if self.clipping_threshold is not None:
            floor = jnp.maximum(jnp.sqrt(square), self.eps)
            ratio = jnp.where(floor == 0, 0, grad / jnp.where(floor == 0, 1, floor))
            update = update * shrink_factor(leaf.rms(ratio), self.clipping_threshold)
        return update, slots._replace(mu=mu, nu=nu)


class ScaleByNadam(LeafRule):
    """Adam with Nesterov's look-ahead and a decay of the mean that warms up, as torch has it.

        c_t = b1 (1 - 0.96^(t momentum_decay) / 2),   p <- p c_t
        mu <- b1 mu + (1 - b1) g
        nu <- b2 nu + (1 - b2) |g|^2
        u   = (c_(t+1) mu / (1 - p c_(t+1)) + (1 - c_t) g / (1 - p)) / (sqrt(nu / (1 - b2^t)) + eps)

    Args:
      b1: decay of the mean, and what c_t grows to, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      momentum_decay: how fast c_t grows.

    Dozat 2016, "Incorporating Nesterov momentum into Adam". optax: none; its nadam is scale_by_adam(nesterov=True),
    which keeps c_t at b1. torch: torch.optim.NAdam.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    momentum_decay: NonNegative = 4e-3

    mu = Slot()
    nu = Slot(signed=False)
    product = Slot(init=1.0, axes=(), signed=False)

    def update(self, grad, slots, leaf):
        step = leaf.step.astype(slots.product.dtype)
        now, ahead = (self.b1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay)) for t in (step, step + 1))
        product = slots.product * now
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        mean = ahead * mu / (1 - product * ahead) + (1 - now) * grad / (1 - product)
        root = jnp.sqrt(debias(nu, self.b2, leaf.step))
        return mean / (root + self.eps), slots._replace(mu=mu, nu=nu, product=product)


class ScaleByRms(LeafRule):
    """Divides the gradient by the root of its running mean square.

        nu <- decay nu + (1 - decay) |g|^2,   from nu = initial_scale
        u   = g / sqrt(n + eps),   with eps_in_sqrt=False g / (sqrt(n) + eps)
        n   = nu,   with bias_correction nu / (1 - decay^t)

    Args:
      decay: decay of the mean square, in [0, 1).
      eps: added inside the root, or outside it.
      initial_scale: what nu begins with.
      eps_in_sqrt: where eps goes.
      bias_correction: undo the pull to 0 of the first steps.

    Tieleman & Hinton 2012, lecture 6.5. optax: scale_by_rms. torch: torch.optim.RMSprop, which has decay (its alpha)
    0.99 and eps outside the root.
    """

    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: bool = True
    bias_correction: bool = False

    nu = Slot(init="initial_scale", signed=False)

    def update(self, grad, slots, leaf):
        nu = ema(slots.nu, abs_sq(grad), self.decay)
        square = debias(nu, self.decay, leaf.step) if self.bias_correction else nu
        return grad * inverse_root(square, self.eps, self.eps_in_sqrt), slots._replace(nu=nu)


class ScaleByStddev(LeafRule):
    """Divides the gradient by its running standard deviation: centred RMSprop.

        mu <- decay mu + (1 - decay) g
        nu <- decay nu + (1 - decay) |g|^2,   from nu = initial_scale
        u   = g / sqrt(n - |m|^2 + eps),   with eps_in_sqrt=False g / (sqrt(n - |m|^2) + eps)
        m, n = mu, nu,   with bias_correction each over 1 - decay^t

    The variance is taken as at least 0, where rounding would make it negative and its root NaN.

    Args:
      decay: decay of both means, in [0, 1).
      eps: added inside the root, or outside it.
      initial_scale: what nu begins with.
      eps_in_sqrt: where eps goes.
      bias_correction: undo the pull to 0 of the first steps.

    Graves 2013, arXiv:1308.0850, equations 38 to 45. optax: scale_by_stddev, without the bound at 0. torch:
    torch.optim.RMSprop(centered=True), which has decay 0.99 and eps outside the root.
    """

    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: bool = True
    bias_correction: bool = False

    mu = Slot()
    nu = Slot(init="initial_scale", signed=False)

    def update(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.decay)
        nu = ema(slots.nu, abs_sq(grad), self.decay)
        mean, square = mu, nu
        if self.bias_correction:
            mean, square = debias(mu, self.decay, leaf.step), debias(nu, self.decay, leaf.step)
        variance = jnp.maximum(square - abs_sq(mean), 0)
        return grad * inverse_root(variance, self.eps, self.eps_in_sqrt), slots._replace(mu=mu, nu=nu)


class ScaleByRss(LeafRule):
    """Divides the gradient by the root of the sum of all its squares.

        s <- s + |g|^2,   from s = initial_accumulator_value
        u  = g / sqrt(s + eps),   with eps_in_sqrt=False g / (sqrt(s) + eps);   0 where s = 0

    Args:
      initial_accumulator_value: what s begins with, at least 0.
      eps: added inside the root, or outside it.
      eps_in_sqrt: where eps goes; optax has it inside.

    Duchi, Hazan & Singer 2011, figure 1 (diagonal). optax: scale_by_rss. torch: torch.optim.Adagrad, which begins at 0
    and has eps 1e-10 outside the root.
    """

    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = 1e-7
    eps_in_sqrt: bool = dataclasses.field(default=True, kw_only=True)

    sum_of_squares = Slot(init="initial_accumulator_value", signed=False)

    def update(self, grad, slots, leaf):
        total = slots.sum_of_squares + abs_sq(grad)
        positive = jnp.where(total > 0, total, 1)
        scale = jnp.where(total > 0, inverse_root(positive, self.eps, self.eps_in_sqrt), 0)
        return grad * scale, slots._replace(sum_of_squares=total)


def inverse_root(square, eps, eps_in_sqrt):
    """1 / sqrt(square + eps), or 1 / (sqrt(square) + eps)."""
    return lax.rsqrt(square + eps) if eps_in_sqrt else 1 / (jnp.sqrt(square) + eps)


scale_by_adam = transform(ScaleByAdam)
scale_by_nadam = transform(ScaleByNadam)
scale_by_rms = transform(ScaleByRms)
scale_by_stddev = transform(ScaleByStddev)
scale_by_rss = transform(ScaleByRss)
