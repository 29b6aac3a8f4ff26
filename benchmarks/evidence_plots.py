"""The pictures of `evidence.py`, one of each task, made of what is kept."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from evidence_methods import BASELINE, METHODS
from evidence_outcomes import Outcome, mean_and_error, outcomes
from evidence_tuning import best

from gradxform.explore.plots import COLOURS, DASHES

# Error bars reach over two standard errors to each side.
ERRORS = 2
# Up to so many methods their tuning can be told apart in one picture.
FEW = 6
# Losses over so much more than the lowest would make the rest small; they are at the border.
SPAN, LOG_SPAN = 0.6, 40.0


def digest(content: dict[str, Any]) -> str:
    """Of what a picture shows, by which a picture says what it was made of."""
    return hashlib.sha256(json.dumps([content["common"], content["runs"]]).encode()).hexdigest()[:16]


def draw(content: dict[str, Any], path: Path) -> None:
    """Draws the losses against the step, and the last ones of all seeds with their means and error bars.

    Where methods are few, their losses in tuning against the rate are a third part.
    """
    from matplotlib import pyplot

    found = outcomes(content)
    order = sorted(found, key=lambda name: found[name].mean, reverse=True)
    few = len(found) <= FEW
    height = 3.4 + 0.2 * len(found)
    figure, panels = pyplot.subplots(1, 2 + few, figsize=(11 + 4 * few, height), layout="constrained", squeeze=False)
    curves, last = panels[0, :2]
    draw_curves(curves, order, found, content["common"])
    draw_last(last, order, found)
    if few:
        draw_tuning(panels[0, 2], order, found)
    for axes, along in zip(panels[0], ("y", "x", "y"), strict=False):
        limit(axes, along, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Description": digest(content)})
    pyplot.close(figure)


def look(name: str) -> dict[str, Any]:
    """Colour and dash of a method, the same in all pictures.

    Dashes are shifted where colours begin anew, so that no two methods look alike.
    """
    index = list(METHODS).index(name)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[(index + index // len(COLOURS)) % len(DASHES)],
        "linewidth": 3 if name == BASELINE else 1.4,
    }


def draw_curves(axes: Any, order: list[str], found: dict[str, Outcome], common: dict[str, Any]) -> None:
    """The mean of the seeds' losses against the step."""
    for name in order:
        curve = np.mean([run.losses for run in found[name].runs.values()], axis=0)
        at = np.minimum(common["every"] * np.arange(1, 1 + len(curve)), common["steps"])
        axes.plot(at, curve, label=name, **look(name))
    axes.set(xlabel="step", ylabel=f"loss of {common['judged']}, nats", title="mean of the seeds")
    axes.legend(fontsize=7, ncols=2)


def draw_last(axes: Any, order: list[str], found: dict[str, Outcome]) -> None:
    """The last loss of each seed, and the mean with two standard errors."""
    for place, name in enumerate(order):
        last = list(found[name].last.values())
        colour = look(name)["color"]
        axes.plot(last, [place] * len(last), ".", color=colour, markersize=4, alpha=0.6)
        if all(map(math.isfinite, last)):
            mean, error = mean_and_error(last)
            axes.errorbar(mean, place, xerr=ERRORS * error, fmt="|", color=colour, markersize=12, capsize=4)
    if math.isfinite(found[BASELINE].mean):
        axes.axvline(found[BASELINE].mean, color="#707070", linewidth=0.8)
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="last loss, nats", title=f"each seed, and the mean with {ERRORS} standard errors")


def draw_tuning(axes: Any, order: list[str], found: dict[str, Outcome]) -> None:
    """The last loss in tuning against the rate, with the knob of the best setting."""
    for name in order:
        knob = best(found[name].found).knob
        tried = sorted((setting.rate, loss) for setting, loss in found[name].found.items() if setting.knob == knob)
        axes.plot(*zip(*tried, strict=True), marker="o", markersize=4, label=name, **look(name))
    axes.set_xscale("log", base=2)
    axes.set(xlabel="peak learning rate", ylabel="last loss in tuning", title="tuning, one other seed")


def limit(axes: Any, along: str, found: dict[str, Outcome]) -> None:
    """Cuts an axis of losses where it would show nothing; it is logarithmic where losses come near 0."""
    from matplotlib.ticker import LogLocator

    least = min(min(run.losses) for each in found.values() for run in each.runs.values())
    if least < 1:
        axes.set(**{f"{along}scale": "log"})
        axis = getattr(axes, f"{along}axis")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    top = least * LOG_SPAN if least < 1 else least + SPAN
    low, high = getattr(axes, f"get_{along}lim")()
    axes.set(**{f"{along}lim": (least * 0.9 if least < 1 else least - 0.03, max(low, min(high, top)))})
