"""A progress bar for what takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# Seconds. What is done before shows no bar.
DELAY = 1.0


class Bar(Protocol):
    """What is told how far the work has come."""

    def update(self, n: int = 1) -> object:
        """So many steps more."""


class _NoBar:
    def update(self, n: int = 1) -> None:
        pass


@contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """A bar of so many steps, shown after a second, in a terminal or a notebook; none where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield _NoBar()
        return
    with tqdm(total=total, desc=what, unit="step", delay=DELAY, leave=False) as bar:
        yield bar
