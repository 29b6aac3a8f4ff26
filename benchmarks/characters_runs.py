"""The runs of `characters.py`: training a model with a transform, and a file that keeps what came of it."""

from __future__ import annotations

import itertools
import math
import platform
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import characters_model as model
import jax
import numpy as np
from jax import lax
from kept import File
from measuring import run, seconds

import gradxform as gx
from gradxform.schedules import Schedule

EVERY = 10
ROUNDS = 7

Carry = tuple[model.Params, Any]


def schedule(peak: float, steps: int) -> Schedule:
    """A linear rise over a tenth of the steps, of which the first is not 0, and a linear fall to 0 after the last."""
    rise = steps // 10
    return gx.warmup_stable_decay(peak, rise, 0, steps - rise, init_value=peak / (rise + 1), shape="linear")


@partial(jax.jit, static_argnames=("characters", "size"))
def begin(tx: gx.Transform, seed: int, characters: int, size: model.Size) -> Carry:
    """Parameters and state before the first step."""
    params = model.init(seed, characters, size)
    return params, tx.init(params)


@partial(jax.jit, donate_argnums=1)
def train(tx: gx.Transform, carry: Carry, batches: jax.Array) -> tuple[Carry, jax.Array]:
    """As many steps as there are batches in (steps, BATCH, CONTEXT + 1), and their losses.

    The transform is an argument, so that its learning rate is one, and all settings of a method share a program.
    """

    def step(carry: Carry, windows: jax.Array) -> tuple[Carry, jax.Array]:
        params, state = carry
        loss, grads = jax.value_and_grad(model.loss)(params, windows)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), loss

    return lax.scan(step, carry, batches)


@jax.jit
def evaluate(tx: gx.Transform, carry: Carry, windows: jax.Array) -> jax.Array:
    """The loss of the parameters that a run is judged by, which of some methods are an average."""
    params, state = carry
    return model.loss(gx.eval_params(tx, state, params), windows)


def trained(
    tx: gx.Transform, text: model.Text, seed: int, steps: int, tuning: bool, size: model.Size = model.LARGE
) -> list[float]:
    """Trains, and returns losses: with `tuning` the last one on the validation text, else held-out ones EVERY steps.

    A run whose loss is no longer finite ends there, and all its losses that would have come are infinite.
    """
    batches, carry = model.batches(text, seed, steps), begin(tx, seed, text.characters, size)
    losses: list[float] = []
    for done in range(0, steps, EVERY):
        carry, training = train(tx, carry, batches[done : done + EVERY])
        if not np.isfinite(training).all():
            break
        if not tuning:
            losses.append(float(evaluate(tx, carry, text.held_out)))
        elif done + EVERY == steps:
            losses.append(float(evaluate(tx, carry, text.validation)))
    wanted = 1 if tuning else steps // EVERY
    return [loss if math.isfinite(loss) else math.inf for loss in losses] + [math.inf] * (wanted - len(losses))


def times(
    transforms: dict[str, gx.Transform],
    text: model.Text,
    seen: Callable[[], Any],
    size: model.Size = model.LARGE,
) -> dict[str, float]:
    """Median seconds of a step for each transform, in alternation.

    EVERY steps are timed together, so that what a method does only every tenth step has its part in the time. `seen` is
    called after each measurement.
    """
    batches = model.batches(text, 0, EVERY)
    carries = {name: begin(tx, 0, text.characters, size) for name, tx in transforms.items()}
    taken: dict[str, list[float]] = {name: [] for name in transforms}
    # The first round compiles.
    for number in range(1 + ROUNDS):
        for name, tx in transforms.items():
            duration, (carries[name], _) = seconds(partial(run, train, tx, carries[name], batches))
            if number:
                taken[name].append(duration / EVERY)
            seen()
    return {name: statistics.median(durations) for name, durations in taken.items()}


class Kept(File):
    """Runs that are kept in a JSON file, each one as soon as it is done; without a file, in memory alone.

    Args:
      path: the file, which is read if it is there.
      text: of which its digest is kept, with the numbers that all runs have in common.
      steps: of each run.
      size: of the model.

    Raises:
      ValueError: the file's runs are of another text, or of other steps, batches or models.
    """

    def __init__(self, path: Path | None, text: model.Text, steps: int, size: model.Size = model.LARGE):
        common = {
            "text": text.digest,
            "steps": steps,
            "every": EVERY,
            "batch": model.BATCH,
            "context": model.CONTEXT,
            "width": size.width,
            "layers": size.layers,
        }
        versions = {"python": platform.python_version(), "jax": jax.__version__, "machine": platform.machine()}
        super().__init__(path, {"common": common, "versions": versions, "runs": [], "times": {}})
        if self.content["common"] != common:
            raise ValueError(f"{path} has runs of {self.content['common']}, and these would be of {common}")

    def losses(self, tx: gx.Transform, seed: int, tuning: bool) -> list[float] | None:
        """What came of a run, if it is there. What a transform prints says all about it, and so which run it is."""
        wanted = {"transform": repr(tx), "seed": seed, "tuning": tuning}
        for each in self.content["runs"]:
            if {key: each[key] for key in wanted} == wanted:
                return [math.inf if loss is None else loss for loss in each["losses"]]
        return None

    def add(self, method: str, tx: gx.Transform, seed: int, tuning: bool, losses: list[float]) -> None:
        """Keeps what came of a run; the method's name is for readers, and JSON has null for what is infinite."""
        found = [loss if math.isfinite(loss) else None for loss in losses]
        about = {"method": method, "transform": repr(tx), "seed": seed, "tuning": tuning}
        self.content["runs"].append(about | {"losses": found})
        self.write()

    @property
    def times(self) -> dict[str, float]:
        """Seconds of a step by method, as they were measured together."""
        return self.content["times"]

    @times.setter
    def times(self, times: dict[str, float]) -> None:
        self.content["times"] = times
        self.write()


def mean_and_error(values: Iterable[float]) -> tuple[float, float]:
    """The mean, and its standard error."""
    values = list(values)
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


def steps_to(target: float, losses: list[float]) -> float | None:
    """The step at which a curve of losses, EVERY steps apart, first comes down to the target, between two by a line."""
    for index, (before, after) in enumerate(itertools.pairwise(losses), 1):
        if after <= target:
            return EVERY * (index + (before - target) / (before - after))
    return None
