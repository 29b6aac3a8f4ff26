"""Pictures of runs, schedules, metrics and sweeps; paths that play, and pictures with sliders.

They need matplotlib, which is an extra: `pip install 'gradxform[explore]'`. Colours are those of Okabe & Ito 2008,
which colour-blind readers tell apart, and curves differ in their dashes too.

optax: none. torch: none.
"""

from gradxform.explore.plots.animation import Animation, animate
from gradxform.explore.plots.drawing import COLOURS, DASHES, heat_map, losses, metrics, paths, range_test, schedules
from gradxform.explore.plots.sliders import Sliders, sliders

__all__ = [
    "COLOURS",
    "DASHES",
    "Animation",
    "Sliders",
    "animate",
    "heat_map",
    "losses",
    "metrics",
    "paths",
    "range_test",
    "schedules",
    "sliders",
]
