"""Measures gradxform against optax: time to trace and lower, to compile, and of a step, and the memory of a step.

    python benchmarks/against_optax.py [--quick]

The ratios are what counts, ours over theirs: below 1 we are faster. `every_optimizer.py` has the step of each
optimizer.
"""

from __future__ import annotations

import argparse

import optax
from measuring import Pair, build_times, gpt, machine, many_leaves, one_leaf, step_times, table
from tqdm import tqdm

import gradxform as gx

CHAINS: dict[str, Pair] = {
    "clip and adamw": (
        gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    ),
    "adamw": (gx.adamw(1e-3), optax.adamw(1e-3)),
    "sgd, momentum": (gx.sgd(1e-3, 0.9), optax.sgd(1e-3, 0.9)),
    "rmsprop": (gx.rmsprop(1e-3), optax.rmsprop(1e-3)),
}


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description="Measures gradxform against optax.")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and no compile times")
    quick = parser.parse_args().quick
    print(machine())

    trees = {"148 leaves, 27.8M": gpt(), "one leaf, 30M": one_leaf()}
    progress = tqdm(total=2 + len(trees) * len(CHAINS), desc="measuring", leave=False)
    rows = []
    for name in ("clip and adamw", "adamw"):
        ours, theirs = build_times(CHAINS[name], many_leaves(), 3 if quick else 5, compile=not quick)
        both = [times["trace"] + times["lower"] for times in (ours, theirs)]
        cells = [f"{ours[key]:.2f} / {theirs[key]:.2f}" for key in ours]
        rows.append([name, *cells, f"{both[0] / both[1]:.2f}"])
        progress.update()
    head = ["1000 leaves of 64x64", *(f"{key}, s" for key in ours), "ratio of trace + lower"]
    step_rows = []
    for tree, shapes in trees.items():
        for name, pair in CHAINS.items():
            steps = step_times(pair, shapes, 11 if quick else 41)
            ms = " / ".join(f"{duration * 1e3:.1f}" for duration in steps.seconds)
            size = " / ".join(f"{bytes / 1e6:.1f}" for bytes in steps.temporaries)
            step_rows.append([tree, name, ms, f"{steps.ratio:.2f}", size])
            progress.update()
    progress.close()
    table("Building a step", head, rows)
    table("Running a step", ["parameters", "chain", "ms", "ratio", "temporaries, MB"], step_rows)


if __name__ == "__main__":
    main()
