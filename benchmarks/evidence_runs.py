"""The runs of `evidence.py`: training on a task with a transform, and a file of a task that keeps what came of it."""

from __future__ import annotations

import hashlib
import math
import platform
import statistics
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from evidence_methods import METHODS
from evidence_tuning import Setting
from jax import lax
from kept import File
from measuring import run, seconds
from tasks import Task

import gradxform as gx

TUNING_SEED = 0
ROUNDS = 7

Carry = tuple[Any, Any]


class Run(NamedTuple):
    """What came of a run.

    Attributes:
      losses: the last loss alone where it was for tuning, else one each `every` steps; infinite where not finite.
      mistakes: the share of unseen examples that were named wrong in the end; None where it was not asked for.
    """

    losses: list[float]
    mistakes: float | None = None


@partial(jax.jit, static_argnums=0)
def begin(init: Callable[[Any], Any], tx: gx.Transform, seed: int) -> Carry:
    """Parameters and state before the first step."""
    params = init(seed)
    return params, tx.init(params)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def train(loss: Callable[..., jax.Array], tx: gx.Transform, carry: Carry, batches: Any) -> tuple[Carry, jax.Array]:
    """As many steps as there are batches, and their losses.

    The transform is an argument, so that its learning rate is one, and all settings of a method share a program.
    """

    def step(carry: Carry, batch: Any) -> tuple[Carry, jax.Array]:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), value

    return lax.scan(step, carry, batches)


@partial(jax.jit, static_argnums=0)
def evaluate(measure: Callable[..., jax.Array], tx: gx.Transform, carry: Carry, *args: Any) -> jax.Array:
    """A measure of the parameters that a run is judged by, which of some methods are an average."""
    params, state = carry
    return measure(gx.eval_params(tx, state, params), *args)


def trained(tx: gx.Transform, task: Task, seed: int, tuning: bool) -> Run:
    """Trains a network.

    Settings are judged by the examples that the results are not of, where those are of unseen ones. A run whose loss is
    no longer finite ends there, and all its losses that would have come are infinite.
    """
    examples = task.other if tuning and task.mistakes is None else task.judged
    carry = begin(task.init, tx, seed)
    losses: list[float] = []
    done = 0
    while done < task.steps:
        end = min(done + task.every, task.steps)
        carry, training = train(task.loss, tx, carry, task.batches(seed, done, end))
        if not np.isfinite(training).all():
            break
        if not tuning or end == task.steps:
            losses.append(float(str(evaluate(task.loss, tx, carry, examples))))
        done = end
    wanted = 1 if tuning else math.ceil(task.steps / task.every)
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses] + [math.inf] * (wanted - len(losses))
    if tuning or task.mistakes is None or not math.isfinite(finite[-1]):
        return Run(finite)
    return Run(finite, round(float(evaluate(task.mistakes, tx, carry)), 6))


def state_bytes(tx: gx.Transform, task: Task) -> float:
    """Bytes of state a parameter."""
    params = jax.eval_shape(task.init, 0)
    state = jax.eval_shape(tx.init, params)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) / task.parameters


def times(transforms: dict[str, gx.Transform], task: Task, seen: Callable[[], Any]) -> dict[str, float]:
    """Median seconds of a step for each transform, in alternation.

    `every` steps are timed together, so that what a method does only every tenth step has its part in the time. `seen`
    is called after each measurement.
    """
    batches = task.batches(TUNING_SEED, 0, task.every)
    carries = {name: begin(task.init, tx, TUNING_SEED) for name, tx in transforms.items()}
    taken: dict[str, list[float]] = {name: [] for name in transforms}
    # The first round compiles.
    for number in range(1 + ROUNDS):
        for name, tx in transforms.items():
            duration, (carries[name], _) = seconds(partial(run, train, task.loss, tx, carries[name], batches))
            if number:
                taken[name].append(duration / task.every)
            seen()
    return {name: statistics.median(durations) for name, durations in taken.items()}


class Kept(File):
    """Runs of a task that are kept in a JSON file, each one as soon as it is done; without a file, in memory alone.

    A run is known by its method, setting and seed, and by a digest of what its transform prints, which says all about
    it: one whose transform has changed is made again.

    Args:
      path: the file, which is read if it is there.
      task: the task, which says what all runs have in common.

    Raises:
      ValueError: the file's runs are of other steps, or of another text, network or batch.
    """

    def __init__(self, path: Path | None, task: Task):
        common = {"steps": task.steps, "every": task.every, "parameters": task.parameters, "judged": task.judged_is}
        common |= task.about
        versions = {"python": platform.python_version(), "jax": jax.__version__, "machine": platform.machine()}
        super().__init__(path, {"common": common, "versions": versions, "methods": {}, "runs": [], "times": {}})
        self.task = task
        if self.content["common"] != common:
            raise ValueError(f"{path} has runs of {self.content['common']}, and these would be of {common}")

    def about(self, method: str, setting: Setting, seed: int, tuning: bool) -> dict[str, Any]:
        """What tells a run from others."""
        digest = hashlib.sha256(repr(METHODS[method].make(*setting, self.task)).encode()).hexdigest()[:16]
        return {"method": method, **setting._asdict(), "seed": seed, "tuning": tuning, "transform": digest}

    def run(self, method: str, setting: Setting, seed: int, tuning: bool) -> Run | None:
        """What came of a run, if it is there."""
        wanted = self.about(method, setting, seed, tuning)
        found = (as_run(each) for each in self.content["runs"] if wanted.items() <= each.items())
        return next(found, None)

    def add(self, method: str, setting: Setting, seed: int, tuning: bool, found: Run) -> None:
        """Keeps what came of a run; JSON has null for what is infinite."""
        made = self.about(method, setting, seed, tuning)
        made["losses"] = [loss if math.isfinite(loss) else None for loss in found.losses]
        if found.mistakes is not None:
            made["mistakes"] = found.mistakes
        self.content["runs"].append(made)
        self.write()

    def finished(self, method: str, of: Collection[tuple[Setting, int, bool]], state: float) -> None:
        """Says what state a method has, and drops those of its runs that are like none of these, but for the seed."""
        wanted = [self.about(method, *each) for each in of]
        for each in wanted:
            del each["seed"]

        def belongs(each: dict[str, Any]) -> bool:
            return each["method"] != method or any(about.items() <= each.items() for about in wanted)

        runs = [each for each in self.content["runs"] if belongs(each)]
        about = {"knob": METHODS[method].knob, "state": round(state, 2)}
        if (len(runs), about) != (len(self.content["runs"]), self.content["methods"].get(method)):
            self.content["runs"] = runs
            self.content["methods"][method] = about
            self.write()

    def timed(self, found: dict[str, float]) -> None:
        """Keeps seconds of a step by method, as they were measured together."""
        self.content["times"] = found
        self.write()


def as_run(record: dict[str, Any]) -> Run:
    """What a record of the file says came of its run."""
    return Run([math.inf if loss is None else loss for loss in record["losses"]], record.get("mistakes"))
