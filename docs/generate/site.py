"""What Sphinx is told to do beside reading the pages: the notebooks are copied, and the home page gets its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.generate import home, notebooks


def _copy(app: Any) -> None:
    notebooks.copy(Path(app.srcdir).parent / "notebooks", Path(app.srcdir) / "notebooks")


def _read(app: Any, page: str, text: list[str]) -> None:
    if page == app.config.root_doc:
        text[0] = home.with_picture(text[0])


def setup(app: Any) -> dict[str, Any]:
    """Says to Sphinx when each is done."""
    app.connect("builder-inited", _copy)
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
