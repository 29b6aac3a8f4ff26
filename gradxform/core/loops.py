"""A leaf on a CPU, block by block in a loop: what is loaded of it is as large as a block, and stays in the caches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradxform.core.kernels import Part, Tiling, Work, based, computed, noises_of, stored


def run(work: Work, tiles: Tiling, step: jax.Array) -> list[Any]:
    """The results of the work, each kept as what it replaces, where that lies; `step` is the number of the step."""
    flat, structures = zip(*(jax.tree.flatten(based(each, tiles)) for each in work.kept), strict=True)
    parts = [[Part.of(array, tiles, "cpu") for array in arrays] for arrays in flat]
    given = [
        [array.reshape(part.shape) for array, part in zip(arrays, own, strict=True)]
        for arrays, own in zip(flat, parts, strict=True)
    ]
    noises, counts = noises_of(work, tiles)
    numbers = [*work.parted.numbers, *counts]
    replaced = {result.like: index for index, result in enumerate(work.results) if result.like is not None}
    leaving = Part.of(jax.ShapeDtypeStruct(work.kept[0].shape, jnp.float32), tiles, "cpu")
    first = [
        [jnp.zeros(leaving.shape, jnp.float32)] if each.like is None else given[each.like] for each in work.results
    ]
    out_parts = [[leaving] if each.like is None else parts[each.like] for each in work.results]
    count = tiles.grid[-1]

    def turn(index: jax.Array, results: list[list[jax.Array]]) -> list[list[jax.Array]]:
        ids = (index // count, index % count, jnp.zeros_like(index))

        def loaded(results: list[list[jax.Array]]) -> list[Any]:
            now = [results[replaced[place]] if place in replaced else arrays for place, arrays in enumerate(given)]
            return [
                structure.unflatten([_block(array, part, ids) for array, part in zip(arrays, own, strict=True)])
                for structure, arrays, own in zip(structures, now, parts, strict=True)
            ]

        # XLA fuses nothing across a branch. Without one it computes what the rules do once for the largest value of a
        # block, once for its codes and once for each slot behind, and copies an array that is written between.
        values = lax.cond(
            step > 0,
            lambda results: computed(work, tiles, loaded(results), numbers),
            lambda results: [jnp.full(tiles.block, jnp.nan)] * len(work.results),
            results,
        )
        new = stored(work, tiles, values, loaded(results), numbers, noises, ids)
        return [
            [_with_block(array, next(new), part, ids) for array, part in zip(arrays, own, strict=True)]
            for arrays, own in zip(results, out_parts, strict=True)
        ]

    done = lax.fori_loop(0, tiles.grid[0] * count, turn, first)
    return [
        arrays[0].reshape(work.kept[0].shape) if result.like is None else _like(work.kept[result.like], arrays)
        for result, arrays in zip(work.results, done, strict=True)
    ]


def _block(array: jax.Array, part: Part, ids: tuple[Any, ...]) -> jax.Array:
    return lax.dynamic_slice(array, _start(part, ids), (1, part.rows, part.shape[2]))


def _with_block(array: jax.Array, block: jax.Array, part: Part, ids: tuple[Any, ...]) -> jax.Array:
    return lax.dynamic_update_slice(array, block, _start(part, ids))


def _start(part: Part, ids: tuple[Any, ...]) -> tuple[Any, ...]:
    front, row, column = ids
    return front, row * part.rows, column


def _like(kept: Any, arrays: list[jax.Array]) -> Any:
    leaves, structure = jax.tree.flatten(kept)
    return structure.unflatten(array.reshape(leaf.shape) for array, leaf in zip(arrays, leaves, strict=True))
