"""Which page a piece of code in prose leads to: that of the public symbol that it names."""

from __future__ import annotations

import re

from docs.generate import pages, symbols

FOLDER = "reference"
_NAME = re.compile(r"(?:gx\.|gradxform\.)?([A-Za-z_]\w*)(?:\.([a-z_]\w*))?(\(.*\))?", re.DOTALL)


def target(text: str, own: str | None = None) -> str | None:
    """The page of the symbol that a text names; None where it names none, or the page that it is on.

    Args:
      text: what is written as code.
      own: the name of the page, where it is one of the reference.
    """
    match = _NAME.fullmatch(text.strip())
    if match is None or match[1] not in symbols.all_names():
        return None
    name, member = match[1], match[2]
    is_module = name in ("landscapes", "plots", *symbols.MODULES)
    if member and not (is_module or hasattr(symbols.object_of(name), member)):
        return None
    page = symbols.page_of(name)
    return None if page == own else page


def own_words(page: str) -> frozenset[str]:
    """The arguments of the symbol of a page: there their names mean these, whatever else has the name."""
    name = next((name for name in symbols.all_names() if symbols.page_of(name) == page), None)
    return frozenset(pages.arguments_of(symbols.object_of(name))) if name else frozenset()
