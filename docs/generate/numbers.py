"""What stands in a page between `<!-- numbers: NAME -->` and `<!-- end -->` is made from the numbers that are kept.

    python -m docs.generate.numbers [--check]

So a number is changed by a benchmark that is run again, and in no other way. What is kept lies in `docs/data`, and the
benchmarks beside it say how it was measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docs.generate.blocks import BLOCKS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- numbers: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What is made when the site is built.
_MADE = ("docs/notebooks", "docs/reference")


def filled(text: str) -> str:
    """A page with its numbers.

    Raises:
      KeyError: a block that nothing makes.
    """
    return BLOCK.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]().strip()}\n\n{match[3]}", text)


def pages() -> Iterator[Path]:
    """The pages that have numbers."""
    for path in (README, *sorted((ROOT / "docs").rglob("*.md"))):
        if not path.relative_to(ROOT).as_posix().startswith(_MADE) and BLOCK.search(path.read_text()):
            yield path


def main() -> None:
    """Writes the numbers into the pages, or says which pages have others."""
    parser = argparse.ArgumentParser(description="Puts the numbers that are kept into README and docs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page has other numbers")
    check = parser.parse_args().check
    stale = [path for path in pages() if filled(path.read_text()) != path.read_text()]
    for path in stale:
        if not check:
            path.write_text(filled(path.read_text()))
        print(f"{path.relative_to(ROOT)}: {'has other numbers than are kept' if check else 'written'}")
    sys.exit(bool(check and stale))


if __name__ == "__main__":
    main()
