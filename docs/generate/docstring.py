"""A docstring in its parts: a sentence, formulas and text, arguments, sections, the source, and twins elsewhere."""

from __future__ import annotations

import re
from typing import NamedTuple

SECTIONS = ("Args", "Returns", "Raises", "Attributes", "Yields", "Metrics", "Extra arguments of `update`")
_HEAD = re.compile(rf"^({'|'.join(map(re.escape, SECTIONS))}):(?: (.*))?$")
_TWIN = re.compile(r"(?:^|(?<=[.;] ))((?:optax|torch|jax)(?:, (?:optax|torch))?): ")


class Part(NamedTuple):
    """A paragraph of text, the lines of a list, or an indented block."""

    kind: str
    text: str


class Entry(NamedTuple):
    """What a section says of one name, or of several."""

    names: tuple[str, ...]
    parts: list[Part]


class Docstring(NamedTuple):
    """The parts of a docstring.

    Attributes:
      sentence: the first paragraph.
      body: what else is said, but for sections.
      sections: the entries of each section. What is said without a name has none.
      source: the paper.
      twins: what is said of optax's and of torch's counterpart.
    """

    sentence: str
    body: list[Part]
    sections: dict[str, list[Entry]]
    source: str
    twins: dict[str, str]

    def blocks(self) -> list[str]:
        """The indented blocks, those within entries too."""
        entries = [entry for section in self.sections.values() for entry in section]
        parts = [*self.body, *(part for entry in entries for part in entry.parts)]
        return [part.text for part in parts if part.kind == "block"]


def parse(text: str) -> Docstring:
    """A docstring, without the indentation of its function, in its parts."""
    outside: list[str] = []
    sections: dict[str, list[Entry]] = {}
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        head = _HEAD.match(lines[at])
        if head is None:
            outside.append(lines[at])
            at += 1
            continue
        end = at + 1
        # What is said in the line of the head goes on as a paragraph does; entries are indented.
        while end < len(lines) and (lines[end].strip() if head[2] else not lines[end].strip() or lines[end][0] == " "):
            end += 1
        said = [head[2], *(line.strip() for line in lines[at + 1 : end])] if head[2] else lines[at + 1 : end]
        found = [Entry((), [Part("text", " ".join(said))])] if head[2] else entries(said)
        sections.setdefault(head[1], []).extend(found)
        outside.append("")
        at = end
    first, *body = parts("\n".join(outside)) or [Part("text", "")]
    source, twins = "", {}
    for index, part in enumerate(body):
        if part.kind == "text" and _TWIN.search(part.text):
            source, twins = parted(part.text)
            del body[index]
            break
    return Docstring(first.text, body, sections, source, twins)


def parted(text: str) -> tuple[str, dict[str, str]]:
    """The source, and what is said of each twin."""
    source, *said = _TWIN.split(text)
    twins = {}
    for whose, words in zip(said[::2], said[1::2], strict=True):
        twins |= {name: words.strip() for name in whose.split(", ")}
    return source.strip(), twins


def parts(text: str) -> list[Part]:
    """Paragraphs, lists and blocks; a block that goes on behind an empty line is two."""
    found = []
    for chunk in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [line for line in chunk.splitlines() if line.strip()]
        plain: list[str] = []
        block: list[str] = []
        for line in [*lines, ""]:
            if line.startswith("    ") and not (plain and plain[0].startswith("- ")):
                block.append(line[4:])
                continue
            if block:
                found += [*_text(plain), Part("block", "\n".join(block))]
                plain, block = [], []
            plain.append(line)
        found += _text(plain)
    return found


def _text(lines: list[str]) -> list[Part]:
    lines = [line for line in lines if line.strip()]
    if not lines:
        return []
    if any(line.startswith("- ") for line in lines):
        first = next(at for at, line in enumerate(lines) if line.startswith("- "))
        last = next((at for at in range(first, len(lines)) if not lines[at].startswith(("- ", " "))), len(lines))
        items = re.split(r"\n(?=- )", "\n".join(lines[first:last]))
        listed = "\n".join(re.sub(r"\s*\n\s+", " ", item) for item in items)
        return [*_text(lines[:first]), Part("list", listed), *_text(lines[last:])]
    return [Part("text", " ".join(line.strip() for line in lines))]


def entries(lines: list[str]) -> list[Entry]:
    """The entries of a section: `name, other: what they are`, and lines that are indented further."""
    found: list[list[str]] = []
    for line in lines:
        if re.match(r"^  \S", line) or not found:
            found.append([])
        found[-1].append(line[2:])
    return [entry(each) for each in found if any(line.strip() for line in each)]


def entry(lines: list[str]) -> Entry:
    """An entry, whose names may take more than one line."""
    first, *rest = lines
    dedented = [line[2:] if line.startswith("  ") else line for line in rest]
    named = re.match(r"((?:\*{0,2}[`\w.]+,\s+)*\*{0,2}[`\w.]+):\s", "\n".join([first, *dedented, ""]))
    if named is None:
        return Entry((), parts("\n".join([first, *dedented])))
    names = tuple(name.strip("*`") for name in re.split(r",\s+", named[1]))
    return Entry(names, parts("\n".join([first, *dedented])[named.end() :]))
