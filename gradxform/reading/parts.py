"""Where everything in a transform is: the dotted names by which its parts are found and replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradxform.core.record import Record
from gradxform.core.transform import Transform

Path = tuple[str, ...]


def fields(tx: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each field of each rule, guest and schedule in a transform with its path, from the outside in; of pairs each."""
    for name, part in _parts(tx).items():
        if isinstance(tx, Record | list | tuple) and not isinstance(tx, Transform):
            yield (*path, name), part
        yield from fields(part, (*path, name))


def transforms(tx: Any, path: Path = ()) -> Iterator[tuple[Path, Transform]]:
    """Each transform within a transform, or a part of one, with its path; not those within these."""
    for name, part in _parts(tx).items():
        if isinstance(part, Transform):
            yield (*path, name), part
        else:
            yield from transforms(part, (*path, name))


def with_field(tx: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """The transform with another value at a path: what the function makes of the old one."""
    if not path:
        return change(tx)
    name, *rest = path
    new = with_field(_parts(tx)[name], tuple(rest), change)
    if isinstance(tx, Transform):
        stages = (stage._replace(node=new) if stage.name == name else stage for stage in tx.stages)
        return tx.with_stages(tuple(stages))
    if isinstance(tx, Record):
        return tx.with_parts(**{name: new})
    if isinstance(tx, dict):
        return {key: new if str(key) == name else value for key, value in tx.items()}
    return type(tx)(new if str(index) == name else value for index, value in enumerate(tx))


def found(what: str, name: str, names: Sequence[str]) -> str:
    """The one among dotted names that is `name` or ends with it.

    Raises:
      ValueError: none or more than one, with the names there are.
    """
    if name in names:
        return name
    ends = [each for each in names if each.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ValueError(f"{what}: {name!r} may be any of {', '.join(ends)}; say which")
    raise ValueError(f"{what}: there is no {name!r} among {', '.join(names) or 'no names at all'}")


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, Transform):
        return {stage.name: stage.node for stage in value.stages}
    if isinstance(value, Record):
        return value.parts()
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return {str(index): part for index, part in enumerate(value)}
    return {}
