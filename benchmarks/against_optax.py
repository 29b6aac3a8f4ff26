"""Measures gradxform against optax: time to trace and lower, to compile, and of a step, and the memory of a step.

    python benchmarks/against_optax.py [--quick]

All in one process: ours and theirs in alternation, after warm-up, medians. Parameters and state are donated, in the
order in which they are returned. The ratios are what counts, ours over theirs: below 1 we are faster.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import gradxform as gx

Pair = tuple[optax.GradientTransformation, optax.GradientTransformation]

CHAINS: dict[str, Pair] = {
    "clip and adamw": (
        gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    ),
    "adamw": (gx.adamw(1e-3), optax.adamw(1e-3)),
    "sgd, momentum": (gx.sgd(1e-3, 0.9), optax.sgd(1e-3, 0.9)),
    "rmsprop": (gx.rmsprop(1e-3), optax.rmsprop(1e-3)),
}


def many_leaves() -> list[tuple[int, ...]]:
    """1000 matrices of 64 x 64."""
    return [(64, 64)] * 1000


def gpt() -> list[tuple[int, ...]]:
    """A GPT-like tree of 12 layers of width 384: 148 leaves, 27.8 million parameters."""
    width = 384
    norm = [(width,), (width,)]
    dense = [((width, 3 * width), (3 * width,)), ((width, width), (width,))]
    mlp = [((width, 4 * width), (4 * width,)), ((4 * width, width), (width,))]
    layer = [*norm, *sum(dense, ()), *norm, *sum(mlp, ())]
    return [(16384, width), (512, width), *layer * 12, *norm]


def one_leaf() -> list[tuple[int, ...]]:
    """One vector of 30 million parameters."""
    return [(30_000_000,)]


def step_of(tx: optax.GradientTransformation) -> Callable[..., Any]:
    """The step that is measured: what it donates it returns, in the same order."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    return step


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def run(step: Callable[..., Any], *args: Any) -> Any:
    """Calls a step and waits until it is done."""
    return jax.block_until_ready(step(*args))


def build_times(pair: Pair, shapes: list[tuple[int, ...]], repeats: int, compile: bool) -> list[dict[str, float]]:
    """Median seconds to trace, lower and compile the step, ours and theirs, with empty caches."""
    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    taken: list[list[dict[str, float]]] = [[], []]
    for _ in range(repeats):
        for i, tx in enumerate(pair):
            state = jax.eval_shape(tx.init, params)
            jax.clear_caches()
            jitted = jax.jit(step_of(tx), donate_argnums=(0, 1))
            times = {}
            times["trace"], traced = seconds(partial(jitted.trace, params, state, params))
            times["lower"], lowered = seconds(traced.lower)
            if compile:
                times["compile"], _ = seconds(lowered.compile)
            taken[i].append(times)
    return [{key: statistics.median(times[key] for times in runs) for key in runs[0]} for runs in taken]


def step_times(pair: Pair, shapes: list[tuple[int, ...]], repeats: int) -> tuple[list[float], list[int]]:
    """Median seconds of a step, ours and theirs, and the bytes of temporary buffers that XLA reports."""
    rng = np.random.default_rng(0)
    first, grads = ([jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes] for _ in range(2))
    steps, carries, temporaries = [], [], []
    for tx in pair:
        params = jax.tree.map(jnp.copy, first)
        state = tx.init(params)
        compiled = jax.jit(step_of(tx), donate_argnums=(0, 1)).lower(params, state, grads).compile()
        steps.append(compiled)
        carries.append((params, state))
        memory = compiled.memory_analysis()
        temporaries.append(memory.temp_size_in_bytes if memory else -1)
    taken: list[list[float]] = [[], []]
    warm_up = 3
    for repeat in range(warm_up + repeats):
        for i, step in enumerate(steps):
            duration, carries[i] = seconds(partial(run, step, *carries[i], grads))
            if repeat >= warm_up:
                taken[i].append(duration)
    return [statistics.median(times) for times in taken], temporaries


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Prints a table that Markdown reads too."""
    print(f"\n{title}\n")
    for row in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description="Measures gradxform against optax.")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and no compile times")
    quick = parser.parse_args().quick
    device = jax.devices()[0]
    print(
        f"jax {jax.__version__}, optax {optax.__version__}, Python {platform.python_version()}, "
        f"{device.device_kind}, {os.cpu_count()} cores; float32, medians, ours / theirs"
    )

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
            times, temporaries = step_times(pair, shapes, 11 if quick else 41)
            size = f"{temporaries[0] / 1e6:.1f} / {temporaries[1] / 1e6:.1f}"
            ms = f"{times[0] * 1e3:.1f} / {times[1] * 1e3:.1f}"
            step_rows.append([tree, name, ms, f"{times[0] / times[1]:.2f}", size])
            progress.update()
    progress.close()
    table("Building a step", head, rows)
    table("Running a step", ["parameters", "chain", "ms", "ratio", "temporaries, MB"], step_rows)


if __name__ == "__main__":
    main()
