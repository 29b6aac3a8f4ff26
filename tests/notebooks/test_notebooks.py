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
# In which pictures, counted from 1, how many curves, areas or paths have a colour each.
COLOURED = {
    "1_gradient_descent": {1: 5, 3: 4, 7: 4},
    "2_momentum": {1: 3, 4: 3},
    "3_adaptive_methods": {1: 3, 4: 5, 6: 6},
    "4_exploding_gradients": {1: 5, 4: 6, 7: 4, 8: 6},
    "5_depth": {4: 6, 5: 6, 7: 5},
    "6_a_chain_from_the_inside": {2: 2},
    "7_eight_devices": {1: 3, 4: 3},
    "8_matrices": {1: 3, 2: 4, 3: 4},
}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def pictures(notebook):
    """The bytes of its PNG files, in order."""
    outputs = itertools.chain.from_iterable(cell.get("outputs", ()) for cell in notebook.cells)
    return [base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


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
def test_is_small_and_holds_nothing_of_the_machine_that_made_it(path):
    assert path.stat().st_size < LARGEST
    raw = json.loads(path.read_text())
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    for cell in raw["cells"]:
        assert not cell["metadata"], f"metadata in a cell of {path.stem}"
        shown = "".join(cell["source"]) + "".join(
            "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
            for output in cell.get("outputs", ())
        )
        # Folders, and addresses in memory, which differ from run to run.
        assert not re.search(r"/(home|root|tmp|work|usr)/|0x[0-9a-f]{8}", shown), shown


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
