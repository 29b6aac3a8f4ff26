"""Every notebook runs from a clean kernel, and is kept as a reader on the web is to see it."""

import base64
import io
import itertools
import json
import os
import pathlib
import re

import nbformat
import numpy as np
import pytest
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from nbclient import NotebookClient

import gradxform as gx
from tests.environment import COMPILE_FAST, TRAIN_LONG

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300
# They train for long: what would be saved in compiling without any optimization would be lost in running.
LONG = {"4_exploding_gradients", "5_depth", "8_matrices"}
# Bytes.
LARGEST = 1_000_000
# Folders, and addresses in memory, which differ from run to run.
FOREIGN = re.compile(r"/(home|root|tmp|work|usr)/|0x[0-9a-f]{8}")
# In which pictures, counted from 1, how many curves, areas or paths have a colour each.
COLOURED = {
    "1_gradient_descent": {1: 5, 4: 4, 8: 4},
    "2_momentum": {1: 3, 5: 3},
    "3_adaptive_methods": {1: 3, 4: 5, 6: 6},
    "4_exploding_gradients": {1: 5, 5: 6, 8: 4, 9: 6},
    "5_depth": {4: 6, 5: 6, 7: 5},
    "6_a_chain_from_the_inside": {2: 2},
    "7_eight_devices": {1: 3, 4: 3},
    "8_matrices": {1: 3, 2: 4, 3: 4},
}
ANIMATIONS = {"2_momentum": 1, "3_adaptive_methods": 1}
# How many pictures are kept of the sliders.
ROWS = {"1_gradient_descent": [5], "2_momentum": [8], "4_exploding_gradients": [5]}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def kept(notebook, kind):
    """What it shows of a kind, such as text/html, in order."""
    outputs = itertools.chain.from_iterable(cell.get("outputs", ()) for cell in notebook.cells)
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def pictures(notebook):
    """The bytes of its PNG files, in order."""
    return [base64.b64decode(picture) for picture in kept(notebook, "image/png")]


def animations(notebook):
    """The HTML of each."""
    return [page for page in kept(notebook, "text/html") if 'class="gradxform-animation"' in page]


def sections(notebook):
    """The headings of second level."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


@each
def test_runs_from_a_clean_kernel(path, tmp_path, monkeypatch):
    """An error, or a warning, fails."""
    # How many devices there are is the notebook's own business.
    monkeypatch.setenv("XLA_FLAGS", TRAIN_LONG if path.stem in LONG else COMPILE_FAST)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")])))
    # As they are kept: behind sliders there must be a kernel.
    monkeypatch.setenv("GRADXFORM_SLIDERS", "0")
    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name=NATIVE_KERNEL_NAME, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                # On a slow machine a progress bar shows, and wipes itself out.
                text = re.sub(r"\r[^\r\n]*", "", output.text).strip()
                assert not text, f"{path.stem} wrote to stderr:\n{text}"


@each
def test_is_kept_with_its_outputs_in_order_and_without_an_error(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = list(itertools.chain.from_iterable(cell.outputs for cell in code))
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(output.get("name") != "stderr" for output in outputs)
    # Sliders would be of another kind, and dead without their kernel.
    assert set().union(*(output.get("data", {}) for output in outputs)) <= {"text/plain", "text/html", "image/png"}
    # One that has no picture is hardly one to look at.
    assert any("image/png" in output.get("data", {}) for output in outputs)


@each
def test_pictures_are_kept_in_full_colour(path):
    """A palette of 256 makes one colour of several."""
    for picture in pictures(read(path)):
        # In a PNG's header, after its signature, size and depth: 2 is RGB, 6 has an alpha channel too, 3 is a palette.
        assert picture[25] in (2, 6)


@each
def test_what_is_drawn_in_colours_of_its_own_keeps_them(path):
    shown = pictures(read(path))
    for number, count in COLOURED[path.stem].items():
        pixels = np.rint(255 * imread(io.BytesIO(shown[number - 1]))[..., :3])
        for colour in gx.plots.COLOURS[:count]:
            # Within a line or a marker; at its edges it is mixed with what is behind.
            same = np.all(pixels == np.rint(255 * np.array(to_rgb(colour))), axis=-1)
            assert same.sum() >= 15, f"{colour} is lost in picture {number}"


@each
def test_an_animation_is_kept_and_loads_nothing_from_elsewhere(path):
    shown = animations(read(path))
    assert len(shown) == ANIMATIONS.get(path.stem, 0)
    for page in shown:
        assert page.count("<script>") == 1
        # Who runs no script sees the whole paths.
        assert "<polyline" in page
        assert all(link.startswith("data:image/png;base64,") for link in re.findall(r'href="([^"]*)"', page))
        assert not re.search(r"https?://|\bsrc=|@import|\bfetch\(|\bimport\b|XMLHttpRequest", page)
        assert all(inside.startswith("#") for inside in re.findall(r"\burl\(([^)]*)\)", page))


@each
def test_of_sliders_a_row_of_pictures_is_kept(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code" and "gx.plots.sliders(" in cell.source]
    counts = []
    for cell in cells:
        (output,) = cell.outputs
        assert "image/png" in output.data
        counts.append(int(re.search(r"with (\d+) Axes", output.data["text/plain"])[1]))
    assert counts == ROWS.get(path.stem, [])


@each
def test_is_small_and_holds_nothing_of_the_machine_that_made_it(path):
    assert path.stat().st_size < LARGEST
    raw = json.loads(path.read_text())
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    # In letters that stand for a picture anything may stand.
    pages = [re.sub(r"base64,[^\"]*", "", page) for page in animations(read(path))]
    assert not re.search(FOREIGN, "".join(pages))
    for cell in raw["cells"]:
        assert not cell["metadata"], f"metadata in a cell of {path.stem}"
        shown = "".join(cell["source"]) + "".join(
            "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
            for output in cell.get("outputs", ())
        )
        assert not re.search(FOREIGN, shown), shown


@each
def test_says_what_is_to_be_seen_and_where_it_comes_from(path):
    notebook = read(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "**What you will see**" in first.source
    headings = sections(notebook)
    assert headings[-2:] == ["What to take along", "References"]
    numbered = headings[:-2]
    assert [heading.split(".")[0] for heading in numbered] == [str(k) for k in range(1, len(numbered) + 1)]


def test_all_eight_are_there():
    assert [path.stem[0] for path in NOTEBOOKS] == list("12345678")


def test_the_table_of_topics_leads_to_sections_that_are_there():
    """In notebooks/README.md each topic of the tutorials has links of the form [3.2](file.ipynb)."""
    text = (FOLDER / "README.md").read_text()
    links = re.findall(r"\[(\d)\.(\d+)\]\((\S+\.ipynb)\)", text)
    assert len(links) > 20
    for number, section, name in links:
        assert name.startswith(f"{number}_"), name
        assert any(heading.startswith(f"{section}. ") for heading in sections(read(FOLDER / name))), (section, name)
    assert {name for *_, name in links} == {path.name for path in NOTEBOOKS}
