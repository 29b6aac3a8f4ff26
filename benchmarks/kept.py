"""A JSON file in which a benchmark keeps what it has found, so that one that was killed goes on from there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class File:
    """What a JSON file says, and where to write what is found; without a file it is kept in memory alone.

    Args:
      path: the file, which is read if it is there.
      first: what it says before anything is found.
    """

    def __init__(self, path: Path | None, first: dict[str, Any]):
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else first

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        if self.path:
            write(self.path, self.content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(part, path)
