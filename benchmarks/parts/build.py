"""How long a step takes to trace, lower and compile, with empty caches, ours beside optax's."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from measuring import Pair, Shapes, seconds, step_of

from parts import limits
from parts.results import Result, spread

STAGES = ("trace", "lower", "compile")
BOTH = "trace + lower"
Times = list[dict[str, list[float]]]


def builds(name: str, pair: Pair, shapes: Shapes, repeats: int, compiles: int, **extra: Any) -> list[Result]:
    """Measures the stages of a step: one result for each, and one for tracing and lowering together.

    Args:
      name: of the chain or the optimizer.
      pair: ours and optax's.
      shapes: of the parameters.
      repeats: how often each is traced and lowered.
      compiles: in how many of these it is compiled too.
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


def taken(pair: Pair, shapes: Shapes, repeats: int, compiles: int, **extra: Any) -> Times:
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
            if repeat < compiles:
                own["compile"].append(seconds(lowered.compile)[0])
    return times
