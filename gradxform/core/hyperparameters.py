"""The hyperparameters of a row of stages by their names, and those among them that live in the state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.declarations import Rule
from gradxform.core.fields import DecayMask, Mask, WeightAxes
from gradxform.core.precision import is_inexact, real_dtype
from gradxform.core.record import Live, is_record
from gradxform.core.text import show


def hyperparameters(stages: Any) -> Iterator[tuple[str, Any]]:
    """Each number, array, schedule or `Live` of each rule, with its key: `stage.name`, of a pair `stage.name.0`."""
    for stage, node in stages:
        for name in node.live_names:
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
        hint = ""
        if not live:
            hint = "; the state is not of the live transform: make it with its init, or migrate(state, tx, params)"
        elif not expected:
            hint = "; the transform is not live: use the one that live(tx, ...) returned"
        raise ValueError(f"expected hyperparameters {expected} in the state, got {sorted(live)}{hint}")
    return tuple(stage._replace(node=_bound(stage.name, stage.node, live)) for stage in stages) if expected else stages


def split(rule: Rule, count: jax.Array) -> tuple[Any, dict[str, Any]]:
    """Parts a rule in what is static and the hyperparameters that are arrays, schedules taken at `count`.

    Python's own numbers stay static: XLA folds them, and 1 - b2 is taken in Python's precision.
    """
    values = {}
    for name in rule.numeric:
        value, what = getattr(rule, name), f"{rule.call_name}: {name}"
        at_step = jax.tree.map(partial(_at, count, what), value, is_leaf=callable)
        if any(isinstance(number, jax.Array) for number in jax.tree.leaves(at_step)):
            values[name] = jax.tree.map(jnp.asarray, at_step)
    # The mask is no part of what is traced: two that choose the same leaves share a trace. Nor are axes.
    masks = [name for name, role in rule.roles.items() if role in (Mask, DecayMask, WeightAxes)]
    return rule.replace(**dict.fromkeys([*values, *masks])), values


def chosen_by(rule: Rule, kind: Any, structure: Any, leaves: Sequence[Any]) -> list[bool]:
    """For each leaf of a tree, what the rule's mask of a kind says of it; True if it has none."""
    masks = [getattr(rule, name) for name, role in rule.roles.items() if role is kind]
    # Without leaves there is nothing to choose; optax.tree.map_params calls init with such a tree of its own.
    if not leaves or not masks or masks[0] is None:
        return [True] * len(leaves)
    tree = structure.unflatten(leaves)
    return checks.mask(rule.call_name, masks[0](tree) if callable(masks[0]) else masks[0], tree, structure)


def as_live(live: Mapping[str, Any]) -> dict[str, jax.Array]:
    """What lives in the state after a step: as before, in arrays, also where numbers were written in."""
    return {key: value if _is_float_array(value) else jnp.asarray(value, real_dtype()) for key, value in live.items()}


class _Place(NamedTuple):
    """Where a live hyperparameter is: in which dict, and under which key; `whole` leaves no doubt which it is."""

    values: Any
    key: str
    whole: str
    is_scheduled: bool


class LiveValues(MutableMapping[str, Any]):
    """The hyperparameters that live in a state, by name. What is written to it is written into the state."""

    def __init__(self, places: Mapping[str, _Place]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Any:
        """The value under a name, or under the one name that ends with it. KeyError with the names there are."""
        try:
            place = self._place(name)
        except ValueError as error:
            raise KeyError(str(error)) from None
        return place.values[place.key]

    def __setitem__(self, name: str, value: Any) -> None:
        """Writes a number, or an array of the shape that the value has.

        Raises:
          ValueError: a name that is not there, or that more than one has, with the names there are; one that follows a
            schedule; another shape.
          TypeError: no real number.
        """
        place = self._place(name)
        if place.is_scheduled:
            raise ValueError(f"state.hyperparams: {name} follows a schedule, which would write over it")
        place.values[place.key] = like(f"state.hyperparams: {name}", value, place.values[place.key])

    def __delitem__(self, name: str) -> None:
        """Raises TypeError: the names of a state are the same for ever."""
        raise TypeError("state.hyperparams: the hyperparameters of a state cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _place(self, name: str) -> _Place:
        if name in self._places:
            return self._places[name]
        check_some("state.hyperparams", name, self._places)
        whole = {place.whole: place for place in self._places.values()}
        return whole[checks.found("state.hyperparams", name, list(whole))]


def _at(count: jax.Array, what: str, value: Any) -> Any:
    """A hyperparameter at a step: an array, or a number of Python's own as it is."""
    if callable(value):
        what = f"{what} at this step"
        return checks.scalar(what, checks.number(what, value(count)))
    return checks.scalar(what, jnp.asarray(value)) if isinstance(value, np.generic | np.ndarray | jax.Array) else value


def _as_dict(names: tuple[str, ...], values: Any) -> Any:
    return dict(zip(names, values, strict=True))


# To JAX it is the dict that it looks like, so that it may be printed, fetched and logged as one.
jax.tree_util.register_pytree_with_keys(
    LiveValues, lambda held: ([(jax.tree_util.DictKey(name), held[name]) for name in held], tuple(held)), _as_dict
)


def live_values(live: Mapping[str, Any], stages: Mapping[str, Any]) -> LiveValues:
    """What lives in a state itself, and in the states of its guests, which have optax's name for it."""
    places = [(key, _Place(live, key, key, False)) for key in live]
    for stage, record in stages.items():
        held, scheduled = getattr(record, "hyperparams", {}), getattr(record, "hyperparams_states", ())
        places += [(key, _Place(held, key, f"{stage}.{key}", key in scheduled)) for key in held]
    names = [name for name, _ in places]
    return LiveValues({name if names.count(name) == 1 else place.whole: place for name, place in places})


def with_own_dicts(stages: Any, live: Any) -> tuple[Any, Any]:
    """The stages and the live hyperparameters of a state with dicts of their own, to which may be written."""
    if not isinstance(stages, dict) or not isinstance(live, dict):
        return stages, live
    return {name: _own(record) for name, record in stages.items()}, dict(live)


def _own(record: Any) -> Any:
    if "hyperparams" in getattr(record, "_fields", ()):
        return record._replace(hyperparams=dict(record.hyperparams))
    return record._replace() if isinstance(getattr(record, "hyperparams", None), LiveValues) else record


def check_some(what: str, name: str, live: Collection[str]) -> None:
    """Raises ValueError where no hyperparameter lives in a state."""
    if not live:
        raise ValueError(
            f"{what}: no hyperparameter lives in this state; make the transform live(tx, {name!r}), or "
            "inject_hyperparams, and its state with init"
        )


def like(what: str, value: Any, old: Any) -> jax.Array:
    """A new value of a live hyperparameter, in the shape and the dtype of the old one."""
    old = jnp.asarray(old)
    array = jnp.asarray(value) if isinstance(value, int | float | np.generic | np.ndarray | jax.Array) else None
    if array is None or not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{what} must be a real number; got {show(value)}")
    if array.shape not in ((), old.shape):
        raise ValueError(f"{what} must be a number or an array of shape {old.shape}; got shape {array.shape}")
    return jnp.broadcast_to(array, old.shape).astype(old.dtype)


def _bound(stage: str, node: Any, live: Mapping[str, Any]) -> Any:
    if not node.live_names:
        return node

    def value_of(name: str, path: Any, value: Any) -> Any:
        return live[_key(stage, name, path)] if isinstance(value, Live) else value

    fields = {}
    for name in node.live_names:
        value: Any = getattr(node, name)
        fields[name] = jax.tree_util.tree_map_with_path(
            lambda path, part, name=name: value_of(name, path, part), value, is_leaf=is_record
        )
    return node.replace(**fields)


def _key(stage: str, name: str, path: Any) -> str:
    return ".".join([stage, name, *(jax.tree_util.keystr((part,), simple=True) for part in path)])


def _is_float_array(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating) and not value.weak_type
