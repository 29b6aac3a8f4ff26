"""The examples of the public symbols: cells of Python, `# %% name`, in the files of `docs/examples`.

A cell runs by itself, as it is read on the symbol's page, and has at most six lines, imports counted and blank lines
not.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "examples"
LONGEST = 6
_HEAD = re.compile(r"^# %% ([\w.]+)$", re.MULTILINE)


def examples(folder: Path = FOLDER) -> dict[str, str]:
    """The example of each symbol.

    Raises:
      ValueError: two cells for one symbol, or a cell that is longer than LONGEST.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        _, *parts = _HEAD.split(path.read_text())
        for name, cell in zip(parts[::2], parts[1::2], strict=True):
            text = cell.strip() + "\n"
            lines = sum(bool(line.strip()) for line in text.splitlines())
            if name in found:
                raise ValueError(f"{path.name}: {name} has an example already")
            if lines > LONGEST:
                raise ValueError(f"{path.name}: the example of {name} has {lines} lines; at most {LONGEST}")
            found[name] = text
    return found
