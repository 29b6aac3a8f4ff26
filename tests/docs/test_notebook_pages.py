"""The notebooks as pages: links that lead where the pages are, and files that are left alone where nothing changed."""

import json

import pytest

from docs.generate.notebooks import copy


@pytest.fixture
def folders(tmp_path):
    source, target = tmp_path / "notebooks", tmp_path / "docs" / "notebooks"
    source.mkdir()
    target.parent.mkdir()
    (source / "README.md").write_text("# Notebooks\n")
    return source, target


def put(path, *texts):
    cells = [{"cell_type": "markdown", "source": text.splitlines(keepends=True)} for text in texts]
    path.write_text(json.dumps({"cells": cells}))


def test_links_to_pages_lead_to_pages_and_the_file_is_offered(folders):
    source, target = folders
    put(source / "1_a.ipynb", "# A\n\nBegins.", "See [how](../docs/how.md#here) and [b](2_b.ipynb).")
    copy(source, target)
    first, second = json.loads((target / "1_a.ipynb").read_text())["cells"]
    title, offer, text = first["source"].split("\n\n")
    assert (title, text) == ("# A", "Begins.")
    assert "../../notebooks/1_a.ipynb" in offer
    assert second["source"] == "See [how](../how.md#here) and [b](2_b.ipynb)."
    assert (target / "index.md").read_text() == "# Notebooks\n"


def test_what_is_the_same_is_left_alone_and_what_is_gone_goes(folders):
    source, target = folders
    for name in ("1_a", "2_b", "3_c"):
        put(source / f"{name}.ipynb", "# Title")
    copy(source, target)
    old = (target / "1_a.ipynb").stat().st_mtime_ns
    put(source / "2_b.ipynb", "# Another")
    (source / "3_c.ipynb").unlink()
    copy(source, target)
    assert (target / "1_a.ipynb").stat().st_mtime_ns == old
    assert "# Another" in (target / "2_b.ipynb").read_text()
    assert not (target / "3_c.ipynb").exists()


def test_a_notebook_begins_with_its_title(folders):
    source, target = folders
    put(source / "1_a.ipynb", "No title.")
    with pytest.raises(ValueError, match=r"1_a\.ipynb: expected a title in the first cell; got 'No title\.'"):
        copy(source, target)
