"""Makes docs/names.md: which of optax's names are gradxform's own.

python docs/names.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

import optax
import optax.contrib

import gradxform as gx
import gradxform.wrappers.borrowed as borrowed

INTRODUCTION = """# Names

What `import gradxform.as_optax as optax` gives, and `gradxform` under the same names: transforms, optimizers, schedules
and combinators of optax {version}. Made from the code by `python docs/names.py`.

- **native**: gradxform's own arithmetic, with the laws of precision, shapes and errors.
- **borrowed**: optax's arithmetic, in a transform that prints and compares with what it wraps.
- **optax**: optax's own, through `as_optax` only.

"""


def is_transform(name: str, value: object) -> bool:
    """Whether a public name of optax makes a transform, an optimizer or a schedule."""
    if name.startswith("_") or not (inspect.isroutine(value) or hasattr(value, "func")):
        return False
    returns = str(getattr(value, "__annotations__", {}).get("return", ""))
    if hasattr(value, "func"):
        returns = str(value.func.__annotations__.get("return", ""))
    return "GradientTransformation" in returns or "Schedule" in returns


def kind(name: str) -> str:
    """How gradxform has a name."""
    ours = getattr(gx, name, None)
    if ours is None:
        return "optax"
    return "borrowed" if getattr(ours, "__module__", "") == borrowed.__name__ else "native"


def table() -> str:
    """The page."""
    rows = []
    for where, module in (("", optax), ("contrib.", optax.contrib)):
        names = sorted(name for name, value in vars(module).items() if is_transform(name, value))
        rows += [f"| `{where}{name}` | {kind(name)} |" for name in names]
    head = ["| optax | gradxform |", "| --- | --- |"]
    return INTRODUCTION.format(version=optax.__version__) + "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "names.md").write_text(table())
