"""Makes the stubs: what type checkers and editors know of the names of `gradxform` and of `gradxform.as_optax`.

    python docs/stubs.py

They say what the code cannot. A rule reads a hyperparameter as the number that it is at the step, with which it may do
whatever it wants, so that checkers take it for `Any`; who calls passes a number, an array or a schedule, and no text.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jax
import optax
import optax.contrib

import gradxform as gx
import gradxform.as_optax
from gradxform import names
from gradxform.core import types
from gradxform.core.fields import Hyper
from gradxform.schedules import Schedule
from gradxform.wrappers import borrowed

ROOT = Path(gx.__file__).parent
HEAD = "# Made by `python docs/stubs.py`."

NUMERIC = (gx.Hyper, gx.NonNegative, gx.Positive, gx.Decay, gx.SumDecay)
PAIRS = (optax.GradientTransformation, optax.GradientTransformationExtraArgs)
# Unions that have a name, the larger before the smaller; as optax writes them they come as one flat union.
UNIONS = (
    (optax.Params, "typing", "Any"),
    (optax.ScalarOrSchedule, types.__name__, "ScalarOrSchedule"),
    (jax.typing.DTypeLike, "jax.typing", "DTypeLike"),
    (jax.typing.ArrayLike, "jax.typing", "ArrayLike"),
)


# What a default is written as it is; of others a stub says that there is one.
# The numbers of schedules are `Hyper` by name, whatever their module imports.
HYPER = {"Hyper": Hyper}
PLAIN = (bool, int, float, str, NoneType)


class Text(str):
    """Text that a signature shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Stub:
    """A stub that is being written: the names of other modules that it uses, those that it exports, and functions."""

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.exported: dict[str, str] = {}
        self.functions: list[str] = []

    def named(self, module: str, name: str) -> str:
        """A name of another module, which the text uses."""
        self.used.add((module, name))
        return name

    def written(self) -> str:
        """The whole stub."""
        used = [f"from {module} import {name}" for module, name in sorted(self.used) if name not in self.exported]
        exported = [f"from {module} import {name} as {name}" for name, module in self.exported.items()]
        return "\n".join([HEAD, *used, *exported, *self.functions]) + "\n"

    def annotation(self, of: Any, number: str) -> str:
        """An annotation as text.

        Args:
          of: the type.
          number: what stands for a hyperparameter.
        """
        if of in NUMERIC:
            return self.named(types.__name__, number)
        if of in PAIRS:
            return self.named(types.__name__, "GradientTransformation")
        if of == gx.Dtype:
            return self.named("jax.typing", "DTypeLike")
        if of == gx.Seed:
            return f"int | {self.named('jax', 'Array')}"
        if of in (None, NoneType, ...):
            return "..." if of is ... else "None"
        if isinstance(of, list):
            return f"[{', '.join(self.annotation(part, number) for part in of)}]"
        if get_origin(of) in (Union, UnionType):
            return self._union(list(get_args(of)), number)
        if get_origin(of) is Literal:
            return f"{self.named('typing', 'Literal')}[{', '.join(map(repr, get_args(of)))}]"
        if get_origin(of) in (None, of) or hasattr(of, "__metadata__"):
            return self._class(of)
        parts = ", ".join(self.annotation(part, number) for part in get_args(of))
        return f"{self._class(get_origin(of))}[{parts}]"

    def _union(self, parts: list[Any], number: str) -> str:
        texts = []
        for union, module, name in UNIONS:
            if set(get_args(union)) <= set(parts):
                # None is among optax's words for a dtype, and says something of its own.
                parts = [part for part in parts if part not in get_args(union) or part is NoneType]
                texts.append(self.named(module, name))
        texts = list(dict.fromkeys([*texts, *(self.annotation(part, number) for part in parts)]))
        return " | ".join(text for text in texts if "Any" not in texts or text in ("Any", "None"))

    def _class(self, of: Any) -> str:
        name = getattr(of, "__name__", "")
        module: str = getattr(of, "__module__", "")
        if module == "builtins":
            return name
        if of is jax.Array:
            return self.named("jax", "Array")
        if not isinstance(of, type) or module.startswith("optax."):
            return self.named("typing", "Any")
        return self.named(module, name)

    def function(self, name: str, of: Callable[..., Any]) -> str:
        """The function `name` as a stub has it."""
        record = getattr(of, "record", None)
        source = record or inspect.unwrap(of)
        # optax's are types already, some of them recursive.
        known = source.__annotations__ if is_borrowed(of) else get_type_hints(source, None, HYPER, include_extras=True)
        number = "Scalar" if record and issubclass(record, Schedule) else "ScalarOrSchedule"
        signature = inspect.signature(of)
        returns = signature.return_annotation if record else known.get("return", Any)
        if is_borrowed(of):
            returns = gx.Transform
        parameters = [
            parameter.replace(
                annotation=Text(self.annotation(known.get(parameter.name, Any), number)),
                default=default if default is parameter.empty or isinstance(default, PLAIN) else Text("..."),
            )
            for parameter in signature.parameters.values()
            for default in [parameter.default]
        ]
        written = signature.replace(parameters=parameters, return_annotation=Text(self.annotation(returns, number)))
        # Editors find the docstring of a function where it is defined, but not that of what a call has made.
        sentence = (inspect.getdoc(of) or "").partition("\n\n")[0].replace("\\", "\\\\")
        lines = textwrap.wrap(sentence, 110, subsequent_indent="    ")
        return f"def {name}{written}: " + ('"""{}"""'.format("\n".join(lines)) if record or is_borrowed(of) else "...")


def is_borrowed(value: Any) -> bool:
    """Whether a function is one of optax's, of which mypy knows nothing, that makes a Transform."""
    return inspect.isfunction(value) and value.__module__ == borrowed.__name__


def package() -> str:
    """The stub of `gradxform`."""
    stub = Stub()
    for module, own in names.MODULES:
        for name in own.split():
            value = getattr(gx, name)
            if hasattr(value, "record") or is_borrowed(value) or takes_numbers_or_transforms(value):
                stub.functions.append(stub.function(name, value))
            else:
                stub.exported[name] = f"gradxform.{module}"
    return stub.written()


def takes_numbers_or_transforms(value: Any) -> bool:
    """Whether a function takes hyperparameters or transforms."""
    words = ("Hyper", "NonNegative", "Positive", "Decay", "GradientTransformation")  # as the source writes them
    return inspect.isfunction(value) and any(
        word in str(annotation) for annotation in value.__annotations__.values() for word in words
    )


def as_optax(module: ModuleType, theirs: ModuleType) -> str:
    """The stub of `gradxform.as_optax`, or of one of its submodules, which stands where optax's stands."""
    stub = Stub()
    for name in dir(module):
        value = getattr(module, name)
        is_ours = name in dir(gx) and value is getattr(gx, name)
        stub.exported[name] = module.__name__ if is_mirrored(value) else "gradxform" if is_ours else theirs.__name__
    return stub.written()


def is_mirrored(value: Any) -> bool:
    """Whether it is a submodule of `gradxform.as_optax`."""
    return isinstance(value, ModuleType) and value.__name__.startswith(gradxform.as_optax.__name__)


def stubs() -> dict[Path, str]:
    """All stubs, by their files."""
    folder, ours = ROOT / "as_optax", gradxform.as_optax
    found = {ROOT / "__init__.pyi": package(), folder / "__init__.pyi": as_optax(ours, optax)}
    submodules = [name for name in dir(ours) if is_mirrored(getattr(ours, name))]
    return found | {folder / f"{name}.pyi": as_optax(getattr(ours, name), getattr(optax, name)) for name in submodules}


if __name__ == "__main__":
    made = stubs()
    for path, text in made.items():
        path.write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--quiet", "--fix", "--select", "I", *made], check=True)
    subprocess.run([*ruff, "format", "--quiet", *made], check=True)
