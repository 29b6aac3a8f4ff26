"""Slots and metrics as they lie in a state: how they begin, and how they go to the leaves and come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradxform.core import checks
from gradxform.core.precision import compute_dtype, is_complex, is_inexact, real_dtype
from gradxform.core.rule import LeafRule, Metric, Slot, TreeRule


def first_leaf_records(rule: LeafRule, params: Any, applies: Sequence[bool]) -> Any:
    """A leaf rule's record before the first step: each slot a tree like the parameters.

    Where a mask leaves a leaf out, its place holds optax.MaskedNode, which is no leaf.
    """
    leaves, structure = jax.tree.flatten(params)
    records = []
    for index, (leaf, applied) in enumerate(zip(leaves, applies, strict=True)):
        where = partial(checks.path_of, params, index)
        values = [_filled(rule, slot, leaf, where) if applied else optax.MaskedNode() for slot in rule.slots.values()]
        metrics = [_scalar(metric, leaf) if applied else optax.MaskedNode() for metric in rule.metrics.values()]
        records.append(rule.State(*values, *metrics))
    return gather(rule, records, structure)


def first_tree_record(rule: TreeRule, params: Any) -> Any:
    """A tree rule's record before the first step: slots like the parameters or scalars, and metrics."""
    values = []
    for slot in rule.slots.values():
        if slot.shape is None:
            values.append(jax.tree.map(lambda leaf, slot=slot: _filled(rule, slot, leaf), params))
        else:
            values.append(_filled(rule, slot, jnp.zeros((), jnp.float32)))
    leaves = jax.tree.leaves(params)
    return rule.State(*values, *(_scalar(metric, *leaves) for metric in rule.metrics.values()))


def spread(rule: LeafRule, record: Any, updates: Any) -> list[Any]:
    """A record of trees as a list of records, one a leaf. ValueError if a slot does not fit the updates."""
    leaves, structure = jax.tree.flatten(updates)
    columns = []
    for name, tree in zip(record._fields, record, strict=True):
        kept_by = f"the slots {name} of {rule.call_name}"
        try:
            column = structure.flatten_up_to(tree)
        except ValueError:
            checks.same_structure("updates", updates, tree, kept_by)
            raise
        if name in rule.slots and rule.slots[name].shape is None:
            masked = optax.MaskedNode
            kept = [leaf if isinstance(k, masked) else k for leaf, k in zip(leaves, column, strict=True)]
            checks.same_shapes("updates", updates, leaves, kept, kept_by)
            if rule.slots[name].signed:
                checks.same_kinds("updates", updates, leaves, kept, kept_by)
        columns.append(column)
    return [rule.State(*values) for values in zip(*columns, strict=True)] if columns else [rule.State()] * len(leaves)


def gather(rule: LeafRule, records: Sequence[Any], structure: Any) -> Any:
    """Records of leaves as one record of trees."""
    return rule.State(*(structure.unflatten([getattr(r, name) for r in records]) for name in rule.State._fields))


def as_kept(rule: str, new: Any, old: Any) -> Any:
    """A record of new values, arrays or trees, in the shapes and dtypes of the old ones."""

    def keep(name: str, value: Any, kept: jax.Array) -> jax.Array:
        checks.slot_shape(rule, name, value, kept)
        return jax.lax.convert_element_type(value, kept.dtype)

    pairs = zip(old._fields, new, old, strict=True)
    return type(old)(*(jax.tree.map(partial(keep, name), value, kept) for name, value, kept in pairs))


def _filled(rule: LeafRule | TreeRule, slot: Slot, leaf: Any, where: Callable[[], str] = lambda: "a leaf") -> jax.Array:
    value = getattr(rule, slot.init) if isinstance(slot.init, str) else slot.init
    value = value(0) if callable(value) else value
    dtype = getattr(rule, slot.dtype) if slot.dtype in rule.roles else slot.dtype
    signed_complex = slot.signed and is_complex(leaf)
    if dtype is None:
        dtype = compute_dtype(leaf.dtype) if slot.signed else real_dtype(leaf.dtype)
    elif signed_complex and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(
            f"{rule.call_name}: expected a complex dtype for the slots at {where()}, as of the parameter, got {dtype}"
        )
    # float64 that was asked for is float32 where JAX has no 64 bits, as everywhere in JAX.
    return jnp.full_like(leaf, value, dtype=jax.dtypes.canonicalize_dtype(dtype), shape=slot.shape)


def _scalar(metric: Metric, *leaves: Any) -> jax.Array:
    dtype = real_dtype(*(leaf.dtype for leaf in leaves if is_inexact(leaf))) if metric.dtype is None else metric.dtype
    return jnp.full((), metric.init, dtype)
