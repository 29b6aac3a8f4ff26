"""What an annotation is made of, also where it is text: under `from __future__ import annotations` all of them are.

Text is read with the names that were there where the class or the function was defined, so that what a name stands for
counts, and not how it is spelt: after `import Hyper as Number` a `Number` is a `Hyper`.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import sys
import typing
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType, NoneType
from typing import Any, ForwardRef, NamedTuple

Names = ChainMap[str, Any]

# What stands inside these says nothing of the value: a function of a number is no number.
_CLOSED = ("Callable", "Literal", "type", "Type")


class Unknown(NamedTuple):
    """A name in an annotation, or a text that is none, of which nothing tells what it stands for."""

    text: str


class Declared(NamedTuple):
    """What an annotation says of a field: its role, whether it may be None, and whether it holds several values."""

    role: Any
    is_optional: bool
    holds_several: bool


def declared(cls: Any, role_of: Callable[[Any], Any]) -> dict[str, Declared]:
    """What the annotations of a dataclass that is being made say of its fields.

    Args:
      cls: the class, whose bases may have a `declared` of theirs.
      role_of: the role of which an atom speaks, None if it speaks of none.

    Raises:
      TypeError: nothing tells whether a field has a role.
    """
    names, found = names_in(cls), {}
    for field in dataclasses.fields(cls):
        owner = next((base for base in cls.__mro__[1:] if _fields(base).get(field.name) is field), cls)
        if "declared" in vars(owner) and owner is not cls:
            found[field.name] = owner.declared[field.name]
        else:
            found[field.name] = _declared(cls, field, names if owner is cls else names_at(owner), role_of)
    return found


def _fields(cls: type) -> dict[str, Any]:
    return vars(cls).get("__dataclass_fields__", {})


def _declared(cls: type, field: dataclasses.Field[Any], names: Names, role_of: Callable[[Any], Any]) -> Declared:
    found = list(atoms(field.type, names))
    role = next((role for role in map(role_of, found) if role is not None), None)
    unknown = [atom.text for atom in found if isinstance(atom, Unknown)]
    if role is None and unknown:
        raise TypeError(
            f"{cls.__name__}: {field.name} is annotated with {field.type!r}, and nothing tells what {unknown[0]!r} is, "
            "so not whether the field is a hyperparameter; import or define it before the class, and not under "
            "TYPE_CHECKING alone, or annotate the field with Any"
        )
    several = (tuple, list, dict, Sequence, Mapping)
    return Declared(role, NoneType in found, any(part in several for part in found))


def atoms(annotation: Any, names: Names) -> Iterator[Any]:
    """The types of which an annotation is made: of `tuple[Hyper, int] | None` tuple, Hyper, int and NoneType.

    Args:
      annotation: as the class or the signature has it: a type, or text.
      names: what the names in a text stand for.

    Yields:
      Types; `Unknown` for a name that stands for nothing.
    """
    if isinstance(annotation, str | ForwardRef):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        try:
            yield from _of_node(ast.parse(text.strip(), mode="eval").body, names)
        except SyntaxError:
            yield Unknown(text)
    elif hasattr(annotation, "__metadata__"):
        yield annotation
    elif hasattr(annotation, "__value__"):
        # `type Number = Hyper`, from Python 3.12 on.
        yield from atoms(annotation.__value__, names)
    elif origin := typing.get_origin(annotation):
        yield origin
        if getattr(origin, "__name__", "") not in _CLOSED:
            for part in typing.get_args(annotation):
                yield from atoms(part, names)
    else:
        yield NoneType if annotation is None else annotation


def names_at(function: Callable[..., Any]) -> Names:
    """What names stand for in the annotations of a function, or of a class of a module."""
    found = inspect.unwrap(function)
    module = sys.modules.get(getattr(found, "__module__", None) or "")
    return ChainMap(getattr(found, "__globals__", module.__dict__ if module else {}), builtins.__dict__)


def names_in(cls: type) -> Names:
    """What names stand for in the annotations of a class that is being made: those of the functions in which it stands,
    which are running, of its module, and its own."""
    # 'make' of 'make.<locals>.Rule'.
    around = cls.__qualname__.split(".")[:-1]
    scopes = {".".join(around[:length]) for length in range(1, len(around) + 1)}
    found: list[Any] = []
    frame: FrameType | None = sys._getframe(1) if scopes else None
    while frame is not None:
        if frame.f_code.co_qualname in scopes and frame.f_globals.get("__name__") == cls.__module__:
            found.append(frame.f_locals)
        frame = frame.f_back
    # Its own come last: a field may be called as a type is.
    return ChainMap({cls.__name__: cls}, *found, *names_at(cls).maps, dict(vars(cls)))


def _of_node(node: ast.expr, names: Names) -> Iterator[Any]:
    if isinstance(node, ast.BinOp):
        yield from _of_node(node.left, names)
        yield from _of_node(node.right, names)
    elif isinstance(node, ast.Tuple | ast.List):
        for part in node.elts:
            yield from _of_node(part, names)
    elif isinstance(node, ast.Subscript):
        head = _value(node.value, names)
        name = getattr(head, "__name__", None) or getattr(head, "_name", "")
        if name != "Annotated":
            yield from atoms(head, names)
        if name == "Optional":
            yield NoneType
        inside = node.slice
        if name == "Annotated" and isinstance(inside, ast.Tuple):
            # What follows the type is no type.
            inside = inside.elts[0]
        if name not in _CLOSED:
            yield from _of_node(inside, names)
    elif isinstance(node, ast.Constant):
        if node.value is not Ellipsis:
            yield from atoms(node.value, names)
    else:
        value = _value(node, names)
        yield from (value,) if isinstance(value, Unknown) else atoms(value, names)


def _value(node: ast.expr, names: Names) -> Any:
    """What a name, or an attribute of one, stands for."""
    try:
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.Attribute) and not isinstance(owner := _value(node.value, names), Unknown):
            return getattr(owner, node.attr)
    except (KeyError, AttributeError):
        pass
    return Unknown(ast.unparse(node))
