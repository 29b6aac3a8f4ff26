"""Random numbers without a state: a hash of what one counts, the same wherever it is computed.

A step's random rounding needs numbers that differ between steps, leaves and elements, and are the same on replicas and
in a fused kernel. So they are computed from just these, in a few integer operations an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# Beyond the places of all rules in a run.
_OF_PARAM = 1 << 16


def mixed(x: jax.Array) -> jax.Array:
    """A bijection of uint32 in which each bit of what goes in changes half of those that come out.

    The constants are Chris Wellons's (nullprogram.com/blog/2018/07/31, the second improvement of lowbias32).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = (x ^ (x >> 15)) * jnp.uint32(0x735A2D97)
    return x ^ (x >> 15)


def salt_of(*counts: Any) -> jax.Array:
    """A number of the counts, such as the seed, the step and the leaf: uint32 of shape ().

    Args:
      *counts: integers, or integer arrays of shape (), of which the last 32 bits count.
    """
    salt = jnp.uint32(0x9E3779B9)
    for count in counts:
        count = jnp.uint32(count % 2**32) if isinstance(count, int) else jnp.asarray(count).astype(jnp.uint32)
        salt = mixed(salt + count)
    return salt


class Noise(NamedTuple):
    """Where the random numbers of an array come from.

    Attributes:
      salt: uint32 of shape (): of the step and the leaf.
      start: the indices of the array's first element in the whole leaf, where a kernel sees a block of it.
      whole: the shape of the whole leaf. None: that of the array.
    """

    salt: jax.Array
    start: Sequence[Any] | None = None
    whole: tuple[int, ...] | None = None

    def of(self, *counts: Any) -> Noise:
        """Other numbers: those of a slot, or of a leaf among leaves."""
        return self._replace(salt=salt_of(self.salt, *counts))

    def of_param(self) -> Noise:
        """The numbers of a leaf of the parameters, others than those of its slots."""
        return self.of(_OF_PARAM)

    def uniform(self, shape: tuple[int, ...]) -> jax.Array:
        """Numbers of [0, 1), a multiple of 2^-24 for each element: float32."""
        whole = shape if self.whole is None else self.whole
        index = jnp.zeros(shape, jnp.uint32)
        stride = 1
        for axis in reversed(range(len(shape))):
            along = lax.broadcasted_iota(jnp.uint32, shape, axis)
            if self.start is not None:
                along = along + jnp.asarray(self.start[axis]).astype(jnp.uint32)
            # Beyond 2^32 elements the numbers repeat.
            index = index + along * jnp.uint32(stride % 2**32)
            stride *= whole[axis]
        return (mixed(index ^ self.salt) >> 8).astype(jnp.int32).astype(jnp.float32) * 2.0**-24
