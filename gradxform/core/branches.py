"""Branches: of two things one is done, in the form that XLA takes best for each backend.

By hand, where the predicate is known, a branch is chosen, and nothing is compiled for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from gradxform.core.placement import Axes, types_tell, union, varying_axes


def either(pred: jax.Array, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """What one of two functions returns; only that one runs.

    `lax.cond`, of branches whose results may vary over different mesh axes: all vary over those of both.
    """
    if not isinstance(pred, Tracer):
        return yes() if pred else no()
    if not types_tell():
        return lax.cond(pred, yes, no)
    axes = jax.tree.map(lambda *arrays: union(map(varying_axes, arrays)), *map(jax.eval_shape, (yes, no)))
    return lax.cond(pred, *(lambda branch=branch: jax.tree.map(varying, branch(), axes) for branch in (yes, no)))


def selected(pred: jax.Array, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """What one of two functions returns, where `yes` is what mostly runs and both may.

    An accelerator runs both and selects, because a branch would keep XLA from fusing what is before it and behind it.
    """
    if not isinstance(pred, Tracer):
        return either(pred, yes, no)
    return by_backend(
        lambda pred: either(pred, yes, no),
        {"default": lambda pred: jax.tree.map(partial(jnp.where, pred), yes(), no())},
        pred,
    )


def at_most_once(pred: jax.Array, function: Callable[[Any], Any], carry: Any) -> Any:
    """function(carry) where a bool is true, else the carry as it is; the function returns arrays like its argument's.

    For an accelerator it is a loop of one turn or none, whose carry stays where it is in memory: what a branch hands on
    a GPU copies.
    """
    if not isinstance(pred, Tracer):
        return function(carry) if pred else carry
    if types_tell():
        axes = jax.tree.map(lambda *arrays: union(map(varying_axes, arrays)), carry, jax.eval_shape(function, carry))
        carry = jax.tree.map(varying, carry, axes)

    def loop(pred: jax.Array, carry: Any) -> Any:
        def turn(state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            return jnp.zeros_like(pred), function(state[1])

        return lax.while_loop(lambda state: state[0], turn, (pred, carry))[1]

    return by_backend(
        lambda pred, carry: either(pred, lambda: function(carry), lambda: carry), {"default": loop}, pred, carry
    )


def by_backend(plain: Callable[..., Any], fast: Mapping[str, Callable[..., Any]], *args: Any) -> Any:
    """A function on a CPU and wherever it is differentiated, else the one for the backend, of the same values.

    Args:
      plain: the function.
      fast: those for other backends, by the names of `lax.platform_dependent`; "default" for all others. Where there
        is none, `plain` is for all others.
      *args: arrays.
    """
    # What they close over is an argument of its own, so that derivatives go through it.
    plain, held = _opened(plain, *args)
    opened = {name: _opened(each, *args) for name, each in fast.items()}
    by_fast = {name: held for name, (_, held) in opened.items()}

    @jax.custom_jvp
    def run(args: Any, held: Any, by_fast: Any) -> Any:
        as_it_is = partial(plain, args, held)
        others = {name: partial(each, args, by_fast[name]) for name, (each, _) in opened.items()}
        return lax.platform_dependent(**{"default": as_it_is, "cpu": as_it_is, **others})

    @run.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (args, held, _), (moves, held_moves, _) = primals, tangents
        return jax.jvp(plain, (args, held), (moves, held_moves))

    return run(args, held, by_fast)


def _opened(function: Callable[..., Any], *args: Any) -> tuple[Callable[[Any, Any], Any], list[Any]]:
    """A function of its arguments and of what it closes over, and that: as `jax.closure_convert`, of integers too."""
    closed, result = jax.make_jaxpr(function, return_shape=True)(*args)
    structure = jax.tree.structure(result)

    def call(args: Any, held: list[Any]) -> Any:
        return structure.unflatten(jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, held))(*jax.tree.leaves(args)))

    return call, closed.consts


def varying(x: jax.Array, axes: Axes) -> jax.Array:
    """A value whose type says that it varies over some mesh axes too."""
    missing = tuple(name for name in axes if name not in varying_axes(x))
    return lax.pcast(x, missing, to="varying") if missing else x
