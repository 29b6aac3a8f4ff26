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

OTHERS = """
## The other names

What else optax has to be called, at its top level and in contrib, schedules and transforms, and gradxform has no name
for: `as_optax` has it as it is. Losses, projections, perturbations, assignment and tree utilities in optax's submodules
are there too, under `as_optax.losses` and so on.

| what it is | names |
| --- | --- |
"""

# What a function is, by the module of optax that defines it. Of another module one has to be told.
ORIGINS = {
    "optax._src.base": "parts of transforms",
    "optax._src.linear_algebra": "numbers and matrices",
    "optax._src.linesearch": "line searches",
    "optax._src.numerics": "numbers and matrices",
    "optax._src.update": "averages of parameters",
    "optax._src.utils": "numbers and matrices",
    "optax.losses": "losses",
    "optax.microbatching": "gradients of large batches",
    "optax.transforms._accumulation": "what `MultiSteps` skips",
    "optax.transforms._clipping": "parts of transforms",
    "optax.tree_utils._state_utils": "states",
    "optax.tree_utils._tree_math": "parts of transforms",
}


def makes_a_transform(value: object) -> bool:
    """Whether it is a function of optax that makes a transform."""
    function = getattr(value, "func", value)
    returns = str(getattr(function, "__annotations__", {}).get("return", ""))
    return inspect.isroutine(function) and "GradientTransformation" in returns


def is_shared(name: str, value: object) -> bool:
    """Whether a public name of optax's is to be in the table: it makes a transform, or is among ours too."""
    return not name.startswith("_") and callable(value) and (makes_a_transform(value) or name in dir(gx))


def kind(name: str) -> str:
    """How gradxform has a name."""
    if name not in dir(gx):
        return "optax"
    return "borrowed" if getattr(gx, name).__module__ == borrowed.__name__ else "native"


def what(value: object) -> str:
    """What else a public name of optax is."""
    if not inspect.isroutine(value):
        return "states and types"
    return next(words for origin, words in ORIGINS.items() if value.__module__.startswith(origin))


def others() -> dict[str, set[str]]:
    """The other names that can be called, by what they are."""
    found: dict[str, set[str]] = {}
    for module in (optax, optax.contrib, optax.schedules, optax.transforms):
        for name, value in vars(module).items():
            if callable(value) and not (name.startswith("_") or is_shared(name, value)):
                where = "contrib." if module is optax.contrib else ""
                found.setdefault(what(value), set()).add(f"`{where}{name}`")
    return found


def table() -> str:
    """The page."""
    rows = []
    for where, module in (("", optax), ("contrib.", optax.contrib)):
        names = sorted(name for name, value in vars(module).items() if is_shared(name, value))
        rows += [f"| `{where}{name}` | {kind(name)} |" for name in names]
    head = ["| optax | gradxform |", "| --- | --- |"]
    rest = [f"| {words} | {', '.join(sorted(names))} |" for words, names in sorted(others().items())]
    transforms = INTRODUCTION.format(version=optax.__version__) + "\n".join([*head, *rows]) + "\n"
    return transforms + OTHERS + "\n".join(rest) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "names.md").write_text(table())
