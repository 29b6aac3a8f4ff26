"""Maths as MathML, which browsers show by themselves: pages load no script for it, and nothing from elsewhere.

LaTeX becomes MathML by latex2mathml; what it writes for browsers of before MathML Core is then put as these read it.
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from typing import Any

_NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_SIGNS = ("-", "\N{MINUS SIGN}", "+", "\N{PLUS-MINUS SIGN}")
_ALIGNED = {"left", "right"}


def mathml(latex: str, is_block: bool) -> str:
    r"""LaTeX as an element of MathML.

    Raises:
      ValueError: a macro that is not known; it would be shown as it is written.
    """
    # It is a dependency of the pages alone, and of no test but those of the site.
    from latex2mathml.converter import convert

    ET.register_namespace("", _NAMESPACE)
    tree = ET.fromstring(convert(_known(latex), display="block" if is_block else "inline").replace("<mi>&</mi>", ""))
    for node in tree.iter():
        node.tag = node.tag.partition("}")[2]
    for node in list(tree.iter()):
        if node.tag in ("mi", "mtext", "mo") and (unknown := re.search(r"\\[A-Za-z]+", node.text or "")):
            raise ValueError(f"the macro {unknown[0]} is not known, in {latex!r}")
        _merge_letters(node)
        _plain_text(node)
        _own_signs(node)
        _primes(node)
        _functions(node)
        _style_cells(node, is_block)
    tree.set("xmlns", _NAMESPACE)
    return ET.tostring(tree, encoding="unicode")


def _known(latex: str) -> str:
    """LaTeX in the macros that latex2mathml knows."""
    latex = re.sub(r"\\operatorname\*?\{([^}]*)\}", r"\\mathrm{\1}", latex)
    return re.sub(r"\\big(?:[lr])?(?![a-z])|\\Big(?:[lr])?(?![a-z])", "", latex)


def _merge_letters(node: ET.Element) -> None:
    """Makes one name of the letters of a name that is upright: browsers then set it as a word."""
    letters = list(node)
    if node.tag != "mrow" or len(letters) < 2:
        return
    if all(each.tag in ("mi", "mn") and each.get("mathvariant") == "normal" for each in letters):
        name = "".join(each.text or "" for each in letters)
        for each in letters:
            node.remove(each)
        ET.SubElement(node, "mi").text = name


def _plain_text(node: ET.Element) -> None:
    if node.tag == "mtext":
        node.text = (node.text or "").replace("\\_", "_")
        if node.attrib.pop("mathvariant", "") == "monospace":
            node.set("class", "code")


def _own_signs(node: ET.Element) -> None:
    """Says of each sign with nothing before it that it belongs to what follows."""
    before: ET.Element | None = None
    for each in node:
        is_alone = each.tag == "mrow" and len(each) == 1 and each[0].text in _SIGNS
        if each.tag == "mo" and each.text in _SIGNS:
            follows_sign = before is not None and before.tag == "mo" and before.get("form") != "postfix"
            is_first = before is None or before.tag == "mspace" or (before.tag == "mi" and not before.text)
            closes = before is not None and (before.text or "") in (")", "]", "|", "!")
            if is_first or (follows_sign and not closes):
                each.set("form", "prefix")
        elif is_alone:
            each[0].set("form", "prefix")
        before = each


def _primes(node: ET.Element) -> None:
    """Puts a prime beside what it belongs to: it is small, and high, by itself."""
    if node.tag == "msup" and len(node) == 2 and "".join(node[1].itertext()) == "\u2032":
        node.tag = "mrow"
        node[1].clear()
        node[1].tag, node[1].text = "mi", "\u2032"
    if node.tag == "mi" and node.text == "\u223c":
        node.tag = "mo"


def _functions(node: ET.Element) -> None:
    """Puts the brackets of a function beside its name, and what has none a thin space off."""
    for each, following in itertools.pairwise([*node, ET.Element("end")]):
        if each.tag == "mo" and len(each.text or "") > 1 and (each.text or "").isalpha():
            opens = (following.text or "") == "(" or (
                following.tag == "mrow" and len(following) > 1 and following[0].text == "("
            )
            each.set("lspace", "0.17em")
            each.set("rspace", "0" if opens else "0.17em")


def _style_cells(node: ET.Element, is_block: bool) -> None:
    """Says by styles how the cells of a table lie, where browsers do not read the attributes."""
    if node.tag != "mtable":
        return
    gaps = node.attrib.pop("columnspacing", "").split()
    if is_block:
        node.set("displaystyle", "true")
    node.attrib.pop("rowspacing", None)
    for line in node:
        for at, cell in enumerate(line):
            align = cell.get("columnalign", "center")
            gap = gaps[(at - 1) % len(gaps)] if at and gaps else "0em" if align in _ALIGNED else "0.8em"
            # Chromium reads no attribute here, and of styles those alone that HTML's own `align` has.
            cell.set("style", f"text-align: -webkit-{align}; padding: 0.3ex 0 0.3ex {gap if at else '0'}")


def inline(writer: Any, node: Any) -> None:
    """Writes maths in a line."""
    writer.body.append(f'<span class="maths">{_of(node, is_block=False)}</span>')
    raise _skip()


def block(writer: Any, node: Any) -> None:
    """Writes maths in lines of its own, which scroll by themselves where the screen is narrower."""
    label = f' id="{node["ids"][0]}"' if node.get("ids") else ""
    writer.body.append(f'<div class="maths" tabindex="0"{label}>{_of(node, is_block=True)}</div>')
    raise _skip()


def _of(node: Any, is_block: bool) -> str:
    try:
        return mathml(node.astext(), is_block)
    except Exception as error:
        where = f"{node.document and node.document.get('source')}"
        raise ValueError(f"{where}: maths that cannot be shown: {node.astext()!r}: {error}") from error


def _skip() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()
