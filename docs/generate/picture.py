"""Draws the pictures of numbers: the README's, of paths and of what a step costs, and that of a run of `make bench`.

    python -m docs.generate.picture

What each is made of is kept in the picture too, so that a test sees when it is older than the data.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
from matplotlib.figure import Figure
from parts import picture
from PIL import Image, PngImagePlugin

import gradxform as gx
from docs.generate.blocks import DATA, bench, found

PICTURE = Path(__file__).parents[1] / "pictures" / "readme.png"
STEPS_PICTURE = Path(__file__).parents[1] / "benchmarks" / "steps.png"
BARS = {
    "step of clip and adamw, 28M": ("chains", "clip and adamw", "gpt"),
    "step of clip and adamw, by hand": ("hand", "clip and adamw", "50 leaves"),
    "trace and lower, 1000 leaves": ("build", "clip and adamw", "trace + lower"),
    "waiting micro-step": ("chains", "accumulate adamw, waiting", "gpt"),
    "muon with adamw": ("chains", "muon with adamw", "gpt"),
}
STEPS = 300
RUNS = {"momentum": gx.sgd(1e-3, momentum=0.9), "adam": gx.adam(0.1), "rmsprop": gx.rmsprop(0.02)}


def ratios() -> dict[str, float]:
    """What the bars show: our time over optax's."""
    return {label: round(found(*key).ratios["optax"].median, 3) for label, key in BARS.items()}


def draw() -> Figure:
    """The figure."""
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    valley = gx.landscapes.rosenbrock
    runs = {name: gx.minimise(valley, jnp.array(valley.start), tx, steps=STEPS) for name, tx in RUNS.items()}
    gx.plots.paths(valley, runs, left)
    left.set_title(f"{STEPS} steps in Rosenbrock's valley", fontsize=11)
    left.legend(fontsize=8, loc="upper center", ncols=3)
    bars = ratios()
    right.barh(list(bars), list(bars.values()), color=gx.plots.COLOURS[0], height=0.55)
    for row, value in enumerate(bars.values()):
        right.text(value + 0.02, row, f"{value:.2f}", va="center", fontsize=10)
    right.axvline(1.0, color=gx.plots.COLOURS[1], linewidth=2)
    right.text(0.99, len(bars) - 0.45, "optax", color=gx.plots.COLOURS[1], ha="right", fontsize=10)
    right.set_xlim(0, 1.15)
    right.set_ylim(len(bars) - 0.2, -0.7)
    right.set_title("time, over optax's", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def digest() -> str:
    """What tells one run of `make bench` from another."""
    return hashlib.sha256((DATA / "bench.json").read_bytes()).hexdigest()[:16]


def main() -> None:
    """Draws and keeps both."""
    PICTURE.parent.mkdir(exist_ok=True)
    draw().savefig(PICTURE, dpi=110, metadata={"Description": json.dumps(ratios())})
    picture.draw(bench()["results"], STEPS_PICTURE)
    made_of = PngImagePlugin.PngInfo()
    made_of.add_text("Description", digest())
    with Image.open(STEPS_PICTURE) as image:
        image.save(STEPS_PICTURE, pnginfo=made_of)


if __name__ == "__main__":
    main()
