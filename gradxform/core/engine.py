"""The engine: runs rules over trees. Steps, schedules, precision, slots, metrics and masks are handled here, once.

A transform is a row of stages. Consecutive leaf rules form a run, which is applied leaf by leaf inside one inner `jit`
and so traced once for each distinct shape and dtype, however many leaves there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gradxform.core import checks, placement as placing
from gradxform.core.context import Tree
from gradxform.core.guest import Guest
from gradxform.core.hyperparameters import as_live, bound, first_live
from gradxform.core.leaves import Chosen, Shared, advance, program, scaled, split
from gradxform.core.placement import Cut, Placement
from gradxform.core.precision import fitting, is_inexact, mixing, real_dtype
from gradxform.core.record import DecayMask, Mask
from gradxform.core.rule import LeafRule, Rule, TreeRule, TreeScaleRule
from gradxform.core.slots import (
    as_kept,
    check_tree_slots,
    first_leaf_records,
    first_tree_record,
    gather,
    spread,
    with_next_keys,
    with_step_keys,
)
from gradxform.core.state import State


class Stage(NamedTuple):
    """A rule or a guest, and the name under which the state keeps its record."""

    name: str
    node: Any


Stages = tuple[Stage, ...]


class Step(NamedTuple):
    """What a step brings beside the updates: `done` updates were before it, and it is number `number`.

    `cuts` tells how each leaf of the updates is cut over devices, None where nobody told.
    """

    done: jax.Array
    number: jax.Array
    params: Any
    extra: dict[str, Any]
    cuts: Sequence[Cut | None]


def init(stages: Stages, placement: Placement | None, params: Any) -> State:
    """The state before the first update. Raises for parameters that its rules cannot compute with, naming the path."""
    params = _admit("parameters", stages, params)
    live = first_live(stages, params)
    placement = placement or placing.current()
    with placing.told(placement):
        records = {name: _first_record(node, params, placement) for name, node in bound(stages, live)}
    return State(jnp.zeros((), jnp.int32), records, live)


def update(
    stages: Stages, placement: Placement | None, updates: Any, state: State, params: Any = None, **extra: Any
) -> tuple[Any, State]:
    """One step: the updates that leave the last stage, in the dtypes in which they came, and the new state."""
    placement = placement or placing.current()
    with placing.told(placement):
        return _update(stages, placement, updates, state, params, extra)


def _update(
    stages: Stages, placement: Placement | None, updates: Any, state: State, params: Any, extra: dict[str, Any]
) -> tuple[Any, State]:
    checks.state_of([stage.name for stage in stages], state, State)
    stages = bound(stages, state.live)
    came = updates
    step = Step(state.count, jnp.asarray(optax.safe_increment(state.count)), params, extra, ())
    records: dict[str, Any] = {}
    factor, unchecked = None, True
    for run in _runs(stages):
        node, old = run[0].node, [state.stages[stage.name] for stage in run]
        if factor is not None and not isinstance(node, LeafRule):
            updates, factor = _scale(updates, factor), None
        if isinstance(node, Guest):
            updates, record = node.update(_cast_like(updates, came), old[0], params, extra)
            new, unchecked = [record], True
        else:
            if unchecked:
                updates, params = _admit("updates", run, updates), _admit("parameters", run, params)
                _check_fit(node, updates, params)
                step = step._replace(params=params, cuts=_cuts(placement, "updates", updates))
                unchecked = False
            if isinstance(node, LeafRule):
                updates, new = _advance_leaves([stage.node for stage in run], updates, old, step, factor)
                factor = None
            else:
                updates, factor, record = _advance_tree(node, updates, old[0], step)
                new = [record]
        records.update(zip((stage.name for stage in run), new, strict=True))
    updates = updates if factor is None else _scale(updates, factor)
    measured = bool(stages) and isinstance(stages[-1].node, Rule) and stages[-1].node.is_measure
    # A measurement keeps its own dtype, also where its structure is that of the updates.
    left = updates if measured else _cast_like(updates, came)
    return left, State(step.number, records, as_live(state.live))


def _runs(stages: Stages) -> Iterator[Stages]:
    """Consecutive leaf rules together, every other stage alone."""
    alone = itertools.count()
    for _, group in itertools.groupby(stages, lambda s: "leaves" if isinstance(s.node, LeafRule) else next(alone)):
        yield tuple(group)


def _first_record(node: Any, params: Any, placement: Placement | None) -> Any:
    if isinstance(node, Guest):
        return node.init(params)
    cuts = _cuts(placement, "parameters", params)
    if isinstance(node, TreeRule):
        return first_tree_record(node, params, cuts)
    return first_leaf_records(node, params, chosen_by(node, Mask, params), cuts)


def _cuts(placement: Placement | None, what: str, tree: Any) -> Sequence[Cut | None]:
    return [None] * len(jax.tree.leaves(tree)) if placement is None else placement.cuts(what, tree)


def _advance_leaves(
    rules: Sequence[LeafRule], updates: Any, old: Sequence[Any], step: Step, factor: jax.Array | None
) -> tuple[Any, list[Any]]:
    grads, structure = jax.tree.flatten(updates)
    params = [None] * len(grads) if step.params is None else jax.tree.leaves(step.params)
    choices = list(zip(*(_choices(rule, updates) for rule in rules), strict=True))
    records = list(
        zip(*(spread(rule, record, updates, step.cuts) for rule, record in zip(rules, old, strict=True)), strict=True)
    )
    static, hypers = zip(*(split(rule, step.done) for rule in rules), strict=True)
    shared = Shared(step.number, factor, hypers, tuple(_extras(rule, step.extra) for rule in rules))
    kinds = list(zip(choices, step.cuts, strict=True))
    programs = {kind: program(static, *kind) for kind in set(kinds)}
    results = [
        advance(programs[kind], grad, record, param, shared)
        for kind, grad, record, param in zip(kinds, grads, records, params, strict=True)
    ]
    new = [
        gather(rule, [kept[i] for _, kept in results], structure, record)
        for i, (rule, record) in enumerate(zip(rules, old, strict=True))
    ]
    return structure.unflatten([update for update, _ in results]), new


def _advance_tree(rule: TreeRule, updates: Any, old: Any, step: Step) -> tuple[Any, jax.Array | None, Any]:
    """The updates, the number by which they are still to be multiplied, and the rule's new record."""
    check_tree_slots(rule, old, updates)
    # One dtype for the whole tree, so that leaves, scalars and hyperparameters meet in the rule's maths.
    dtypes = [x.dtype for x in jax.tree.leaves((updates, step.params, old)) if is_inexact(x)]
    fit, real = fitting(*dtypes), real_dtype(*dtypes)
    static, hypers = split(rule, step.done)
    bound = static.replace(**{name: jax.tree.map(lambda x: _as_real(x, real), value) for name, value in hypers.items()})
    extra = {name: _as_real(value, real) for name, value in _extras(rule, step.extra).items()}
    updates = jax.tree.map(fit, updates)
    slots = with_step_keys(rule, jax.tree.map(fit, old))
    decays = jax.tree.unflatten(jax.tree.structure(updates), chosen_by(rule, DecayMask, updates))
    tree = Tree(rule.call_name, step.number, extra, step.params, step.extra, dtypes, decays, step.cuts)
    factor = None
    with jax.named_scope(rule.call_name), mixing(*jax.tree.leaves(updates)):
        if isinstance(rule, TreeScaleRule):
            factor, new = checks.pair(rule.call_name, "factor", bound.factor(updates, slots, tree), rule.State)
            factor = checks.scalar(f"{rule.call_name}: factor", jnp.asarray(factor))
        else:
            came = updates
            updates, new = checks.pair(rule.call_name, "updates", bound.update(updates, slots, tree), rule.State)
            if not rule.is_measure:
                checks.tree_result(rule.call_name, updates, _one_example(came) if rule.per_example else came)
    return updates, factor, with_next_keys(rule, as_kept(rule, new, old), old)


def _choices(rule: LeafRule, tree: Any) -> list[Chosen]:
    return list(map(Chosen, chosen_by(rule, Mask, tree), chosen_by(rule, DecayMask, tree)))


def chosen_by(rule: Rule, kind: Any, tree: Any) -> list[bool]:
    """For each leaf, what the rule's mask of a kind says of it; True if it has none."""
    leaves, structure = jax.tree.flatten(tree)
    masks = [getattr(rule, name) for name, role in rule.roles.items() if role is kind]
    # Without leaves there is nothing to choose; optax.tree.map_params calls init with such a tree of its own.
    if not leaves or not masks or masks[0] is None:
        return [True] * len(leaves)
    return checks.mask(rule.call_name, masks[0](tree) if callable(masks[0]) else masks[0], tree, structure)


def _extras(rule: Rule, extra: dict[str, Any]) -> dict[str, Any]:
    for name in rule.extras:
        if name not in extra:
            call = f"update(updates, state, params, {name}=...)"
            raise ValueError(f"{rule.call_name} needs an extra argument: call {call}")
    return {name: extra[name] for name in rule.extras}


def _admit(what: str, stages: Stages, tree: Any) -> Any:
    """A tree whose leaves are arrays that the rules among the stages can compute with."""
    rules = [node for _, node in stages if isinstance(node, Rule)]
    if tree is None or not rules:
        return tree
    real_only = next((rule.call_name for rule in rules if rule.real_only), None)
    leaves = checks.arrays(what, tree, any_dtype=all(rule.any_dtype for rule in rules), real_only=real_only)
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _check_fit(rule: Rule, updates: Any, params: Any) -> None:
    leaves, references = jax.tree.leaves(updates), None
    if params is not None:
        checks.same_structure("updates", updates, params, "the parameters")
        references = jax.tree.leaves(params)
    if rule.per_example:
        checks.examples("updates", updates, leaves, references)
        checks.examples_here(rule.call_name, updates, leaves)
    elif references is not None:
        checks.same_shapes("updates", updates, leaves, references, "the parameters")
    if references is not None:
        checks.same_kinds("updates", updates, leaves, references, "the parameters")


def _one_example(updates: Any) -> Any:
    """The shapes and dtypes of one example's updates."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), updates)


def _scale(updates: Any, factor: jax.Array) -> Any:
    return jax.tree.map(lambda update: scaled(update, factor), updates)


def _as_real(value: Any, dtype: Any) -> Any:
    """A real number or array in the dtype of computation; whatever else an extra argument may be, as it is."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return jnp.asarray(value, dtype) if is_number or _is_floating(value) else value


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)


def _cast_like(updates: Any, came: Any) -> Any:
    """The updates in the dtypes in which they came, if they still are of one structure."""
    if updates is came or jax.tree.structure(updates) != jax.tree.structure(came):
        return updates
    return jax.tree.map(_cast, updates, jax.tree.map(jnp.result_type, came))


def _cast(update: jax.Array, dtype: Any) -> jax.Array:
    return update if update.dtype == dtype else update.astype(dtype)
