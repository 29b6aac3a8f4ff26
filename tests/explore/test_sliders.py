"""Sliders where ipywidgets is there, and the same as a row of pictures."""

import sys

import ipywidgets
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot

import gradxform as gx
from gradxform.explore.plots import sliders


class Drawn:
    """Draws a line, and keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, ax, rate, momentum):
        self.calls.append((rate, momentum))
        ax.plot([0, 1], [rate, momentum])


@pytest.fixture
def draw():
    yield Drawn()
    pyplot.close("all")


def made(draw, **more):
    return sliders(draw, rate=(0.1, 0.2, 0.4), momentum=(0.0, 0.9), size=(2.0, 1.5), **more)


def test_a_row_for_each_argument_with_the_others_as_at_first(draw):
    figure = made(draw).pictures()
    assert draw.calls == [(0.1, 0.9), (0.2, 0.9), (0.4, 0.9), (0.2, 0.0), (0.2, 0.9)]
    assert [ax.get_title() for ax in figure.axes][:3] == ["rate = 0.1", "rate = 0.2", "rate = 0.4"]
    assert [ax.axison for ax in figure.axes] == [True] * 5 + [False]


def test_one_argument_is_one_row(draw):
    figure = sliders(lambda ax, rate: draw(ax, rate, 0.0), rate=[1, 2]).pictures()
    assert [ax.get_title() for ax in figure.axes] == ["rate = 1", "rate = 2"]


def test_a_slider_that_is_moved_draws_again(draw):
    box = made(draw, first={"momentum": 0.0}).widget()
    rate, momentum, picture = box.children
    assert isinstance(rate, ipywidgets.SelectionSlider)
    assert draw.calls == [(0.2, 0.0)]
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    momentum.value = 0.9
    assert draw.calls == [(0.2, 0.0), (0.2, 0.9)]
    assert bytes(picture.value) != before
    # A picture that is shown is not kept open.
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("way", ["sliders", "switched off", "not installed"])
def test_what_a_notebook_shows(draw, monkeypatch, way):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.delenv("GRADXFORM_SLIDERS", raising=False)
    if way == "switched off":
        monkeypatch.setenv("GRADXFORM_SLIDERS", "0")
    if way == "not installed":
        # The module: the package has the function under its name.
        monkeypatch.setattr(sys.modules[gx.plots.Sliders.__module__], "find_spec", lambda name: None)
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
    made(draw)._ipython_display_()
    (one,) = shown
    assert isinstance(one, ipywidgets.VBox if way == "sliders" else pyplot.Figure)
    assert pyplot.get_fignums() == []
    assert not InteractiveShell.initialized()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "give the values of one argument"),
        ({"rate": ()}, "give the values of one argument"),
        ({"rate": (1, 2), "first": {"rate": 3}}, r"expected first\['rate'\] to be one of \[1, 2\]; got 3"),
        ({"rate": (1, 2), "first": {"rat": 1}}, r"expected first\['rat'\] to be an argument among \['rate'\]; got 1"),
    ],
)
def test_wrong_values_are_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        gx.plots.sliders(print, **arguments)
