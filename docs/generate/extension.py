"""The Sphinx extension of these pages: maths as MathML, links at public names, and the reference, written at build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.generate import links, mathml, reference

STYLE = Path(__file__).parent / "style"
# So many characters of a signature go into one line; longer ones have an argument a line.
LINE = 68


def setup(app: Any) -> dict[str, Any]:
    """Registers all of it."""
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.block, None))
    app.add_post_transform(links.Literals)
    app.add_css_file("reference.css")
    # Before Sphinx looks whether the renderer that it is told is there.
    app.connect("config-inited", configure, priority=100)
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Any, config: Any) -> None:
    """Sets what the pages ask for, unless it is set."""
    config.html_math_renderer = "mathml"
    config.html_static_path = [*config.html_static_path, str(STYLE)]
    config.add_module_names = False
    if config.python_maximum_signature_line_length is None:
        config.python_maximum_signature_line_length = LINE


def write(app: Any) -> None:
    """Writes the reference."""
    reference.write(Path(app.srcdir) / links.FOLDER)
