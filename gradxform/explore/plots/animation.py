"""Paths that play: on a page or in a notebook, without a kernel and without a network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from gradxform.explore.landscapes import Landscape
from gradxform.explore.minimise import Minimisation
from gradxform.explore.plots.drawing import COLOURS, figure_of, path_of, paths

DPI = 100
LONGEST = 100_000

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body>
{fragment}
</body>
</html>
"""


@dataclasses.dataclass(frozen=True)
class Animation:
    """Paths on a landscape that play in a browser; a notebook shows them as they are.

    Attributes:
      html: what to put into a page: a figure with its own script, which loads nothing.
      title: of the page that `save` writes.
    """

    html: str
    title: str

    def __repr__(self) -> str:
        return f"<animation of {self.title}, {len(self.html) / 1e3:.0f} kB of HTML; save(path) makes it a page>"

    def _repr_html_(self) -> str:
        return self.html

    def save(self, path: str | Path) -> None:
        """Writes a page that stands by itself."""
        Path(path).write_text(_PAGE.format(title=html.escape(self.title), fragment=self.html), encoding="utf-8")


def animate(
    landscape: Landscape,
    runs: Mapping[str, Minimisation | Any],
    *,
    seconds: float = 8.0,
    frames: int = 240,
    autoplay: bool = True,
) -> Animation:
    """The ways of some runs over the contours of a landscape, as HTML that plays without a kernel.

    All runs share one clock: the longest takes all the time, and one that has ended waits where it ended. Below the
    picture there are a button, a slider over the steps, and the loss of each run where it is known.

    Args:
      landscape: of two variables, such as `landscapes.rosenbrock`.
      runs: by label, results of `minimise`, or paths of shape (points, 2).
      seconds: how long the longest run plays.
      frames: the most pictures of it; of a longer run steps are left out, evenly.
      autoplay: whether it begins by itself, where the reader has not asked for less motion.

    Returns:
      An `Animation`, which a notebook shows; `save(path)` writes a page, and `html` is for a page of yours.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no runs, a path that is not of shape (points, 2), a run that kept none, or fewer than one frame or no
        time.
    """
    if not runs:
        raise ValueError("plots.animate: there are no runs to show")
    if frames < 1 or not seconds > 0:
        raise ValueError(f"plots.animate: expected frames >= 1 and seconds > 0; got {frames} and {seconds}")
    ways = {label: path_of("animate", label, run) for label, run in runs.items()}
    background, pixels, sizes = _background(landscape)
    last = max(len(way) for way in ways.values()) - 1
    steps = np.unique(np.linspace(0, last, min(frames, last) + 1).round().astype(int))
    shown = []
    for label, way in ways.items():
        own = np.minimum(steps, len(way) - 1)
        # What diverges leaves the picture; SVG clips it, and numbers of hundreds of digits are of no use to it.
        points = np.clip(np.nan_to_num(pixels(way[own]), nan=LONGEST), -LONGEST, LONGEST)
        shown.append({"points": points.round(1).tolist(), "losses": _losses(runs[label], own)})
    data = {
        "runs": shown,
        "steps": steps.tolist(),
        "milliseconds": max(round(1000 * seconds / len(steps)), 1),
        "autoplay": autoplay,
    }
    fragment = Template((files("gradxform.explore.plots") / "animation.html").read_text(encoding="utf-8")).substitute(
        # Alike for what is alike, so that a page that is built twice is the same twice.
        id=f"gradxform-{hashlib.sha256(json.dumps(data).encode()).hexdigest()[:12]}",
        title=html.escape(f"{landscape.name}: {', '.join(ways)}"),
        **sizes,
        background=base64.b64encode(background).decode(),
        paths="\n".join(_path(each, colour) for each, colour in zip(shown, _colours(len(shown)), strict=True)),
        legend="\n".join(
            _entry(label, each, colour) for label, each, colour in zip(ways, shown, _colours(len(shown)), strict=True)
        ),
        data=json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
        last=len(steps) - 1,
        steps=int(steps[-1]),
    )
    return Animation(fragment, f"{landscape.name}: {', '.join(ways)}")


def _background(landscape: Landscape) -> tuple[bytes, Any, dict[str, int]]:
    """The contours as a PNG, a function of points to its pixels, and the sizes of the picture and of what is in its
    axes."""
    from matplotlib import pyplot

    figure, ax = figure_of(6.5, 5.0)
    paths(landscape, {}, ax)
    figure.set_dpi(DPI)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    extent = ax.get_window_extent()
    # Of a class that matplotlib's stubs do not tell.
    to_pixels: Any = ax.transData.frozen()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    pyplot.close(figure)

    def pixels(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(to_pixels.transform(points)) * [1, -1] + [0, height]

    sizes = {"width": width, "height": height, "left": round(extent.x0), "top": round(height - extent.y1)}
    sizes |= {"inside": round(extent.width), "deep": round(extent.height)}
    return file.getvalue(), pixels, sizes


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _losses(run: Minimisation | Any, steps: np.ndarray[Any, Any]) -> list[str] | None:
    if not isinstance(run, Minimisation):
        return None
    losses = np.asarray(run.losses, np.float64)
    return [f"{losses[min(step, len(losses) - 1)]:.3g}" for step in steps]


def _path(run: dict[str, Any], colour: str) -> str:
    """The whole way, on white so that the colour can be told from what is behind; the start, and where it is now."""
    points = " ".join(f"{x},{y}" for x, y in run["points"])
    (x0, y0), (x, y) = run["points"][0], run["points"][-1]
    look = 'fill="none" stroke-linejoin="round"'
    return (
        f'<polyline points="{points}" {look} stroke="white" stroke-width="4"/>'
        f'<polyline points="{points}" {look} stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{x0}" cy="{y0}" r="4" fill="white" stroke="black"/>'
        f'<circle class="head" cx="{x}" cy="{y}" r="5" fill="{colour}" stroke="white" stroke-width="1.5"/>'
    )


def _entry(label: str, run: dict[str, Any], colour: str) -> str:
    loss = f', loss <span class="loss">{run["losses"][-1]}</span>' if run["losses"] else ""
    dot = f'<svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="5" fill="{colour}"/></svg>'
    return f"<li>{dot} {html.escape(label)}{loss}</li>"
