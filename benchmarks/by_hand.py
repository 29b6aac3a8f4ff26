"""Measures a step that is called by hand, outside of `jit`, against optax: trees of 4, 50 and 500 leaves of 16 x 16.

    python benchmarks/by_hand.py [--repeats N]

A step is `update` and `apply_updates`. Ours is to take at most half of optax's time for clip and adamw, and no more
than optax's for sgd with momentum. Exits with 1 if one takes more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measuring import Pair, machine, seconds, table
from tqdm import tqdm

import gradxform as gx

# The chain, and the highest ratio of the times.
CHAINS: dict[str, tuple[Pair, float]] = {
    "clip and adamw": (
        (
            gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)),
            optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
        ),
        0.5,
    ),
    "sgd, momentum": ((gx.sgd(1e-3, 0.9), optax.sgd(1e-3, 0.9)), 1.0),
}
LEAVES = (4, 50, 500)
WARM_UP = 2


def step_times(pair: Pair, leaves: int, repeats: int) -> tuple[float, float]:
    """Median seconds of a step, ours and theirs, in alternation."""
    rng = np.random.default_rng(0)
    params, grads = ([jnp.asarray(rng.standard_normal((16, 16)), jnp.float32) for _ in range(leaves)] for _ in "pg")
    carries: list[Any] = [(params, tx.init(params)) for tx in pair]
    taken: list[list[float]] = [[], []]
    for repeat in range(WARM_UP + repeats):
        for i, (tx, apply) in enumerate(zip(pair, (gx.apply_updates, optax.apply_updates), strict=True)):

            def step(tx: Any = tx, apply: Any = apply, carry: Any = carries[i]) -> Any:
                updates, state = tx.update(grads, carry[1], carry[0])
                return jax.block_until_ready((apply(carry[0], updates), state))

            duration, carries[i] = seconds(step)
            if repeat >= WARM_UP:
                taken[i].append(duration)
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="Measures steps by hand against optax.")
    parser.add_argument("--repeats", type=int, default=51, help="steps of each that are timed (default: 51)")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error("--repeats must be at least 1")
    print(machine())
    rows, is_slow = [], False
    for name, leaves in tqdm([(name, leaves) for name in CHAINS for leaves in LEAVES], leave=False):
        pair, highest = CHAINS[name]
        ours, theirs = step_times(pair, leaves, repeats)
        is_slow |= ours > highest * theirs
        ms = f"{1e3 * ours:.2f} / {1e3 * theirs:.2f}"
        rows.append([name, str(leaves), ms, f"{ours / theirs:.2f}", f"{highest:.1f}"])
    table("A step by hand", ["chain", "leaves", "ms", "ratio", "at most"], rows)
    sys.exit(is_slow)


if __name__ == "__main__":
    main()
