"""What Sphinx is told to do beside reading the pages: notebooks are copied, the home page gets its picture, and
pictures their words."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from docutils import nodes

from docs.generate import home, notebooks

# So many times as wide as high; a picture of one panel is less.
WIDE = 2.0
OF_A_CELL = "What the code above draws"


def _copy(app: Any) -> None:
    notebooks.copy(Path(app.srcdir).parent / "notebooks", Path(app.srcdir) / "notebooks")


def _read(app: Any, page: str, text: list[str]) -> None:
    if page == app.config.root_doc:
        text[0] = home.with_picture(text[0])


def _tell_pictures(app: Any, tree: nodes.document) -> None:
    """Gives words to pictures that have none, and a class to those of several panels in a row.

    On a phone these keep their height, and scroll.
    """
    for image in tree.findall(nodes.image):
        image.setdefault("alt", OF_A_CELL)
        path = Path(app.srcdir) / image["uri"]
        if path.suffix == ".png":
            # Where a PNG has its width and its height.
            width, height = struct.unpack(">II", path.read_bytes()[16:24])
            if width > WIDE * height:
                image["classes"].append("wide")


def setup(app: Any) -> dict[str, Any]:
    """Says to Sphinx when each is done."""
    app.connect("builder-inited", _copy)
    app.connect("source-read", _read)
    app.connect("doctree-read", _tell_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
