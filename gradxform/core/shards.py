"""Arrays that codecs keep, over many devices: how they begin where each device has a part, and along what they divide.

A codec's blocks are those of the whole array, wherever its shards lie: so the numbers are the same on any mesh, and a
checkpoint of one restores onto another. What is kept then divides as the array does, if no block crosses two shards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import AxisType

from gradxform.core.keep import Codec, Encoded, is_encoded
from gradxform.core.placement import Cut, longest_axis, varying_axes


class Shards(NamedTuple):
    """How an array is divided.

    Attributes:
      shape: of the array on all devices together.
      counts: for each of its axes over how many devices it is divided.
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]


def first(codec: Codec, value: jax.Array, signed: bool, cut: Cut | None) -> Any:
    """An array before the first step, as a codec keeps it, in blocks of the array on all devices together.

    Args:
      codec: the codec.
      value: the array, or the part of it on this device.
      signed: whether it may be negative later.
      cut: along which of its axes it is cut, None where nobody told.

    Raises:
      ValueError: a block would cross two shards; or its type says that it varies over mesh axes, and the blocks depend
        on which of its own axes is cut, of which nobody told. Without the path.
    """
    possible = shards_of(value, cut)
    shapes = [jax.ShapeDtypeStruct(shards.shape, value.dtype) for shards in possible]
    kept = [jax.eval_shape(partial(codec.first, signed=signed), shape) for shape in shapes]
    if not all(map(is_encoded, kept)):
        return codec.first(value, signed)
    try:
        for each, shards in zip(kept, possible, strict=True):
            _check(each, shards)
    except ValueError:
        if len(possible) == 1:
            raise
        kept = []
    if len(set(map(jax.tree.structure, kept))) != 1:
        raise ValueError(
            f"each device has {value.shape} of it, as its type tells, which varies over mesh axes "
            f"{varying_axes(value)}; its blocks depend on which of its own axes is cut; tell it with on_axes"
        )
    is_whole = possible[0].shape == value.shape
    return codec.first(value, signed) if is_whole else codec.store(value.astype(kept[0].dtype), kept[0], None)


def shards_of(value: jax.Array, cut: Cut | None) -> list[Shards]:
    """How an array is divided; where only its type tells that it is, and not along which axis, all ways that may be."""
    shape, sharding = tuple(value.shape), jax.typeof(value).sharding
    if any(sharding.spec) and AxisType.Explicit in sharding.mesh.axis_types:
        own = sharding.shard_shape(shape)
        return [Shards(shape, tuple(size // part if part else 1 for size, part in zip(shape, own, strict=True)))]
    if cut is not None:
        ways = [[axis for axis, names in enumerate(cut) for _ in names]]
        names = [name for names in cut for name in names]
    else:
        names = varying_axes(value)
        ways = itertools.product(range(len(shape)), repeat=len(names))
    sizes = list(map(lax.axis_size, names))
    return [_multiplied(shape, way, sizes) for way in ways]


def whole_size(value: jax.Array, cut: Cut | None) -> int:
    """How many elements an array has on all devices together."""
    # However it is divided, its elements are as many.
    return math.prod(next(iter(shards_of(value, cut)), Shards(value.shape, ())).shape)


def longest_to_divide(
    shape: Sequence[int], is_whole: Iterable[bool], devices: int, kept: Sequence[Encoded]
) -> int | None:
    """The longest of the axes that are whole, and that so many devices divide without that a block crosses two shards.

    Args:
      shape: of what is divided.
      is_whole: which of its axes are not divided yet.
      devices: over how many it is to be divided.
      kept: what codecs keep of it, or of what is divided with it.
    """
    free = [
        whole and all((size // devices) % each.codec.grain(each, axis - len(shape)) == 0 for each in kept)
        for axis, (whole, size) in enumerate(zip(is_whole, shape, strict=True))
    ]
    return longest_axis(shape, free, devices)


def _multiplied(shape: tuple[int, ...], axes: Iterable[int], sizes: Sequence[int]) -> Shards:
    counts = [1] * len(shape)
    for axis, size in zip(axes, sizes, strict=True):
        counts[axis] *= size
    return Shards(tuple(size * count for size, count in zip(shape, counts, strict=True)), tuple(counts))


def _check(kept: Encoded, shards: Shards) -> None:
    """ValueError if a block crosses two shards."""
    lengths = [size // count for size, count in zip(shards.shape, shards.counts, strict=True)]
    for axis, (length, count) in enumerate(zip(lengths, shards.counts, strict=True)):
        grain = kept.codec.grain(kept, axis - len(lengths))
        if count > 1 and length % grain:
            fitting = [f"block={size}" for size in range(grain, 1, -2) if length % size == 0][:1]
            others = [other for other, own in enumerate(lengths) if other != axis and _fits(own, grain, shards, other)]
            fitting += [f"axis={other}" for other in others]
            raise ValueError(
                f"its shape is {shards.shape}, and a block of {grain} along axis {axis} would cross shards, of which "
                f"each of {count} has {length}; {' or '.join(fitting) or 'no block'} would fit"
            )


def _fits(length: int, grain: int, shards: Shards, axis: int) -> bool:
    return shards.counts[axis] == 1 or length % grain == 0
