"""Codecs of parameters of 16 bits: what a step keeps beside them, so that small updates are not lost."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradxform.core.keep import Codec, Encoded
from gradxform.core.noise import Noise
from gradxform.core.precision import real_dtype
from gradxform.storage.floats import rounded_at_random


class ParamCodec(Codec, is_leaf=True):
    """How a parameter is kept: in its own dtype, the part `param`, and what else there is of it in the state.

    A subclass has `rest`, `load` and `store`. It is loaded in the dtype of computation.
    """

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

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """The parameter in float32."""
        return {"master": param.astype(real_dtype(param.dtype))}

    def load(self, kept: Encoded) -> jax.Array:
        """The wide one."""
        return kept.parts["master"]

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """Both."""
        return kept.replace(param=value.astype(kept.parts["param"].dtype), master=value)


class Compensated(ParamCodec, is_leaf=True):
    """Keeps what rounding took from the parameter, in the parameter's dtype."""

    def rest(self, param: jax.Array) -> dict[str, jax.Array]:
        """Nothing was taken yet."""
        return {"error": jnp.zeros_like(param)}

    def load(self, kept: Encoded) -> jax.Array:
        """The sum of both."""
        return kept.parts["param"].astype(kept.dtype) + kept.parts["error"].astype(kept.dtype)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest number, and what it lacks."""
        param = value.astype(kept.parts["param"].dtype)
        error = value - param.astype(value.dtype)
        # Of what is not finite nothing is lacking.
        error = jnp.where(jnp.abs(error) < jnp.inf, error, 0)
        return kept.replace(param=param, error=error.astype(param.dtype))


class Split(ParamCodec, is_leaf=True):
    """Keeps the bits of a float32 number that its bfloat16 has not: 16 of them, or the first 8.

    The bits of the two, bfloat16 rounded to the nearest, are those of the number as an integer:
    bits(x) = 2^16 bits(param) + error, with 8 bits 2^8 (2^8 bits(param) + error), and there x is rounded at random.
    """

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
        bits = lax.bitcast_convert_type(kept.parts["param"], jnp.uint16).astype(jnp.uint32)
        error = kept.parts["error"].astype(jnp.int32).astype(jnp.uint32)
        joined = ((bits << self.bits) + error) << (16 - self.bits)
        return lax.bitcast_convert_type(joined, jnp.float32)

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """The nearest bfloat16, and the bits that it lacks."""
        bits, lost = lax.bitcast_convert_type(value, jnp.uint32), 16 - self.bits
        if lost:
            uniform = 0.5 if noise is None else noise.of(self.seed).uniform(value.shape)
            # Of what is not finite no bits are lost, or a NaN might become another number.
            extra = jnp.where(jnp.abs(value) < jnp.inf, (uniform * 2.0**lost), 0)
            bits = (bits + extra.astype(jnp.int32).astype(jnp.uint32)) >> lost
        half = jnp.uint32(1 << (self.bits - 1))
        high = (bits + half) >> self.bits
        error = (bits - (high << self.bits)).astype(jnp.int32)
        param = lax.bitcast_convert_type(high.astype(jnp.uint16), jnp.bfloat16)
        return kept.replace(param=param, error=error.astype(self._dtype))

    @property
    def _dtype(self) -> Any:
        return jnp.int8 if self.bits == 8 else jnp.int16
