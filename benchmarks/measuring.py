"""What the benchmarks share: the parameters, the step that is measured, and how.

Ours and theirs run in one process and in alternation, after warm-up; medians count. Parameters and state are donated,
in the order in which they are returned.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx

Pair = tuple[optax.GradientTransformation, optax.GradientTransformation]
Shapes = list[tuple[int, ...]]
WARM_UP = 3


class Steps(NamedTuple):
    """What was measured of a step, ours and theirs.

    Attributes:
      seconds: the medians.
      temporaries: the bytes of temporary buffers that XLA reports; -1 where it reports none.
    """

    seconds: tuple[float, float]
    temporaries: tuple[int, int]


def many_leaves() -> Shapes:
    """1000 matrices of 64 x 64."""
    return [(64, 64)] * 1000


def gpt(words: int = 16384, layers: int = 12) -> Shapes:
    """A GPT-like tree of layers of width 384. 12 of them have 148 leaves, with 16384 words 27.8 million parameters."""
    width = 384
    norm = [(width,), (width,)]
    dense = [((width, 3 * width), (3 * width,)), ((width, width), (width,))]
    mlp = [((width, 4 * width), (4 * width,)), ((4 * width, width), (width,))]
    layer = [*norm, *sum(dense, ()), *norm, *sum(mlp, ())]
    return [(words, width), (512, width), *layer * layers, *norm]


def one_leaf() -> Shapes:
    """One vector of 30 million parameters."""
    return [(30_000_000,)]


def step_of(tx: optax.GradientTransformation, **extra: Any) -> Callable[..., Any]:
    """The step that is measured, of a library's own functions: what it donates it returns, in the same order."""
    update = optax.with_extra_args_support(tx).update
    apply_updates = gx.apply_updates if isinstance(tx, gx.Transform) else optax.apply_updates

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = update(grads, state, params, **extra)
        return apply_updates(params, updates), state

    return step


def by_step(tx: gx.Transform) -> Callable[..., Any]:
    """The step that is measured where the parameters land in it, by `tx.step`."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        return tx.step(grads, state, params)

    return step


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def step_times(
    pair: Pair, shapes: Shapes, repeats: int, make: Callable[..., Callable[..., Any]] = step_of, **extra: Any
) -> Steps:
    """Measures the step of two transforms, which `make` makes; `extra` are extra arguments of `update`."""
    rng = np.random.default_rng(0)
    first, grads = ([jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes] for _ in range(2))
    steps, carries, temporaries = [], [], []
    for tx in pair:
        params = jax.tree.map(jnp.copy, first)
        # Some of optax's states hold the parameters themselves, which cannot be donated twice.
        state = jax.tree.map(jnp.copy, tx.init(params))
        compiled = jax.jit(make(tx, **extra), donate_argnums=(0, 1)).lower(params, state, grads).compile()
        steps.append(compiled)
        carries.append((params, state))
        memory = compiled.memory_analysis()
        temporaries.append(memory.temp_size_in_bytes if memory else -1)
    taken: list[list[float]] = [[], []]
    for repeat in range(WARM_UP + repeats):
        for i, step in enumerate(steps):
            duration, carries[i] = seconds(partial(run, step, *carries[i], grads))
            if repeat >= WARM_UP:
                taken[i].append(duration)
    ours, theirs = map(statistics.median, taken)
    return Steps((ours, theirs), (temporaries[0], temporaries[1]))


def machine() -> str:
    """What was measured, and where."""
    return (
        f"jax {jax.__version__}, optax {optax.__version__}, Python {platform.python_version()}, "
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores; float32, medians, ours / theirs"
    )


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table as Markdown has it."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Prints a table that Markdown reads too, its cells one below the other."""
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    text = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    print(f"\n{title}\n", *text, sep="\n")


def run(step: Callable[..., Any], *args: Any) -> Any:
    """A call that waits for its result."""
    return jax.block_until_ready(step(*args))
