"""Measures a micro-step of `accumulate` against `optax.MultiSteps`, over 1000 leaves of 64 x 64.

    python benchmarks/accumulation.py [--every N] [--rounds N] [--runs N]

A micro-step that is not due gathers a gradient and no more, where optax's runs the optimizer and throws away what it
gave: the ratio of the two is to be at most 0.4. Exits with 1 if the median over the runs is more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measuring import machine, many_leaves, run, seconds, step_of, table
from tqdm import tqdm

import gradxform as gx

HIGHEST = 0.4


def ready(
    tx: optax.GradientTransformation, params: list[jax.Array], grads: list[jax.Array]
) -> tuple[Any, tuple[Any, Any]]:
    """The compiled step, parameters and state donated, and what it begins with."""
    params = jax.tree.map(jnp.copy, params)
    state = jax.tree.map(jnp.copy, tx.init(params))
    compiled = jax.jit(step_of(tx), donate_argnums=(0, 1)).lower(params, state, grads).compile()
    return compiled, (params, state)


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
    steps, carries = map(list, zip(*(ready(tx, params, grads) for tx in pair), strict=True))
    rows, ratios = [], []
    for number in range(1, arguments.runs + 1):
        taken: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
        # The first round warms up.
        for micro_step in tqdm(range(every * (1 + arguments.rounds)), desc=f"run {number}", leave=False):
            for i, step in enumerate(steps):
                duration, carries[i] = seconds(partial(run, step, *carries[i], grads))
                if micro_step >= every:
                    taken[(micro_step + 1) % every == 0][i].append(duration)
        waits, due = ([statistics.median(times) for times in taken[is_due]] for is_due in (False, True))
        ratios.append(waits[0] / waits[1])
        cells = [(f"{1e3 * ours:.1f} / {1e3 * theirs:.1f}", f"{ours / theirs:.2f}") for ours, theirs in (waits, due)]
        rows.append([str(number), *cells[0], *cells[1]])
    head = ["run", "waits, ms", "ratio", "is due, ms", "ratio"]
    table(f"accumulate(adamw, {every}): a micro-step over 1000 leaves of 64 x 64", head, rows)
    middle = statistics.median(ratios)
    print(f"\nmedian ratio of micro-steps that wait: {middle:.2f}, to be at most {HIGHEST}")
    sys.exit(middle > HIGHEST)


if __name__ == "__main__":
    main()
