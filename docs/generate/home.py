"""The picture of the home page, made when the page is read."""

from __future__ import annotations

import base64
import io

import jax.numpy as jnp
import matplotlib as mpl

import gradxform as gx

PLACE = "<!-- the picture that plays -->"


def with_picture(text: str) -> str:
    """The text of the home page with the picture in its place.

    Raises:
      ValueError: there is no one place for it.
    """
    if text.count(PLACE) != 1:
        raise ValueError(f"the home page needs one line {PLACE!r}; it has {text.count(PLACE)}")
    return text.replace(PLACE, f"```{{raw}} html\n{_picture()}\n```")


def _picture() -> str:
    mpl.use("agg")
    valley = gx.landscapes.rosenbrock
    start = jnp.array(valley.start)
    runs = {
        "gradient descent": gx.minimise(valley, start, gx.sgd(1e-3), steps=500),
        "momentum": gx.minimise(valley, start, gx.sgd(1e-3, momentum=0.9), steps=500),
        "adam": gx.minimise(valley, start, gx.adam(0.1), steps=500),
    }
    drawn = io.BytesIO()
    gx.plots.paths(valley, runs).figure.savefig(drawn, format="png", dpi=110)
    return f'<img alt="Three methods on Rosenbrock\'s function" src="data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
