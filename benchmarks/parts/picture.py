"""A picture of a run: ratios as dots on a logarithmic axis, and how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from parts.results import Result

# Those of Okabe & Ito 2008, which colour-blind readers tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#707070"
LOOKS = {"optax": (BLUE, "o"), "torch fused": (ORANGE, "s"), "torch foreach": (GREEN, "^")}
DPI = 110


def draw(results: Sequence[Result], path: Path) -> None:
    """Draws the ratios of a run, and beside them its curves.

    Args:
      results: of the run.
      path: of the picture, whose ending says its format.
    """
    dots = [result for result in results if result.ratios and (result.part != "build" or result.limits)]
    curves = [result for result in results if result.curves]
    if not dots and not curves:
        return
    rows = (len(curves) + 1) // 2
    # Dots on the left, and two curves in each row on the right.
    figure = Figure(figsize=(14.0, max(4.0, 0.17 * len(dots) + 1.2, 2.4 * rows)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False).flat
    if dots:
        _dots(left.subplots(), dots)
    if curves:
        grid = list(right.subplots(rows, 2, squeeze=False).flat)
        for axes, result in zip(grid, curves, strict=False):
            _curve(axes, result)
        for axes in grid[len(curves) :]:
            axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _dots(axes: Any, results: Sequence[Result]) -> None:
    named = set()
    for row, result in enumerate(results):
        for rival, ratio in result.ratios.items():
            if rival not in LOOKS:
                continue
            colour, marker = LOOKS[rival]
            label = None if rival in named else f"ours / {rival}"
            named.add(rival)
            axes.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=1.2, alpha=0.6)
            axes.plot(ratio.median, row, marker, color=colour, markersize=4.5, label=label, linestyle="none")
        for limit in result.limits:
            if "optax" in limit.what and "temporaries" not in limit.what:
                axes.plot(limit.at_most, row, "|", color=BLUE, markersize=8, markeredgewidth=1.5)
            elif "torch" in limit.what:
                axes.plot(limit.at_most, row, "|", color=ORANGE, markersize=8, markeredgewidth=1.5)
    axes.axvline(1.0, color=GREY, linewidth=1.0)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(results)), [_label(result) for result in results], fontsize=7)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title("Time, ours over theirs: dot median, line quartiles, | limit", fontsize=9)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=3, frameon=False)


def _label(result: Result) -> str:
    return f"{result.name}, {result.on}" if result.on else result.name


def _curve(axes: Any, result: Result) -> None:
    for (whose, curve), colour, marker in zip(result.curves.items(), (ORANGE, BLUE), "so", strict=False):
        exponent = result.exponents[whose].exponent
        costs = [point.median for point in curve]
        axes.plot(result.sizes, costs, f"{marker}-", color=colour, markersize=4, label=f"{whose}: n^{exponent:.2f}")
    axes.set(xscale="log", yscale="log", xlabel=result.name)
    if result.sizes[-1] < 100 * result.sizes[0]:
        # Less than two powers of ten have too few ticks of their own, and too many between these.
        axes.set_xticks(result.sizes, map(str, result.sizes))
        axes.set_xticks([], minor=True)
    axes.set_title(f"{result.on}, {'cycles' if result.on == 'cycles' else 's'}", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    axes.grid(color="#dddddd", linewidth=0.6)
