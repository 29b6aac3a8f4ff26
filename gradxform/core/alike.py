"""Work on many leaves, traced for a few of each kind.

A call of an inner `jit` costs as much to trace and lower as four operations, whatever it does. So leaves that are alike
go through it in groups: what they cost is then little more than their places among its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
from jax.core import Tracer

# A group costs its own size to trace once, and a call for each of the others: least near the root of 1000 leaves.
LARGEST = 32


def groups(kinds: Sequence[Hashable]) -> list[list[int]]:
    """The indices of what is of one kind together, in groups of at most 32."""
    places: dict[Hashable, list[int]] = {}
    for index, kind in enumerate(kinds):
        places.setdefault(kind, []).append(index)
    return [alike[first : first + LARGEST] for alike in places.values() for first in range(0, len(alike), LARGEST)]


def in_groups(kinds: Sequence[Hashable], function: Callable[[list[int]], Sequence[Any]]) -> list[Any]:
    """What a function returns of the indices of each group, a value for each, in the order of the kinds."""
    results: list[Any] = [None] * len(kinds)
    for group in groups(kinds):
        for index, result in zip(group, function(group), strict=True):
            results[index] = result
    return results


def each(function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
    """`function(*item)` of every item; while tracing, one call for each group of items that are alike.

    Args:
      function: pure; what it closes over may be traced.
      items: arguments: arrays, and what is read while tracing, such as bools.
    """
    parts = [_parted(item) for item in items]
    kinds = [(*static, *map(jax.typeof, arrays)) for static, arrays in parts]
    # By hand, on arrays, each call would be compiled anew.
    is_traced = any(isinstance(array, Tracer) for _, arrays in parts for array in arrays)
    if not is_traced or len(set(kinds)) == len(kinds):
        return [function(*item) for item in items]

    @partial(jax.jit, static_argnums=0)
    def of_one(static: tuple[Any, ...], arrays: list[jax.Array]) -> Any:
        structure, values = static
        others = iter(arrays)
        return function(*structure.unflatten(next(others) if value is None else value for value in values))

    @partial(jax.jit, static_argnums=0)
    def of_group(static: tuple[Any, ...], group: list[list[jax.Array]]) -> list[Any]:
        return [of_one(static, arrays) for arrays in group]

    return in_groups(kinds, lambda group: of_group(parts[group[0]][0], [parts[index][1] for index in group]))


def _parted(item: tuple[Any, ...]) -> tuple[tuple[Any, tuple[Any, ...]], list[jax.Array]]:
    """What of an item is static, its structure and its values with None for arrays, and the arrays."""
    leaves, structure = jax.tree.flatten(item)
    static = tuple(None if isinstance(leaf, jax.Array) else leaf for leaf in leaves)
    return (structure, static), [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
