"""Matrices of several leaves that one call can take: of one shape, or of its transpose where the rule allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradxform.core.dealing import Arrays, Group
from gradxform.core.matrix_axes import MatrixAxes, View
from gradxform.core.matrix_slots import Held, of_matrices, slot_cut, whole_shapes
from gradxform.core.placement import Axes, Cut, place_among, types_tell, union


def groups_of(
    kinds: Sequence[Any], held: Sequence[Held], work: Callable[..., Arrays], devices: int | None
) -> tuple[list[Group], list[list[int]]]:
    """Leaves in groups, and the indices of those of each.

    A matrix and another's transpose are in one group only if both sorts leave some over when they are dealt out to so
    many devices; else each sort moves by itself, as it lies. None: always.
    """
    parted: dict[Any, list[int]] = {}
    stacks = [_stacks(*each) for each in zip(kinds, held, numbers(kinds, held), strict=True)]
    for index, (kind, leaf, stack) in enumerate(zip(kinds, held, stacks, strict=True)):
        types = tuple((array.shape[1:], array.dtype) for array in stack)
        seen = kind._replace(view=_seen(kind), cut=None)
        key = (seen, types, jax.tree.structure(leaf.slots), _cuts(kind, leaf), free_axes(kind, leaf.update))
        parted.setdefault(key, []).append(index)
    groups, members = [], []
    for (kind, _, structure, cuts, free), indices in parted.items():
        counts = {index: len(stacks[index][0]) for index in indices}
        for own in _sorted_out(counts, kinds, devices):
            leaves = [stacks[index] for index in own]
            groups.append(Group(leaves, list(cuts), free, _cost(kind.view), partial(work, kind, structure)))
            members.append(own)
    return groups, members


def _sorted_out(counts: dict[int, int], kinds: Sequence[Any], devices: int | None) -> list[list[int]]:
    """The indices of leaves with so many matrices, those of matrices and of transposes in one list or in two."""
    sorts: dict[bool, list[int]] = {}
    for index in counts:
        sorts.setdefault(_is_flipped(kinds[index]), []).append(index)
    if devices is None or all(sum(counts[index] for index in own) % devices for own in sorts.values()):
        return [list(counts)]
    return list(sorts.values())


def returned(kind: Any, leaf: Held, stacks: Arrays) -> tuple[jax.Array, Any]:
    """The update and the slots of a leaf, of the stacks that came back."""
    update, *kept = stacks
    update = update.swapaxes(-1, -2) if _is_flipped(kind) else update
    slots, structure = jax.tree.flatten(leaf.slots)
    kept = [stack.reshape(slot.shape) for stack, slot in zip(kept, slots, strict=True)]
    whole = kind.view.unstacked(update if kind.view.batch else update[0], leaf.update.shape)
    return whole, structure.unflatten(kept)


def is_dealt(kind: Any, update: jax.Array) -> bool:
    """Whether devices, within a map, have parts of a leaf's matrices, or the same of which each may take some."""
    return bool(free_axes(kind, update)) or any(kind.cut or ())


def free_axes(kind: Any, update: jax.Array) -> Axes:
    """The mesh axes of a map over which a leaf is known to be the same on all devices.

    Known it is from specs, and from types. Where nothing tells, each device may train parameters of its own.
    """
    axes = jax.sharding.get_abstract_mesh().manual_axes
    if kind.cut is None and not types_tell():
        return ()
    return tuple(name for name in axes if name not in union(kind.cut or ()) and lax.axis_size(name) > 1)


def numbers(kinds: Sequence[Any], held: Sequence[Held]) -> list[jax.Array]:
    """For each leaf the numbers of the first matrices of its elements on this device, among those of all leaves."""
    found, first = [], 0
    for kind, leaf in zip(kinds, held, strict=True):
        view, cut = kind.view, _cut(kind)
        number = jnp.zeros((), jnp.int32)
        for axis in view.batch:
            size = leaf.update.shape[axis]
            own = jnp.arange(size, dtype=jnp.int32) + (place_among(cut[axis]) * size if cut[axis] else 0)
            number = number[..., None] * view.shape[axis] + own
        found.append(first + number.reshape(-1) * view.parts)
        first += view.count * view.parts
    return found


def _stacks(kind: Any, leaf: Held, number: jax.Array) -> Arrays:
    """The arrays of a leaf with an axis in front that counts its matrices."""
    view = kind.view
    update = view.stacked(leaf.update) if view.batch else leaf.update[None]
    update = update.swapaxes(-1, -2) if _is_flipped(kind) else update
    slots = [slot.reshape(-1, *slot.shape[len(view.batch) :]) for slot in jax.tree.leaves(leaf.slots)]
    return [number, update, *slots]


def _cuts(kind: Any, leaf: Held) -> tuple[Cut, ...]:
    """How each of the stacks of a leaf is cut along all axes but the first."""
    view, cut = kind.view, _cut(kind)
    rest = tuple(cut[axis] for axis in view.rest)
    rest = rest[::-1] if _is_flipped(kind) else rest
    # By name, as JAX takes a dict apart.
    shapes = [whole_shapes(kind.rule, slot, view) for _, slot in sorted(of_matrices(kind.rule).items())]
    slots = [slot_cut(view, cut, shape, lax.axis_size) for each in shapes for shape in each if shape is not None]
    return ((), rest, *slots)


def _cut(kind: Any) -> Cut:
    """How the leaf is cut; not at all where nobody told."""
    return kind.cut or ((),) * len(kind.view.shape)


def _is_flipped(kind: Any) -> bool:
    return kind.rule.transposable and kind.view.is_plain and kind.view.rows > kind.view.columns


def _seen(kind: Any) -> View:
    """The view of a stack, of matrices with at least as many columns as rows where it is flipped."""
    view = kind.view
    if not view.is_plain:
        return view
    shape = (view.columns, view.rows) if _is_flipped(kind) else (view.rows, view.columns)
    return View((1, *shape), MatrixAxes())


def _cost(view: View) -> int:
    """Of the products of a matrix, as n^2 m of its shorter side n and its longer one m."""
    cost = 0
    for *front, rows, columns in view.pieces:
        cost += (front[0] if front else 1) * min(rows, columns) ** 2 * max(rows, columns)
    return cost
