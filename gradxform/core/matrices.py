"""Matrix rules: what they do to each leaf where it lies, and to its matrices, whole, wherever these are dealt to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from gradxform.core import alike, checks, dealing, keep
from gradxform.core.dealing import Arrays
from gradxform.core.declarations import MatrixSlot, Rule
from gradxform.core.fields import WeightAxes
from gradxform.core.flow import Flow, Step, times
from gradxform.core.hyperparameters import split
from gradxform.core.matrix_axes import View, views
from gradxform.core.matrix_context import Matrices, MatrixLeaf
from gradxform.core.matrix_groups import groups_of, is_dealt, numbers, returned
from gradxform.core.matrix_slots import Held, cut_of, first_slot, of_matrices, specs_of
from gradxform.core.noise import Noise
from gradxform.core.placement import Cut, Placement, cuts_of, whole_shape
from gradxform.core.precision import fitting, mixing, real_dtype
from gradxform.core.slots import (
    column,
    extras,
    first_kept,
    first_leaf_records,
    next_key,
    noise_of,
    step_key,
    stored_slot,
)


class Shared(NamedTuple):
    """What all leaves share: computed once a step, outside.

    Attributes:
      step: int32 of shape (): the number of this step, from 1 on.
      factor: what a rule before multiplies all updates by, of shape (); None for nothing.
      hypers: the hyperparameters that are arrays, by name.
      extras: the extra arguments that the rule declares, by name.
      keys: the random keys of this step, by name.
    """

    step: jax.Array
    factor: jax.Array | None
    hypers: dict[str, Any]
    extras: dict[str, Any]
    keys: dict[str, jax.Array]


class Kind(NamedTuple):
    """What is static of a leaf: hashable, so that leaves of a kind are traced once.

    Attributes:
      rule: with nothing in the place of numbers that are arrays.
      types: of its fields, because 1 == 1.0, and what is traced may depend on which it is.
      view: how the leaf is its matrices.
      cut: how the leaf is cut over devices, None where nobody told.
    """

    rule: Any
    types: tuple[type, ...]
    view: View
    cut: Cut | None


def begin(rule: Rule, params: Flow) -> Any:
    """A matrix rule's record before the first step."""
    record = first_leaf_records(rule, params, [True] * len(params.updates))
    leaves = list(zip(params.updates, _views(rule, params), params.cuts, strict=True))
    slots = [(name, slot) for name, slot in rule.slots.items() if isinstance(slot, MatrixSlot)]
    paths = [partial(checks.path_of, params.structure, index) for index in range(len(leaves))]
    firsts = {
        name: [
            first_slot(rule, slot, *leaf, partial(first_kept, name, slot, where))
            for leaf, where in zip(leaves, paths, strict=True)
        ]
        for name, slot in slots
    }
    return record._replace(**{name: params.structure.unflatten(first) for name, first in firsts.items()})


def advance(rule: Any, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
    """One step: each leaf is prepared where it lies, and then its matrices are taken whole."""
    static, hypers = split(rule, step.done)
    keys = {name: step_key(rule, name, getattr(record, name)) for name in rule.keys}
    shared = Shared(step.number, flow.factor, hypers, extras(rule, step.extra), keys)
    types = tuple(type(value) for value in static.fields().values())
    kinds = [Kind(static, types, view, cut) for view, cut in zip(_views(rule, flow), flow.cuts, strict=True)]
    params = [None] * len(flow.updates) if flow.params is None else flow.params
    kept = {name: column(rule, name, getattr(record, name), flow) for name in rule.slots}
    slots = [{name: kept[name][index] for name in kept} for index in range(len(kinds))]
    noise = noise_of(step.number, (slots, params))
    noises = [None if noise is None else noise.of(index) for index in range(len(kinds))]
    leaves = list(zip(flow.updates, slots, params, noises, strict=True))
    prepared = _in_groups(_prepared, kinds, leaves, shared) if rule.prepares or flow.factor is not None else leaves
    done = [leaf[:2] for leaf in prepared]
    if rule.takes_matrices and kinds:
        done = _whole(kinds, done, noises, shared, partial(_cuts_on, flow, step.placement))
    new = {name: flow.structure.unflatten([leaf[1][name] for leaf in done]) for name in rule.slots}
    new |= {name: next_key(rule, name, getattr(record, name)) for name in rule.keys}
    return flow.replace(updates=[leaf[0] for leaf in done], factor=None), rule.State(**new)


def _views(rule: Rule, flow: Flow) -> list[View]:
    """How each leaf is its matrices, whatever part of it is on this device."""
    given = [getattr(rule, name) for name, role in rule.roles.items() if role is WeightAxes]
    pairs = zip(flow.updates, flow.cuts, strict=True)
    shapes = [whole_shape(rule.call_name, leaf, cut) for leaf, cut in pairs]
    return views(rule.call_name, given[0] if given else None, flow.structure, flow.updates, shapes)


def _in_groups(function: Callable[..., Any], kinds: Sequence[Kind], leaves: list[Any], shared: Shared) -> list[Any]:
    """What a function makes of leaves of one kind, for each leaf: called with a few that are alike at once."""
    types = [(kind, jax.tree.structure(leaf)) for kind, leaf in zip(kinds, leaves, strict=True)]
    types = [(*each, *map(jax.typeof, jax.tree.leaves(leaf))) for each, leaf in zip(types, leaves, strict=True)]
    return alike.in_groups(types, lambda group: function(kinds[group[0]], [leaves[index] for index in group], shared))


@partial(jax.jit, static_argnums=0)
def _prepared(kind: Kind, leaves: list[Any], shared: Shared) -> list[Any]:
    """Leaves after what the rule does to them where they lie."""
    return [_prepare(kind, *leaf, shared) for leaf in leaves]


@partial(jax.jit, static_argnums=0)
def _prepare(
    kind: Kind,
    grad: jax.Array,
    slots: dict[str, Any],
    param: jax.Array | None,
    noise: Noise | None,
    shared: Shared,
) -> tuple[jax.Array, dict[str, Any]]:
    rule = kind.rule
    fit, bound = _fitted(rule, (grad, slots, param), shared)
    update, param = times(fit(grad), shared.factor), None if param is None else keep.load(param, fit)
    if not rule.prepares:
        return update, slots
    leaf = MatrixLeaf(rule.call_name, shared.step, shared.extras, param, True, update, kind.cut, view=kind.view)
    own = {name: value for name, value in slots.items() if name not in of_matrices(rule)}
    with jax.named_scope(rule.call_name), mixing(grad):
        result = bound.prepare(update, _record(rule, own, fit), leaf)
    update, new = checks.pair(rule.call_name, "update", result, rule.State)
    checks.leaf_result(rule.call_name, update, grad)
    return fit(update), {**slots, **_kept(rule, own, new, noise, kind.cut)}


def _cuts_on(flow: Flow, placement: Placement | None, mesh: Any) -> list[Cut] | None:
    """How leaves are cut over a mesh by types or by specs; None if nothing tells, or what is told does not divide."""
    if AxisType.Explicit in mesh.axis_types:
        return [cut_of(leaf) for leaf in flow.updates]
    if placement is None:
        return None
    told = cuts_of("on_axes", placement.specs, "updates", flow.structure.unflatten(flow.updates), mesh.axis_names)
    divides = [
        size % math.prod(mesh.shape[name] for name in names) == 0
        for leaf, cut in zip(flow.updates, told, strict=True)
        for size, names in zip(leaf.shape, cut, strict=True)
    ]
    return told if all(divides) else None


def _whole(
    kinds: Sequence[Kind],
    leaves: Sequence[Any],
    noises: Sequence[Noise | None],
    shared: Shared,
    cuts_on: Callable[[Any], list[Cut] | None],
) -> list[Any]:
    """Leaves after what the rule does to their matrices."""
    old = [{name: slots[name] for name in of_matrices(kinds[0].rule)} for _, slots in leaves]
    # Matrices move as they are computed with: a codec's blocks are those of the leaf where it lies.
    held = [Held(update, keep.decoded(slots)) for (update, _), slots in zip(leaves, old, strict=True)]
    mesh = dealing.meshed([update for update, _ in leaves])
    if mesh is None:
        new = _here(kinds, held, shared)
    elif cuts := cuts_on(mesh):
        new = _in_map([kind._replace(cut=cut) for kind, cut in zip(kinds, cuts, strict=True)], held, shared, mesh)
    else:
        new = _grouped(kinds, held, lambda groups: dealing.on_mesh(groups, shared, mesh), math.prod(mesh.axis_sizes))
    return [
        (update, {**slots, **keep.encoded_like(kept, own, noise)})
        for (_, slots), own, (update, kept), noise in zip(leaves, old, new, noises, strict=True)
    ]


def _here(kinds: Sequence[Kind], held: Sequence[Held], shared: Shared) -> list[Any]:
    """The work on the matrices of leaves on one device, or of its parts within a map."""
    if any(is_dealt(kind, each.update) for kind, each in zip(kinds, held, strict=True)):
        return _grouped(kinds, held, lambda groups: dealing.on_axes(groups, shared), _mapped())
    if kinds[0].rule.batched:
        return _grouped(kinds, held, lambda groups: dealing.together(groups, shared), None)
    return _in_groups(_alone, kinds, list(zip(held, numbers(kinds, held), strict=True)), shared)


def _mapped() -> int:
    """How many devices there are in this map."""
    return math.prod(map(lax.axis_size, jax.sharding.get_abstract_mesh().manual_axes))


def _in_map(kinds: Sequence[Kind], held: Sequence[Held], shared: Shared, mesh: Any) -> list[Any]:
    """As `_here`, under `jit` on a mesh where it is known how leaves are cut."""
    typed = [name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit]
    specs = [specs_of(kind, leaf, mesh.shape) for kind, leaf in zip(kinds, held, strict=True)]
    came = [leaf.slots for leaf in held]
    if typed:
        # Slots may lie as the user likes; what a map takes in must lie as it is told.
        held = [Held(leaf.update, _placed(leaf.slots, spec.slots)) for leaf, spec in zip(held, specs, strict=True)]
    new = jax.shard_map(
        lambda held, shared: [Held(*leaf) for leaf in _here(kinds, held, shared)],
        mesh=mesh,
        in_specs=(specs, PartitionSpec()),
        out_specs=specs,
        axis_names=set(typed or mesh.axis_names),
        check_vma=False,
    )(held, shared)
    if typed:
        new = [Held(leaf.update, _placed_like(leaf.slots, old)) for leaf, old in zip(new, came, strict=True)]
    return new


def _placed(slots: Any, specs: Any) -> Any:
    return jax.tree.map(jax.sharding.reshard, slots, specs)


def _placed_like(slots: Any, old: Any) -> Any:
    return jax.tree.map(lambda slot, old: jax.sharding.reshard(slot, jax.typeof(old).sharding), slots, old)


def _grouped(kinds: Sequence[Kind], held: Sequence[Held], run: Callable[..., Any], devices: int | None) -> list[Any]:
    """What the rule makes of the matrices of all leaves, those that one call can take together."""
    groups, indices = groups_of(kinds, held, worked, devices)
    results: list[Any] = [None] * len(held)
    for own, stacks in zip(indices, run(groups), strict=True):
        for index, stack in zip(own, stacks, strict=True):
            results[index] = returned(kinds[index], held[index], stack)
    return results


@partial(jax.jit, static_argnums=0)
def _alone(kind: Kind, leaves: list[Any], shared: Shared) -> list[Any]:
    """Leaves after what the rule does to the matrices of each."""
    return [_of_leaf(kind, *leaf, shared) for leaf in leaves]


@partial(jax.jit, static_argnums=0)
def _of_leaf(kind: Kind, leaf: Held, number: jax.Array, shared: Shared) -> tuple[jax.Array, dict[str, Any]]:
    view, (slots, structure) = kind.view, jax.tree.flatten(leaf.slots)
    stacks = [slot.reshape(-1, *slot.shape[len(view.batch) :]) if view.batch else slot for slot in slots]
    number = number if view.batch else number[0]
    new, *kept = worked(kind, structure, [number, view.stacked(leaf.update), *stacks], shared)
    kept = [stack.reshape(slot.shape) for stack, slot in zip(kept, slots, strict=True)]
    return view.unstacked(new, leaf.update.shape), structure.unflatten(kept)


def worked(kind: Kind, structure: Any, arrays: Arrays, shared: Shared) -> Arrays:
    """What the rule makes of matrices that are whole.

    Args:
      kind: of the leaves that they are from.
      structure: of the slots of a leaf.
      arrays: the number of the first matrix of each element, the updates in the axes of the leaf, and the slots, with
        or without an axis in front that counts.
      shared: what all share.

    Returns:
      The new updates and slots.
    """
    number, stack, *old = arrays
    rule, slots = kind.rule, structure.unflatten(old)
    fit, bound = _fitted(rule, (stack, old), shared)
    pieces = kind.view.matrices(fit(stack))
    done, kept = [], []
    parts = [number + index for index in range(kind.view.parts)]
    for index, piece in enumerate(pieces):
        own = {name: value[index] if len(pieces) > 1 else value for name, value in slots.items()}
        if not piece.size:
            # Decompositions and maxima take no empty matrices.
            done.append(piece)
            kept.append(own)
            continue
        own_number = parts[index] if len(pieces) == len(parts) else jnp.stack(parts, -1)
        matrices = Matrices(rule.call_name, shared.step, shared.extras, own_number)
        with jax.named_scope(rule.call_name), mixing(piece):
            result = bound.update(piece, _record(rule, own, fit)._replace(**shared.keys), matrices)
        update, new = checks.pair(rule.call_name, "update", result, rule.State)
        checks.leaf_result(rule.call_name, update, piece)
        done.append(fit(update))
        kept.append(_kept(rule, own, new))
    together = {name: tuple(each[name] for each in kept) if len(pieces) > 1 else kept[0][name] for name in slots}
    return [kind.view.joined(done), *jax.tree.leaves(together)]


def _fitted(rule: Any, arrays: Any, shared: Shared) -> tuple[Callable[[jax.Array], jax.Array], Any]:
    """The cast to the dtype of computation with these arrays, and the rule with its numbers."""
    dtypes = keep.dtypes(arrays)
    real = real_dtype(*dtypes)
    return fitting(*dtypes), rule.replace(**jax.tree.map(lambda number: number.astype(real), shared.hypers))


def _record(rule: Any, values: Mapping[str, Any], fit: Callable[[jax.Array], jax.Array]) -> Any:
    """A record of what is known here of the slots, loaded; None for the others."""
    loaded = keep.each(partial(keep.load, fit=fit), dict(values))
    return rule.State(**{name: loaded.get(name) for name in rule.State._fields})


def _kept(
    rule: Rule, old: Mapping[str, Any], new: Any, noise: Noise | None = None, cut: Cut | None = None
) -> dict[str, Any]:
    """What is kept of a new record, in the shapes and dtypes of the old values."""
    return {name: stored_slot(rule, name, getattr(new, name), kept, noise, [cut]) for name, kept in old.items()}
