"""The hyperparameters of a row of stages by their names, and those among them that live in the state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core import checks
from gradxform.core.precision import is_inexact, real_dtype
from gradxform.core.record import Live, is_record
from gradxform.core.rule import Rule


def hyperparameters(stages: Any) -> Iterator[tuple[str, Any]]:
    """Each number, array, schedule or `Live` of each rule, with its key: `stage.name`, of a pair `stage.name.0`."""
    for stage, node in stages:
        for name in node.numeric if isinstance(node, Rule) else ():
            for path, value in jax.tree_util.tree_flatten_with_path(getattr(node, name), is_leaf=is_record)[0]:
                yield _key(stage, name, path), value


def first_live(stages: Any, params: Any) -> dict[str, jax.Array]:
    """What lives in the state before the first step, in float32, or in float64 if parameters are."""
    # Of what is no array, or no number, a rule or a guest is to say what it makes of it.
    dtype = real_dtype(*(x.dtype for x in jax.tree.leaves(params) if hasattr(x, "dtype") and is_inexact(x)))
    return {
        key: jnp.array(checks.scalar(key, jnp.asarray(value.value)), dtype, copy=True)
        for key, value in hyperparameters(stages)
        if isinstance(value, Live)
    }


def bound(stages: Any, live: Mapping[str, Any]) -> Any:
    """The stages with the values that live in the state in their places. Raises ValueError for other names."""
    expected = sorted(key for key, value in hyperparameters(stages) if isinstance(value, Live))
    if sorted(live) != expected:
        raise ValueError(f"expected hyperparameters {expected} in the state, got {sorted(live)}")
    return tuple(stage._replace(node=_bound(stage.name, stage.node, live)) for stage in stages) if expected else stages


def as_live(live: Mapping[str, Any]) -> dict[str, jax.Array]:
    """What lives in the state after a step: as before, in arrays, also where numbers were written in."""
    return {key: value if _is_float_array(value) else jnp.asarray(value, real_dtype()) for key, value in live.items()}


def _bound(stage: str, node: Any, live: Mapping[str, Any]) -> Any:
    if not isinstance(node, Rule):
        return node

    def value_of(name: str, path: Any, value: Any) -> Any:
        return live[_key(stage, name, path)] if isinstance(value, Live) else value

    fields = {}
    for name in node.numeric:
        value: Any = getattr(node, name)
        fields[name] = jax.tree_util.tree_map_with_path(
            lambda path, part, name=name: value_of(name, path, part), value, is_leaf=is_record
        )
    return node.replace(**fields)


def _key(stage: str, name: str, path: Any) -> str:
    return ".".join([stage, name, *(str(part.idx) for part in path)])


def _is_float_array(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating) and not value.weak_type
