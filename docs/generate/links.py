"""Makes links of the public names that pages write as code: `gx.adamw`, `adamw`, `adamw(1e-3)`, `plots.paths`."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

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


class Literals(SphinxTransform):
    """Puts links around the code in prose that names a symbol."""

    # Before references are resolved.
    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        """Goes over the literals of a document that are in no link and no heading."""
        page = self.env.docname
        own = page.removeprefix(f"{FOLDER}/") if page.startswith(f"{FOLDER}/") else None
        words = own_words(own) if own else frozenset()
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            if text in words or any(isinstance(each, nodes.title | nodes.reference | nodes.term | addnodes.pending_xref)
                                    for each in parents(literal)):
                continue
            found = target(text, own)
            if found is not None:
                literal.replace_self(link(literal, found, page))


def parents(node: nodes.Node) -> list[nodes.Node]:
    """The elements around a node."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def link(literal: nodes.literal, page: str, docname: str) -> addnodes.pending_xref:
    """A link to a page around a literal."""
    options = {"refdomain": "std", "reftype": "doc", "refexplicit": True, "refwarn": True, "refdoc": docname}
    return addnodes.pending_xref("", literal.deepcopy(), reftarget=f"/{FOLDER}/{page}", **options)
