"""Slots, keys and metrics as they lie in a state: how they begin, and how they go to the leaves and come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from gradxform.core import checks, keep
from gradxform.core.declarations import MatrixSlot, Metric, Rule, Slot
from gradxform.core.flow import Flow
from gradxform.core.keep import Fit
from gradxform.core.noise import Noise, salt_of
from gradxform.core.placement import Cut, spread_axes, union, varying_axes, whole_shape
from gradxform.core.precision import compute_dtype, fitting, is_complex, is_inexact, mixing, real_dtype
from gradxform.core.reductions import own_keys


def first_leaf_records(rule: Rule, params: Flow, applies: Sequence[bool]) -> Any:
    """A leaf rule's record before the first step: each slot a tree like the parameters, keys alone.

    Where a mask leaves a leaf out, or the leaf has no such slot, its place holds optax.MaskedNode, which is no leaf.
    """
    found: dict[str, list[Any]] = {name: [] for name in (*rule.slots, *rule.metrics)}
    for index, (leaf, applied, cut) in enumerate(zip(params.updates, applies, params.cuts, strict=True)):
        where = partial(checks.path_of, params.structure, index)
        for name, slot in rule.slots.items():
            # Those of matrices begin where it is known what the leaf's matrices are.
            has_it = applied and not isinstance(slot, MatrixSlot)
            found[name].append(_first(rule, name, slot, leaf, cut, where) if has_it else optax.MaskedNode())
        for name, metric in rule.metrics.items():
            found[name].append(_scalar(metric, leaf) if applied else optax.MaskedNode())
    trees = {name: params.structure.unflatten(column) for name, column in found.items()}
    return rule.State(**trees, **first_keys(rule))


def first_tree_record(rule: Rule, params: Flow) -> Any:
    """A tree rule's record before the first step: slots like the parameters, scalars or vectors, keys and metrics."""
    leaves, structure = params.updates, params.structure
    values = {}
    for name, slot in rule.slots.items():
        if slot.measure is not None:
            values[name] = _measured(getattr(rule, slot.measure), params.tree())
        elif slot.axes == () and not slot.is_had_by(rule):
            values[name] = optax.MaskedNode()
        elif slot.axes == ():
            scalar = jnp.zeros((), real_dtype(*(leaf.dtype for leaf in leaves)))
            values[name] = _filled(rule, slot, scalar, (), None, lambda: "the root")
        else:
            paths = [partial(checks.path_of, structure, index) for index in range(len(leaves))]
            values[name] = structure.unflatten(
                _first(rule, name, slot, leaf, cut, where)
                for leaf, cut, where in zip(leaves, params.cuts, paths, strict=True)
            )
    metrics = {name: _first_metric(rule, metric, params) for name, metric in rule.metrics.items()}
    within = {name: _first_within(getattr(rule, inner.field), params.tree()) for name, inner in rule.inners.items()}
    return rule.State(**values, **first_keys(rule), **within, **metrics)


def columns(rule: Rule, record: Any, flow: Flow) -> list[Any]:
    """A record of trees as a list of records, one a leaf. ValueError if a slot does not fit the updates."""
    found = []
    for name, tree in zip(record._fields, record, strict=True):
        if name in rule.keys:
            axes = [spread_axes(rule.call_name, leaf, cut) for leaf, cut in zip(flow.updates, flow.cuts, strict=True)]
            found.append(own_keys(step_key(rule, name, tree), axes))
        else:
            found.append(column(rule, name, tree, flow))
    return list(map(rule.State, *found)) if found else [rule.State()] * len(flow.updates)


def in_columns(rule: Rule, records: Sequence[Any], structure: Any, old: Any) -> Any:
    """Records of leaves as one record of trees, with the keys of the next step."""
    return rule.State(
        *(
            next_key(rule, name, getattr(old, name)) if name in rule.keys else structure.unflatten(column)
            for name, column in zip(
                rule.State._fields, zip(*records, strict=True) if records else [()] * len(old), strict=True
            )
        )
    )


def in_lists(rule: Rule, record: Any, flow: Flow) -> Any:
    """A tree rule's record with a list of leaves in the place of each tree that is like the parameters."""
    return record._replace(
        **{name: column(rule, name, getattr(record, name), flow) for name, slot in rule.slots.items() if slot.is_tree}
    )


def in_trees(rule: Rule, record: Any, structure: Any) -> Any:
    """A tree rule's record with trees in the place of lists of leaves."""
    return record._replace(
        **{name: structure.unflatten(getattr(record, name)) for name, slot in rule.slots.items() if slot.is_tree}
    )


def loaded(rule: Rule, record: Any, fit: Fit) -> Any:
    """A record in the arrays that the rule computes with; keys, and the states of transforms within, as they are."""
    as_they_are = (*rule.keys, *rule.inners)
    return record._replace(
        **{
            name: keep.each(partial(keep.load, fit=fit), value)
            for name, value in zip(record._fields, record, strict=True)
            if name not in as_they_are
        }
    )


def stored(rule: Rule, new: Any, old: Any, noise: Noise | None = None, cuts: Sequence[Cut | None] = ()) -> Any:
    """A record of new values, arrays or trees, in the shapes and dtypes of the old ones; keys as they were.

    Args:
      noise: for what is rounded at random.
      cuts: how the leaves of these slots are cut over devices, None for those of which nobody told; () for all.
    """
    values = {}
    for name, value, kept in zip(old._fields, new, old, strict=True):
        if name in rule.keys:
            values[name] = kept
        elif name in rule.inners:
            values[name] = jax.tree.map(partial(_state_within, rule, name), value, kept)
        else:
            values[name] = stored_slot(rule, name, value, kept, noise, cuts)
    return type(old)(**values)


def _state_within(rule: Rule, name: str, value: Any, kept: Any) -> Any:
    """An array of the state of a transform within a rule, in the dtype of the old one."""
    checks.slot_shape(rule.call_name, name, value, kept)
    checks.state_kind(rule.call_name, name, value, kept)
    return lax.convert_element_type(value, kept.dtype)


def stored_slot(rule: Rule, name: str, value: Any, kept: Any, noise: Noise | None, cuts: Sequence[Cut | None]) -> Any:
    """A slot, or a tree of them, kept as what was kept before."""
    place = rule.State._fields.index(name)
    is_like_param = name in rule.slots and rule.slots[name].is_like_param

    def store(value: Any, kept: Any, index: int) -> Any:
        checks.slot_shape(rule.call_name, name, value, kept)
        own = noise.of(place, index) if noise is not None and keep.is_random(kept) else None
        return keep.store(value, kept, own, cuts[index] if cuts and is_like_param else None)

    old, structure = jax.tree.flatten(kept, is_leaf=keep.is_encoded)
    new = structure.flatten_up_to(value)
    return structure.unflatten(map(store, new, old, range(len(old))))


def noise_of(step: jax.Array, kept: Any) -> Noise | None:
    """The noise of a step; None where nothing of what is kept is rounded at random."""
    return Noise(salt_of(step)) if keep.is_random(kept) else None


def extras(rule: Rule, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The extra arguments that a rule declares. ValueError for one that is not given."""
    names = [name for name, declared in rule.extras.items() if declared.where is None or getattr(rule, declared.where)]
    for name in names:
        if name not in extra:
            call = f"update(updates, state, params, {name}=...)"
            raise ValueError(f"{rule.call_name} needs an extra argument: call {call}")
    return {name: extra[name] for name in names}


def step_key(rule: Rule, name: str, data: jax.Array) -> jax.Array:
    """The key of this step, of the data that the state keeps."""
    return jax.random.fold_in(_key_of(rule, name, data), 0)


def next_key(rule: Rule, name: str, data: jax.Array) -> jax.Array:
    """The data of the key of the next step."""
    return jax.random.key_data(jax.random.fold_in(_key_of(rule, name, data), 1))


def column(rule: Rule, name: str, tree: Any, flow: Flow) -> list[Any]:
    """What each leaf has of a slot or a metric. ValueError if it does not fit the updates."""
    kept_by = f"the slots {name} of {rule.call_name}"
    try:
        column = flow.structure.flatten_up_to(tree)
    except ValueError:
        checks.same_structure("updates", flow.structure.unflatten(flow.updates), tree, kept_by)
        raise
    checks.each_kept("updates", flow.structure, column, kept_by)
    if name in rule.slots and rule.slots[name].is_like_param and not rule.per_example:
        masked = optax.MaskedNode
        kept = [leaf if isinstance(k, masked) else k for leaf, k in zip(flow.updates, column, strict=True)]
        checks.same_shapes("updates", flow.structure, flow.updates, kept, kept_by)
        if rule.slots[name].signed:
            checks.same_kinds("updates", flow.structure, flow.updates, kept, kept_by)
    return column


def first_kept(name: str, slot: Slot, where: Callable[[], str], value: jax.Array, cut: Cut | None) -> Any:
    """What a slot begins with, as it is kept: by a codec where `stored` says so."""
    first = keep.first_keeper()
    if first is None:
        return value
    return first(keep.Beginning(name, where(), value, slot.signed, slot.copy, cut))


def _first(rule: Rule, name: str, slot: Slot, leaf: Any, cut: Cut | None, where: Callable[[], str]) -> Any:
    """What a slot begins with, as it is kept: an array, a tuple of arrays, or MaskedNode."""
    decides = callable(slot.axes)
    shape = whole_shape(rule.call_name, leaf, cut, where) if decides else leaf.shape
    axes = kept_axes(rule, slot, shape)
    if axes is None:
        return optax.MaskedNode()

    def kept(axes: Sequence[int]) -> Any:
        value = _filled(rule, slot, leaf, axes, cut, where)
        own = None if cut is None else tuple(cut[axis] for axis in axes) + ((),) * (value.ndim - len(axes))
        return first_kept(name, slot, where, value, own)

    return tuple(map(kept, axes)) if isinstance(axes, list) else kept(axes)


def kept_axes(rule: Rule, slot: Slot, shape: tuple[int, ...]) -> Any:
    """Which axes of a leaf of a shape a slot keeps: a tuple of them, a list of tuples, or None for no slot."""
    if not slot.is_had_by(rule):
        return None
    if slot.is_like_param:
        return tuple(range(len(shape)))
    return slot.axes(rule, shape) if callable(slot.axes) else slot.axes


def _filled(
    rule: Rule, slot: Slot, leaf: Any, axes: Sequence[int], cut: Cut | None, where: Callable[[], str]
) -> jax.Array:
    value, dtype = first_value(rule, slot), kept_dtype(rule, slot, leaf, where)
    if slot.copy:
        # A copy indeed: the first step may donate both the parameter and the slot.
        return jnp.array(leaf, dtype, copy=True)
    if slot.axes == ():
        # What a whole leaf has in common is the same on all devices, however the leaf is spread.
        return jnp.full(() if slot.length is None else getattr(rule, slot.length), value, dtype)
    if tuple(axes) == tuple(range(leaf.ndim)):
        return jnp.full_like(leaf, value, dtype=dtype)
    shape = tuple(leaf.shape[axis] for axis in axes)
    if cut is None:
        return _full_along(leaf, axes, shape, value, dtype)
    # Along the axes that it has not it is the same on all devices; along the others it is each device's own part.
    names = union(cut[axis] for axis in axes)
    if not names:
        return _full_along(leaf, axes, shape, value, dtype) if not varying_axes(leaf) else jnp.full(shape, value, dtype)
    filled = jnp.full(shape, value, dtype)
    return lax.pcast(filled, names, to="varying")


def first_value(rule: Rule, slot: Slot) -> Any:
    """The number that fills a slot at first."""
    value: Any = getattr(rule, slot.init) if isinstance(slot.init, str) else slot.init
    return value(0) if callable(value) else value


def kept_dtype(rule: Rule, slot: Slot, leaf: Any, where: Callable[[], str] = lambda: "the root") -> Any:
    """The dtype in which a slot of a leaf is kept. TypeError for a real one where the leaf is complex."""
    dtype = getattr(rule, slot.dtype) if slot.dtype in rule.roles else slot.dtype
    if dtype is None:
        dtype = compute_dtype(leaf.dtype) if slot.signed else real_dtype(leaf.dtype)
    elif slot.signed and is_complex(leaf) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(
            f"{rule.call_name}: expected a complex dtype for the slots at {where()}, as of the parameter, got {dtype}"
        )
    # float64 that was asked for is float32 where JAX has no 64 bits, as everywhere in JAX.
    return jax.dtypes.canonicalize_dtype(dtype)


def _full_along(leaf: Any, axes: Sequence[int], shape: tuple[int, ...], value: Any, dtype: Any) -> jax.Array:
    """An array of some axes of a leaf, cut along them as the leaf's type says that it is."""
    sharding = jax.typeof(leaf).sharding
    if isinstance(sharding, NamedSharding) and any(sharding.spec[axis] for axis in axes):
        kept = NamedSharding(sharding.mesh, PartitionSpec(*(sharding.spec[axis] for axis in axes)))
        return lax.full(shape, value, dtype, sharding=kept)
    return jnp.full_like(leaf, value, dtype=dtype, shape=shape)


def _scalar(metric: Metric, *leaves: Any) -> jax.Array:
    dtype = real_dtype(*(leaf.dtype for leaf in leaves if is_inexact(leaf))) if metric.dtype is None else metric.dtype
    return jnp.full((), metric.init, dtype)


def _first_metric(rule: Rule, metric: Metric, params: Flow) -> Any:
    """What a metric of a tree rule begins with: a scalar, one for each key of a dict, or what is measured."""
    if metric.measure is not None:
        return _measured(getattr(rule, metric.measure), params.tree())
    keys = None if metric.each is None else getattr(rule, metric.each)
    first = partial(_scalar, metric, *params.updates)
    return first() if keys is None else {key: first() for key in keys}


def _measured(measure: Callable[[Any], Any], params: Any) -> Any:
    """What a function of the parameters returns, in arrays of their own, which a step may donate."""
    widened = jax.tree.map(lambda leaf: fitting(leaf.dtype)(leaf), params)
    with mixing(*jax.tree.leaves(params)):
        measured = measure(widened)
    return jax.tree.map(lambda value: jnp.array(value, jnp.result_type(value), copy=True), measured)


def _first_within(held: Any, params: Any) -> Any:
    """The first state of a transform, or of those among the values of a dict, by their names."""
    if not isinstance(held, dict):
        return jax.tree.map(_as_array, held.init(params))
    transforms = {name: tx for name, tx in held.items() if isinstance(tx, optax.GradientTransformation)}
    return {f"{name}_state": jax.tree.map(_as_array, tx.init(params)) for name, tx in transforms.items()}


def _as_array(value: Any) -> Any:
    """What a state of optax's begins with: of numbers of Python's own arrays, which are what a step returns."""
    return jnp.array(value, jnp.result_type(value)) if isinstance(value, bool | int | float | complex) else value


def _seed(rule: Rule, name: str) -> jax.Array:
    """The typed key of a rule's seed."""
    seed = getattr(rule, rule.keys[name].seed)
    return seed if isinstance(seed, jax.Array) else jax.random.key(seed)


def first_keys(rule: Rule) -> dict[str, jax.Array]:
    """The data of the keys before the first step."""
    return {name: jnp.array(jax.random.key_data(_seed(rule, name)), copy=True) for name in rule.keys}


def _key_of(rule: Rule, name: str, data: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(data, impl=str(jax.random.key_impl(_seed(rule, name))))
