"""Trains a small network to read handwritten digits, on eight devices at once, and shows what gradxform has to tell.

It trains twice, under `jax.pmap` and under `jax.jit` with `jax.shard_map`, and checks that both come to the same
parameters. Learning rate and gradient norm are read from the transform and its state.

    python examples/digits.py --optimizer nesterov --steps 300
"""

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
import orbax.checkpoint as ocp
from digits_model import BATCH, accuracy, load
from digits_training import EARLY, WAYS, Report, Run, start, train
from jax.sharding import Mesh
from matplotlib.figure import Figure

import gradxform as gx

DEVICES = 8
MAX_NORM = 1.0
# After ten steps. Training magnifies rounding: of the last bit of the first parameters it makes up to 0.01 in ten steps
# and 0.7 in a thousand. A gradient that is no mean over the devices makes 0.8 or more in ten.
TOLERANCE = 0.1


class Optimizer(NamedTuple):
    """What makes a transform of a learning rate or a schedule, and the rate after the warm-up that suits it here."""

    make: Callable[..., gx.Transform]
    learning_rate: float


OPTIMIZERS = {
    "adamw": Optimizer(partial(gx.adamw, weight_decay=1e-2), 3e-3),
    "adam": Optimizer(gx.adam, 3e-3),
    "nadam": Optimizer(gx.nadam, 3e-3),
    "rmsprop": Optimizer(gx.rmsprop, 2e-3),
    "adagrad": Optimizer(gx.adagrad, 0.1),
    "sgd": Optimizer(gx.sgd, 0.5),
    "momentum": Optimizer(partial(gx.sgd, momentum=0.9), 0.1),
    "nesterov": Optimizer(partial(gx.sgd, momentum=0.9, nesterov=True), 0.1),
}


def main() -> None:
    """Trains in both ways, compares, prints and draws."""
    options = read_options()
    mesh, steps = options.mesh, options.steps
    schedule = gx.warmup_cosine_decay_schedule(0.0, options.learning_rate, steps // 10, steps)
    tx = gx.chain(gx.clip_by_global_norm(MAX_NORM), OPTIMIZERS[options.optimizer].make(schedule))
    print(f"{steps} steps on {mesh.size} {mesh.devices[0].platform} devices, {BATCH // mesh.size} images each:")
    print(tx, flush=True)

    seen, unseen = load()
    runs: dict[str, Run] = {}
    rows = [f"{'':11}test accuracy       last loss   seconds"]
    # Not asynchronous: a checkpoint takes no time here, and Ctrl-C then meets no other thread that is at work on one.
    saving = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    for name, way in WAYS.items():
        began = time.perf_counter()
        with ocp.CheckpointManager(options.checkpoints / name, options=saving) as saved:
            runs[name] = train(name, way(tx, mesh), start(tx, mesh, steps), seen, saved)
        seconds = time.perf_counter() - began
        share, last = accuracy(runs[name].params, *unseen), runs[name].curves.loss[-1]
        # Nine digits tell any two float32 apart.
        rows.append(f"{name:11}{share:13.2%}  {last:14.8e}   {seconds:7.1f}")
    print("", *rows, "", sep="\n")

    early, late = compare(*runs.values())
    first = min(EARLY, steps)
    if not early <= TOLERANCE:
        sys.exit(
            f"digits.py: the runs do not agree: they differ by {early:.1e} after {first} steps; the tolerance is "
            f"{TOLERANCE}, as rounding makes 0.01 at most, and a gradient that is no mean over the devices 0.8 or more"
        )
    print(f"The runs agree: their parameters differ by {early:.1e} after {first} steps, and by {late:.1e} at the end")
    print(f"(the largest difference, relative to the largest of its array; tolerance {TOLERANCE} after {first} steps).")
    picture = options.out / "digits.png"
    draw(runs, f"Handwritten digits: {options.optimizer} on {mesh.size} devices", picture)
    print(f"Loss, learning rate and gradient norm: {picture}")


def compare(one: Run, other: Run) -> tuple[float, float]:
    """How far the runs are apart after the first steps, in parameters and curves, and at the end, in parameters."""
    first = [(run.early, Report(*(curve[:EARLY] for curve in run.curves))) for run in (one, other)]
    return largest_difference(*first), largest_difference(one.params, other.params)


def largest_difference(one: Any, other: Any) -> float:
    """The largest difference between two trees of arrays, relative to the largest number of its array."""
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(a).max(), *jax.device_get((one, other)))
    return float(np.max(jax.tree.leaves(differences)))


def draw(runs: dict[str, Run], title: str, path: Path) -> None:
    """Draws the curves of all runs against the step; a broad line shows beside the narrow one that covers it."""
    # From the palette of Okabe and Ito, which the colour-blind tell apart.
    looks = [{"color": "#E69F00", "linewidth": 5}, {"color": "#0072B2", "linewidth": 1}]
    figure = Figure(figsize=(8, 9), layout="constrained")
    loss, rate, norm = figure.subplots(3, sharex=True)
    for (name, run), look in zip(runs.items(), looks, strict=True):
        steps = np.arange(1, len(run.curves.loss) + 1)
        for axes, curve in zip((loss, rate, norm), run.curves, strict=True):
            axes.plot(steps, curve, label=name, **look)
    loss.set(yscale="log", ylabel="loss: cross-entropy (nats)")
    rate.set(ylabel="learning rate")
    norm.set(yscale="log", ylabel="gradient norm (L2, before clipping)", xlabel="step")
    norm.axhline(MAX_NORM, color="black", linestyle="--", linewidth=1, label=f"clipped to {MAX_NORM}")
    for axes in (loss, norm):
        axes.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong; the usage is for `--help`."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(2, f"{self.prog}: {message}\n")


def above_zero(kind: type[int] | type[float]) -> Callable[[str], float]:
    """A reader of numbers for argparse."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            number = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"expected a {number} above 0, got {text!r}")
        return value

    return read


def read_options() -> argparse.Namespace:
    """What the command line asks for, checked; with a mesh of the devices and the folder of the checkpoints."""
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw", help="default: adamw")
    parser.add_argument("--learning-rate", type=above_zero(float), metavar="RATE", help="default: one that suits")
    parser.add_argument("--steps", type=above_zero(int), default=1000, help="default: 1000")
    parser.add_argument("--devices", type=above_zero(int), metavar="COUNT", help="default: 8, or those that are there")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, with the same options")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help="default: out")
    options = parser.parse_args()
    options.learning_rate = options.learning_rate or OPTIMIZERS[options.optimizer].learning_rate
    try:
        options.mesh = make_mesh(options.devices)
        options.checkpoints = open_checkpoints(options)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}")
    return options


def make_mesh(count: int | None) -> Mesh:
    """As many devices as are asked for; if none are, eight, or those that are there.

    Raises:
      ValueError: they are not there, or the batch cannot be divided among them.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Where there is neither GPU nor TPU, XLA makes eight devices of the CPU.
        jax.config.update("jax_num_cpu_devices", DEVICES)
    there = jax.devices()
    possible = [number for number in range(1, len(there) + 1) if BATCH % number == 0]
    count = count or max(number for number in possible if number <= DEVICES)
    if count not in possible:
        raise ValueError(
            f"--devices {count}: expected one of {', '.join(map(str, possible))}, "
            f"as there are {len(there)} devices and a batch is of {BATCH} images"
        )
    return Mesh(np.array(there[:count]), ("devices",))


def open_checkpoints(options: argparse.Namespace) -> Path:
    """The folder of the checkpoints: as the last run left it, to resume that run, or else empty.

    Raises:
      ValueError: there is no run to resume, or one with other options.
    """
    folder = options.out.resolve() / "digits_checkpoints"
    asked = {"optimizer": options.optimizer, "learning-rate": options.learning_rate, "steps": options.steps}
    note = folder / "options.json"
    if not options.resume:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        note.write_text(json.dumps(asked))
        return folder
    if not note.exists():
        raise ValueError(f"--resume: there is no checkpoint in {folder}")
    kept = json.loads(note.read_text())
    if kept != asked:
        made = " ".join(f"--{name} {value}" for name, value in kept.items())
        raise ValueError(f"--resume: the checkpoint in {folder} was made with {made}")
    return folder


if __name__ == "__main__":
    try:
        main()
    except FloatingPointError as error:
        sys.exit(f"digits.py: {error}; try a lower --learning-rate")
    except KeyboardInterrupt:
        print("digits.py: interrupted; --resume goes on from the last checkpoint", file=sys.stderr, flush=True)
        # At once, since an interpreter that tidies up after JAX was stopped amid a compilation can crash.
        os._exit(130)
