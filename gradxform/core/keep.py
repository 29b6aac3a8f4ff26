"""How an array lies in memory between steps: the one place where slots, and parameters, are loaded and stored.

An array is kept as it is, in the dtype that it was given in `init`; or a codec keeps it, and then it is an `Encoded`,
which knows its codec. So whoever loads need not be told, and whatever holds a state, a wrapper or a checkpoint, holds
an `Encoded` as it holds any other pytree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from gradxform.core.noise import Noise
from gradxform.core.placement import Cut, place_among, union, varying_axes
from gradxform.core.precision import fitting, is_inexact
from gradxform.core.record import Record
from gradxform.core.text import show

Fit = Callable[[jax.Array], jax.Array]


class Codec(Record, is_leaf=True):
    """How arrays are kept in fewer bits: a subclass has `first`, `load`, `store`, `shape_of` and `dtype_of`.

    What is stored of what was loaded is what was kept before, so that a slot that a rule returns as it was stays. Each
    of the arrays that it keeps has the axes of the array itself, and is divided over devices as that is.
    """

    @property
    def is_random(self) -> bool:
        """Whether it rounds at random, and `store` asks for noise."""
        return False

    @property
    def is_in_blocks(self) -> bool:
        """Whether blocks of an array have a number in common, so that storing passes over each twice."""
        return False

    def first(self, value: jax.Array, signed: bool) -> Any:
        """An array before the first step, as it is kept. ValueError for one that it cannot keep, without its path.

        Args:
          value: real, in the dtype in which it would be kept without a codec.
          signed: whether it may be negative later.
        """
        raise TypeError(f"{type(self).__name__} has no first(self, value, signed)")

    def load(self, kept: Encoded) -> jax.Array:
        """The array, in the dtype that it has without a codec."""
        raise TypeError(f"{type(self).__name__} has no load(self, kept)")

    def store(self, value: jax.Array, kept: Encoded, noise: Noise | None) -> Encoded:
        """What is kept of a new value in the place of an old one, in the same shapes and dtypes."""
        raise TypeError(f"{type(self).__name__} has no store(self, value, kept, noise)")

    @property
    def words(self) -> str:
        """How arrays are kept, in words: "int8 in blocks of 128"."""
        return self.call_name

    def shape_of(self, kept: Encoded) -> tuple[int, ...]:
        """The shape of the array."""
        raise TypeError(f"{type(self).__name__} has no shape_of(self, kept)")

    def dtype_of(self, kept: Encoded) -> np.dtype[Any]:
        """The dtype of the array."""
        raise TypeError(f"{type(self).__name__} has no dtype_of(self, kept)")

    def grain(self, kept: Encoded, axis: int) -> int:
        """Of how many elements along an axis, counted from the last, each shard must have a multiple."""
        return 1


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """An array as a codec keeps it: a pytree of the codec's arrays, with the shape and dtype of the array itself.

    Functions of `jax.numpy` and NumPy take it as the array.

    Attributes:
      codec: the codec.
      layout: what the codec must know besides, hashable; that of the whole array and of its shards alike.
      parts: the arrays, by name.
    """

    codec: Codec
    layout: Any
    parts: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.codec.shape_of(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self.codec.dtype_of(self)

    @property
    def ndim(self) -> int:
        """The number of axes of the array."""
        return len(self.shape)

    def replace(self, **parts: Any) -> Encoded:
        """The same with other parts."""
        return Encoded(self.codec, self.layout, {**self.parts, **parts})

    def array(self) -> jax.Array:
        """The array; on the device, where the parts are in the host's memory."""
        return self.codec.load(self.replace(**{name: on_device(part) for name, part in self.parts.items()}))

    def __jax_array__(self) -> jax.Array:
        return self.array()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.array(), dtype)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={show(part)}" for name, part in self.parts.items())
        # In a tree of specs or of shardings the parts are no arrays, and tell no shape.
        are_arrays = all(hasattr(part, "dtype") for part in self.parts.values())
        return f"<{f'{self.dtype.name}{list(self.shape)} ' if are_arrays else ''}by {self.codec!r}: {parts}>"


def _flatten_with_keys(kept: Encoded) -> tuple[list[tuple[Any, Any]], Any]:
    parts = [(jax.tree_util.GetAttrKey(name), part) for name, part in kept.parts.items()]
    return parts, (kept.codec, kept.layout, tuple(kept.parts))


def _unflatten(static: Any, parts: Any) -> Encoded:
    codec, layout, names = static
    return Encoded(codec, layout, dict(zip(names, parts, strict=True)))


jax.tree_util.register_pytree_with_keys(
    Encoded, _flatten_with_keys, _unflatten, lambda kept: (tuple(kept.parts.values()), _flatten_with_keys(kept)[1])
)


def is_on_host(array: Any) -> bool:
    """Whether an array is in the host's memory, as its type tells."""
    return jax.typeof(array).memory_space == jax.memory.Space.Host


def on_device(array: Any) -> Any:
    """An array in the device's memory."""
    return jax.device_put(array, jax.memory.Space.Device) if is_on_host(array) else array


def in_memory_of(array: Any, old: Any) -> Any:
    """An array in the memory in which another is."""
    return jax.device_put(array, jax.memory.Space.Host) if is_on_host(old) else array


def _array(kept: Any) -> Any:
    return kept.array() if is_encoded(kept) else on_device(kept)


def is_encoded(value: Any) -> bool:
    """Whether a codec keeps it."""
    return isinstance(value, Encoded)


def each(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` in which what a codec keeps is one leaf."""
    return jax.tree.map(function, tree, *rest, is_leaf=is_encoded)


def load(kept: Any, fit: Fit) -> jax.Array:
    """The array of computation of what is kept; `fit` casts to its dtype."""
    return fit(_array(kept))


def store(value: jax.Array, kept: Any, noise: Noise | None = None, cut: Cut | None = None) -> Any:
    """What is kept of a new value, in the shapes and dtypes of what was kept before.

    Args:
      value: the new value.
      kept: what was kept before.
      noise: for a codec that rounds at random.
      cut: along which of its axes the value is cut over devices, None where nobody told.
    """
    if is_encoded(kept):
        noise = noise if noise is None else noise_of_part(noise, value.shape, kept, cut)
        new = kept.codec.store(value.astype(kept.dtype), kept, noise)
        return jax.tree.map(in_memory_of, new, kept)
    return in_memory_of(lax.convert_element_type(value, kept.dtype), kept)


def with_added(kept: Encoded, update: jax.Array, noise: Noise | None, cut: Cut | None) -> Any:
    """What is kept of the sum of an array and an update, as `store`."""
    fit = fitting(kept.dtype, update.dtype)
    return store(load(kept, fit) + fit(update), kept, noise, cut)


def noise_of_part(noise: Noise, shape: tuple[int, ...], kept: Encoded, cut: Cut | None) -> Noise:
    """The noise of the part that this device has: of the whole where that is known, else other than other parts'."""
    if cut is None:
        varying = union(map(varying_axes, kept.parts.values()))
        return noise.of(place_among(varying)) if varying else noise
    if not any(cut):
        return noise
    start = [place_among(names) * size for names, size in zip(cut, shape, strict=True)]
    whole = [size * math.prod(map(lax.axis_size, names)) for names, size in zip(cut, shape, strict=True)]
    return noise._replace(start=start, whole=tuple(whole))


def dtypes(tree: Any) -> list[Any]:
    """The inexact dtypes of arrays, of what codecs keep those in which it is loaded."""
    return [leaf.dtype for leaf in jax.tree.leaves(tree, is_leaf=is_encoded) if is_inexact(leaf)]


def decoded(tree: Any) -> Any:
    """A tree with arrays on the device in the place of what codecs keep, and of what is in the host's memory."""
    return each(lambda kept: _array(kept) if is_encoded(kept) or isinstance(kept, jax.Array) else kept, tree)


def encoded_like(tree: Any, kept: Any, noise: Noise | None) -> Any:
    """A tree in which what `kept` keeps by codecs, or in the host's memory, is so kept, and all else is as it is."""
    leaves, structure = jax.tree.flatten(kept, is_leaf=is_encoded)
    is_kept = [is_encoded(old) or (isinstance(old, jax.Array) and is_on_host(old)) for old in leaves]
    if not any(is_kept):
        return tree
    new = structure.flatten_up_to(tree)
    return structure.unflatten(
        store(value, old, noise and noise.of(index)) if is_kept[index] and not is_encoded(value) else value
        for index, (value, old) in enumerate(zip(new, leaves, strict=True))
    )


def is_random(tree: Any) -> bool:
    """Whether anything in a tree is kept by a codec that rounds at random."""
    return any(is_encoded(kept) and kept.codec.is_random for kept in jax.tree.leaves(tree, is_leaf=is_encoded))


class Beginning(NamedTuple):
    """A slot before the first step.

    Attributes:
      name: of the slot.
      path: of its leaf.
      value: what it begins with.
      signed: whether it may be negative later.
      is_copy: whether it begins as a copy of the parameter.
      cut: how it is cut over devices, None where nobody told.
    """

    name: str
    path: str
    value: jax.Array
    signed: bool
    is_copy: bool
    cut: Cut | None


# How a slot is kept.
First = Callable[[Beginning], Any]

_first: ContextVar[First | None] = ContextVar("first", default=None)


@contextmanager
def keeping(first: First) -> Iterator[None]:
    """While states are made: how slots are kept."""
    token = _first.set(first)
    try:
        yield
    finally:
        _first.reset(token)


def first_keeper() -> First | None:
    """What says how slots are kept; None for as they are."""
    return _first.get()
