"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Sequence[str]]], numbers: Sequence[int] = ()) -> str:
    """A table in the colours of the page, light or dark.

    Args:
      columns: their names.
      rows: a cell for each column, a cell its lines.
      numbers: the columns that stand to the right.
    """

    def cell(tag: str, at: int, lines: Sequence[str]) -> str:
        align = "right; white-space: nowrap" if at in numbers else "left"
        style = f"text-align: {align}; vertical-align: top; padding: 2px 10px"
        return f'<{tag} style="{style}">{"<br>".join(map(escape, lines))}</{tag}>'

    def line(tag: str, cells: Sequence[Sequence[str]]) -> str:
        # Grey that half lets the page through is seen on white and on black.
        style = "border-bottom: 1px solid rgba(128, 128, 128, 0.4); background: transparent"
        return f'<tr style="{style}">{"".join(cell(tag, at, lines) for at, lines in enumerate(cells))}</tr>'

    head = line("th", [[name] for name in columns])
    body = "".join(line("td", row) for row in rows)
    style = "border-collapse: collapse; color: inherit; margin: 8px 0"
    return f'<table style="{style}"><thead>{head}</thead><tbody>{body}</tbody></table>'


def scrolling(title: str, *tables: str) -> str:
    """Tables with a line above them, which scroll where the page is too narrow."""
    return f'<div style="overflow-x: auto"><div>{escape(title)}</div>{"".join(tables)}</div>'


def text_lines(text: str) -> list[str]:
    """The lines of a text as those of a cell, each as far from the left as it was."""
    # Of spaces at the front of a line HTML keeps those that do not break.
    bare = [(line, line.lstrip()) for line in text.splitlines()]
    return ["\u00a0" * (len(line) - len(rest)) + rest for line, rest in bare]
