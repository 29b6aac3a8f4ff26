"""The pages of the docs do what they say: their Python runs, in order, and prints what they show."""

import contextlib
import io
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
# What is made when the site is built; it is tested where it is made.
GENERATED = ("reference", "notebooks")
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path
    for path in sorted(DOCS.rglob("*.md"))
    if path.relative_to(DOCS).parts[0] not in GENERATED
}
PYTHON = re.compile(r"^```python$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n\s*^```text\n(?P<shown>.*?)^```$)?", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What is run, on which line of its page it begins, and what the page shows of what it prints."""

    code: str
    line: int
    shown: str | None


def blocks(text):
    return [
        Block(found["code"], text.count("\n", 0, found.start("code")), found["shown"]) for found in BLOCK.finditer(text)
    ]


def lines(text):
    # Editors take spaces at the ends of lines away, which tables have.
    return [line.rstrip() for line in text.rstrip().split("\n")]


@pytest.fixture
def page(monkeypatch, tmp_path):
    """The module that a stranger's notebook is, in an empty folder, with JAX as it is when nobody has set it."""
    module = types.ModuleType("__main__")
    # What a page defines is found there by pickle, and by files that name a rule of its own.
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield module
    plt.close("all")


@pytest.mark.parametrize("name", [name for name, path in PAGES.items() if PYTHON.search(path.read_text())])
def test_a_page_runs_and_prints_what_it_shows(name, page):
    for block in blocks(PAGES[name].read_text()):
        # With the page's own lines, so that an error says where on the page it is.
        code = compile("\n" * block.line + block.code, str(PAGES[name]), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, vars(page))
        if block.shown is not None:
            assert lines(out.getvalue()) == lines(block.shown), f"{name}, the block at line {block.line}"


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_python_is_one_that_is_run(name):
    text = PAGES[name].read_text()
    # An indented fence, or one that never ends, would be read by nobody.
    assert len(blocks(text)) == len(re.findall(r"^\s*[`~]{3,} ?py", text, re.MULTILINE))
