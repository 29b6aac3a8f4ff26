"""The picture of the home page, made when the page is read."""

from __future__ import annotations

import jax.numpy as jnp
import matplotlib as mpl

import gradxform as gx

PLACE = "<!-- the picture that plays -->"
SECONDS = 10.0
STEPS = 400


def with_picture(text: str) -> str:
    """The text of the home page with the picture in its place.

    Raises:
      ValueError: there is no one place for it.
    """
    if text.count(PLACE) != 1:
        raise ValueError(f"the home page needs one line {PLACE!r}; it has {text.count(PLACE)}")
    return text.replace(PLACE, f"```{{raw}} html\n{_picture()}\n```")


def _picture() -> str:
    """Three methods in the same valley, from the same start."""
    mpl.use("agg")
    valley = gx.landscapes.rosenbrock
    optimizers = {
        "gradient descent": gx.sgd(1e-3),
        "momentum": gx.sgd(1e-3, momentum=0.9),
        "adam": gx.adam(0.1),
    }
    start = jnp.array(valley.start)
    runs = {name: gx.minimise(valley, start, tx, steps=STEPS) for name, tx in optimizers.items()}
    return gx.plots.animate(valley, runs, seconds=SECONDS).html
