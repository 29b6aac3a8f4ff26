"""The names under which a file speaks of what it holds: only what is registered here can be saved and read.

A name is looked up and never imported, so that no file can run code that the program did not bring in itself; but all
of the library is there to be named, also what was not asked for before.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """What a name stands for.

    Attributes:
      key: the class or the function that has the name; of two that took it, the later.
      make: makes a record from its arguments by name.
    """

    key: Any
    make: Callable[..., Any]

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The arguments that `make` takes, by name."""
        return inspect.signature(self.make).parameters


_entries: dict[str, Entry] = {}
_names: dict[Any, str] = {}


def register(key: Any, name: str, make: Callable[..., Any]) -> None:
    """Gives a class or a function a name in files."""
    _entries[name], _names[key] = Entry(key, make), name


def register_class(cls: type[Any], call_name: str) -> None:
    """Gives a class a name in files: the library's their short ones, all others `module:Class`, which is theirs alone.

    A class inside a function has no name: there may be many of it, and none of them is found again.
    """
    if "<locals>" not in cls.__qualname__:
        ours = cls.__module__.split(".")[0] == __name__.split(".")[0]
        register(cls, call_name if ours else f"{cls.__module__}:{cls.__qualname__}", cls)


def name_of(key: Any) -> str | None:
    """The name of a class or a function; None if it has none, or if a later one took it."""
    name = _names.get(key)
    return name if name in _entries and _entries[name].key is key else None


def entries() -> Mapping[str, Entry]:
    """All that has a name; what of the library was not loaded before is loaded for it."""
    library = sys.modules[__name__.split(".")[0]]
    for name in vars(library)["__all__"]:
        getattr(library, name)
    return _entries
