"""Plots show what they are given, with labels, and say what is missing."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex, to_rgb

import gradxform as gx

RUNS = {
    "sgd": gx.minimise(gx.landscapes.quadratic(10.0), jnp.array([-2.0, 0.8]), gx.sgd(0.5), 30, tol=0),
    "adam": gx.minimise(gx.landscapes.quadratic(10.0), jnp.array([-2.0, 0.8]), gx.adam(0.3), 40, tol=0),
}


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_paths():
    ax = gx.plots.paths(gx.landscapes.quadratic(10.0), {**RUNS, "a path": RUNS["sgd"].path[:3]})
    assert labels(ax) == ["sgd", "adam", "a path"]
    np.testing.assert_array_equal(drawn(ax, "adam").get_xydata(), RUNS["adam"].path)
    # Each on a wider line of white, which comes before it.
    before = ax.lines[ax.lines.index(drawn(ax, "adam")) - 1]
    assert (before.get_color(), before.get_linestyle()) == ("white", "-")
    assert before.get_linewidth() > drawn(ax, "adam").get_linewidth()
    np.testing.assert_array_equal(before.get_xydata(), RUNS["adam"].path)
    assert ax.get_xlabel() == "$x_1$"
    assert ax.get_title() == "quadratic(10)"
    # Circles at the starts, a star at the minimum.
    ends = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert sorted(line.get_marker() for line in ends) == ["*", "o", "o", "o"]
    assert next(line for line in ends if line.get_marker() == "*").get_xydata().tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "landscape",
    [
        gx.landscapes.saddle,
        gx.landscapes.beale,
        gx.landscapes.himmelblau,
        gx.landscapes.plateau,
        gx.landscapes.rastrigin,
    ],
    ids=lambda landscape: landscape.name,
)
def test_every_landscape_can_be_drawn_without_a_run(landscape):
    ax = gx.plots.paths(landscape, {})
    assert ax.get_legend() is None
    assert len(ax.lines) == len(landscape.minima)
    ax.figure.canvas.draw()


def test_losses():
    ax = gx.plots.losses({**RUNS, "own": [1.0, 0.5, np.inf, 0.0, 0.25]})
    assert labels(ax) == ["sgd", "adam", "own"]
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(drawn(ax, "sgd").get_ydata(), RUNS["sgd"].losses)
    # What a logarithm cannot show is left out, at its place.
    np.testing.assert_array_equal(drawn(ax, "own").get_xydata(), [[0, 1.0], [1, 0.5], [4, 0.25]])
    linear = gx.plots.losses({"own": [-1.0, 0.0]}, log=False, xlabel="epoch", ylabel="error")
    assert (linear.get_yscale(), linear.get_xlabel(), linear.get_ylabel()) == ("linear", "epoch", "error")


def test_schedules():
    warm = gx.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20)
    named = {"warm": warm, "own": lambda step: step / 2, "number": 0.3, "plain": lambda step: 1.0 if step < 5 else 0.1}
    ax = gx.plots.schedules(named, 20)
    np.testing.assert_allclose(drawn(ax, "plain").get_ydata(), [1.0] * 5 + [0.1] * 15)
    np.testing.assert_allclose(drawn(ax, "warm").get_ydata(), [warm(step) for step in range(20)], atol=1e-6)
    np.testing.assert_allclose(drawn(ax, "own").get_ydata(), np.arange(20) / 2)
    np.testing.assert_allclose(drawn(ax, "number").get_ydata(), 0.3)
    alone = gx.plots.schedules(warm.then(0.5, at=10), 20)
    assert alone.get_legend() is None
    np.testing.assert_allclose(alone.lines[0].get_ydata()[9:12], [warm(9), 0.5, 0.5], atol=1e-6)


def test_metrics():
    figure = gx.plots.metrics({"norm": np.array([3.0, 1.0]), "skipped": np.array([True, False])}, log=["norm"])
    assert [ax.get_title("left") for ax in figure.axes] == ["norm", "skipped"]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear"]
    assert figure.axes[-1].get_xlabel() == "step"
    assert len(gx.plots.metrics({"norm": [1.0, 2.0]}).axes) == 1


def test_heat_map():
    values = np.array([[1.0, 2.0, 3.0], [np.nan, 5.0, np.inf]])
    ax = gx.plots.heat_map(values, ["a", "b"], [0.1, 0.01, 0.001], xlabel="rate", ylabel="method", label="loss")
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "x", "5", "x"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "0.01", "0.001"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.figure.axes[1].get_ylabel()) == ("rate", "method", "loss")


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.linspace(0, 1, 11), {}),
        (np.logspace(-3, 2, 11), {"log": True}),
        (np.logspace(-3, 2, 11), {"log": True, "limits": (1e-2, 10.0)}),
        (np.ones(11), {}),
    ],
    ids=["linear", "log", "limits", "all alike"],
)
def test_numbers_can_be_read_on_their_fields(values, options):
    """A contrast of 4.5 at least, as accessibility guidelines (WCAG 2) ask of text."""
    values = values[None]
    ax = gx.plots.heat_map(values, [""], list(range(11)), **options)
    fields = ax.images[0].cmap(ax.images[0].norm(values))[0, :, :3]
    for field, text in zip(fields, ax.texts, strict=True):
        bright, dark = sorted([luminance(field), luminance(to_rgb(text.get_color()))], reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_curves_differ_in_colour_and_dashes():
    ax = gx.plots.losses({str(k): [1.0, 2.0 + k] for k in range(7)})
    assert len({to_hex(line.get_color()) for line in ax.lines}) == 7
    assert len(set(gx.plots.DASHES)) == 7
    assert {to_hex(line.get_color()) for line in ax.lines} == {colour.lower() for colour in gx.plots.COLOURS}


def test_range_test():
    result = gx.learning_rate_range_test(lambda p: jnp.sum(p**2), jnp.ones(3), gx.sgd, low=1e-4, high=100.0)
    ax = gx.plots.range_test(result)
    assert ax.get_xscale() == "log"
    assert labels(ax) == ["loss", "smoothed", f"falls fastest, at a rate of {result.suggestion:.2g}"]
    np.testing.assert_array_equal(drawn(ax, "smoothed").get_xdata(), result.rates)
    low, high = ax.get_ylim()
    assert low < result.smoothed.min() < result.smoothed[0] < high


@pytest.mark.parametrize("name", ["paths", "losses", "schedules", "heat_map", "range_test"])
def test_draws_into_axes_that_are_given(name):
    _, own = pyplot.subplots()
    result = gx.learning_rate_range_test(lambda p: jnp.sum(p**2), jnp.ones(3), gx.sgd, steps=5)
    arguments = {
        "paths": (gx.landscapes.rosenbrock, RUNS),
        "losses": (RUNS,),
        "schedules": ({"rate": 0.1}, 5),
        "heat_map": ([[1.0]], ["a"], ["b"]),
        "range_test": (result,),
    }
    before = pyplot.get_fignums()
    assert getattr(gx.plots, name)(*arguments[name], ax=own) is own
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: gx.plots.paths(gx.landscapes.beale, {"a": np.ones((4, 3))}), r"\(points, 2\) for 'a'; got \(4, 3\)"),
        (
            lambda: gx.plots.paths(
                gx.landscapes.beale,
                {"a": gx.minimise(gx.landscapes.beale, jnp.ones(2), gx.sgd(0.1), 2, keep_path=False)},
            ),
            "the run 'a' kept no path; call minimise with keep_path=True",
        ),
        (lambda: gx.plots.losses({"a": np.ones((4, 3))}), r"losses of shape \(steps,\) for 'a'; got \(4, 3\)"),
        (lambda: gx.plots.metrics({}), "there are no metrics to draw"),
        (lambda: gx.plots.metrics({"a": np.ones((4, 3))}), r"expected a of shape \(steps,\); got \(4, 3\)"),
        (lambda: gx.plots.heat_map([[1.0, 0.0]], ["a"], [1, 2], log=True), "log=True is for positive values"),
        (lambda: gx.plots.heat_map(np.ones((2, 3)), ["a"], [1, 2, 3]), r"expected values of shape \(1, 3\)"),
    ],
)
def test_errors(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()


def test_says_what_to_install_and_the_numbers_come_without_it():
    program = """
import sys
sys.modules["matplotlib"] = None
import jax.numpy as jnp, gradxform as gx
run = gx.minimise(lambda x: jnp.sum(x**2), jnp.ones(2), gx.sgd(0.1), 3)
print(run.losses.shape)
try:
    gx.plots.losses({"sgd": run})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(4,)\ngradxform.plots needs matplotlib: pip install 'gradxform[explore]'\n"
