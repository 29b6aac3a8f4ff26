"""What came of the runs of `storage.py`, as tables and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from evidence_outcomes import mean_and_error
from measuring import markdown
from storage_runs import SEEDS, Kept
from storage_tasks import BASELINE, CONTROL, TASKS, WAYS

from gradxform.explore.plots import COLOURS, DASHES

ERRORS = 2


class Compared(NamedTuple):
    """The final loss of a way beside that of float32.

    Attributes:
      loss, error: the mean over seeds, and its standard error.
      differences: of each seed, the loss less that of float32.
      seeds_error: the standard error of float32's mean.
    """

    loss: float
    error: float
    differences: list[float]
    seeds_error: float

    @property
    def paired(self) -> tuple[float, float]:
        """The mean of the differences, and its standard error."""
        return mean_and_error(self.differences)

    @property
    def in_errors(self) -> tuple[float, float]:
        """The mean of the differences in its own standard errors, and in that of float32's mean."""
        mean, error = self.paired
        return mean / error, mean / self.seeds_error

    @property
    def verdict(self) -> str:
        """What the two say."""
        own, seeds = self.in_errors
        side = "higher" if own > 0 else "lower"
        if abs(own) <= ERRORS:
            return "no difference is seen"
        return f"{side}, within the seeds' errors" if abs(seeds) <= ERRORS else f"**{side}**"


def final_losses(run: dict[str, Any]) -> list[float]:
    """The last loss of each seed; infinite where it was not finite."""
    return [math.inf if curve[-1] is None else curve[-1] for curve in run["curves"]]


def compared(runs: dict[str, dict[str, Any]], way: str) -> Compared | None:
    """A way beside float32; None where a loss is not finite."""
    losses, plain = final_losses(runs[way]), final_losses(runs[BASELINE])
    if not all(map(math.isfinite, losses + plain)):
        return None
    differences = [loss - other for loss, other in zip(losses, plain, strict=True)]
    return Compared(*mean_and_error(losses), differences, mean_and_error(plain)[1])


def by_task(kept: Kept) -> dict[str, dict[str, dict[str, Any]]]:
    """The runs of each task by their way, in the order of the ways; tasks without float32 are left out."""
    found = {(run["task"], run["way"]): run for run in kept.content["runs"]}
    tasks = {name: {way: found[name, way] for way in WAYS if (name, way) in found} for name in TASKS}
    return {name: runs for name, runs in tasks.items() if BASELINE in runs}


def tables(kept: Kept) -> Iterator[str]:
    """All tables, each with its title."""
    versions = kept.content["versions"]
    yield "Python {python}, JAX {jax}, a CPU of {machine}.".format(**versions)
    for name, runs in by_task(kept).items():
        about = runs[BASELINE]
        size, steps = f"{about['parameters']:,} parameters", f"{about['steps']} steps"
        yield f"## {name}: {size}, {steps}, loss of {about['judged']}, in nats"
        head = [
            "kept as",
            "final loss",
            "less float32's",
            "in its errors",
            "in float32's",
            "so",
            "unseen, less float32's",
        ]
        yield markdown(head, [row(way, runs) for way in runs])
    if kept.content["lengths"]:
        yield "## The joint norm of updates, that of float32 = 1, of the same gradients: mnist1d, means over steps"
        head = ["kept as", "first twentieth of the training", "last twentieth"]
        yield markdown(head, [[way, f"{of[0]:.3f}", f"{of[-1]:.3f}"] for way, of in kept.content["lengths"].items()])
    if kept.content["bytes"]:
        yield "## Bytes a parameter of AdamW, of arrays in memory: 28M parameters in a GPT-like tree"
        head = ["kept as", "state", "parameters", "gradients", "together"]
        found = kept.content["bytes"].items()
        yield markdown(
            head, [[way, *(f"{each:.2f}" for each in (*of.values(), sum(of.values())))] for way, of in found]
        )
    if kept.content["cpu"]:
        yield "## A step of AdamW on a CPU, 28M float32 parameters, donated, medians in alternation"
        head = ["kept as", "ms, float32 = 1", "at most", "temporaries, MB", "largest leaf, MB", "load of the machine"]
        yield markdown(head, [cpu_row(way, found) for way, found in kept.content["cpu"].items()])


def row(way: str, runs: dict[str, dict[str, Any]]) -> list[str]:
    """The table's row of a way."""
    found = compared(runs, way)
    if found is None:
        return [way, "not finite", "", "", "", "**not finite**", ""]
    loss = f"{found.loss:.4f} ± {found.error:.4f}"
    if way == BASELINE:
        return [way, loss, "", "", "", "", ""]
    own, seeds = found.in_errors
    differences = [with_error(*found.paired), with_error(*unseen(runs, way))]
    return [way, loss, differences[0], f"{own:+.1f}", f"{seeds:+.2f}", found.verdict, differences[1]]


def with_error(mean: float, error: float) -> str:
    """A difference with its standard error."""
    return f"{mean:+.4f} ± {error:.4f}"


def unseen(runs: dict[str, dict[str, Any]], way: str) -> tuple[float, float]:
    """The mean difference of the loss of the other examples, and its standard error; NaN where one is not finite."""
    ours, theirs = (np.array(runs[each]["held_out"], float) for each in (way, BASELINE))
    return mean_and_error((ours - theirs).tolist())


def cpu_row(way: str, found: dict[str, Any]) -> list[str]:
    """The table's row of a step."""
    ours, theirs = found["seconds"]
    return [
        way,
        f"{1e3 * ours:.0f} / {1e3 * theirs:.0f} = {ours / theirs:.2f}",
        "3",
        f"{found['temporaries'] / 1e6:.1f}",
        f"{found['largest_leaf'] / 1e6:.1f}",
        f"{found['load']:.1f} on {found['cores']} cores",
    ]


def plot(path: Path, kept: Kept) -> None:
    """Draws the losses against the step, and below them the differences of the final ones from float32's."""
    from matplotlib import pyplot

    tasks = by_task(kept)
    figure, axes = pyplot.subplots(
        2, len(tasks), figsize=(4.6 * len(tasks), 7), layout="constrained", height_ratios=(3, 2), squeeze=False
    )
    for column, (name, runs) in enumerate(tasks.items()):
        draw_curves(axes[0, column], name, runs)
        draw_differences(axes[1, column], runs)
    axes[0, 0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def draw_curves(axes: Any, name: str, runs: dict[str, dict[str, Any]]) -> None:
    """The loss of each way against the step, the mean over seeds; those that are alike lie on each other."""
    for index, way in enumerate(WAYS):
        if way not in runs:
            continue
        curve = np.array(runs[way]["curves"], float).mean(axis=0)
        every, steps = runs[way]["every"], runs[way]["steps"]
        at = np.minimum(every * np.arange(1, len(curve) + 1), steps)
        style = {"color": COLOURS[index], "linestyle": DASHES[index], "linewidth": 3 if way == BASELINE else 1.5}
        axes.plot(at, curve, label=way, **style)
    axes.set(title=name, xlabel="step", ylabel=f"loss of {runs[BASELINE]['judged']}, nats", yscale="log")


def draw_differences(axes: Any, runs: dict[str, dict[str, Any]]) -> None:
    """A point for each seed, and their mean with two standard errors; the grey band is two of float32's mean."""
    shown = [way for way in runs if way not in (BASELINE, CONTROL)]
    for index, way in enumerate(shown):
        if found := compared(runs, way):
            colour = COLOURS[list(WAYS).index(way)]
            mean, error = found.paired
            axes.plot([index - 0.2] * SEEDS, found.differences, ".", color=colour, markersize=5)
            axes.errorbar(index, mean, ERRORS * error, fmt="o", color=colour, capsize=4)
            axes.axhspan(
                -ERRORS * found.seeds_error, ERRORS * found.seeds_error, color="#808080", alpha=0.05, linewidth=0
            )
    axes.axhline(0, color="#707070", linewidth=0.8)
    axes.set_xticks(range(len(shown)), [way.replace(" ", "\n") for way in shown], fontsize=8)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set(ylabel="final loss less float32's")
    if CONTROL in runs:
        control = compared(runs, CONTROL)
        off = "not finite" if control is None else f"{control.paired[0]:+.3f}"
        axes.set_title(f"{CONTROL}, not shown: {off}", fontsize=9)
