"""Writes the reference: a page for each public symbol, and an index of all of them by purpose."""

from __future__ import annotations

from pathlib import Path

from docs.generate import cells, docstring, pages, symbols

INTRODUCTION = """# Reference

Every public name has a page, with its formula, its arguments, an example, what it keeps in memory, and its counterparts
in optax and torch. Here they are by purpose; the search finds them by name.

## How formulas are written

Formulas are those of the docstrings, which `help()` shows as plain text.

- {math}`g` is the gradient, or the update that comes in; {math}`u` is the update that leaves; {math}`p` is the
  parameter; {math}`t` is the number of the step, from 1 on unless it says otherwise.
- {math}`\\leftarrow` gives a new value to what is kept from step to step; {math}`=` names a value of this step.
- {math}`\\left|g\\right|` is the modulus of each element; where a line says "over all leaves" or "for each leaf" it is
  the L2 norm.
- An argument stands upright under its own name, as {math}`\\mathrm{eps\\_root}`. One letter with a
  number is a letter with an index, {math}`b_{1}` for `b1`, and Greek letters are letters, {math}`\\mu` for `mu`.
  Arguments that are True or False are code: "with {math}`\\texttt{nesterov}` ...".
- What stands side by side is multiplied.
"""


def write(folder: Path, names: tuple[str, ...] | None = None) -> None:
    """Writes the pages into a folder; those that are the same already stay as they are.

    Args:
      folder: where pages go, `docs/reference`.
      names: the names whose pages are written. None: all.

    Raises:
      FormulaError: a docstring with a formula that cannot be read.
    """
    examples = cells.examples()
    texts = {"index": index()}
    for name in symbols.all_names() if names is None else names:
        texts[symbols.page_of(name)] = pages.page(name, examples)
    folder.mkdir(parents=True, exist_ok=True)
    for page, text in texts.items():
        path = folder / f"{page}.md"
        # Sphinx reads again what is newer than what it has read.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    if names is None:
        for path in folder.glob("*.md"):
            if path.stem not in texts:
                path.unlink()


def index() -> str:
    """The page of all names by purpose."""
    parts = [INTRODUCTION]
    for group in symbols.groups():
        rows = [f"| [`{name}`]({symbols.page_of(name)}.md) | {sentence(name)} |" for name in group.names]
        parts.append(
            "\n".join([f"## {pages.markdown(group.purpose)}", "", "| name | what it is |", "| --- | --- |", *rows])
        )
    return "\n\n".join(parts) + "\n"


def sentence(name: str) -> str:
    """The first sentence of a symbol, for a cell of a table."""
    text = docstring.parse(symbols.docstring_of(name)).sentence
    return pages.prose(text)
