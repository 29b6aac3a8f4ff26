"""Codecs: int8 and int4 in blocks with a scale each, and smaller floating-point dtypes."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradxform.core.keep import Codec, Encoded
from gradxform.core.noise import Noise
from gradxform.core.precision import is_complex, real_dtype
from gradxform.core.record import factory
from gradxform.core.text import show
from gradxform.storage import blocks
from gradxform.storage.blocks import Layout


class Blockwise(Codec, is_leaf=True):
    """What codecs of integers share: blocks along one axis, a scale for each, and a curve by which values are rounded.

    A subclass has `most`, the largest code, and packs the codes of a block.
    """

    most: ClassVar[int]

    block: int = 128
    companded: bool = dataclasses.field(default=True, kw_only=True)
    stochastic: bool = dataclasses.field(default=False, kw_only=True)
    axis: int | None = dataclasses.field(default=None, kw_only=True)
    signed: bool | None = dataclasses.field(default=None, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def check(self) -> None:
        """Raises TypeError or ValueError for a block, an axis or a seed that is none."""
        check_blocks(self.call_name, self.block, self.axis, self.seed)

    @property
    def is_random(self) -> bool:
        """Whether it rounds at random."""
        return self.stochastic

    @property
    def is_in_blocks(self) -> bool:
        """True."""
        return True

    @property
    def words(self) -> str:
        """How arrays are kept."""
        return f"{self.call_name} in blocks of {self.block}"

    def first(self, value: jax.Array, signed: bool) -> Encoded | jax.Array:
        """The codes of an array, and their scales. Numbers, and arrays without elements, stay as they are."""
        if is_complex(value):
            raise ValueError(f"{self.call_name} keeps real numbers, got {value.dtype}")
        if not value.ndim or not value.size:
            return value
        check_axis(self.call_name, self.axis, value.shape)
        signed = signed if self.signed is None else self.signed
        layout = blocks.layout_of(value.shape, self.block, self.axis, signed)
        return Encoded(self, layout, self._parts(value.astype(real_dtype(value.dtype)), layout, None))

    def load(self, kept: Encoded) -> jax.Array:
        """The values of the codes, times the scales of their blocks; NaN for what was not finite."""
        layout, scale = kept.layout, kept.parts["scale"]
        codes = self._unpacked(kept.parts["codes"], layout).astype(scale.dtype)
        is_largest = (jnp.abs(codes) if layout.signed else codes) == self.most
        value = blocks.in_values(self._value(codes, layout), scale, layout, is_largest)
        return blocks.whole(jnp.where(codes < -self.most, jnp.nan, value), layout)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest codes, or one of the two nearest at random, so that their mean, or that of the root, is right."""
        return kept.replace(**self._parts(value, kept.layout, noise))

    def shape_of(self, kept: Encoded) -> tuple[int, ...]:
        """The shape of the array."""
        return self._shape(kept.parts["codes"].shape, kept.layout)

    def dtype_of(self, kept: Encoded) -> np.dtype[Any]:
        """The dtype of the array, in which the scales are."""
        return np.dtype(kept.parts["scale"].dtype)

    def grain(self, kept: Encoded, axis: int) -> int:
        """A block along the axis of the blocks."""
        return kept.layout.size if axis == kept.layout.axis else 1

    def _parts(self, value: jax.Array, layout: Layout, noise: Noise | None) -> dict[str, jax.Array]:
        x = blocks.blocked(value, layout)
        scale = blocks.scale_of(x, layout)
        z = self._position(x, scale, layout)
        if self.stochastic and noise is not None:
            low = jnp.clip(jnp.floor(z), -self.most, self.most - 1)
            share = z - low
            if layout.signed and self.companded:
                under, over = self._value(low, layout), self._value(low + 1, layout)
                share = (blocks.in_scale(x, scale, layout) - under) / (over - under)
            uniform = blocks.blocked(noise.of(self.seed).uniform(value.shape), layout)
            codes = jnp.where(blocks.is_taken(uniform, share), low + 1, low)
        else:
            codes = jnp.floor(z + 0.5)
        if not layout.signed:
            least = 1 - self.most
            codes = jnp.where(blocks.is_some(x, scale, layout) & (codes < least), least, codes)
        codes = jnp.where(jnp.abs(x) < jnp.inf, codes, -self.most - 1).astype(jnp.int32)
        return {"codes": self._packed(codes, layout), "scale": scale}

    def _position(self, x: jax.Array, scale: jax.Array, layout: Layout) -> jax.Array:
        """Where among the codes values lie; those of no sign have all of them."""
        z = self.most * blocks.squeezed(x, scale, layout, self.companded)
        return z if layout.signed else 2 * z - self.most

    def _value(self, codes: jax.Array, layout: Layout) -> jax.Array:
        codes, most = (codes, self.most) if layout.signed else (codes + self.most, 2 * self.most)
        return blocks.stretched(codes, most, layout, self.companded)

    def _shape(self, codes: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
        return codes

    def _packed(self, codes: jax.Array, layout: Layout) -> jax.Array:
        return blocks.whole(codes, layout).astype(jnp.int8)

    def _unpacked(self, codes: jax.Array, layout: Layout) -> jax.Array:
        return blocks.blocked(codes.astype(jnp.int32), layout)


def check_blocks(name: str, block: Any, axis: Any, seed: Any) -> None:
    """Raises TypeError or ValueError for a block that is no positive integer; an axis, a seed that is no integer."""
    for what, value in (("block", block), ("axis", axis), ("seed", seed)):
        if not (what == "axis" and value is None) and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"{name}: {what} must be an integer; got {show(value)}")
    if block <= 0:
        raise ValueError(f"{name}: block must be more than 0; got {block}")


def check_axis(name: str, axis: int | None, shape: tuple[int, ...]) -> None:
    """Raises ValueError for an axis that is not there."""
    if axis is not None and not -len(shape) <= axis < len(shape):
        raise ValueError(f"{name}: there is no axis {axis} in shape {shape}")


class Int8(Blockwise, is_leaf=True):
    """Keeps arrays in 8 bits an element, and a float32 scale a block: 1.03 bytes with blocks of 128.

        x ~ s f^-1(q / 127),   s = max |x| of the block,   q an integer of [-127, 127]
        signed:    f(y) = 2 y / (1 + |y|)
        unsigned:  f(y) = sqrt(y), on all 255 codes, of which only 0 has the first

    To the nearest, with y = |x| / s, the error of a signed value is about s (1 + y)^2 / 508 at most, of an unsigned one
    s sqrt(y) / 254. A value that is not finite is NaN when it is loaded, and nothing else of its block changes; a block
    of values below 1e-33 is 0. A squared gradient that is not 0 is never stored as 0, so that no update is divided by
    eps alone that would not be in float32. Encoding a decoded array gives the same codes, with random rounding too.

    Blocks run along the last axis but one if that is long enough for a block, else along the longest. A slot of float64
    has scales of float64.

    Args:
      block: how many elements share a scale.
      companded: whether f is as above; False for f(y) = y, with which small second moments are too large.
      stochastic: whether values are rounded to one of the two nearest codes at random, so that the mean is the value,
        of what is unsigned that of the root, which is what updates are divided by; False for the nearest.
      axis: along which axis blocks are. None: as said above.
      signed: whether values may be negative. None: as the rule declares its slot.
      seed: an integer, of the random numbers, which are made of it, the step, the leaf and the slot.

    Returns:
      A codec, for `stored`.

    Raises:
      TypeError, ValueError: a block that is no positive integer, an axis or a seed that is no integer.

    Gonzalez Ortiz et al. 2026, arXiv:2602.23349, section 3.2, algorithms 2 and 3: with blocks of 32, and scales of
    float16. Dettmers et al. 2021, arXiv:2110.02861: with a table of codes. optax: none. torch:
    torchao.optim.AdamW8bit.
    """

    most = 127


class Int4(Blockwise, is_leaf=True):
    """Keeps arrays in 4 bits an element, two in a byte, and a float32 scale a block: 0.53 bytes with blocks of 128.

        x ~ s f^-1(q / 7),   s = max |x| of the block,   q an integer of [-7, 7],   f as in `int8`

    Values are rounded at random: to the nearest of so few codes a running mean hardly takes in what is new, so that
    with b2 = 0.999 `nu` shrinks, and steps become half as long again.

    Args:
      block: how many elements share a scale; an even number.
      stochastic: as in `int8`, but that it is the default.
      companded, axis, signed, seed: as in `int8`.

    Returns:
      A codec, for `stored`.

    Raises:
      TypeError, ValueError: as `int8`, and a block that is odd.

    Li, Chen & Zhu 2023, arXiv:2309.01507: with tables of codes, that of second moments without 0. optax: none. torch:
    torchao.optim.AdamW4bit.
    """

    most = 7

    stochastic: bool = dataclasses.field(default=True, kw_only=True)

    def check(self) -> None:
        """Raises ValueError for an odd block, and as all codecs in blocks."""
        super().check()
        if self.block % 2:
            raise ValueError(f"int4: block must be even, as two elements share a byte; got {self.block}")

    def _shape(self, codes: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
        axis = len(codes) + layout.axis
        return (*codes[:axis], 2 * codes[axis] - layout.missing, *codes[axis + 1 :])

    def _packed(self, codes: jax.Array, layout: Layout) -> jax.Array:
        # The first half of a block in the low bits, the second in the high ones. By a sum in the place of slices, which
        # a kernel on a GPU has not.
        axis = codes.ndim + layout.axis
        halves = codes.reshape(*codes.shape[:axis], 2, codes.shape[axis] // 2, *codes.shape[axis + 1 :])
        second = self._second(halves.ndim, axis)
        both = jnp.sum((halves & (15 | -second)) << (4 * second), axis=axis)
        return blocks.whole(both, layout._replace(missing=0)).astype(jnp.int8)

    def _unpacked(self, codes: jax.Array, layout: Layout) -> jax.Array:
        both = blocks.blocked(codes.astype(jnp.int32), layout._replace(size=layout.size // 2, missing=0))
        axis = both.ndim + layout.axis
        twice = jnp.broadcast_to(jnp.expand_dims(both, axis), (*both.shape[:axis], 2, *both.shape[axis:]))
        second = self._second(twice.ndim, axis)
        halves = (twice << (28 * (1 - second))) >> (28 - 24 * second)
        return halves.reshape(*both.shape[:axis], 2 * both.shape[axis], *both.shape[axis + 1 :])

    def _second(self, ndim: int, axis: int) -> jax.Array:
        """0 for the first half of a block, and 1 for the second, along an axis."""
        return lax.broadcasted_iota(jnp.int32, [2 if each == axis else 1 for each in range(ndim)], axis)


int8 = factory(Int8, lambda codec: codec, Int8)
int4 = factory(Int4, lambda codec: codec, Int4)
