"""Leaf rules in a row, on one leaf after the other: traced once for each distinct shape and dtype."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import jax
from jax import lax

from gradxform.core import alike, checks, fused, keep
from gradxform.core.context import Leaf
from gradxform.core.declarations import Rule
from gradxform.core.fields import DecayMask, Mask
from gradxform.core.flow import Flow, Step, times
from gradxform.core.hyperparameters import chosen_by, split
from gradxform.core.noise import Noise
from gradxform.core.placement import Cut
from gradxform.core.precision import fitting, mixing, real_dtype
from gradxform.core.runs import Chosen, Kind, OfLeaf, Program, Shared
from gradxform.core.slots import columns, extras, in_columns, loaded, noise_of, stored

# How many leaves whose slots are on the host between steps have them on the device at once: one in work, while another
# is copied.
_AT_ONCE = 2


def advance_run(rules: Sequence[Rule], flow: Flow, records: Sequence[Any], step: Step) -> tuple[Flow, list[Any]]:
    """One step of a run of leaf rules."""
    static, hypers = zip(*(split(rule, step.done) for rule in rules), strict=True)
    shared = Shared(step.number, flow.factor, hypers, tuple(extras(rule, step.extra) for rule in rules))
    chosen = zip(*(map(Chosen, *_masks(rule, flow)) for rule in rules), strict=True)
    old = list(zip(*(columns(rule, record, flow) for rule, record in zip(rules, records, strict=True)), strict=True))
    params = [None] * len(flow.updates) if flow.params is None else flow.params
    leaves = list(map(OfLeaf, flow.updates, old, params, _noise(step, old, params)))
    target = fused.target()
    targets = [target if (fused.is_worth(leaf) if flow.fuses is None else flow.fuses) else None for leaf in leaves]
    lands = [flow.lands and each is not None for each in targets]
    kinds = list(map(Kind, chosen, flow.cuts, targets, lands))
    programs = {kind: program(static, kind) for kind in set(kinds)}
    if any(map(keep.is_on_host, jax.tree.leaves(old))):
        done = _in_turn([programs[kind] for kind in kinds], leaves, shared)
    else:
        types = [(kind, *map(jax.typeof, jax.tree.leaves(leaf))) for kind, leaf in zip(kinds, leaves, strict=True)]
        done = alike.in_groups(
            types, lambda group: advance_group(programs[kinds[group[0]]], [leaves[index] for index in group], shared)
        )
    new = [
        in_columns(rule, [leaf.records[i] for leaf in done], flow.structure, record)
        for i, (rule, record) in enumerate(zip(rules, records, strict=True))
    ]
    landed = [leaf.param for leaf in done] if flow.lands else None
    return flow.replace(updates=[leaf.update for leaf in done], factor=None, landed=landed), new


def program(rules: tuple[Rule, ...], kind: Kind) -> Program:
    """The program of rules whose array hyperparameters were taken out."""
    # The types belong to the key because 1 == 1.0, and what is traced may depend on which it is.
    return _program(rules, kind, tuple(type(value) for rule in rules for value in rule.fields().values()))


@lru_cache(maxsize=1024)
def _program(rules: tuple[Rule, ...], kind: Kind, types: tuple[type, ...]) -> Program:
    del types
    return Program(rules, kind)


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
def advance(program: Program, leaf: OfLeaf, shared: Shared) -> OfLeaf:
    """One step of one leaf through a run of rules: by one kernel, where that is worth it and can be, else plainly."""
    done = fused.step(program, leaf, shared, maths, plain) if program.kind.target else None
    return plain(program, leaf, shared) if done is None else done


@partial(jax.jit, static_argnums=0)
def advance_group(program: Program, leaves: list[OfLeaf], shared: Shared) -> list[OfLeaf]:
    """One step of each of a few leaves that are alike."""
    return [advance(program, leaf, shared) for leaf in leaves]


def plain(program: Program, leaf: OfLeaf, shared: Shared) -> OfLeaf:
    """One step of one leaf through a run of rules.

    Rules compute in the widest of float32 and the dtypes of the gradient, the parameter and the slots, complex where
    the gradient is. The update leaves in that dtype; each slot keeps the dtype that it has.
    """
    fit = fitting(*keep.dtypes((leaf.update, leaf.records, leaf.param)))
    param = None if leaf.param is None else keep.load(leaf.param, fit)
    slots = [
        loaded(rule, record, fit) if chosen.applies else record
        for rule, chosen, record in zip(program.rules, program.kind.chosen, leaf.records, strict=True)
    ]
    update, new = maths(program, fit(leaf.update), slots, param, shared)
    kept = tuple(
        record if slots is None else stored(rule, slots, record, leaf.noise_of(place), [program.kind.cut])
        for place, (rule, record, slots) in enumerate(zip(program.rules, leaf.records, new, strict=True))
    )
    return OfLeaf(update, kept, None, None)


def maths(
    program: Program, update: jax.Array, slots: Sequence[Any], param: jax.Array | None, shared: Shared
) -> tuple[jax.Array, list[Any]]:
    """What the rules make of an update and of their slots, all in the dtype of computation.

    Returns:
      The update that leaves the last rule, and of each rule its new slots; None of one that does not apply.
    """
    fit, real = fitting(update.dtype), real_dtype(update.dtype)
    update = came = times(update, shared.factor)
    new: list[Any] = []
    for rule, chosen, own, hypers, extra in zip(
        program.rules, program.kind.chosen, slots, shared.hypers, shared.extras, strict=True
    ):
        if not chosen.applies:
            new.append(None)
            continue
        bound = rule.replace(**jax.tree.map(lambda number: number.astype(real), hypers))
        leaf = Leaf(rule.call_name, shared.step, extra, param, chosen.decays, update, program.kind.cut)
        with jax.named_scope(rule.call_name), mixing(came):
            result = bound.update(update, own, leaf)
        update, kept = checks.pair(rule.call_name, "update", result, rule.State)
        checks.leaf_result(rule.call_name, update, came)
        update = fit(update)
        new.append(kept)
    return update, new


def _in_turn(programs: Sequence[Program], leaves: Sequence[OfLeaf], shared: Shared) -> list[OfLeaf]:
    """One step of each leaf, of which a few at once have their slots on the device, and the others on the host."""
    done: list[OfLeaf] = []
    for index, (program, leaf) in enumerate(zip(programs, leaves, strict=True)):
        records = leaf.records
        if index >= _AT_ONCE:
            # XLA would begin with copying all to the device; so each waits until one of those before it is back.
            before = done[index - _AT_ONCE]
            records, kept = _one_after_the_other(records, before.records)
            done[index - _AT_ONCE] = before._replace(records=kept)
        done.append(advance(program, leaf._replace(records=records), shared))
    return done


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
