"""Measures a micro-step of `accumulate` against `optax.MultiSteps`, over 1000 leaves of 64 x 64.

    python benchmarks/accumulation.py [--every N] [--rounds N] [--runs N]

A micro-step that is not due gathers a gradient and no more, where optax's runs the optimizer and throws away what it
gave: the ratio of the two is to be at most 0.4. That is measured where a program holds all micro-steps of a real step
but the last, in a loop, as over the parts of a batch. Called one by one, a micro-step also hands its 4000 arrays to XLA
and back, which costs the same whatever it does, and on two cores as much as all that ours does or more: the second
table shows it, with a step that does nothing. Exits with 1 if the median of the first ratios is more than 0.4.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from measuring import machine, many_leaves, run, seconds, step_of, table
from tqdm import tqdm

import gradxform as gx

HIGHEST = 0.4


Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def nothing(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
    """A step that hands on what it is given."""
    return params, state


def looped(step: Step, times: int) -> Step:
    """So many steps in one program."""

    def loop(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        return lax.fori_loop(0, times, lambda _, carry: step(carry[0], carry[1], grads), (params, state))

    return loop


def compiled(step: Step, begin: tuple[Any, Any], grads: list[jax.Array]) -> Any:
    """The step, with parameters and state donated."""
    return jax.jit(step, donate_argnums=(0, 1)).lower(*begin, grads).compile()


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="Measures micro-steps of accumulate against optax.MultiSteps.")
    parser.add_argument("--every", type=int, default=8, help="micro-steps of a real step (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="real steps of each that are timed in a run (default: 5)")
    parser.add_argument("--runs", type=int, default=3, help="how often all is measured (default: 3)")
    arguments = parser.parse_args()
    if arguments.every < 2 or arguments.rounds < 1 or arguments.runs < 1:
        parser.error("--every must be at least 2, --rounds and --runs at least 1")
    print(machine())

    every, rng = arguments.every, np.random.default_rng(0)
    pair = (
        gx.accumulate(gx.adamw(1e-3), every),
        optax.MultiSteps(optax.adamw(1e-3), every).gradient_transformation(),
    )
    params, grads = ([jnp.asarray(rng.standard_normal(s), jnp.float32) for s in many_leaves()] for _ in range(2))

    def first(tx: optax.GradientTransformation) -> tuple[Any, Any]:
        own = jax.tree.map(jnp.copy, params)
        return own, jax.tree.map(jnp.copy, tx.init(own))

    begins = [first(tx) for tx in pair]
    loops = [compiled(looped(step_of(tx), every - 1), begin, grads) for tx, begin in zip(pair, begins, strict=True)]
    steps = [compiled(step_of(tx), begin, grads) for tx, begin in zip(pair, begins, strict=True)]
    begins.append(first(pair[0]))
    steps.append(compiled(nothing, begins[-1], grads))
    temporaries = [loop.memory_analysis().temp_size_in_bytes / 2**20 for loop in loops]

    in_a_program, called, ratios = [], [], []
    for number in range(1, arguments.runs + 1):
        in_loop: list[list[float]] = [[], []]
        waits: list[list[float]] = [[], [], []]
        due: list[list[float]] = [[], [], []]
        # The first round warms up.
        for counts in tqdm([False] + [True] * arguments.rounds, desc=f"run {number}", leave=False):
            for i, (loop, step) in enumerate(zip(loops, steps, strict=False)):
                duration, carry = seconds(partial(run, loop, *begins[i], grads))
                _, begins[i] = seconds(partial(run, step, *carry, grads))
                if counts:
                    in_loop[i].append(duration / (every - 1))
            for micro_step in range(1, every + 1):
                for i, step in enumerate(steps):
                    duration, begins[i] = seconds(partial(run, step, *begins[i], grads))
                    if counts:
                        (due if micro_step == every else waits)[i].append(duration)
        ours, theirs = map(statistics.median, in_loop)
        ratios.append(ours / theirs)
        in_a_program.append([str(number), f"{1e3 * ours:.1f} / {1e3 * theirs:.1f}", f"{ratios[-1]:.2f}"])
        cells = []
        for times in (waits, due):
            ours, theirs, _ = map(statistics.median, times)
            cells += [f"{1e3 * ours:.1f} / {1e3 * theirs:.1f}", f"{ours / theirs:.2f}"]
        called.append([str(number), *cells, f"{1e3 * statistics.median(waits[2]):.1f}"])
    title = f"accumulate(adamw, {every}), 1000 leaves of 64 x 64"
    table(f"{title}: a micro-step that waits, in one program", ["run", "waits, ms", "ratio"], in_a_program)
    print(f"\ntemporaries of that program: {temporaries[0]:.1f} / {temporaries[1]:.1f} MiB")
    head = ["run", "waits, ms", "ratio", "is due, ms", "ratio", "a step that does nothing, ms"]
    table(f"{title}: a micro-step that is called by itself", head, called)
    middle = statistics.median(ratios)
    print(f"\nmedian ratio of micro-steps that wait, in one program: {middle:.2f}, to be at most {HIGHEST}")
    sys.exit(middle > HIGHEST)


if __name__ == "__main__":
    main()
