"""A picture of numbers to choose: sliders where ipywidgets is there, else a row of pictures."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform.explore.plots.drawing import figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Set to 0, pictures are drawn where ipywidgets is installed too: what is kept of a notebook has no kernel behind it.
SWITCH = "GRADXFORM_SLIDERS"


@dataclasses.dataclass(frozen=True)
class Sliders:
    """What a notebook shows: a slider for each argument above a picture, or a row of pictures for each.

    Attributes:
      draw: called with axes and a value for each argument.
      values: by argument, what may be chosen.
      first: by argument, the value at the beginning.
      size: of a picture, in inches.
    """

    draw: Callable[..., Any]
    values: Mapping[str, Sequence[Any]]
    first: Mapping[str, Any]
    size: tuple[float, float]

    def __repr__(self) -> str:
        return f"<sliders of {', '.join(f'{name} ({len(each)} values)' for name, each in self.values.items())}>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if has_sliders():
            display(self.widget())
        else:
            from matplotlib import pyplot

            figure = self.pictures()
            display(figure)
            # Else the notebook shows it once more, as a figure that is left open.
            pyplot.close(figure)

    def pictures(self) -> Figure:
        """A figure with a row for each argument: its values from left to right, the others as they are at first."""
        columns = max(map(len, self.values.values()))
        width, height = self.size
        rows = len(self.values)
        figure, grid = figure_of(0.6 * width * columns, 0.75 * height * rows, rows, columns)
        for row, (name, choices) in zip(np.reshape(grid, (rows, columns)), self.values.items(), strict=True):
            for ax, value in zip(row, choices, strict=False):
                self.draw(ax, **{**self.first, name: value})
                ax.set_title(f"{name} = {_shown(value)}", fontsize=10)
            for ax in row[len(choices) :]:
                ax.set_axis_off()
        return figure

    def widget(self) -> Any:
        """The sliders of ipywidgets, with the picture below.

        Raises:
          ImportError: ipywidgets is not installed.
        """
        import ipywidgets

        chosen = {
            name: ipywidgets.SelectionSlider(
                options=[(_shown(value), value) for value in choices],
                value=self.first[name],
                description=name,
                continuous_update=False,
            )
            for name, choices in self.values.items()
        }
        shown = ipywidgets.Image(format="png")

        def redraw(_: Any = None) -> None:
            shown.value = self._png({name: slider.value for name, slider in chosen.items()})

        for slider in chosen.values():
            slider.observe(redraw, names="value")
        redraw()
        return ipywidgets.VBox([*chosen.values(), shown])

    def _png(self, values: Mapping[str, Any]) -> bytes:
        from matplotlib import pyplot

        figure, ax = figure_of(*self.size)
        self.draw(ax, **values)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        pyplot.close(figure)
        return file.getvalue()


def sliders(
    draw: Callable[..., Any],
    *,
    first: Mapping[str, Any] | None = None,
    size: tuple[float, float] = (6.0, 4.0),
    **values: Sequence[Any],
) -> Sliders:
    """A picture with a slider for each of some numbers, in a notebook; without ipywidgets a row of pictures for each.

        gx.plots.sliders(draw, rate=(0.01, 0.1, 0.5), momentum=(0.0, 0.9))

    Args:
      draw: draw(ax, rate=..., momentum=...) draws into axes what is to be seen for these values. It is called at each
        move of a slider, so that it should take less than a second.
      first: by argument, the value at the beginning. Without one it is the middle of the values.
      size: of the picture, in inches.
      **values: by argument of `draw`, the values to choose from.

    Returns:
      `Sliders`, which a notebook shows.

    Raises:
      ValueError: no values, or a first one that is not among them.
    """
    if not values or not all(map(len, values.values())):
        raise ValueError("plots.sliders: give the values of one argument of `draw` at least: rate=(0.01, 0.1)")
    begins = {name: choices[len(choices) // 2] for name, choices in values.items()} | dict(first or {})
    for name, value in begins.items():
        if name not in values or value not in values[name]:
            among = f"one of {list(values[name])}" if name in values else f"an argument among {list(values)}"
            raise ValueError(f"plots.sliders: expected first[{name!r}] to be {among}; got {value!r}")
    return Sliders(draw, values, begins, size)


def has_sliders() -> bool:
    """Whether sliders are shown: ipywidgets is installed, and the environment does not say GRADXFORM_SLIDERS=0."""
    return os.environ.get(SWITCH) != "0" and find_spec("ipywidgets") is not None


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
