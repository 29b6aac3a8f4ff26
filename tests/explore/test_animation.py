"""Paths that play: what is in the HTML, and that it needs nothing from elsewhere."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.explore.plots import animate

VALLEY = gx.landscapes.rosenbrock
WAY = np.linspace([-1.2, 1.0], [1.0, 1.0], 41)


def data_of(animation):
    (text,) = re.findall(r"const data = (.*);\n", animation.html)
    return json.loads(text)


def test_a_run_plays_from_its_start_to_its_end_with_its_losses():
    run = gx.minimise(VALLEY, jnp.array(VALLEY.start), gx.adam(0.1), steps=30)
    made = animate(VALLEY, {"adam": run, "straight": WAY})
    data = data_of(made)
    ours, straight = data["runs"]
    assert len(data["steps"]) == 41
    assert data["steps"][-1] == 40
    # What has ended waits where it ended.
    assert ours["points"][30] == ours["points"][40] != ours["points"][0]
    assert float(ours["losses"][0]) == pytest.approx(float(run.losses[0]), rel=1e-2)
    assert float(ours["losses"][-1]) == pytest.approx(float(run.losses[-1]), rel=1e-2)
    assert straight["losses"] is None
    # Both begin at one place, and a picture's y goes down.
    assert ours["points"][0] == straight["points"][0]
    assert straight["points"][-1][0] > straight["points"][0][0]
    assert straight["points"][-1][1] == pytest.approx(straight["points"][0][1])


def test_a_long_run_has_no_more_frames_than_asked_and_keeps_its_last_step():
    data = data_of(animate(VALLEY, {"way": np.repeat(WAY, 50, axis=0)}, frames=20, seconds=2.0))
    assert len(data["steps"]) == len(data["runs"][0]["points"]) == 21
    assert data["steps"][-1] == 41 * 50 - 1
    assert data["milliseconds"] == round(2000 / 21)


def test_what_diverges_stays_a_number_and_one_point_is_a_run():
    data = data_of(animate(VALLEY, {"off": [[0.0, 0.0], [1e30, -1e30], [np.nan, np.inf]], "still": [[0.0, 0.0]]}))
    assert np.isfinite(data["runs"][0]["points"]).all()
    assert data["runs"][1]["points"] == [data["runs"][0]["points"][0]] * 3


def test_a_label_is_text_and_nothing_is_loaded_from_elsewhere(tmp_path):
    made = animate(VALLEY, {"</script><b>1 < 2": WAY})
    assert "<b>" not in made.html
    assert made.html.count("</script>") == 1
    assert not re.search(r"https?://|\bsrc=", made.html)
    assert made._repr_html_() == made.html
    made.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert made.html in page
    assert "kB of HTML" in repr(made)


def test_the_same_runs_are_the_same_page():
    assert animate(VALLEY, {"way": WAY}).html == animate(VALLEY, {"way": WAY}).html
    assert animate(VALLEY, {"way": WAY}).html != animate(VALLEY, {"other": WAY[:20]}).html


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (({},), "there are no runs"),
        (({"way": WAY.T},), r"plots\.animate: expected a path of shape \(points, 2\) for 'way'"),
    ],
)
def test_what_cannot_be_shown_is_an_error(arguments, text):
    with pytest.raises(ValueError, match=text):
        animate(VALLEY, *arguments)


@pytest.mark.parametrize("sizes", [{"frames": 0}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_no_frame_and_no_time_are_errors(sizes):
    with pytest.raises(ValueError, match=r"expected frames >= 1 and seconds > 0"):
        animate(VALLEY, {"way": WAY}, **sizes)
