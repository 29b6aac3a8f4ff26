"""A run of leaf rules on one leaf: traced once for each distinct shape and dtype, and the one place that casts."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.context import Leaf
from gradxform.core.fields import DecayMask, Mask
from gradxform.core.placement import Cut
from gradxform.core.precision import fitting, is_inexact, mixing, real_dtype
from gradxform.core.rule import LeafRule, Rule
from gradxform.core.slots import as_kept


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

    def __init__(self, rules: tuple[LeafRule, ...], chosen: tuple[Chosen, ...], cut: Cut | None) -> None:
        self.rules, self.chosen, self.cut = rules, chosen, cut


def program(rules: tuple[LeafRule, ...], chosen: tuple[Chosen, ...], cut: Cut | None) -> Program:
    """The program of rules whose array hyperparameters were taken out."""
    # The types belong to the key because 1 == 1.0, and what is traced may depend on which it is.
    return _program(rules, chosen, cut, tuple(type(value) for rule in rules for value in rule.fields().values()))


@lru_cache(maxsize=1024)
def _program(
    rules: tuple[LeafRule, ...], chosen: tuple[Chosen, ...], cut: Cut | None, types: tuple[type, ...]
) -> Program:
    del types
    return Program(rules, chosen, cut)


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
    # The mask is no part of what is traced: two that choose the same leaves share a trace.
    masks = [name for name, role in rule.roles.items() if role in (Mask, DecayMask)]
    return rule.replace(**dict.fromkeys([*values, *masks])), values


def _at(count: jax.Array, what: str, value: Any) -> Any:
    """A hyperparameter at a step: an array, or a number of Python's own as it is."""
    if callable(value):
        what = f"{what} at this step"
        return checks.scalar(what, checks.number(what, value(count)))
    return checks.scalar(what, jnp.asarray(value)) if isinstance(value, np.generic | np.ndarray | jax.Array) else value


@partial(jax.jit, static_argnums=0)
def advance(
    program: Program, grad: jax.Array, records: tuple[Any, ...], param: jax.Array | None, shared: Shared
) -> tuple[jax.Array, tuple[Any, ...]]:
    """One step of one leaf through a run of rules.

    Rules compute in the widest of float32 and the dtypes of the gradient, the parameter and the slots, complex where
    the gradient is. The update leaves in that dtype; each slot keeps the dtype that it has.
    """
    dtypes = [x.dtype for x in jax.tree.leaves((grad, records, param)) if is_inexact(x)]
    fit, real = fitting(*dtypes), real_dtype(*dtypes)
    update, param = _times(fit(grad), shared.factor), None if param is None else fit(param)
    kept = []
    for rule, chosen, record, hypers, extra in zip(
        program.rules, program.chosen, records, shared.hypers, shared.extras, strict=True
    ):
        if not chosen.applies:
            kept.append(record)
            continue
        bound = rule.replace(**jax.tree.map(lambda number: number.astype(real), hypers))
        leaf = Leaf(rule.call_name, shared.step, extra, param, chosen.decays, update, program.cut)
        with jax.named_scope(rule.call_name), mixing(grad):
            result = bound.update(update, jax.tree.map(fit, record), leaf)
        update, new = checks.pair(rule.call_name, "update", result, rule.State)
        checks.leaf_result(rule.call_name, update, grad)
        update = fit(update)
        kept.append(as_kept(rule, new, record))
    return update, tuple(kept)


@jax.jit
def scaled(update: jax.Array, factor: jax.Array) -> jax.Array:
    """A leaf, in the dtype of computation, times a number."""
    return _times(fitting(update.dtype)(update), factor)


def _times(update: jax.Array, factor: jax.Array | None) -> jax.Array:
    if factor is None:
        return update
    with mixing(update):
        return update * factor.astype(real_dtype(update.dtype))
