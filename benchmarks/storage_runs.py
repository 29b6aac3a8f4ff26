"""The runs of `storage.py`: training all seeds of a task in one program, bytes, and the step of a CPU."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from kept import File
from measuring import by_step, gpt, step_times
from storage_tasks import BASELINE, WAYS, Training, Way

import gradxform as gx

SEEDS = 5


def cast(tree: Any, dtype: Any) -> Any:
    """A tree of arrays in another dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def trained(training: Training, way: Way, seen: Callable[[int], Any]) -> dict[str, Any]:
    """Trains a network of each seed, and returns losses by seed; `seen` is called with the steps that were done.

    A loss that is not finite is None, which JSON has too.
    """
    task, tx = training.task, way.wrap(training.tx)

    def begin(seed: jax.Array) -> tuple[Any, Any]:
        params = cast(task.init(seed), way.dtype)
        return params, tx.init(params)

    def loss(params: Any, batch: Any) -> jax.Array:
        return task.loss(cast(params, jnp.float32), batch)

    def step(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, batch)
        return tx.step(grads, state, params), value

    def train(carry: tuple[Any, Any], batches: Any) -> tuple[tuple[Any, Any], jax.Array]:
        return lax.scan(step, carry, batches)

    advance = jax.jit(jax.vmap(train), donate_argnums=0)
    judge = jax.jit(jax.vmap(loss, in_axes=(0, None)))
    carry = jax.jit(jax.vmap(begin))(jnp.arange(SEEDS))
    curves = []
    for done in range(0, task.steps, task.every):
        end = min(done + task.every, task.steps)
        each = [task.batches(seed, done, end) for seed in range(SEEDS)]
        carry, _ = advance(carry, jax.tree.map(lambda *those: np.stack(those), *each))
        curves.append(np.asarray(judge(carry[0], task.judged)))
        seen(end - done)
    return {
        "curves": _numbers(np.stack(curves, axis=1)),
        "held_out": _numbers(np.asarray(judge(carry[0], task.other))),
    }


def _numbers(values: np.ndarray) -> Any:
    if values.ndim:
        return [_numbers(value) for value in values]
    return float(values) if math.isfinite(values) else None


def lengths(training: Training, way: Way) -> list[float]:
    """The joint norm of a way's updates over float32's, of the same gradients: means of `every` steps, one seed.

    Both transforms are given the gradients of one training in float32, so that nothing but their states differs.
    """
    task, pair = training.task, (way.wrap(training.tx), training.tx)

    def step(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        params, states = carry
        grads = jax.grad(task.loss)(params, batch)
        both = [tx.update(grads, state, params) for tx, state in zip(pair, states, strict=True)]
        ours, theirs = (updates for updates, _ in both)
        norms = optax.tree.norm(ours) / optax.tree.norm(theirs)
        return (gx.apply_updates(params, theirs), tuple(state for _, state in both)), norms

    params = task.init(0)
    begin = params, tuple(tx.init(params) for tx in pair)
    _, ratios = jax.jit(partial(lax.scan, step))(begin, task.batches(0, 0, task.steps))
    return [float(each.mean()) for each in np.array_split(ratios, task.steps // task.every)]


def bytes_of(way: Way) -> dict[str, float]:
    """Bytes a parameter of AdamW's state, the parameters and the gradients, of arrays in memory: 28M, GPT-like."""
    params = [jnp.ones(shape, way.dtype) for shape in gpt()]
    state = jax.block_until_ready(way.wrap(gx.adamw(1e-3)).init(params))
    count = sum(param.size for param in params)
    kept = {"state": state, "parameters": params}
    found = {name: sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) / count for name, tree in kept.items()}
    # Gradients have the parameters' dtypes.
    return found | {"gradients": found["parameters"]}


def cpu_step(way: Way, repeats: int) -> dict[str, Any]:
    """The step of AdamW over 28M float32 parameters, beside that of float32, in alternation, and the machine's load."""
    load = os.getloadavg()[0]
    pair = way.wrap(gx.adamw(1e-3)), WAYS[BASELINE].wrap(gx.adamw(1e-3))
    steps = step_times(pair, gpt(), repeats, by_step)
    largest = max(math.prod(shape) for shape in gpt()) * 4
    return {
        "seconds": steps.seconds,
        "temporaries": steps.temporaries[0],
        "largest_leaf": largest,
        "load": load,
        "cores": os.cpu_count(),
    }


class Kept(File):
    """Runs and measurements that are kept in a JSON file, each one as soon as it is done.

    Args:
      path: the file, which is read if it is there.
    """

    def __init__(self, path: Path | None):
        versions = {"python": platform.python_version(), "jax": jax.__version__, "machine": platform.machine()}
        super().__init__(path, {"versions": versions, "runs": [], "lengths": {}, "bytes": {}, "cpu": {}})

    def run(self, name: str, training: Training, way: str) -> dict[str, Any] | None:
        """What came of a run, if it is there. What a transform prints says all about it, and so which run it is."""
        wanted = _about(name, training, way)
        return next((each for each in self.content["runs"] if wanted.items() <= each.items()), None)

    def add(self, name: str, training: Training, way: str, found: dict[str, Any]) -> None:
        """Keeps what came of a run, in the place of one of the same name."""
        others = [each for each in self.content["runs"] if (each["task"], each["way"]) != (name, way)]
        self.content["runs"] = [*others, _about(name, training, way) | found]
        self.write()

    def measured(self, part: str, way: str, found: Any) -> None:
        """Keeps a measurement of `lengths`, `bytes` or `cpu`."""
        self.content.setdefault(part, {})[way] = found
        self.write()


def _about(name: str, training: Training, way: str) -> dict[str, Any]:
    task = training.task
    return {
        "task": name,
        "way": way,
        "steps": task.steps,
        "every": task.every,
        "seeds": SEEDS,
        "parameters": task.parameters,
        "judged": task.judged_is,
        "dtype": jnp.dtype(WAYS[way].dtype).name,
        "transform": repr(WAYS[way].wrap(training.tx)),
    }
