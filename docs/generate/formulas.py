r"""The formulas of docstrings, which are written to be read as plain text, as LaTeX.

    mu <- b1 mu + (1 - b1) g
    u   = mu / (sqrt(nu) + eps)   over all leaves

becomes two lines that are aligned at their arrows and signs; `expressions` says how a line is read.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from docs.generate.expressions import WIDE, FormulaError, Item, Line, Token, joined, tokens

LONGEST_LABEL = 20


class Row(NamedTuple):
    """A line of a block: its label, what is before its sign, the rest, and whether it goes its own way."""

    label: str
    left: str
    right: str
    is_free: bool


def latex(block: str, arguments: Mapping[str, bool] | None = None, names: Collection[str] = ()) -> str:
    """A block of formulas.

    Args:
      block: its lines; a line that is indented further goes on with what is before it.
      arguments: the arguments of the function by name, and whether each is True or False.
      names: what else has a value, beside what the block itself gives one.

    Raises:
      FormulaError: a line that cannot be read, with the column.
    """
    lines = [line for line in block.splitlines() if line.strip()]
    known = {*names, *assigned(block)}
    rows = [row(line, arguments or {}, known) for line in lines]
    if 2 * sum(bool(each.label) and not each.is_free for each in rows) <= sum(not each.is_free for each in rows):
        # A column for few labels would push all else aside.
        rows = [each._replace(is_free=each.is_free or bool(each.label)) for each in rows]
    parts = [(is_free, list(group)) for is_free, group in itertools.groupby(rows, lambda each: each.is_free)]
    written = [part for is_free, group in parts for part in (free(group) if is_free else [aligned(group)])]
    if len(written) == 1:
        return written[0]
    return r"\begin{array}{l}" + r" \\ ".join(written) + r"\end{array}"


def free(rows: Iterable[Row]) -> list[str]:
    """Lines that are aligned with no other."""
    return [joined_parts(each.label, each.left, each.right) for each in rows]


def aligned(rows: list[Row]) -> str:
    """Lines that are aligned at their signs, with their labels in a column of their own."""
    if len(rows) == 1 and not rows[0].label:
        return rows[0].left + rows[0].right
    if any(each.label for each in rows):
        cells = [f"& {each.label} & {each.left} & {each.right}" for each in rows]
    else:
        cells = [f"{each.left} & {each.right}" for each in rows]
    return r"\begin{align*}" + r" \\ ".join(cells) + r"\end{align*}"


def joined_parts(label: str, left: str, right: str) -> str:
    """A line in one piece."""
    return (label + WIDE if label else "") + left + right


def assigned(block: str) -> set[str]:
    """The names that a block gives a value."""
    left = r"(?:^|[,;:(]|\s{2})\s*((?:[A-Za-z]\w*,\s)*[A-Za-z]\w*)(?:\[[^]]*\])?\s*(?:<-|=\s|~)"
    found = re.findall(left, block, re.MULTILINE)
    return {name for names in found for name in re.split(r",\s*", names)}


def row(line: str, arguments: Mapping[str, bool], names: Collection[str]) -> Row:
    """A line in its parts."""
    text = line.strip()
    indent = WIDE if line.startswith("  ") else ""
    label, rest = labelled(text)
    written = joined(Line(label, arguments, names).whole()) if label else ""
    try:
        cut = sign(tokens(rest))
        left = Line(rest[:cut], arguments, names).whole() if cut else []
        if not left or any(item.kind == "text" for item in left):
            return Row(written, "", indent + joined(Line(rest, arguments, names).whole()), not label)
        right = Line(" " * cut + rest[cut:], arguments, names).whole()
    except FormulaError as error:
        # Columns are told in the line as it is written.
        raise FormulaError(error.what, text, error.column - 1 + len(text) - len(rest)) from None
    return Row(written, indent + joined(left), joined([Item("gap", ""), *right]), len(label) > LONGEST_LABEL)


def labelled(text: str) -> tuple[str, str]:
    """What is said before a formula, as in `matrices:  u = g`, with its colon, and the formula."""
    found = re.match(r'((?:"[^"]*"|[^"<=~(]*?:))\s{1,}(?=\S)|((?:[a-z]+ ?)+)\s{3,}(?=[^\s<=~])', text)
    label = found[1] or found[2] if found else ""
    return label.strip(), text[found.end() :] if found else text


def sign(found: list[Token]) -> int:
    """The column of the sign at which a line is aligned; 0 where there is none."""
    depth = 0
    for token in found:
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.kind == "relation" and token.text in ("<-", "=", "~") and not depth:
            return token.column
    return 0


def is_code(block: str) -> bool:
    """Whether a block is Python, as an example is: it imports, or names an attribute, an argument or a dict."""
    try:
        tree = ast.parse(block)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Attribute | ast.keyword | ast.Dict | ast.Import) for node in ast.walk(tree))
