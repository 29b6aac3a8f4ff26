"""A description as text for a terminal and as HTML for a notebook: both have the same rows."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gradxform.core.html import html_table, scrolling
from gradxform.core.text import and_more

if TYPE_CHECKING:
    from gradxform.reading.description import Description, Kept, Part, Setting

# The columns of numbers stand to the right.
_COLUMNS, _NUMBERS = ("part", "hyperparameters", "kept in the state", "bytes", "leaves"), (3, 4)
_GROUP_COLUMNS, _GROUP_NUMBERS = ("group", "leaves", "elements", "parameters", "state", "which"), (1, 2, 3, 4)
# With these a line is seldom longer than 110 columns.
_SETTING_WIDTH, _KEPT_WIDTH, _SUMMARY_WIDTH, _PATHS_WIDTH = 36, 36, 110, 60
# Of the paths of a group no more are shown.
_MOST_PATHS = 24
# Of an argument such as a mask of many leaves no more is shown.
_LONGEST = 120
_GAP = "  "

# A row is a cell for each column, a cell its lines; those of one row stand beside each other.
Row = list[list[str]]


def text(description: Description) -> str:
    """Aligned columns, with a line about the whole above them."""
    summary = "\n".join(textwrap.wrap(_summary(description), _SUMMARY_WIDTH))
    blocks = [summary, text_table(_COLUMNS, list(_rows(description, wrapped=True)), _NUMBERS)]
    if description.groups:
        blocks.append(text_table(_GROUP_COLUMNS, list(_groups(description, wrapped=True)), _GROUP_NUMBERS))
    return "\n\n".join(blocks)


def html(description: Description) -> str:
    """Tables in the colours of the page, light or dark."""
    tables = [html_table(_COLUMNS, _rows(description, wrapped=False), _NUMBERS)]
    if description.groups:
        tables.append(html_table(_GROUP_COLUMNS, _groups(description, wrapped=False), _GROUP_NUMBERS))
    return scrolling(_summary(description), *tables)


def _summary(description: Description) -> str:
    said = []
    if (params := description.params) is not None:
        said.append(f"{_counted(params.leaves, 'leaf', 'leaves')} of {_short(params.elements)} elements")
        said.append(f"parameters {_size(params.bytes)}")
    if description.state_bytes is not None:
        ratio = "" if description.ratio is None else f", {description.ratio:.3g} times the parameters"
        said.append(f"state {_size(description.state_bytes)}{ratio}")
    if description.step is not None:
        said.append(f"after {_counted(description.step, 'update', 'updates')}")
    return "; ".join(said) or "as declared; with parameters, also bytes and leaves"


def _rows(description: Description, wrapped: bool) -> Iterator[Row]:
    paths = {part.path for part in description.parts}
    for part in description.parts:
        depth = sum(part.path[:end] in paths for end in range(1, len(part.path)))
        settings = [line for setting in part.settings for line in _setting_lines(setting, wrapped)]
        kept, sizes = [], []
        for each in part.kept:
            lines = _folded(_kept_line(each), _KEPT_WIDTH if wrapped else None)
            kept += lines
            sizes += [_size(each.bytes), *[""] * (len(lines) - 1)]
        # In HTML spaces at the front are lost, so this is one that stays.
        yield [["\u00a0" * 2 * depth + _label(part)], settings, kept, sizes, _touched(part, description)]


def _groups(description: Description, wrapped: bool) -> Iterator[Row]:
    for group in description.groups:
        seen = group.seen
        numbers = [str(seen.leaves), _short(seen.elements), _size(seen.bytes), _size(group.state_bytes)]
        which = ", ".join([*group.which[:_MOST_PATHS], *and_more(len(group.which) - _MOST_PATHS)])
        cells = [[cell] for cell in (".".join(group.path), *numbers)]
        yield [*cells, _folded(which, _PATHS_WIDTH if wrapped else None)]


def _label(part: Part) -> str:
    if not part.path:
        return "transform"
    return f"{part.path[-1]} (guest)" if part.kind == "guest" else part.path[-1]


def _setting_lines(setting: Setting, wrapped: bool) -> list[str]:
    # A long call has a line for each argument; here they follow each other.
    called, *arguments = re.sub(r",\n\s*\)", ")", str(setting.value)).split("(\n", 1)
    rest = [re.sub(r"\n\s*", " ", re.sub(r"\(\n\s*", "(", each)).strip() for each in arguments]
    now = [] if setting.at_step is None else [f"  now {setting.at_step:.6g}"]
    if not wrapped:
        return [f"{setting.name}={'('.join([called, *rest])}", *now]
    first = f"{setting.name}={called if len(called) <= _LONGEST else called[:_LONGEST] + ' ...'}{'(' * len(rest)}"
    if len(first) > _SETTING_WIDTH and rest:
        lines = [f"{setting.name}=", f"  {called}("]
    else:
        lines = _folded(first, _SETTING_WIDTH)
    return [*lines, *(f"    {line}" for each in rest for line in _folded(each, _SETTING_WIDTH - 4, "")), *now]


def _kept_line(kept: Kept) -> str:
    dtypes = " and ".join(kept.dtypes)
    count = "" if kept.arrays is None or kept.kind != "array" else _counted(kept.arrays, "array", "arrays")
    return f"{kept.name}: {', '.join(filter(None, (dtypes, kept.shape or count)))}"


def _touched(part: Part, description: Description) -> list[str]:
    if part.touched is None or description.params is None:
        return []
    some, every = part.touched.leaves, description.params.leaves
    lines = [str(some) if some == every else f"{some} of {every}"]
    return lines if part.decayed is None else [*lines, f"{part.decayed} decay"]


def text_table(columns: Sequence[str], rows: list[Row], numbers: Sequence[int]) -> str:
    """Rows beneath the names of their columns; `numbers` are the columns that stand to the right."""
    rows = [[[name] for name in columns], *rows]
    widths = [max(len(line) for row in rows for line in row[at] or [""]) for at in range(len(columns))]
    rule = _GAP.join("-" * width for width in widths)
    lines = []
    for row in rows:
        for height in range(max(map(len, row))):
            cells = [cell[height] if height < len(cell) else "" for cell in row]
            aligned = [
                cell.rjust(width) if at in numbers else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append(_GAP.join(aligned).replace("\u00a0", " ").rstrip())
    return "\n".join([lines[0], rule, *lines[1:]])


def _folded(line: str, width: int | None, indent: str = "  ") -> list[str]:
    if width is None:
        return [line]
    # A long name sticks out rather than be cut.
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _size(count: int | None) -> str:
    """Bytes in three digits and a unit: 222 MB."""
    if count is None:
        return ""
    number, unit = _scaled(count)
    return f"{number} {unit}B"


def _short(count: int) -> str:
    """A number in three digits: 27.8M."""
    return "".join(_scaled(count))


def _scaled(count: int) -> tuple[str, str]:
    number, units = float(count), ["", "k", "M", "G", "T", "P"]
    # What would be written as 1000 has the next unit.
    while number >= 999.5 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f}" if number >= 99.95 else f"{number:.3g}", units[0]
