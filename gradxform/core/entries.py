"""What is in a state: each field of each record, with the path by which it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Path = tuple[str, ...]


class Entry(NamedTuple):
    """A field of a record in a state: `path` is ('.stages', '["scale_by_adam"]', '.mu'), `name` its end."""

    path: Path
    name: str
    value: Any


def entries(value: Any, path: Path = ()) -> Iterator[Entry]:
    """Each field of each NamedTuple in a part of a state, one that has others within it before these."""
    if has_fields(value):
        within = fields_within(value)
        for name in value._fields:
            part, where = getattr(value, name), (*path, f".{name}")
            yield Entry(where, name, part)
            if name in within:
                yield from entries(part, where)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from entries(part, (*path, f'["{key}"]' if isinstance(key, str) else f"[{key!r}]"))
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from entries(part, (*path, f"[{index}]"))


def has_fields(value: Any) -> bool:
    """Whether it is a NamedTuple, as states are, and what rules and guests remember."""
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def fields_within(record: Any) -> tuple[str, ...]:
    """The fields of a NamedTuple in which there may be others: of a rule's record the states of its transforms.

    A rule's slots are trees like the parameters, which may be NamedTuples and are no records.
    """
    return getattr(type(record), "inners", type(record)._fields)
