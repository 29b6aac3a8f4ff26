"""Codecs that keep arrays in smaller floating-point dtypes."""

from __future__ import annotations

import dataclasses
from typing import Any

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
from gradxform.storage.codecs import check_axis, check_blocks

# Others of 8 bits lack a 0, a NaN or numbers between.
DTYPES = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float32")


class AsDtype(Codec, is_leaf=True):
    """Keeps arrays in a smaller floating-point dtype.

        16 bits:  x ~ round(x)
        8 bits:   x ~ s f^-1(round(m f(x / s)) / m),   s = max |x| of the block,   m the largest number of the dtype
                  f(y) = sqrt(y) for what is never negative, else y

    Rounded to the nearest, a running mean in bfloat16 stands still once a step changes it by less than half of its
    last bit, as b2 = 0.999 does: so rounding is at random by default. In 8 bits NaN, 0 and denormal numbers are as in
    `int8`. float16 has no number between 0 and 6e-8 and none above 65504, where squares of gradients may well be;
    bfloat16 has the range of float32.

    XLA's casts to 8 bits are slow on CPUs: there a step takes several times that of `int8`.

    Args:
      dtype: the dtype or its name: bfloat16, float16, float8_e4m3fn, float8_e5m2, or float32 for parameters of float64.
      block: of how many elements those of 8 bits share a float32 scale.
      companded: whether f is as above, for 8 bits; False for f(y) = y.
      stochastic: whether values are rounded to one of the two nearest numbers at random, so that the mean is the value;
        False for the nearest, with which 16 bits are plain arrays of the dtype.
      axis, signed, seed: as in `int8`.

    Returns:
      A codec, for `stored`.

    Raises:
      TypeError, ValueError: another dtype, or as `int8`.

    optax: mu_dtype, of some methods and one slot, to the nearest. torch: torchao.optim.AdamWFp8.
    """

    dtype: Any
    block: int = 128
    companded: bool = dataclasses.field(default=True, kw_only=True)
    stochastic: bool = dataclasses.field(default=True, kw_only=True)
    axis: int | None = dataclasses.field(default=None, kw_only=True)
    signed: bool | None = dataclasses.field(default=None, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def check(self) -> None:
        """Raises TypeError or ValueError for what is no dtype, and what is no block, axis or seed."""
        try:
            dtype = np.dtype(jnp.dtype(self.dtype))
        except TypeError as error:
            raise TypeError(f"as_dtype: dtype must be a dtype or its name; got {show(self.dtype)}") from error
        if dtype.name not in DTYPES:
            raise TypeError(f"as_dtype: dtype must be one of {', '.join(DTYPES)}; got {dtype.name}")
        object.__setattr__(self, "dtype", dtype)
        check_blocks(self.call_name, self.block, self.axis, self.seed)

    @property
    def is_random(self) -> bool:
        """Whether it rounds at random."""
        return self.stochastic

    @property
    def is_in_blocks(self) -> bool:
        """Whether blocks have scales."""
        return self.is_scaled

    @property
    def words(self) -> str:
        """How arrays are kept."""
        return f"{self.dtype.name} in blocks of {self.block}" if self.is_scaled else self.dtype.name

    @property
    def is_scaled(self) -> bool:
        """Whether its range is so small that blocks have scales."""
        return jnp.finfo(self.dtype).bits <= 8

    def first(self, value: jax.Array, signed: bool) -> Encoded | jax.Array:
        """The array in the dtype, with scales for 8 bits. Numbers, what has fewer bits or no elements stay as is."""
        if is_complex(value):
            raise ValueError(f"as_dtype keeps real numbers, got {value.dtype}")
        if jnp.finfo(value.dtype).bits < jnp.finfo(self.dtype).bits or not value.ndim or not value.size:
            return value
        wide = real_dtype(value.dtype)
        if not self.is_scaled:
            kept = value.astype(self.dtype)
            return Encoded(self, wide, {"value": kept}) if self.stochastic and self.dtype != wide else kept
        check_axis(self.call_name, self.axis, value.shape)
        layout = blocks.layout_of(value.shape, self.block, self.axis, signed if self.signed is None else self.signed)
        return Encoded(self, layout, self._scaled(value.astype(wide), layout, None))

    def load(self, kept: Encoded) -> jax.Array:
        """The array in its own dtype."""
        if not self.is_scaled:
            return kept.parts["value"].astype(kept.dtype)
        layout, scale = kept.layout, kept.parts["scale"]
        z = blocks.blocked(kept.parts["value"].astype(scale.dtype), layout)
        y = blocks.stretched(z, self._most, layout, self._is_companded(layout))
        return blocks.whole(blocks.in_values(y, scale, layout, jnp.abs(z) == self._most), layout)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest numbers of the dtype, or one of the two nearest at random."""
        if self.is_scaled:
            return kept.replace(**self._scaled(value, kept.layout, noise))
        return kept.replace(value=self._rounded(value, noise).astype(self.dtype))

    def shape_of(self, kept: Encoded) -> tuple[int, ...]:
        """The shape of the array."""
        return kept.parts["value"].shape

    def dtype_of(self, kept: Encoded) -> np.dtype[Any]:
        """The dtype of the array."""
        return np.dtype(kept.parts["scale"].dtype) if self.is_scaled else kept.layout

    def grain(self, kept: Encoded, axis: int) -> int:
        """A block along the axis of the blocks, where there are any."""
        return kept.layout.size if self.is_scaled and axis == kept.layout.axis else 1

    @property
    def _most(self) -> float:
        return float(jnp.finfo(self.dtype).max)

    def _is_companded(self, layout: Layout) -> bool:
        # Numbers of a floating-point dtype are dense at 0 by themselves; the root doubles their range.
        return self.companded and not layout.signed

    def _scaled(self, value: jax.Array, layout: Layout, noise: Noise | None) -> dict[str, jax.Array]:
        most, is_companded = self._most, self._is_companded(layout)
        x = blocks.blocked(value, layout)
        scale = blocks.scale_of(x, layout)
        z = most * blocks.squeezed(x, scale, layout, is_companded)
        if self.stochastic and noise is not None:
            y = blocks.in_scale(x, scale, layout)
            low, high = neighbours(z, self.dtype)
            under, over = (blocks.stretched(each, most, layout, is_companded) for each in (low, high))
            uniform = blocks.blocked(noise.of(self.seed).uniform(value.shape), layout)
            z = jnp.where(blocks.is_taken(uniform, (y - under) / (over - under)), high, low)
        if not layout.signed:
            least = jnp.asarray(jnp.finfo(self.dtype).smallest_subnormal, z.dtype)
            z = jnp.where(blocks.is_some(x, scale, layout) & (z < least), least, z)
        z = jnp.where(jnp.abs(x) < jnp.inf, z, jnp.nan)
        return {"value": blocks.whole(z, layout).astype(self.dtype), "scale": scale}

    def _rounded(self, x: jax.Array, noise: Noise | None) -> jax.Array:
        """Numbers of the dtype, in the dtype of what came."""
        if noise is None or not self.stochastic:
            return x
        return rounded_at_random(x, self.dtype, noise.of(self.seed).uniform(x.shape))


def rounded_at_random(x: jax.Array, dtype: Any, uniform: jax.Array) -> jax.Array:
    """An array, each element of which is one of the two nearest numbers of another dtype, in its own dtype.

    The mean over `uniform` is the element itself, where that is no larger than the largest number of the dtype; what is
    not finite stays as it is.

    Args:
      x: a real array.
      dtype: a floating-point dtype with fewer bits.
      uniform: float32 of its shape: numbers of [0, 1).
    """
    low, high = neighbours(x, dtype)
    largest = jnp.asarray(jnp.finfo(dtype).max, x.dtype)
    near = jnp.clip(jnp.where(uniform.astype(x.dtype) < (x - low) / (high - low), high, low), -largest, largest)
    return jnp.where(jnp.abs(x) < jnp.inf, near, x)


def neighbours(x: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The two numbers of another dtype between which each element is: that nearer to 0, and the next away from 0.

    Of a number of the dtype the first is itself. Beyond the largest number they go on as before it.

    Args:
      x: a real array.
      dtype: a floating-point dtype with fewer bits.
    """
    info, own = jnp.finfo(dtype), jnp.finfo(x.dtype)
    # By bits, as XLA may take denormal numbers, which the spacing of small ones is, for 0.
    integer, dropped = (jnp.uint32, jnp.uint64)[own.bits > 32], own.nmant - info.nmant
    bits = (lax.bitcast_convert_type(x, integer) >> dropped) << dropped
    low, high = (lax.bitcast_convert_type(each, x.dtype) for each in (bits, bits + integer(1 << dropped)))
    if info.minexp > own.minexp:
        # What is denormal in the dtype has the spacing of its least normal numbers.
        spacing = 2.0 ** (info.minexp - info.nmant)
        steps = jnp.floor(jnp.abs(x) / spacing)
        is_denormal, sign = jnp.abs(x) < 2.0**info.minexp, jnp.where(x < 0, -spacing, spacing)
        low, high = (jnp.where(is_denormal, (steps + i) * sign, each) for i, each in enumerate((low, high)))
    return low, high


as_dtype = factory(AsDtype, lambda codec: codec, AsDtype)
