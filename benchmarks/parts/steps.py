"""Steps under `jax.jit`: their times, temporaries and states, beside optax's, torch's and the floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from measuring import Pair, Shapes, by_step, seconds, step_of

from parts import build, limits, pairs, torches
from parts.alternate import Budget, Contestant, Step, measure, ratios, timing
from parts.floor import PROBE, PROBES, Bandwidth, moved
from parts.pairs import Chain
from parts.results import Result
from parts.trees import Tree, arrays

OURS, BY_STEP, OPTAX = "ours", "ours, step", "optax"
# Steps that are begun before one is waited for.
PER_CALL = {"cpu": 1}
ON_ACCELERATORS = 10


class Compiled(NamedTuple):
    """A step that is ready to run.

    Attributes:
      step: the contestant.
      seconds: that it took to compile.
      temporaries: the bytes of temporary buffers that XLA reports; -1 where it reports none.
      state: the bytes of the state.
    """

    step: Step
    seconds: float
    temporaries: int
    state: int


def per_call() -> int:
    """How many steps are begun before one is waited for, here."""
    return PER_CALL.get(jax.default_backend(), ON_ACCELERATORS)


def compiled(
    tx: optax.GradientTransformation,
    shapes: Shapes,
    make: Callable[..., Callable[..., Any]] = step_of,
    micro_steps: int = 1,
    **extra: Any,
) -> Compiled:
    """Compiles a step.

    Args:
      tx: the transform.
      shapes: of the parameters.
      make: makes the step of it: `step_of` or `by_step`.
      micro_steps: how many are done in one program.
      **extra: the extra arguments of `update`.
    """
    first, grads = arrays(shapes)
    params = jax.tree.map(jnp.copy, first)
    # Some of optax's states hold the parameters themselves, which cannot be donated twice.
    state = jax.tree.map(jnp.copy, tx.init(params))
    step = make(tx, **extra)
    if micro_steps > 1:
        step = _looped(step, micro_steps)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, grads)
    if make is step_of and micro_steps == 1 and not extra:
        program, took = build.program(tx, shapes, lowered)
    else:
        took, program = seconds(lowered.compile)
    memory = program.memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return Compiled(Step(program, (params, state), grads), took, memory.temp_size_in_bytes if memory else -1, size)


def _looped(step: Callable[..., Any], times: int) -> Callable[..., Any]:
    """So many steps in one program, as over the parts of a batch."""

    def loop(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        return lax.fori_loop(0, times, lambda _, carry: step(carry[0], carry[1], grads), (params, state))

    return loop


def chain(name: str, tree: Tree, budget: Budget, bandwidth: Bandwidth) -> Result:
    """Measures a chain that people use over a tree: ours by `update` and by `step`, optax's, torch's."""
    chosen = pairs.CHAINS[name]
    pair = chosen.make(tree)
    steps = {
        OURS: compiled(pair[0], tree.shapes, micro_steps=chosen.micro_steps),
        BY_STEP: compiled(pair[0], tree.shapes, by_step, chosen.micro_steps),
        OPTAX: compiled(pair[1], tree.shapes, micro_steps=chosen.micro_steps),
    }
    result = _measured("chains", name, tree, steps, torches.contestants(chosen.torch, tree.shapes), budget, bandwidth)
    _scale(result, 1 / chosen.micro_steps)
    _set_floor(result, tree, bandwidth, chosen)
    result.limits = limits.of_chain(result, tree)
    return result


def optimizer(name: str, tree: Tree, budget: Budget, bandwidth: Bandwidth) -> Result:
    """Measures an optimizer that both have over a tree."""
    pair: Pair = pairs.optimizer(name, tree)
    extra = pairs.EXTRA.get(name, {})
    steps = {whose: compiled(tx, tree.shapes, **extra) for whose, tx in zip((OURS, OPTAX), pair, strict=True)}
    result = _measured("every", name, tree, steps, {}, budget, bandwidth)
    _set_floor(result, tree, bandwidth, Chain(lambda tree: pair))
    result.limits = limits.of_optimizer(result, tree)
    return result


def _measured(
    part: str,
    name: str,
    tree: Tree,
    steps: dict[str, Compiled],
    torch: dict[str, Contestant],
    budget: Budget,
    bandwidth: Bandwidth,
) -> Result:
    jax_steps: dict[str, Contestant] = {whose: each.step for whose, each in steps.items()}
    samples = measure({"jax": {**jax_steps, **bandwidth.probe()}, "torch": torch}, budget, per_call())
    times = {whose: timing(taken) for library in samples.values() for whose, taken in library.items()}
    return Result(
        part,
        name,
        tree.name,
        times=times,
        ratios=ratios(samples, OURS, (*PROBES, BY_STEP)),
        compile={whose: each.seconds for whose, each in steps.items()},
        temporaries={whose: each.temporaries for whose, each in steps.items()},
        state={whose: each.state for whose, each in steps.items()},
    )


def _scale(result: Result, factor: float) -> None:
    """Times of one micro-step from those of a program of some."""
    if factor != 1:
        for whose, time in result.times.items():
            if whose not in PROBES:
                seconds = (factor * each for each in (time.median, time.low, time.high))
                result.times[whose] = time._replace(**dict(zip(("median", "low", "high"), seconds, strict=True)))


def _set_floor(result: Result, tree: Tree, bandwidth: Bandwidth, chain: Chain) -> None:
    """Sets the seconds that each one's bytes take at the bandwidth that was measured beside it."""
    speed = bandwidth.of(PROBE, result.times.pop(PROBE).median)
    for whose in result.times:
        # What torch keeps is what we keep.
        state = result.state.get(whose, result.state[OURS])
        result.floor[whose] = moved(tree.shapes, state, chain.grad_reads, chain.micro_steps, chain.due) / speed
