"""Measures how long every optimizer's step takes to trace and lower over 1000 leaves of 64 x 64, against optax's.

    python benchmarks/tracing.py [NAME ...] [--repeats N]

Without names, all. Caches are empty each time. An optimizer whose ratio is above 0.6 is marked; exits with 1 if one is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import jax
import jax.numpy as jnp
from every_optimizer import CALLS, EXTRA, pair
from measuring import machine, many_leaves, seconds, step_of, table
from tqdm import tqdm

HIGHEST = 0.6


def build_times(name: str, repeats: int) -> tuple[float, float]:
    """Median seconds to trace and lower the step, ours and theirs."""
    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in many_leaves()]
    taken: list[list[float]] = [[], []]
    for _ in range(repeats):
        for i, tx in enumerate(pair(name)):
            state = jax.eval_shape(tx.init, params)
            jax.clear_caches()

            def build(tx: Any = tx, state: Any = state) -> Any:
                jitted = jax.jit(step_of(tx, **EXTRA.get(name, {})), donate_argnums=(0, 1))
                return jitted.trace(params, state, params).lower()

            taken[i].append(seconds(build)[0])
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="Measures how long steps take to trace and lower, against optax's.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(sorted(CALLS))}")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is built (default: 3)")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CALLS)):
        parser.error(f"no optimizer is called {', '.join(unknown)}")
    print(machine())
    rows = []
    for name in (progress := tqdm(arguments.names or sorted(CALLS), leave=False)):
        progress.set_description(name)
        ours, theirs = build_times(name, arguments.repeats)
        ratio = ours / theirs
        rows.append([name, f"{ours:.2f} / {theirs:.2f}", f"{ratio:.2f}", "slow" if ratio > HIGHEST else ""])
    table("Tracing and lowering a step over 1000 leaves", ["optimizer", "s", "ratio", f"above {HIGHEST}"], rows)
    sys.exit(any(row[-1] for row in rows))


if __name__ == "__main__":
    main()
