"""What a state holds, name by name: slots, metrics, keys, counts, and the arrays of guests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gradxform.core.declarations import MatrixSlot, Metric, Rule, Slot
from gradxform.core.hyperparameters import hyperparameters
from gradxform.core.keep import is_encoded
from gradxform.core.record import Live
from gradxform.core.rule import LeafRule
from gradxform.reading import parts
from gradxform.reading.description import Kept

_NUMBER, _LIKE, _MEASURED = "one number", "like the parameter", "as measured"


def bytes_of(tree: Any) -> int:
    """What the arrays of a tree take, or would take where there are only their shapes."""
    return sum(leaf.dtype.itemsize * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def own(stages: Any, state: Any) -> Iterator[Kept]:
    """What a transform keeps beside its rules: the count, and what lives in the state."""
    yield _kept("count", "count", _NUMBER, "int32", None if state is None else state.count)
    for key, value in hyperparameters(stages):
        if isinstance(value, Live):
            yield _kept(key, "live", _NUMBER, "float32 or wider", None if state is None else state.live[key])


def of_rule(rule: Rule, record: Any) -> Iterator[Kept]:
    """What a rule keeps, in the order of its record; the states of transforms within it left out."""
    for name, slot in rule.slots.items():
        if slot.is_had_by(rule):
            yield _kept(name, "slot", _shape(rule, slot), _dtype(rule, slot), getattr(record, name, None))
    for name in rule.keys:
        yield _kept(name, "key", "one key", "uint32", getattr(record, name, None))
    for name, metric in rule.metrics.items():
        declared = "float32 or wider" if metric.dtype is None else np.dtype(metric.dtype).name
        shape = _shape_of_metric(rule, metric)
        yield _kept(name, "metric", shape, _MEASURED if metric.measure else declared, getattr(record, name, None))


def of_guest(record: Any) -> Iterator[Kept]:
    """The arrays of a guest's state by the names of its fields; the states of our transforms in it left out."""
    fields: dict[str, list[Any]] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(record, is_leaf=_is_whole)[0]:
        if not parts.is_state(leaf):
            names = [key.name for key in keys if isinstance(key, jax.tree_util.GetAttrKey)]
            fields.setdefault(names[-1] if names else "state", []).append(leaf)
    for name, arrays in fields.items():
        yield _kept(name, "array", "", "", arrays)


def _is_whole(part: Any) -> bool:
    return parts.is_state(part) or is_encoded(part)


def _how(leaf: Any) -> str:
    return leaf.codec.words if is_encoded(leaf) else leaf.dtype.name


def _kept(name: str, kind: str, shape: str, declared: str, tree: Any) -> Kept:
    if tree is None:
        return Kept(name, kind, shape, (declared,), None, None)
    leaves = jax.tree.leaves(tree, is_leaf=is_encoded)
    dtypes = tuple(sorted({_how(leaf) for leaf in leaves if hasattr(leaf, "dtype")}))
    return Kept(name, kind, shape, dtypes, len(leaves), bytes_of(leaves))


def _shape(rule: Rule, slot: Slot) -> str:
    if slot.measure is not None:
        return _MEASURED
    if slot.copy:
        return "a copy of the parameter"
    if isinstance(slot, MatrixSlot):
        return "one of each matrix"
    if callable(slot.axes):
        return "some axes of the parameter"
    if slot.axes is None:
        return _LIKE
    count = _NUMBER if slot.length is None else f"{getattr(rule, slot.length)} numbers"
    return f"{count} a leaf" if isinstance(rule, LeafRule) else count


def _shape_of_metric(rule: Rule, metric: Metric) -> str:
    if metric.measure is not None:
        return _MEASURED
    if isinstance(rule, LeafRule):
        return f"{_NUMBER} a leaf"
    return _NUMBER if metric.each is None or getattr(rule, metric.each) is None else f"{_NUMBER} a group"


def _dtype(rule: Rule, slot: Slot) -> str:
    """What is declared, before there is a parameter."""
    dtype = getattr(rule, slot.dtype) if slot.dtype in rule.roles else slot.dtype
    if slot.measure is not None:
        return _MEASURED
    return "float32 or wider" if dtype is None else np.dtype(dtype).name
