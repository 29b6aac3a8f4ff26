"""The public symbols: by purpose, with their objects, signatures, docstrings and places in the source."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef, NamedTuple

import gradxform as gx
import gradxform.as_optax
import gradxform.recipes
from docs import stubs
from gradxform import names
from gradxform.core import fields

ROOT = Path(gx.__file__).parent.parent
# Modules beside the public names, whose pages have their functions.
MODULES = {"recipes": gradxform.recipes, "as_optax": gradxform.as_optax}
_COMMENT = re.compile(r"^    # (.*)\.$", re.MULTILINE)


class Group(NamedTuple):
    """Public names of one purpose."""

    purpose: str
    names: tuple[str, ...]


class Place(NamedTuple):
    """Where something is defined: the file, from the repository's root, and the line."""

    path: str
    line: int


def groups() -> list[Group]:
    """The public names by purpose, as the comments of `gradxform/__init__.py` have it."""
    _, *parts = _COMMENT.split((ROOT / "gradxform" / "__init__.py").read_text())
    found = [
        Group(purpose, tuple(re.findall(r"\b(\w+) as \1\b", text)))
        for purpose, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return [*found, Group("Modules beside these names", tuple(MODULES))]


def all_names() -> tuple[str, ...]:
    """The names that have a page."""
    return (*names.NAMES, *MODULES)


@functools.cache
def page_of(name: str) -> str:
    """The name of a symbol's page. Files of one folder must not differ by the size of their letters alone."""
    is_second = name[0].isupper() and any(
        other != name and other.lower() == name.lower() for other in (*all_names(), "index")
    )
    return f"{name.lower()}-class" if is_second else name


def object_of(name: str) -> Any:
    """What a name stands for."""
    return MODULES.get(name) or getattr(gx, name)


def is_alias(value: Any) -> bool:
    """Whether it is a name for an annotation, as `Hyper`."""
    return hasattr(value, "__metadata__")


def source_of(value: Any) -> Any:
    """The function or class by which something is written in the source."""
    value = getattr(value, "record", None) or inspect.unwrap(value)
    return value if inspect.isroutine(value) or isinstance(value, type | ModuleType) else type(value)


def docstring_of(name: str, value: Any = None, module: ModuleType | None = None) -> str:
    """The docstring of a symbol; of an annotation, and of a value of a module, the text under it."""
    value = object_of(name) if value is None else value
    home = fields if is_alias(value) else module
    if home is not None and name in (texts := _under_assignments(Path(home.__file__ or ""))):
        return texts[name]
    return inspect.getdoc(value) or ""


def place_of(name: str, value: Any = None) -> Place:
    """Where a symbol is defined."""
    value = object_of(name) if value is None else value
    if isinstance(value, ModuleType):
        return Place(str(Path(value.__file__ or "").relative_to(ROOT)), 1)
    source = fields if is_alias(value) else source_of(value)
    module = sys.modules[fields.__name__ if is_alias(value) else getattr(value, "__module__", source.__module__)]
    path = Path(module.__file__ or "")
    if not path.is_relative_to(ROOT):
        path = Path(inspect.getsourcefile(source) or "")
    text = path.read_text()
    # A schedule is a class that a decorator makes of a function of its name; a borrowed function is assigned.
    written = "|".join({rf"(?:class|def) {getattr(source, '__name__', name)}\b", rf"(?:def {name}\b|{name} = )"})
    found = re.search(f"^(?:{written})", text, re.MULTILINE)
    return Place(str(path.relative_to(ROOT)), text[: found.start()].count("\n") + 1 if found else 1)


@functools.cache
def _under_assignments(path: Path) -> dict[str, str]:
    """The texts that stand under assignments, as docstrings do under functions."""
    body = ast.parse(path.read_text()).body
    found = {}
    for node, following in itertools.pairwise(body):
        match node, following:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = text.strip()
    return found


def signature_of(value: Any) -> inspect.Signature | None:
    """The signature of what can be called; None for all else."""
    if isinstance(value, ModuleType) or is_alias(value):
        return None
    return inspect.signature(value)


def is_transform_maker(value: Any) -> bool:
    """Whether a function returns a transform."""
    signature = signature_of(value)
    if signature is None or isinstance(value, type):
        return False
    returned = signature.return_annotation
    return "Transform" in str(getattr(returned, "__name__", returned))


def annotation_text(annotation: Any) -> str:
    """An annotation as it is read."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        text = annotation
    elif getattr(annotation, "__args__", None):
        # optax's types come as they are, and not as they are written.
        text = stubs.Stub().annotation(annotation, "Hyper")
    else:
        text = getattr(annotation, "__name__", str(annotation))
    return re.sub(r"\b(?:gx|optax|jax\.typing|typing|gradxform\.[\w.]+)\.(?=[A-Z])", "", text)


def default_text(default: Any) -> str:
    """A default as it is read: a function or a class by its name."""
    if isinstance(default, type) or inspect.isroutine(default):
        return default.__name__
    text = repr(default)
    # What prints an address says nothing.
    return "..." if " at 0x" in text else re.sub(r",? *\)", ")", re.sub(r"\(\s+", "(", re.sub(r"\s+", " ", text)))


def public_of(module: ModuleType) -> dict[str, Any]:
    """The public functions, classes and values of a module."""
    found = {}
    for name, value in vars(module).items():
        home = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
        is_own = home.startswith(module.__name__) and not isinstance(value, ModuleType)
        if not name.startswith("_") and name.islower() | isinstance(value, type) and is_own:
            found[name] = value
    return found


def source_url() -> str:
    """Where the source can be read: what pyproject.toml has of it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return f"{tomllib.load(file)['project']['urls']['Source']}/blob/main"
