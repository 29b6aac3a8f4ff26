"""How an array lies in memory between steps: the one place where slots, and parameters, are loaded and stored.

An array is kept as it is, in the dtype that it was given in `init`; or a codec keeps it, and then it is an `Encoded`,
which knows its codec. So whoever loads need not be told, and whatever holds a state, a wrapper or a checkpoint, holds
an `Encoded` as it holds any other pytree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np
from jax import lax

from gradxform.core.noise import Noise
from gradxform.core.precision import is_inexact
from gradxform.core.record import Record
from gradxform.core.text import show

Fit = Callable[[jax.Array], jax.Array]


class Codec(Record, is_leaf=True):
    """How arrays are kept in fewer bits: a subclass has `first`, `load`, `store`, `shape_of` and `dtype_of`.

    What is stored of what was loaded is what was kept before, so that a slot that a rule returns as it was stays.
    """

    @property
    def is_random(self) -> bool:
        """Whether it rounds at random, and `store` asks for noise."""
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

    def __jax_array__(self) -> jax.Array:
        return self.codec.load(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.codec.load(self), dtype)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={show(part)}" for name, part in self.parts.items())
        return f"<{self.dtype.name}{list(self.shape)} by {self.codec!r}: {parts}>"


def _flatten_with_keys(kept: Encoded) -> tuple[list[tuple[Any, Any]], Any]:
    parts = [(jax.tree_util.GetAttrKey(name), part) for name, part in kept.parts.items()]
    return parts, (kept.codec, kept.layout, tuple(kept.parts))


def _unflatten(static: Any, parts: Any) -> Encoded:
    codec, layout, names = static
    return Encoded(codec, layout, dict(zip(names, parts, strict=True)))


jax.tree_util.register_pytree_with_keys(
    Encoded, _flatten_with_keys, _unflatten, lambda kept: (tuple(kept.parts.values()), _flatten_with_keys(kept)[1])
)


def is_encoded(value: Any) -> bool:
    """Whether a codec keeps it."""
    return isinstance(value, Encoded)


def each(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` in which what a codec keeps is one leaf."""
    return jax.tree.map(function, tree, *rest, is_leaf=is_encoded)


def load(kept: Any, fit: Fit) -> jax.Array:
    """The array of computation of what is kept; `fit` casts to its dtype."""
    return fit(kept.codec.load(kept) if is_encoded(kept) else kept)


def store(value: jax.Array, kept: Any, noise: Noise | None = None) -> Any:
    """What is kept of a new value, in the shapes and dtypes of what was kept before."""
    if is_encoded(kept):
        return kept.codec.store(value.astype(kept.dtype), kept, noise)
    return lax.convert_element_type(value, kept.dtype)


def dtypes(tree: Any) -> list[Any]:
    """The inexact dtypes of arrays, of what codecs keep those in which it is loaded."""
    return [leaf.dtype for leaf in jax.tree.leaves(tree, is_leaf=is_encoded) if is_inexact(leaf)]


def decoded(tree: Any) -> Any:
    """A tree with arrays in the place of what codecs keep."""
    return each(lambda kept: kept.codec.load(kept) if is_encoded(kept) else kept, tree)


def encoded_like(tree: Any, kept: Any, noise: Noise | None) -> Any:
    """A tree in which what `kept` keeps by codecs is so kept, and all else is as it is."""
    leaves, structure = jax.tree.flatten(kept, is_leaf=is_encoded)
    if not any(map(is_encoded, leaves)):
        return tree
    new = structure.flatten_up_to(tree)
    return structure.unflatten(
        value if is_encoded(value) or not is_encoded(old) else store(value, old, noise and noise.of(index))
        for index, (value, old) in enumerate(zip(new, leaves, strict=True))
    )


def is_random(tree: Any) -> bool:
    """Whether anything in a tree is kept by a codec that rounds at random."""
    return any(is_encoded(kept) and kept.codec.is_random for kept in jax.tree.leaves(tree, is_leaf=is_encoded))


# What keeps a slot at first: (the slot's name, the path of its leaf, the array, whether it is signed, whether it begins
# as a copy of the parameter) -> what is kept.
First = Callable[[str, str, jax.Array, bool, bool], Any]

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
