"""Leaf rules in a row, on one leaf after the other: traced once for each distinct shape and dtype."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
from jax import lax

from gradxform.core import alike, checks, keep
from gradxform.core.context import Leaf
from gradxform.core.declarations import Rule
from gradxform.core.fields import DecayMask, Mask
from gradxform.core.flow import Flow, Step, times
from gradxform.core.hyperparameters import chosen_by, split
from gradxform.core.noise import Noise
from gradxform.core.placement import Cut
from gradxform.core.precision import fitting, mixing, real_dtype
from gradxform.core.slots import columns, extras, in_columns, loaded, noise_of, stored

# How many leaves whose slots are on the host between steps have them on the device at once: one in work, while another
# is copied.
_AT_ONCE = 2


class Shared(NamedTuple):
    """What all leaves of a run share: computed once a step, outside.

    Attributes:
      step: int32 of shape (): the number of this step, from 1 on.
      factor: what a rule before the run multiplies all updates by, of shape (); None for nothing.
      hypers: for each rule, its hyperparameters that are arrays, by name.
      extras: for each rule, the extra arguments that it declares, by name.
    """

    step: jax.Array
    factor: jax.Array | None
    hypers: tuple[dict[str, Any], ...]
    extras: tuple[dict[str, Any], ...]


class Chosen(NamedTuple):
    """What a rule's masks say of a leaf: whether the rule applies to it, and whether it decays."""

    applies: bool
    decays: bool


class Program:
    """The static part of a run: its rules, what their masks say of the leaf, and how it is cut over devices.

    Hashed by identity; `program` gives equal runs the same object.
    """

    def __init__(self, rules: tuple[Rule, ...], chosen: tuple[Chosen, ...], cut: Cut | None) -> None:
        self.rules, self.chosen, self.cut = rules, chosen, cut


def advance_run(rules: Sequence[Rule], flow: Flow, records: Sequence[Any], step: Step) -> tuple[Flow, list[Any]]:
    """One step of a run of leaf rules."""
    static, hypers = zip(*(split(rule, step.done) for rule in rules), strict=True)
    shared = Shared(step.number, flow.factor, hypers, tuple(extras(rule, step.extra) for rule in rules))
    chosen = zip(*(map(Chosen, *_masks(rule, flow)) for rule in rules), strict=True)
    old = list(zip(*(columns(rule, record, flow) for rule, record in zip(rules, records, strict=True)), strict=True))
    params = [None] * len(flow.updates) if flow.params is None else flow.params
    leaves = list(zip(flow.updates, old, params, _noise(step, old, params), strict=True))
    kinds = list(zip(chosen, flow.cuts, strict=True))
    programs = {kind: program(static, *kind) for kind in set(kinds)}
    if any(map(keep.is_on_host, jax.tree.leaves(old))):
        advanced = _in_turn([programs[kind] for kind in kinds], leaves, shared)
    else:
        types = [(kind, *map(jax.typeof, jax.tree.leaves(leaf))) for kind, leaf in zip(kinds, leaves, strict=True)]
        advanced = alike.in_groups(
            types, lambda group: advance_group(programs[kinds[group[0]]], [leaves[index] for index in group], shared)
        )
    updates, kept = map(list, zip(*advanced, strict=True)) if advanced else ([], [])
    new = [
        in_columns(rule, [leaf[i] for leaf in kept], flow.structure, record)
        for i, (rule, record) in enumerate(zip(rules, records, strict=True))
    ]
    return flow.replace(updates=updates, factor=None), new


def program(rules: tuple[Rule, ...], chosen: tuple[Chosen, ...], cut: Cut | None) -> Program:
    """The program of rules whose array hyperparameters were taken out."""
    # The types belong to the key because 1 == 1.0, and what is traced may depend on which it is.
    return _program(rules, chosen, cut, tuple(type(value) for rule in rules for value in rule.fields().values()))


@lru_cache(maxsize=1024)
def _program(rules: tuple[Rule, ...], chosen: tuple[Chosen, ...], cut: Cut | None, types: tuple[type, ...]) -> Program:
    del types
    return Program(rules, chosen, cut)


def judge(rule: Rule, params: Flow, record: Any, step: Step) -> Flow:
    """What a leaf rule makes of each leaf of the parameters, which are the updates of the flow, by `evaluated`."""
    params = params.whole()
    static, hypers = split(rule, step.done)
    chosen = map(Chosen, *_masks(rule, params))
    leaves = zip(params.updates, columns(rule, record, params), chosen, params.cuts, strict=True)

    def evaluated(param: jax.Array, slots: Any, chosen: Chosen, cut: Cut | None) -> jax.Array:
        if not chosen.applies:
            return param
        dtypes = keep.dtypes((param, slots))
        fit, real = fitting(*dtypes), real_dtype(*dtypes)
        bound = static.replace(**jax.tree.map(lambda number: number.astype(real), hypers))
        leaf = Leaf(rule.call_name, step.number, {}, fit(param), chosen.decays, fit(param), cut)
        with jax.named_scope(rule.call_name), mixing(param):
            value = bound.evaluated(fit(param), loaded(rule, slots, fit), leaf)
        checks.leaf_result(rule.call_name, value, param)
        return value

    return params.replace(updates=list(itertools.starmap(evaluated, leaves)))


@partial(jax.jit, static_argnums=0)
def advance(
    program: Program,
    grad: jax.Array,
    records: tuple[Any, ...],
    param: jax.Array | None,
    noise: Noise | None,
    shared: Shared,
) -> tuple[jax.Array, tuple[Any, ...]]:
    """One step of one leaf through a run of rules.

    Rules compute in the widest of float32 and the dtypes of the gradient, the parameter and the slots, complex where
    the gradient is. The update leaves in that dtype; each slot keeps the dtype that it has.
    """
    dtypes = keep.dtypes((grad, records, param))
    fit, real = fitting(*dtypes), real_dtype(*dtypes)
    update, param = times(fit(grad), shared.factor), None if param is None else keep.load(param, fit)
    kept = []
    for place, (rule, chosen, record, hypers, extra) in enumerate(
        zip(program.rules, program.chosen, records, shared.hypers, shared.extras, strict=True)
    ):
        if not chosen.applies:
            kept.append(record)
            continue
        bound = rule.replace(**jax.tree.map(lambda number: number.astype(real), hypers))
        leaf = Leaf(rule.call_name, shared.step, extra, param, chosen.decays, update, program.cut)
        with jax.named_scope(rule.call_name), mixing(grad):
            result = bound.update(update, loaded(rule, record, fit), leaf)
        update, new = checks.pair(rule.call_name, "update", result, rule.State)
        checks.leaf_result(rule.call_name, update, grad)
        update = fit(update)
        kept.append(stored(rule, new, record, None if noise is None else noise.of(place), [program.cut]))
    return update, tuple(kept)


@partial(jax.jit, static_argnums=0)
def advance_group(program: Program, leaves: list[Any], shared: Shared) -> list[Any]:
    """One step of each of a few leaves that are alike."""
    return [advance(program, *leaf, shared) for leaf in leaves]


def _in_turn(programs: Sequence[Program], leaves: Sequence[Any], shared: Shared) -> list[Any]:
    """One step of each leaf, of which a few at once have their slots on the device, and the others on the host."""
    advanced: list[Any] = []
    for index, (program, (grad, records, *rest)) in enumerate(zip(programs, leaves, strict=True)):
        if index >= _AT_ONCE:
            # XLA would begin with copying all to the device; so each waits until one of those before it is back.
            update, kept = advanced[index - _AT_ONCE]
            records, kept = _one_after_the_other(records, kept)
            advanced[index - _AT_ONCE] = update, kept
        advanced.append(advance(program, grad, records, *rest, shared))
    return advanced


def _one_after_the_other(later: Any, sooner: Any) -> tuple[Any, Any]:
    """Two trees, whose arrays on the host are used later when those of the second are there."""
    arrays, structure = jax.tree.flatten((later, sooner))
    places = [place for place, array in enumerate(arrays) if keep.is_on_host(array)]
    for place, array in zip(places, lax.optimization_barrier([arrays[place] for place in places]), strict=True):
        arrays[place] = array
    return structure.unflatten(arrays)


def _noise(step: Step, *kept: Any) -> list[Noise | None]:
    """The noise of each leaf; None where nothing of what is kept of it is rounded at random."""
    noise = noise_of(step.number, kept)
    found = list(zip(*kept, strict=True))
    return [noise.of(index) if noise is not None and keep.is_random(leaf) else None for index, leaf in enumerate(found)]


def _masks(rule: Rule, flow: Flow) -> tuple[list[bool], list[bool]]:
    applies, decays = (chosen_by(rule, kind, flow.structure, flow.updates) for kind in (Mask, DecayMask))
    return applies, decays
