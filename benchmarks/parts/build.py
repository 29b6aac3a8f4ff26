"""How long a step takes to trace, lower and compile, with empty caches, ours beside optax's."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from measuring import Pair, Shapes, seconds, step_of

from parts import limits
from parts.results import Result, spread

STAGES = ("trace", "lower", "compile")
BOTH = "trace + lower"
Times = list[dict[str, list[float]]]
# Of so many leaves a program takes so long to compile that it is kept for who measures its steps.
MANY = 1000


class Program(NamedTuple):
    """A compiled step, and the seconds that it took to compile."""

    step: Any
    seconds: float


_kept: dict[tuple[Any, tuple[tuple[int, ...], ...]], Program] = {}


def program(tx: Any, shapes: Shapes, lowered: Any) -> Program:
    """Compiles a step by `update`, or takes that which was compiled before."""
    key = tx, tuple(shapes)
    found = _kept.get(key)
    if found is None:
        took, step = seconds(lowered.compile)
        found = Program(step, took)
        if len(shapes) >= MANY:
            _kept[key] = found
    return found


def builds(name: str, pair: Pair, shapes: Shapes, repeats: int, compiles: bool, **extra: Any) -> list[Result]:
    """Measures the stages of a step: one result for each, and one for tracing and lowering together.

    Args:
      name: of the chain or the optimizer.
      pair: ours and optax's.
      shapes: of the parameters.
      repeats: how often each is traced and lowered.
      compiles: whether it is compiled too, once.
      **extra: the extra arguments of `update`.
    """
    ours, theirs = taken(pair, shapes, repeats, compiles, **extra)
    results = []
    for stage in (*STAGES, BOTH):
        if not ours[stage]:
            continue
        times = {"ours": spread(ours[stage]), "optax": spread(theirs[stage])}
        ratio = spread([mine / other for mine, other in zip(ours[stage], theirs[stage], strict=True)])
        result = Result("build", name, stage, times=times, ratios={"optax": ratio})
        result.limits = limits.of_build(result)
        results.append(result)
    return results


def taken(pair: Pair, shapes: Shapes, repeats: int, compiles: bool, **extra: Any) -> Times:
    """For ours and for optax's, the seconds of each stage at each time."""
    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    times: Times = [{stage: [] for stage in (*STAGES, BOTH)} for _ in pair]
    for repeat in range(repeats):
        for own, tx in zip(times, pair, strict=True):
            state = jax.eval_shape(tx.init, params)
            jax.clear_caches()
            jitted = jax.jit(step_of(tx, **extra), donate_argnums=(0, 1))
            trace, traced = seconds(partial(jitted.trace, params, state, params))
            lower, lowered = seconds(traced.lower)
            own["trace"].append(trace)
            own["lower"].append(lower)
            own[BOTH].append(trace + lower)
            if compiles and repeat == 0:
                own["compile"].append(program(tx, shapes, lowered).seconds)
    return times
