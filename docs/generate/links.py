"""Makes links of the public names that pages write as code: `gx.adamw`, `adamw`, `adamw(1e-3)`, `plots.paths`."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from docs.generate.targets import FOLDER, own_words, target

_KEPT = (nodes.title, nodes.term, nodes.reference, addnodes.pending_xref)


class Literals(SphinxPostTransform):
    """Puts links around the code in prose that names a symbol."""

    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Goes over the literals of a document that are in no link, no heading and no list of arguments."""
        page = self.env.docname
        own = page.removeprefix(f"{FOLDER}/") if page.startswith(f"{FOLDER}/") else None
        words = own_words(own) if own else frozenset()
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            if text in words or any(isinstance(each, _KEPT) for each in parents(literal)):
                continue
            found = target(text, own)
            if found is not None:
                uri = self.app.builder.get_relative_uri(page, f"{FOLDER}/{found}")
                literal.replace_self(nodes.reference("", "", literal.deepcopy(), internal=True, refuri=uri))


def parents(node: nodes.Node) -> list[nodes.Node]:
    """The elements around a node."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found
