"""The hyperparameters of a transform: read, replaced, and brought to life in the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from gradxform.core import checks
from gradxform.core.guest import Guest
from gradxform.core.hints import make_ours
from gradxform.core.hyperparameters import bound, check_some, hyperparameters, like
from gradxform.core.record import Live, Record
from gradxform.core.state import State
from gradxform.core.text import show
from gradxform.core.transform import Transform
from gradxform.reading import parts

Tree = TypeVar("Tree")


def hyperparams(tx: Transform, state: State) -> dict[str, jax.Array]:
    """The value of every numeric hyperparameter in the next update, by `stage.name`; schedules at the state's count.

    Of transforms within transforms, such as those of `masked` and `partition`, each has its path before its names.

    Args:
      tx: a gradxform transform.
      state: its state; only its counts, and the hyperparameters that live in it, are read.

    Returns:
      Arrays of shape (). A hyperparameter that is None is left out.

    Raises:
      TypeError: not a gradxform transform, or not the state of one.

    optax: inject_hyperparams, whose state holds them. torch: `param_groups`.
    """
    if not isinstance(tx, Transform) or not isinstance(state, State):
        raise TypeError(
            f"hyperparams takes a gradxform transform and its state, got {type(tx).__name__} and "
            f"{type(state).__name__}{'' if isinstance(tx, Transform) else make_ours(tx)}"
        )
    values = {}
    for prefix, inner, inner_state in parts.with_states(tx, parts.arrays(state)):
        for key, number in hyperparameters(bound(inner.stages, inner_state.live)):
            at_step = number(inner_state.count) if callable(number) else number
            name = ".".join((*prefix, key))
            values[name] = checks.number(f"{name} at this step", at_step)
        for stage, node in inner.stages:
            held = node.hyperparams(inner_state.stages[stage]) if isinstance(node, Guest) else {}
            values |= {".".join((*prefix, stage, key)): value for key, value in held.items()}
    return values


def replace(tx: Transform, changes: Mapping[str, Any] | None = None, /, **values: Any) -> Transform:
    """A transform with other hyperparameters.

        replace(tx, learning_rate=1e-4)
        replace(tx, {"scale_by_adam.b1": 0.95, "learning_rate.peak_value": 1e-3})

    Args:
      tx: a gradxform transform.
      changes: new values by name. A name is the whole path, such as `scale_by_adam.b1`, or as much of its end as leaves
        no doubt; numbers within schedules and transforms within transforms have names too.
      **values: new values by a field's name alone: numbers, arrays, schedules, and other arguments such as `mask`.

    Returns:
      A Transform, whose states are those of `tx` unless the shape of a slot depends on what was changed.

    Raises:
      ValueError: a name that is not there, or that more than one field has, with the names there are; a value out of
        range.
      TypeError: not a gradxform transform, or a value of the wrong kind.

    optax: none; a transform is made anew. torch: assignment to an entry of `param_groups`.
    """
    names = _fields("replace", tx)
    for name, value in {**(changes or {}), **values}.items():
        path = names[checks.found("replace", name, list(names))]
        tx = parts.with_field(tx, path, lambda old, value=value: value)
    return tx


def live(tx: Transform, *names: str) -> Transform:
    """A transform with hyperparameters that live in its state, as float32 arrays of shape ().

    `adjust` changes them between two steps or inside one, without a retrace. They are in `state.live`.

    Args:
      tx: a gradxform transform.
      *names: as in `replace`. None at all: every hyperparameter of a rule that is a number.

    Raises:
      ValueError: a name that is not there, or that more than one hyperparameter has; one whose value is no number, such
        as a schedule.
      TypeError: not a gradxform transform.

    optax: inject_hyperparams. torch: `param_groups`.
    """
    fields = _fields("live", tx)
    numeric = dict(_numeric(tx))
    for name in names or [name for name, value in numeric.items() if not isinstance(value, Record)]:
        found = checks.found("live", name, list(fields))
        value = numeric.get(found)
        if isinstance(value, Record) and not isinstance(value, Live):
            raise ValueError(f"live: {found} follows {show(value)}; to adjust it, replace that by a number first")
        if value is None:
            raise ValueError(f"live: {found} is no number; these are: {', '.join(numeric) or 'none'}")
        tx = parts.with_field(tx, fields[found], _alive)
    return tx


def adjust(state: Tree, changes: Mapping[str, Any] | None = None, /, **values: Any) -> Tree:
    """A state with other values of the hyperparameters that live in it; inside `jit` too.

        state = adjust(state, learning_rate=1e-4)

    Args:
      state: the state of a transform with live hyperparameters, or any pytree with such states in it, those of
        `optax.inject_hyperparams` too.
      changes: new values by name: numbers, or arrays of shape () or of the shape that the value has. A name is the
        whole path, such as `scale_by_adam.b1`, or as much of its end as leaves no doubt.
      **values: new values by a hyperparameter's name alone.

    Returns:
      The state, of the same structure, shapes and dtypes.

    Raises:
      ValueError: a name that is not live, or that more than one hyperparameter has, with the names there are; one that
        follows a schedule; a value of another shape.
      TypeError: a value that is no real number.

    optax: assignment to `state.hyperparams`. torch: assignment to an entry of `param_groups`.
    """
    held: dict[str, Any] = {}
    scheduled: list[str] = []

    def look(path: parts.Path, holder: Any) -> Any:
        is_ours = parts.is_state(holder)
        values = holder.live if is_ours else holder.hyperparams
        names = {key: ".".join((*path, key)) for key in values}
        follow = {} if is_ours else getattr(holder, "hyperparams_states", {})
        scheduled.extend(names[key] for key in follow if key in names)
        held.update({name: values[key] for key, name in names.items()})
        return {key: new.get(name, values[key]) for key, name in names.items()}

    new: dict[str, Any] = {}
    _map_held(look, state)
    for name, value in {**(changes or {}), **values}.items():
        check_some("adjust", name, held)
        whole = checks.found("adjust", name, list(held))
        if whole in scheduled:
            raise ValueError(f"adjust: {whole} follows a schedule, which would write over it")
        new[whole] = like(f"adjust: {whole}", value, held[whole])
    return _map_held(look, state)


def _numeric(tx: Transform, path: parts.Path = ()) -> Iterator[tuple[str, Any]]:
    """Each number or schedule of each rule, also of transforms within, by its whole name."""
    for key, value in hyperparameters(tx.stages):
        yield ".".join((*path, key)), value
    for inner_path, inner in parts.transforms(tx, path):
        yield from _numeric(inner, inner_path)


def _fields(what: str, tx: Any) -> dict[str, parts.Path]:
    if not isinstance(tx, Transform):
        raise TypeError(f"{what} takes a gradxform transform, got {type(tx).__name__}{make_ours(tx)}")
    return {".".join(path): path for path, _ in parts.fields(tx)}


def _alive(value: Any) -> Live:
    return value if isinstance(value, Live) else Live(value)


def _holds(tree: Any) -> bool:
    """Whether hyperparameters live in this part of a state itself."""
    return parts.is_state(tree) or "hyperparams" in getattr(tree, "_fields", ())


def _map_held(change: Callable[[parts.Path, Any], Any], tree: Any, path: parts.Path = ()) -> Any:
    """A tree of states, with what the function makes of each holder in the place of its live hyperparameters."""

    def visit(keys: Any, part: Any) -> Any:
        # The names of groups, as `partition` has them; what else is on the way says nothing to a user.
        inside = (*path, *(str(key.key) for key in keys if isinstance(key, jax.tree_util.DictKey)))
        if not _holds(part):
            return part
        if parts.is_state(part):
            stages = {name: _map_held(change, record, (*inside, name)) for name, record in part.stages.items()}
            return part._replace(stages=stages, live=change(inside, part))
        others = {name: getattr(part, name) for name in part._fields if name != "hyperparams"}
        within = {name: _map_held(change, other, inside) for name, other in others.items()}
        return part._replace(hyperparams=change(inside, part), **within)

    return jax.tree_util.tree_map_with_path(visit, tree, is_leaf=_holds)
