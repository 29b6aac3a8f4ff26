"""The notebooks as pages of the site: copies with links that lead where the pages are, and their index."""

from __future__ import annotations

import json
import re
from pathlib import Path

# On a Git host a notebook finds a page in ../docs, and here above itself.
_TO_PAGE = re.compile(r"\]\(\.\./docs/")
_FILE = "To run it: {{download}}`{name} <../../notebooks/{name}>`, or `make notebooks` in a clone of the repository."


def copy(source: Path, target: Path) -> None:
    """Makes the folder `target` anew from the notebooks in `source` and their README; what is the same is left alone.

    Raises:
      ValueError: a notebook that does not begin with its title.
    """
    target.mkdir(exist_ok=True)
    made = {path.name: _page(path) for path in sorted(source.glob("*.ipynb"))}
    made["index.md"] = (source / "README.md").read_text()
    for path in target.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        path = target / name
        # What is written anew is read anew.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _page(path: Path) -> str:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _TO_PAGE.sub("](../", "".join(cell["source"]))
    first = notebook["cells"][0]
    title, _, rest = first["source"].partition("\n")
    if not title.startswith("# "):
        raise ValueError(f"{path.name}: expected a title in the first cell; got {title!r}")
    first["source"] = "\n\n".join([title, _FILE.format(name=path.name), rest.lstrip()])
    return json.dumps(notebook)
