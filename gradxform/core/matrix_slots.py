"""What a matrix rule keeps of each matrix: how it begins, and along what it is cut over devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from gradxform.core.branches import varying
from gradxform.core.declarations import MatrixSlot
from gradxform.core.matrix_axes import View
from gradxform.core.placement import Axes, Cut, place_among, types_tell, union
from gradxform.core.slots import first_value, kept_dtype


class Held(NamedTuple):
    """What the work on the matrices of a leaf begins with.

    Attributes:
      update: the leaf.
      slots: what the rule keeps of each matrix, by name: an array, a tuple of arrays, or MaskedNode.
    """

    update: jax.Array
    slots: Mapping[str, Any]


def of_matrices(rule: Any) -> dict[str, MatrixSlot]:
    """The slots of a rule that its work on whole matrices sees."""
    return {name: slot for name, slot in rule.slots.items() if isinstance(slot, MatrixSlot) and not slot.prepared}


def first_slot(
    rule: Any,
    slot: MatrixSlot,
    leaf: jax.Array,
    view: View,
    cut: Cut | None,
    kept: Callable[[jax.Array, Cut | None], Any],
) -> Any:
    """What a slot begins with for a leaf, as it is kept: an array, or a tuple of them; MaskedNode where there is none.

    Args:
      rule: the rule.
      slot: which of its slots.
      leaf: the leaf of the parameters.
      view: how the leaf is its matrices.
      cut: how the leaf is cut.
      kept: how an array is kept that is so cut, None where nobody told.
    """
    shapes = whole_shapes(rule, slot, view)
    found = [
        optax.MaskedNode() if shape is None else kept(*_first(rule, slot, leaf, view, cut, shape)) for shape in shapes
    ]
    return tuple(found) if len(found) > 1 else found[0]


def whole_shapes(rule: Any, slot: MatrixSlot, view: View) -> list[tuple[int, ...] | None]:
    """The shape of what a slot keeps of an element of the batch, for each of its pieces; None where it has none."""
    shapes = [(front, slot.shape(rule, *piece)) for *front, rows, columns in view.pieces for piece in [(rows, columns)]]
    return [None if shape is None else (*front, *shape) for front, shape in shapes]


def slot_cut(view: View, cut: Cut, shape: Sequence[int], size_of: Callable[[str], int]) -> Cut:
    """How what is kept of matrices is cut, if their leaf is cut so: over all mesh axes that cut the matrices.

    Args:
      view: how the leaf is its matrices.
      cut: how the leaf is cut.
      shape: of what is kept of an element of the batch, on all devices together.
      size_of: how many devices there are along a mesh axis.
    """
    names = union(cut[axis] for axis in view.rest)
    devices = math.prod(map(size_of, names))
    # The first of the axes that the devices divide; if they divide none, each device has the whole.
    place = next((axis for axis, size in enumerate(shape) if names and size % devices == 0), None)
    return tuple(names if axis == place else () for axis in range(len(shape)))


def specs_of(kind: Any, leaf: Held, sizes: Mapping[str, int]) -> Any:
    """The specs of a leaf and of its slots, in their places, on a mesh whose axes have these sizes."""
    view, cut, slots = kind.view, kind.cut, of_matrices(kind.rule)
    batch = [cut[axis] for axis in view.batch]

    def of_slot(shape: Sequence[int] | None) -> Any:
        if shape is None:
            return optax.MaskedNode()
        return _spec([*batch, *slot_cut(view, cut, shape, sizes.__getitem__)])

    found = {name: [of_slot(shape) for shape in whole_shapes(kind.rule, slots[name], view)] for name in leaf.slots}
    specs: Any = _spec(cut)
    return Held(specs, {name: tuple(specs) if len(specs) > 1 else specs[0] for name, specs in found.items()})


def cut_of(leaf: jax.Array) -> Cut:
    """How a leaf is cut by its type, on a mesh with explicit axes."""
    spec = jax.typeof(leaf).sharding.spec
    return tuple((names,) if isinstance(names, str) else tuple(names or ()) for names in spec)


def _first(
    rule: Any, slot: MatrixSlot, leaf: jax.Array, view: View, cut: Cut | None, whole: tuple[int, ...]
) -> tuple[jax.Array, Cut | None]:
    """An array, and how it is cut, None where nobody told."""
    dtype, value = kept_dtype(rule, slot, leaf), first_value(rule, slot)
    own = value * jnp.eye(*whole[-2:], dtype=dtype) if slot.diagonal and len(whole) > 1 else jnp.asarray(value, dtype)
    first = jnp.broadcast_to(own, (*(leaf.shape[axis] for axis in view.batch), *whole))
    sharding = jax.typeof(leaf).sharding
    if any(sharding.spec):
        # The mesh is one with explicit axes.
        mesh, cut = sharding.mesh, cut_of(leaf)
        spec = _spec([*(cut[axis] for axis in view.batch), *slot_cut(view, cut, whole, mesh.shape.__getitem__)])
        return jax.sharding.reshard(first, NamedSharding(mesh, spec)), None
    if cut is None:
        return first, None
    own_cut = slot_cut(view, cut, whole, lax.axis_size)
    for axis, names in enumerate(own_cut, len(view.batch)):
        if names:
            size = first.shape[axis] // math.prod(map(lax.axis_size, names))
            first = lax.dynamic_slice_in_dim(first, place_among(names) * size, size, axis)
    all_cut = (*(cut[axis] for axis in view.batch), *own_cut)
    return varying(first, union(all_cut)) if types_tell() else first, all_cut


def _spec(cut: Sequence[Axes]) -> PartitionSpec:
    return PartitionSpec(*(names or None for names in cut))
