"""Pure functions of arrays, from which the rules are written. They know nothing of trees, steps or devices."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

Axis = int | tuple[int, ...] | None


def abs_sq(x: jax.Array) -> jax.Array:
    """|x|^2, elementwise and real."""
    return jnp.square(x.real) + jnp.square(x.imag) if jnp.iscomplexobj(x) else jnp.square(x)


def alignment(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of the signs, elementwise; of complex numbers the cosine of the angle between them.

    The sign of a b, or of the real part of conj(a) b, where a product of small numbers would be 0.
    """
    product = jnp.conj(jnp.sign(a)) * jnp.sign(b)
    return product.real if jnp.iscomplexobj(product) else product


def where_aligned(x: jax.Array, direction: jax.Array) -> jax.Array:
    """x where its alignment with a direction is not negative, and 0 elsewhere; NaN for NaN."""
    return jnp.where(alignment(x, direction) < 0, 0, x)


def abs_pow(x: jax.Array, ord: float) -> jax.Array:
    """|x|^ord, elementwise and real."""
    if ord == 2:
        return abs_sq(x)
    return jnp.abs(x) if ord == 1 else jnp.abs(x) ** ord


def safe_root(x: jax.Array, ord: float) -> jax.Array:
    """x^(1/ord) for x >= 0, with derivative 0 instead of infinity at 0."""
    positive = jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 0, jnp.sqrt(positive) if ord == 2 else positive ** (1 / ord))


def length(x: jax.Array, axis: Axis = (-2, -1)) -> jax.Array:
    """The L2 norm over some axes, which stay with length 1: of a matrix its Frobenius norm; with derivative 0 at 0.

    Squares beyond the range of the dtype are infinite, or 0; the norms of the contexts are right there too.
    """
    return safe_root(jnp.sum(abs_sq(x), axis=axis, keepdims=True), 2)


def ema(mean: jax.Array, value: jax.Array, decay: Any) -> jax.Array:
    """The running mean decay * mean + (1 - decay) * value."""
    return decay * mean + (1 - decay) * value


def debias(mean: jax.Array, decay: Any, step: jax.Array) -> jax.Array:
    """mean / (1 - decay^step): a running mean that began at 0, after `step` values, without its pull to 0.

    1 - decay^step is taken as -expm1(step log(decay)), which keeps its digits where decay^step is close to 1: at
    decay 0.999 and step 1, the plain form in float32 is off by 1e-5.
    """
    return mean / -jnp.expm1(step.astype(mean.real.dtype) * _log(decay))


def corrected_mean(mean: jax.Array, value: jax.Array, decay: Any, step: jax.Array, nesterov: bool) -> jax.Array:
    """The debiased mean; with nesterov that of the next step, were the value to come again."""
    if not nesterov:
        return debias(mean, decay, step)
    return ema(debias(mean, decay, step + 1), debias(value, decay, step), decay)


def shrink_factor(norm: jax.Array, max_norm: Any) -> jax.Array:
    """min(1, max_norm / norm), and 1 for norm 0. NaN for a norm of NaN, so that it shows.

    A factor below the smallest normal number (1e-38 in float32) may be flushed to 0.
    """
    over = ~(norm <= max_norm)
    return jnp.where(over, max_norm / jnp.where(over, norm, 1), 1)


def clip_modulus(x: jax.Array, bound: Any) -> jax.Array:
    """x, shrunk where |x| is more than a bound; elementwise, NaN for NaN."""
    return x * shrink_factor(jnp.abs(x), bound) if jnp.iscomplexobj(x) else jnp.clip(x, -bound, bound)


def unit_scale(largest: jax.Array) -> jax.Array:
    """A number that brings values of at most `largest` to about 1, so that their powers stay in range.

    1 / largest, but a normal number, as that of a number above 1e38 is not; 1 for 0, infinity and NaN.
    """
    tiny = float(jnp.finfo(largest.dtype).tiny)
    usable = (largest > 0) & ~jnp.isinf(largest)
    return jnp.where(usable, jnp.clip(1 / jnp.where(usable, largest, 1), tiny, 1 / tiny), 1)


def unit_axes(shape: tuple[int, ...]) -> Axis:
    """The axes over which the units of a weight extend (Brock et al. 2021): all but the outputs, which come last.

    The whole of a vector, axis 0 of a matrix (in, out) or of (in, heads, depth), the spatial axes and the inputs of a
    convolution (..., in, out).
    """
    return None if sum(size != 1 for size in shape) <= 1 else input_axes(len(shape))


def input_axes(ndim: int) -> int | tuple[int, ...]:
    """The axes of a kernel's inputs: the first of (in, out) and (in, heads, depth); of (..., in, out) all but out."""
    return 0 if ndim <= 3 else tuple(range(ndim - 1))


def _log(decay: Any) -> Any:
    if isinstance(decay, int | float):
        return math.log(decay) if decay > 0 else -math.inf
    # The complement of a decay is what keeps its digits near 1.
    return jnp.log1p(-(1 - decay))
