"""Blocks of an array along one axis, each with a scale of its own, and the curves by which values become codes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# Of the way from one code to the next: more than float32 loses when a code is loaded and stored, on any backend.
MARGIN = 2.0**-13
# A block of smaller values is 0, of the least normal number: else what XLA makes of a product of a scale and a code is
# denormal, and it may take that for 0.
LEAST = 2.0**16


class Layout(NamedTuple):
    """How an array lies in blocks.

    Attributes:
      axis: along which axis the blocks are, counted from the last, so that axes in front may be added.
      size: how many elements a block has; the last may have fewer.
      signed: whether values may be negative.
      missing: how many elements the last block lacks.
    """

    axis: int
    size: int
    signed: bool
    missing: int


def layout_of(shape: tuple[int, ...], size: int, axis: int | None, signed: bool) -> Layout:
    """The layout of an array of a shape: along the last axis but one where it has a block, else the longest.

    Along the last axis but one a block of a matrix is a column of some rows, which is what accelerators reduce fastest.
    """
    if axis is None:
        is_long = len(shape) >= 2 and shape[-2] >= size
        longest = max(range(len(shape)), key=lambda each: shape[each], default=0)
        axis = len(shape) - 2 if is_long else longest
    axis = axis if axis < 0 else axis - len(shape)
    length = shape[axis]
    # Even, so that two elements may share a byte.
    size = min(size, length + length % 2)
    return Layout(axis, size, signed, -length % size)


def blocked(x: jax.Array, layout: Layout) -> jax.Array:
    """An array in blocks: the axis of its blocks as two, how many there are and their elements, zeros at the end."""
    axis, (_, size, _, missing) = x.ndim + layout.axis, layout
    if missing:
        x = jnp.pad(x, [(0, missing if each == axis else 0) for each in range(x.ndim)])
    return x.reshape(*x.shape[:axis], x.shape[axis] // size, size, *x.shape[axis + 1 :])


def whole(blocks: jax.Array, layout: Layout) -> jax.Array:
    """The array of its blocks."""
    axis = blocks.ndim - 1 + layout.axis
    x = blocks.reshape(*blocks.shape[:axis], -1, *blocks.shape[axis + 2 :])
    return lax.slice_in_dim(x, 0, x.shape[axis] - layout.missing, axis=axis) if layout.missing else x


def along(scale: jax.Array, layout: Layout) -> jax.Array:
    """A number of each block, as an array that broadcasts against the blocks."""
    return jnp.expand_dims(scale, scale.ndim + layout.axis + 1)


def scale_of(blocks: jax.Array, layout: Layout) -> jax.Array:
    """The largest modulus of each block, of what is finite; 0 where it is nearly denormal, as XLA may take it."""
    axis = blocks.ndim - 1 + layout.axis + 1
    modulus = jnp.abs(blocks)
    largest = jnp.max(jnp.where(modulus < jnp.inf, modulus, 0), axis=axis)
    return jnp.where(largest < LEAST * jnp.finfo(largest.dtype).tiny, 0, largest)


def in_scale(blocks: jax.Array, scale: jax.Array, layout: Layout) -> jax.Array:
    """Blocks in units of their scales, in [-1, 1], of no sign in [0, 1]; 0 where the scale is 0."""
    # XLA makes of a division by what is broadcast a product with its inverse, which it takes for 0 if it is denormal.
    smaller = jnp.where(scale > 1, 2.0**-8, 1.0).astype(scale.dtype)
    inverse = jnp.where(scale > 0, 1 / (scale * smaller), 0)
    return jnp.clip(blocks * along(smaller, layout) * along(inverse, layout), -1 if layout.signed else 0, 1)


def in_values(y: jax.Array, scale: jax.Array, layout: Layout, is_largest: jax.Array) -> jax.Array:
    """Blocks of values, of what they are in units of their scales.

    Args:
      is_largest: of which elements the scale is the modulus. They are that to the last bit, whatever XLA makes of a
        quotient, or the scale would change whenever it is loaded and stored.
    """
    scale = along(scale, layout)
    return jnp.where(is_largest, jnp.where(y < 0, -scale, scale), y * scale)


def is_some(blocks: jax.Array, scale: jax.Array, layout: Layout) -> jax.Array:
    """Whether values that are never negative are kept as more than 0.

    A mean of squares that became 0, beside a mean that did not, would divide it by eps.
    """
    return (blocks > 0) & (along(scale, layout) > 0)


def is_taken(uniform: jax.Array, share: jax.Array) -> jax.Array:
    """Whether a value is rounded to the farther of two codes from 0, a `share` of the way to which it is.

    A share within 2^-13 of 0 or 1 is what rounding left of a code that was loaded, and that code is taken again.

    Args:
      uniform: float32: numbers of [0, 1).
      share: what part of the way; what is not finite, as where two codes are one, is 0.
    """
    return MARGIN + (1 - 2 * MARGIN) * uniform.astype(share.dtype) < share


def squeezed(x: jax.Array, scale: jax.Array, layout: Layout, companded: bool) -> jax.Array:
    """Blocks of finite values as they are rounded evenly, in [-1, 1]: by softsign, those of no sign by the square root.

    Softsign of y = x / s is 2 y / (1 + |y|) = x / (s / 2 + |x| / 2).
    """
    if not companded:
        return in_scale(x, scale, layout)
    # Of a block that is taken for 0 every value is, whatever it was.
    if layout.signed:
        return x / (along(jnp.where(scale > 0, 0.5 * scale, jnp.inf), layout) + 0.5 * jnp.abs(x))
    root = jnp.sqrt(jnp.where(scale > 0, scale, 1))
    return jnp.sqrt(jnp.where(x > 0, x, 0)) * along(jnp.where(scale > 0, 1 / root, 0), layout)


def stretched(z: jax.Array, most: float, layout: Layout, companded: bool) -> jax.Array:
    """The values, in units of their scales, of what `squeezed` made of them and was multiplied by `most`."""
    if companded and layout.signed:
        return z / (2 * most - jnp.abs(z))
    y = z / most
    return y * y if companded else y
