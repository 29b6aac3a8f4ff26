"""Where everything in a transform is: the dotted names by which its parts are found and replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax

from gradxform.core.record import Record
from gradxform.core.state import State
from gradxform.core.transform import Transform

Path = tuple[str, ...]


def fields(tx: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each field of each rule, guest and schedule in a transform with its path, from the outside in; of
    pairs, and of dicts of numbers, each part."""
    for name, part in _parts(tx).items():
        if isinstance(tx, Record | list | tuple) and not isinstance(tx, Transform):
            yield (*path, name), part
        # Of other dicts, such as masks, the keys are no names of fields.
        if isinstance(part, dict) and name in getattr(tx, "numeric", ()):
            yield from (((*path, name, key), number) for key, number in _parts(part).items())
        yield from fields(part, (*path, name))


def transforms(tx: Any, path: Path = (), kind: type = Transform) -> Iterator[tuple[Path, Any]]:
    """Each transform of a kind within a transform, or a part of one, with its path; not those within these."""
    for name, part in _parts(tx).items():
        if isinstance(part, kind):
            yield (*path, name), part
        else:
            yield from transforms(part, (*path, name), kind)


def arrays(state: Any) -> Any:
    """A state with the arrays of Flax's nnx in the place of its variables, as `nnx.Optimizer` keeps them."""
    # Where nnx was not imported there are none.
    variable = getattr(sys.modules.get("flax.nnx"), "Variable", ())

    def is_variable(leaf: Any) -> bool:
        return isinstance(leaf, variable)

    if not any(map(is_variable, jax.tree.leaves(state, is_leaf=is_variable))):
        # As it is, with its stages in the order of the chain.
        return state
    return jax.tree.map(lambda leaf: leaf[...] if is_variable(leaf) else leaf, state, is_leaf=is_variable)


def is_state(tree: Any) -> bool:
    """Whether it is the state of a gradxform transform."""
    return isinstance(tree, State)


def is_record_of_a_rule(record: Any) -> bool:
    """Whether a stage's part of a state is a rule's, and not a guest's."""
    return isinstance(getattr(type(record), "metrics", None), dict)


def states(tree: Any, path: Path = ()) -> Iterator[tuple[Path, State]]:
    """Each state of a gradxform transform in a pytree, not those within these, with the names of groups on its way."""
    for keys, part in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_state)[0]:
        if is_state(part):
            # What else is on the way, such as a tuple of optax's, says nothing to a user.
            yield (*path, *(str(key.key) for key in keys if isinstance(key, jax.tree_util.DictKey))), part


def with_states(tx: Transform, state: State, path: Path = ()) -> Iterator[tuple[Path, Transform, State]]:
    """A transform, and each within it, with its path and its part of the state."""
    yield path, tx, state
    for stage, node in tx.stages:
        for inner_path, inner, inner_state in states_within(node, state.stages[stage], (*path, stage)):
            yield from with_states(inner, inner_state, inner_path)


def states_within(node: Any, record: Any, path: Path) -> Iterator[tuple[Path, Transform, State]]:
    """Each transform that a rule or a guest holds, with its path and its part of the record; not those within these."""
    held = list(states(record))
    for inner_path, inner in transforms(node, path):
        names = {name for name, _ in inner.stages}
        fitting = [index for index, (_, state) in enumerate(held) if set(state.stages) == names]
        # A dict's keys are in another order in the state; there the group's name is on the way, at times with `_state`.
        group = {inner_path[-1], f"{inner_path[-1]}_state"}
        named = [index for index in fitting if group & set(held[index][0])]
        if fitting:
            yield inner_path, inner, held.pop((named or fitting)[0])[1]


def with_field(tx: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """The transform with another value at a path: what the function makes of the old one."""
    if not path:
        return change(tx)
    name, *rest = path
    new = with_field(_parts(tx)[name], tuple(rest), change)
    if isinstance(tx, Transform):
        stages = (stage._replace(node=new) if stage.name == name else stage for stage in tx.stages)
        return tx.with_stages(tuple(stages))
    if isinstance(tx, Record):
        return tx.with_parts(**{name: new})
    if isinstance(tx, dict):
        return {key: new if str(key) == name else value for key, value in tx.items()}
    return type(tx)(new if str(index) == name else value for index, value in enumerate(tx))


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, Transform):
        return {stage.name: stage.node for stage in value.stages}
    if isinstance(value, Record):
        return value.parts()
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return {str(index): part for index, part in enumerate(value)}
    return {}
