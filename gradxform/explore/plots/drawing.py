"""Pictures: each function draws into the axes that it is given, or into a new figure, and returns the axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform.explore.landscapes import Landscape
from gradxform.explore.learning_rates import RangeTest
from gradxform.explore.minimise import Minimisation
from gradxform.reading.schedules import by_label, values_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
LEVELS = 24


def figure_of(width: float = 7.0, height: float = 4.0, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes; those of one column share what lies along x.

    Raises:
      ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("gradxform.plots needs matplotlib: pip install 'gradxform[explore]'") from error
    return pyplot.subplots(rows, columns, sharex=columns == 1, figsize=(width, height), layout="constrained")


def _axes(ax: Axes | None, width: float = 7.0, height: float = 4.0) -> Axes:
    return figure_of(width, height)[1] if ax is None else ax


def _styles(count: int) -> list[dict[str, Any]]:
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(DASHES), strict=False)
    return [{"color": colour, "linestyle": dash} for colour, dash in itertools.islice(looks, count)]


def paths(landscape: Landscape, runs: Mapping[str, Minimisation | Any], ax: Axes | None = None) -> Axes:
    """The ways of some runs over the contours of a landscape, with the start (circle) and the minima (stars).

    Args:
      landscape: of two variables, such as `landscapes.rosenbrock`.
      runs: by label, results of `minimise`, or paths of shape (points, 2).
      ax: where to draw.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: a path that is not of shape (points, 2), or a run that kept none.
    """
    ways = {label: path_of("paths", label, run) for label, run in runs.items()}
    ax = _axes(ax, 6.5, 5.0)
    (left, right), (low, high) = landscape.bounds
    x1, x2 = np.meshgrid(np.linspace(left, right, 201), np.linspace(low, high, 201))
    heights = np.asarray(landscape(np.stack([x1, x2]).astype(np.float32)), np.float64)
    # By the fourth root of the height, that both the floor of a valley and its walls have lines.
    ax.contourf(x1, x2, np.maximum(heights, 0) ** 0.25, LEVELS, cmap="Greys", alpha=0.6)
    ax.contour(x1, x2, np.maximum(heights, 0) ** 0.25, LEVELS, colors="#707070", linewidths=0.4)
    for style, (label, way) in zip(_styles(len(ways)), ways.items(), strict=True):
        every = max(len(way) // 12, 1)
        # On white, so that a colour can be told from what is behind it.
        ax.plot(*way.T, color="white", linewidth=3.5)
        ax.plot(*way.T, label=label, linewidth=1.8, marker="o", markersize=3, markevery=every, **style)
        ax.plot(*way[0], marker="o", markersize=8, color="white", markeredgecolor="black", zorder=4)
    for minimum in landscape.minima:
        ax.plot(*minimum, marker="*", markersize=14, color="white", markeredgecolor="black", zorder=4)
    ax.set(xlim=(left, right), ylim=(low, high), xlabel="$x_1$", ylabel="$x_2$", title=landscape.name)
    if ways:
        ax.legend(loc="best", framealpha=0.9)
    return ax


def path_of(function: str, label: str, run: Any) -> np.ndarray[Any, Any]:
    """The path of a run, or that is given in its place, of shape (points, 2).

    Raises:
      ValueError: it has another shape, or the run kept none; the text names the function of `plots` and the run.
    """
    way = run.path if isinstance(run, Minimisation) else run
    if way is None:
        raise ValueError(f"plots.{function}: the run {label!r} kept no path; call minimise with keep_path=True")
    way = np.asarray(way)
    if way.ndim != 2 or way.shape[1] != 2:
        raise ValueError(f"plots.{function}: expected a path of shape (points, 2) for {label!r}; got {way.shape}")
    return way


def losses(
    runs: Mapping[str, Minimisation | Any],
    ax: Axes | None = None,
    *,
    xlabel: str = "step",
    ylabel: str = "loss",
    log: bool = True,
) -> Axes:
    """The loss of some runs against the step.

    Args:
      runs: by label, results of `minimise`, or losses of shape (steps,).
      ax: where to draw.
      xlabel, ylabel: of the axes.
      log: whether losses are on a logarithmic scale, on which those that are not positive or finite are left out.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: losses that are not of shape (steps,).
    """
    ax = _axes(ax)
    for style, (label, run) in zip(_styles(len(runs)), runs.items(), strict=True):
        curve = np.asarray(run.losses if isinstance(run, Minimisation) else run, np.float64)
        if curve.ndim != 1:
            raise ValueError(f"plots.losses: expected losses of shape (steps,) for {label!r}; got {curve.shape}")
        shown = np.isfinite(curve) & ((curve > 0) | (not log))
        ax.plot(np.arange(len(curve))[shown], curve[shown], label=label, linewidth=1.8, **style)
    if log:
        ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return _with_grid(ax, len(runs))


def schedules(named: Any, steps: int, ax: Axes | None = None) -> Axes:
    """The values of schedules against the step.

    Args:
      named: by label, schedules, or any functions of the step, or numbers; or one of these alone.
      steps: how many are drawn, from 0 on.
      ax: where to draw.

    Raises:
      ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    curves = {label: values_at(schedule, np.arange(steps)) for label, schedule in by_label(named).items()}
    for style, (label, values) in zip(_styles(len(curves)), curves.items(), strict=True):
        ax.plot(values, label=label, linewidth=1.8, **style)
    ax.set(xlabel="step", ylabel="value")
    # What is alone needs no label.
    return _with_grid(ax, len(curves) if isinstance(named, Mapping) else 0)


def metrics(history: Mapping[str, Any], *, xlabel: str = "step", log: Sequence[str] = ()) -> Figure:
    """The metrics of a chain against the step, a panel for each.

    Args:
      history: by name, as `Minimisation.metrics` has them, values of shape (steps,).
      xlabel: of the last panel.
      log: the names of those on a logarithmic scale.

    Returns:
      The figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no metrics, or one that is not of shape (steps,).
    """
    curves = {name: np.asarray(values) for name, values in history.items()}
    if not curves:
        raise ValueError("plots.metrics: there are no metrics to draw")
    if wrong := [name for name, curve in curves.items() if curve.ndim != 1]:
        raise ValueError(f"plots.metrics: expected {wrong[0]} of shape (steps,); got {curves[wrong[0]].shape}")
    figure, panels = figure_of(7.0, 1.0 + 1.4 * len(curves), len(curves))
    for ax, (name, curve) in zip(np.atleast_1d(panels), curves.items(), strict=True):
        ax.plot(curve, color=COLOURS[0], linewidth=1.5, drawstyle="steps-post" if curve.dtype == bool else "default")
        ax.set_title(name, fontsize=10, loc="left")
        ax.grid(alpha=0.3)
        if name in log:
            ax.set_yscale("log")
    np.atleast_1d(panels)[-1].set_xlabel(xlabel)
    return figure


def heat_map(
    values: Any,
    rows: Sequence[Any],
    columns: Sequence[Any],
    ax: Axes | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    log: bool = False,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """The values of a sweep over two things, with each value in its field; what is not finite has an x.

    Args:
      values: of shape (rows, columns).
      rows, columns: what they stand for, names or numbers.
      ax: where to draw.
      xlabel, ylabel: what columns and rows are.
      label: what the values are.
      log: whether colours follow the logarithm of the values, which must be positive.
      limits: the values of the darkest and of the brightest colour. None: the least and the largest.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: values of another shape, or one that has no logarithm.
    """
    table = np.asarray(values, np.float64)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(
            f"plots.heat_map: expected values of shape ({len(rows)}, {len(columns)}), for so many rows and columns; "
            f"got {table.shape}"
        )
    if log and np.any(table <= 0):
        raise ValueError("plots.heat_map: log=True is for positive values")
    ax = _axes(ax, 1.8 + 0.68 * len(columns), 1.4 + 0.45 * len(rows))
    scale = np.log if log else np.asarray
    finite = table[np.isfinite(table)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (1.0, 1.0))
    look = {"norm": "log" if log else "linear", "cmap": "cividis", "vmin": low, "vmax": high, "aspect": "auto"}
    image = ax.imshow(np.ma.masked_invalid(table), **look)
    # Below it white has the better contrast with cividis, above it black; alike, all have the colour of the middle.
    middle = scale(low) + 0.46 * (scale(high) - scale(low)) if high > low else -np.inf
    for (row, column), value in np.ndenumerate(table):
        text = f"{value:.3g}" if np.isfinite(value) else "x"
        dark = np.isfinite(value) and scale(value) < middle
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set_xticks(range(len(columns)), [_named(name) for name in columns])
    ax.set_yticks(range(len(rows)), [_named(name) for name in rows])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def range_test(result: RangeTest, ax: Axes | None = None) -> Axes:
    """The losses of a learning-rate range test against the rate, with the rate at which they fall fastest.

    Args:
      result: of `learning_rate_range_test`.
      ax: where to draw.

    Raises:
      ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    ax.plot(result.rates, result.losses, color=COLOURS[0], alpha=0.35, linewidth=1, label="loss")
    ax.plot(result.rates, result.smoothed, color=COLOURS[0], linewidth=1.8, label="smoothed")
    ax.axvline(
        result.suggestion,
        color=COLOURS[1],
        linestyle="--",
        label=f"falls fastest, at a rate of {result.suggestion:.2g}",
    )
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    finite = result.smoothed[np.isfinite(result.smoothed)]
    # The last losses of a test that diverged would press all others together.
    low, high = finite.min(), min(finite.max(), finite[0] + 1.5 * (finite[0] - finite.min()) + 1e-12)
    ax.set_ylim(low - 0.1 * (high - low), high + 0.2 * (high - low))
    return _with_grid(ax, 3)


def _named(name: Any) -> str:
    return f"{name:.3g}" if isinstance(name, float | np.floating) else str(name)


def _with_grid(ax: Axes, curves: int) -> Axes:
    ax.grid(alpha=0.3)
    if curves:
        ax.legend(framealpha=0.9)
    return ax
