"""Codecs of parameters of 16 bits: what a step keeps beside them, so that small updates are not lost."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradxform.core.keep import Codec, Encoded
from gradxform.core.noise import Noise
from gradxform.core.precision import real_dtype, rounded
from gradxform.storage.floats import rounded_at_random

# Of a float32 number without its sign: from here on it is not finite; and what a NaN is kept as.
INFINITE, NAN = 0x7F800000, 0x7FC00000


class ParamCodec(Codec, is_leaf=True):
    """How a parameter is kept: in its own dtype, the part `param`, and what else there is of it in the state.

    A subclass has `beside`, the names of the other parts, and `rest`, `load` and `store`. It is loaded in the dtype of
    computation.
    """

    beside: ClassVar[tuple[str, ...]] = ()

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """What is kept beside a parameter before the first step."""
        return {}

    def together(self, param: jax.Array, rest: dict[str, jax.Array]) -> Encoded:
        """A parameter and what is kept beside it."""
        return Encoded(self, None, {"param": param, **rest})

    def shape_of(self, kept: Encoded) -> tuple[int, ...]:
        """The shape of the parameter."""
        return kept.parts["param"].shape

    def dtype_of(self, kept: Encoded) -> np.dtype[Any]:
        """The dtype of computation."""
        return real_dtype(kept.parts["param"].dtype)


class AtRandom(ParamCodec, is_leaf=True):
    """Rounds a new parameter to one of the two nearest numbers, so that the mean is the unrounded one."""

    seed: int = 0

    @property
    def is_random(self) -> bool:
        """True."""
        return True

    def load(self, kept: Encoded) -> jax.Array:
        """The parameter, wider."""
        return kept.parts["param"].astype(kept.dtype)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """One of the two nearest numbers."""
        dtype = kept.parts["param"].dtype
        if noise is None:
            return kept.replace(param=value.astype(dtype))
        uniform = noise.of(self.seed).uniform(value.shape)
        return kept.replace(param=rounded_at_random(value, dtype, uniform).astype(dtype))


class Master(ParamCodec, is_leaf=True):
    """Keeps the parameter a second time, in float32."""

    beside = ("master",)

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """The parameter in float32."""
        return {"master": param.astype(real_dtype(param.dtype))}

    def load(self, kept: Encoded) -> jax.Array:
        """The wide one; the parameter where it is another than that, since somebody else changed it."""
        param, master = kept.parts["param"].astype(kept.dtype), kept.parts["master"]
        return jnp.where(rounded(master, kept.parts["param"].dtype) == param, master, param)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """Both."""
        return kept.replace(param=value.astype(kept.parts["param"].dtype), master=value)


class Compensated(ParamCodec, is_leaf=True):
    """Keeps what rounding took from the parameter, in the parameter's dtype."""

    beside = ("compensation",)

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """Nothing was taken yet."""
        return {"compensation": jnp.zeros_like(param)}

    def load(self, kept: Encoded) -> jax.Array:
        """The sum of both."""
        return kept.parts["param"].astype(kept.dtype) + kept.parts["compensation"].astype(kept.dtype)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest number, and what it lacks."""
        dtype = kept.parts["param"].dtype
        # XLA may leave out a cast there and back, and nothing would be lacking.
        param = rounded(value, dtype)
        error = value - param
        # Of what is not finite nothing is lacking.
        error = jnp.where(jnp.abs(error) < jnp.inf, error, 0)
        return kept.replace(param=param.astype(dtype), compensation=error.astype(dtype))


class Split(ParamCodec, is_leaf=True):
    """Keeps what a parameter lacks of a float32 number in units of the parameter's last place: 16 bits of it, or 8.

    Of bfloat16 it is the bits that are missing: without the sign those of the number, as an integer, are 2^bits times
    those of the parameter, and the error. Of float16, whose exponents are others, it is computed. With 8 bits the error
    is rounded at random.
    """

    beside = ("error",)

    bits: int = 8
    seed: int = 0

    @property
    def is_random(self) -> bool:
        """Whether bits are left out."""
        return self.bits < 16

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """No bits beside those of the parameter."""
        return {"error": jnp.zeros_like(param, dtype=self._dtype)}

    def load(self, kept: Encoded) -> jax.Array:
        """The number of all bits."""
        param, error = kept.parts["param"], kept.parts["error"].astype(jnp.int32)
        if param.dtype == jnp.float16:
            wide = param.astype(jnp.float32)
            return jnp.where(jnp.abs(wide) < jnp.inf, wide + error.astype(jnp.float32) * self._unit(wide), wide)
        high = lax.bitcast_convert_type(param, jnp.uint16).astype(jnp.uint32)
        size = ((high & 0x7FFF) << self.bits).astype(jnp.int32)
        # Where somebody put another parameter in the place of the one that the error is of, as 0, it must not wrap.
        size = jnp.maximum(size + error, 0).astype(jnp.uint32)
        return lax.bitcast_convert_type((size << self._lost) | ((high & 0x8000) << 16), jnp.float32)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest number of the parameter's dtype, and what it lacks."""
        uniform = None if noise is None or not self._lost else noise.of(self.seed).uniform(value.shape)
        stored = self._half if kept.parts["param"].dtype == jnp.float16 else self._brain
        param, error = stored(value, uniform)
        return kept.replace(param=param, error=error.astype(self._dtype))

    def _brain(self, value: jax.Array, uniform: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """A bfloat16, of two that are as near the larger one, and the bits that it lacks."""
        bits = lax.bitcast_convert_type(value, jnp.uint32)
        size = bits & 0x7FFFFFFF
        if uniform is not None:
            extra = (uniform * 2.0**self._lost).astype(jnp.int32).astype(jnp.uint32)
            # What is finite stays so. (In a kernel on a TPU there is no minimum of unsigned numbers.)
            more = jnp.where(size + extra < INFINITE, size + extra, INFINITE - 1)
            size = jnp.where(size < INFINITE, more, size)
        # All NaNs are one: of some the upper bits are those of an infinite number.
        size = jnp.where(size > INFINITE, NAN, size) >> self._lost
        high = (size + (1 << (self.bits - 1))) >> self.bits
        error = size.astype(jnp.int32) - (high << self.bits).astype(jnp.int32)
        return lax.bitcast_convert_type((high | (bits >> 31 << 15)).astype(jnp.uint16), jnp.bfloat16), error

    def _half(self, value: jax.Array, uniform: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """The nearest float16, and what it lacks in units."""
        param = rounded(value, jnp.float16)
        units = (value - param) / self._unit(param)
        units = jnp.where(jnp.abs(param) < jnp.inf, units, 0)
        under = jnp.floor(units)
        is_up = units - under >= 0.5 if uniform is None else uniform < units - under
        return param.astype(jnp.float16), jnp.where(is_up, under + 1, under)

    def _unit(self, param: jax.Array) -> jax.Array:
        """Of an error: the last place of a float16 number, times 2^(1 - bits); the error is half of that at most."""
        exponent = lax.bitcast_convert_type(param, jnp.uint32) & INFINITE
        power = jnp.maximum(lax.bitcast_convert_type(exponent, jnp.float32), 2.0**-14)
        return power * 2.0 ** (-10 + 1 - self.bits)

    @property
    def _lost(self) -> int:
        return 16 - self.bits

    @property
    def _dtype(self) -> Any:
        return jnp.int8 if self.bits == 8 else jnp.int16
