"""Tree rules: one step over all leaves together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform.core import checks, keep
from gradxform.core.context import Tree
from gradxform.core.declarations import Rule
from gradxform.core.fields import DecayMask
from gradxform.core.flow import Flow, Step
from gradxform.core.hyperparameters import chosen_by, split
from gradxform.core.precision import fitting, mixing, real_dtype
from gradxform.core.slots import extras, in_lists, in_trees, loaded, next_key, noise_of, step_key, stored


def call(rule: Rule, method: str, returns: str, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any, Any]:
    """Calls a method of a tree rule, which sees lists of leaves in the place of trees.

    Returns:
      The flow in the dtype of computation, what the method returns beside the slots, and the new record.
    """
    opened = _opened(rule, flow, record, step, extras(rule, step.extra))
    flow, old, params = opened.flow, opened.old, flow.params
    with jax.named_scope(rule.call_name), mixing(*flow.updates):
        returned = getattr(opened.rule, method)(flow.updates, opened.slots, opened.tree)
    result, new = checks.pair(rule.call_name, returns, returned, rule.State)
    noise = noise_of(step.number, old)
    new = stored(rule, new, old, noise, flow.cuts)._replace(
        **{name: next_key(rule, name, getattr(old, name)) for name in rule.keys}
    )
    return flow.replace(params=params), result, in_trees(rule, new, flow.structure)


def judge(rule: Rule, params: Flow, record: Any, step: Step) -> Flow:
    """What a tree rule makes of the parameters, which are the updates of the flow, by `evaluated`."""
    opened = _opened(rule, params, record, step, {})
    flow = opened.flow
    with jax.named_scope(rule.call_name), mixing(*flow.updates):
        evaluated = opened.rule.evaluated(flow.updates, opened.slots, opened.tree)
    checks.tree_result(rule.call_name, flow.structure, evaluated, flow.updates)
    return flow.replace(updates=list(evaluated))


def within(held: Any, states: Any) -> Iterator[tuple[Any, Any]]:
    """The transform that a rule holds in a field, or those among the values of a dict, each with its state."""
    if not isinstance(held, dict):
        yield held, states
        return
    for name, transform in held.items():
        if f"{name}_state" in states:
            yield transform, states[f"{name}_state"]


class _Opened(NamedTuple):
    """What a method of a tree rule is called with: the rule with its numbers, and all in the dtype of computation."""

    rule: Any
    flow: Flow
    slots: Any
    tree: Tree
    old: Any


def _opened(rule: Rule, flow: Flow, record: Any, step: Step, extra: Mapping[str, Any]) -> _Opened:
    flow = flow.whole().replace(params=keep.decoded(flow.params))
    old = in_lists(rule, record, flow)
    # One dtype for the whole tree, so that leaves, scalars and hyperparameters meet in the rule's maths.
    own = [value for name, value in zip(old._fields, old, strict=True) if name not in rule.inners]
    dtypes = keep.dtypes((flow.updates, flow.params, own))
    fit, real = fitting(*dtypes), real_dtype(*dtypes)
    static, hypers = split(rule, step.done)
    bound = static.replace(**{name: jax.tree.map(lambda x: _as_real(x, real), value) for name, value in hypers.items()})
    given = {name: _as_real(value, real) for name, value in extra.items()}
    flow = flow.replace(updates=list(map(fit, flow.updates)))
    slots = loaded(rule, old, fit)._replace(**{name: step_key(rule, name, getattr(old, name)) for name in rule.keys})
    with mixing(*flow.updates):
        decays = chosen_by(rule, DecayMask, flow.structure, flow.updates)
    return _Opened(bound, flow, slots, Tree(rule.call_name, flow, step, given, dtypes, decays), old)


def onwards(rule: Rule, flow: Flow, result: Any) -> Flow:
    """The flow of what a tree rule returned, which is of the shapes and kinds that came unless it is a measurement."""
    if rule.is_measure:
        # A measurement keeps its own dtype, also where its structure is that of the updates.
        leaves, structure = jax.tree.flatten(result)
        return Flow(leaves, structure, leaves, flow.params, flow.params_structure, [None] * len(leaves))
    came = map(_one_example, flow.updates) if rule.per_example else flow.updates
    checks.tree_result(rule.call_name, flow.structure, result, list(came))
    return flow.replace(updates=list(result))


def _one_example(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _as_real(value: Any, dtype: Any) -> Any:
    """A real number or array in the dtype of computation; whatever else an extra argument may be, as it is."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return jnp.asarray(value, dtype) if is_number or _is_floating(value) else value


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
