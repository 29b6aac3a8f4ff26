"""describe: what a transform is made of, and what it costs."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from gradxform.core import checks
from gradxform.core.declarations import Rule
from gradxform.core.engine import Stage
from gradxform.core.fields import DecayMask, Mask
from gradxform.core.flow import Node
from gradxform.core.guest import Guest
from gradxform.core.hints import make_ours
from gradxform.core.hyperparameters import bound, chosen_by, hyperparameters
from gradxform.core.record import Live
from gradxform.core.route import Route
from gradxform.core.state import State
from gradxform.core.text import show
from gradxform.core.transform import Transform
from gradxform.reading import memory, parts
from gradxform.reading.description import Description, Group, Leaves, Part, Setting


def describe(tx: Transform, params: Any = None, state: State | None = None) -> Description:
    """What a transform is made of, and what it costs.

        print(gx.describe(tx, params))

    For each rule it lists the hyperparameters, the slots and metrics with dtype, shape and bytes, and how many leaves
    the rule changes; for an optax transform in the chain, its arguments as far as they are known, and its arrays; for
    transforms within transforms the same, and which leaves each sees. Of the whole it gives leaves, elements, and the
    bytes of the state beside those of the parameters. Nothing is computed or allocated.

    Args:
      tx: a gradxform transform.
      params: a pytree of arrays, or of their shapes and dtypes as `jax.eval_shape` and `jax.ShapeDtypeStruct` give
        them. None: only what is declared.
      state: a state of the transform, or its shapes and dtypes. Its bytes are counted, and schedules are taken at its
        count. None: what `init(params)` makes is counted.

    Returns:
      A `Description`: text in a terminal, a table in a notebook, `to_dict()` for a program.

    Raises:
      TypeError: not a gradxform transform; parameters that are no arrays.
      ValueError: parameters with which `init` fails; not a state of this transform, or not for these parameters.

    optax: none. torch: none; the repr of an optimizer has its hyperparameters.
    """
    if not isinstance(tx, Transform):
        got = f"{show(tx)} of type {type(tx).__name__}{make_ours(tx)}"
        raise TypeError(f"describe takes a gradxform transform, got {got}")
    shapes = None if params is None else _shapes(params)
    abstract = None if shapes is None else jax.eval_shape(tx.init, shapes)
    if state is not None:
        # A live hyperparameter may have been written as a number.
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float) else leaf, state)
        _check_state(tx, state, abstract)
    has_numbers = state is not None and all(map(_has_number, jax.tree.leaves(state)))
    seen = _Seen(shapes, abstract if state is None else state, has_numbers)
    described = list(_described(tx, seen, ()))
    return Description(
        call=repr(tx),
        parts=tuple(part for part, _ in described),
        groups=tuple(group for _, group in described if group is not None),
        params=None if shapes is None else _leaves(shapes),
        state_bytes=None if seen.state is None else memory.bytes_of(seen.state),
        step=int(state.count) if state is not None and has_numbers else None,
    )


class _Seen(NamedTuple):
    """What a transform sees: the shapes of parameters, and its part of the state, each if it is known.

    The state's arrays have numbers if it was given, and not as mere shapes.
    """

    params: Any
    state: Any
    has_numbers: bool


def _described(tx: Transform, seen: _Seen, path: parts.Path) -> Iterator[tuple[Part, Group | None]]:
    """Each part of a transform; beside a transform within another the leaves that it sees."""
    yield Part(path, "transform", (), tuple(memory.own(tx.stages, seen.state)), _if_known(seen.params), None), None
    now = _values_now(tx, seen.state) if seen.has_numbers else {}
    for name, node in tx.stages:
        record = None if seen.state is None else seen.state.stages[name]
        where = (*path, name)
        if isinstance(node, Rule):
            yield _rule(where, node, record, seen.params, now), None
        elif isinstance(node, Route):
            yield _route(where, node, seen.params), None
        else:
            held = node.hyperparams(record) if seen.has_numbers and isinstance(node, Guest) else {}
            yield _node(where, node, record, seen.params, held), None
        yield from _within(node, record, seen, where)


def _rule(path: parts.Path, rule: Rule, record: Any, params: Any, now: Mapping[str, float]) -> Part:
    name = path[-1]
    numbers = {key: _plain(value) for key, value in hyperparameters(((name, rule),))}
    settings = [Setting(key.removeprefix(f"{name}."), value, now.get(key)) for key, value in numbers.items()]
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if field.name not in rule.numeric and show(value) != show(field.default) and not _holds_transforms(value):
            settings.append(Setting(field.name, _plain(value), None))
    touched, decayed = None, None
    if params is not None:
        applies, decays = _masks(rule, params)
        touched = _leaves([leaf for leaf, applied in zip(jax.tree.leaves(params), applies, strict=True) if applied])
        decayed = None if all(decays) else sum(decays)
    return Part(path, "rule", tuple(settings), tuple(memory.of_rule(rule, record)), touched, decayed)


def _route(path: parts.Path, route: Route, params: Any) -> Part:
    given = {name: value for name, value in route.parts().items() if not _holds_transforms(value)}
    defaults = {field.name: field.default for field in dataclasses.fields(route)}
    settings = [Setting(name, _plain(value), None) for name, value in given.items() if value != defaults[name]]
    return Part(path, "route", tuple(settings), (), _if_known(params), None)


def _node(path: parts.Path, node: Node, record: Any, params: Any, held: Mapping[str, Any]) -> Part:
    given = {name: value for name, value in node.parts().items() if value is not None and not _holds_transforms(value)}
    now = {name: float(value) for name, value in held.items()}
    settings = tuple(Setting(name, _plain(value), now.get(name)) for name, value in given.items())
    kept = () if record is None else tuple(memory.of_guest(record))
    kind = "guest" if isinstance(node, Guest) else "node"
    return Part(path, kind, settings, kept, _if_known(params), None)


def _within(node: Any, record: Any, seen: _Seen, path: parts.Path) -> Iterator[tuple[Part, Group | None]]:
    """The parts of the transforms that a rule or a guest holds; of optax's own, which leaves they see."""
    found = list(parts.transforms(node, path, optax.GradientTransformation))
    received = {} if seen.params is None or not found else _received(node, seen.params, found, path)
    states = {} if record is None else {inner: state for inner, _, state in parts.states_within(node, record, path)}
    everything = len(jax.tree.leaves(seen.params))
    parted = any(len(jax.tree.leaves(params)) < everything for params in received.values())
    for inner_path, pair in found:
        params = received.get(inner_path)
        group = None
        if parted and params is not None:
            # Of our own it is known how what is around them keeps their slots.
            known = states.get(inner_path)
            state_bytes = memory.bytes_of(jax.eval_shape(pair.init, params) if known is None else known)
            group = Group(inner_path, _leaves(params), state_bytes, _paths(params))
        if isinstance(pair, Transform):
            described = list(_described(pair, _Seen(params, states.get(inner_path), seen.has_numbers), inner_path))
        else:
            described = [(Part(inner_path, "guest", (), (), _if_known(params), None), None)]
        (whole, _), *others = described
        yield whole, group
        yield from others


def _received(node: Any, params: Any, found: list[tuple[parts.Path, Any]], path: parts.Path) -> dict[parts.Path, Any]:
    """With which parameters a rule or a guest makes the state of each transform within it.

    It is told by an `init` that looks on: so it is known of every wrapper which leaves it passes on, and how.
    """
    received: dict[parts.Path, Any] = {}

    def onlooker(inner_path: parts.Path, pair: Any) -> Any:
        def init(params: Any) -> Any:
            received[inner_path] = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
            return pair.init(params)

        return optax.GradientTransformationExtraArgs(init, optax.with_extra_args_support(pair).update)

    watched = node
    for inner_path, pair in found:
        inside = inner_path[len(path) :]
        watched = parts.with_field(watched, inside, lambda _, at=inner_path, pair=pair: onlooker(at, pair))
    jax.eval_shape(Transform((Stage(path[-1], watched),)).init, params)
    return received


def _holds_transforms(value: Any) -> bool:
    return isinstance(value, optax.GradientTransformation) or any(
        parts.transforms(value, (), optax.GradientTransformation)
    )


def _values_now(tx: Transform, state: State) -> dict[str, float]:
    """The values in the next update of what follows a schedule or lives in the state, as far as they are known."""
    changing = {key for key, value in hyperparameters(tx.stages) if callable(value) or isinstance(value, Live)}
    values = {key: value for key, value in hyperparameters(bound(tx.stages, state.live)) if key in changing}
    at_step: dict[str, Any] = {key: value(state.count) if callable(value) else value for key, value in values.items()}
    return {key: float(value) for key, value in at_step.items()}


def _masks(rule: Rule, params: Any) -> tuple[list[bool], list[bool]]:
    found: list[list[bool]] = []

    def look(tree: Any) -> None:
        leaves, structure = jax.tree.flatten(tree)
        found.extend(chosen_by(rule, kind, structure, leaves) for kind in (Mask, DecayMask))

    # Traced, so that a mask that is a function sees what it sees in `init`.
    jax.eval_shape(look, params)
    applies, decays = found
    return applies, decays


def _shapes(params: Any) -> Any:
    """The shapes and dtypes of a tree of arrays. TypeError for what is no array, with its path."""

    def shape(leaf: Any) -> Any:
        leaf = np.asarray(leaf) if isinstance(leaf, float | complex) else leaf
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            return leaf
        return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True))

    shapes = jax.tree.map(shape, params)
    checks.arrays("parameters", shapes, jax.tree.leaves(shapes), any_dtype=True, real_only=None)
    return shapes


def _check_state(tx: Transform, state: Any, abstract: Any) -> None:
    checks.state_of([name for name, _ in tx.stages], state, State)
    for name, node in tx.stages:
        if isinstance(node, Rule) and not isinstance(state.stages[name], node.State):
            raise ValueError(f"the state has another rule's record in {name!r}; make it with the transform's init")
    if np.shape(state.count) != ():
        raise ValueError(f"expected the state of one run, got one with a count of shape {np.shape(state.count)}")
    if abstract is not None:
        checks.same_structure("state", state, abstract, "the states of these parameters")
        leaves, references = jax.tree.leaves(state), jax.tree.leaves(abstract)
        checks.same_shapes("state", state, leaves, references, "the states of these parameters")


def _leaves(shapes: Any) -> Leaves:
    leaves = jax.tree.leaves(shapes)
    return Leaves(len(leaves), sum(math.prod(leaf.shape) for leaf in leaves), memory.bytes_of(leaves))


def _paths(shapes: Any) -> tuple[str, ...]:
    """The paths of leaves, each once, with * for numbers: of what has the same name in each layer there is one."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(shapes)[0]]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]
    return tuple(dict.fromkeys(re.sub(r"\d+(?=/)", "*", name) for name in names))


def _if_known(shapes: Any) -> Leaves | None:
    return None if shapes is None else _leaves(shapes)


def _has_number(leaf: Any) -> bool:
    """Whether an array is more than a shape, as it is while a function is traced too."""
    return not isinstance(leaf, Tracer | jax.ShapeDtypeStruct)


def _plain(value: Any) -> float | int | bool | str | None:
    """A number, bool, string or None as it is, of all else the text of the call."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return show(value)
