"""What schedules share, and how a formula becomes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Concatenate

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.record import Factory, P, Record, factory
from gradxform.core.text import show
from gradxform.schedules.curves import SHAPES


class Schedule(Record):
    """What schedules share. A subclass has a formula, and what its fields must be: those in a tuple together."""

    formula: ClassVar[Callable[..., Any]]
    required: ClassVar[dict[str, Sequence[str]]] = {}

    def __post_init__(self) -> None:
        """Takes iterables as tuples."""
        for name, value in self.fields().items():
            if isinstance(value, Iterable) and not isinstance(value, str | dict | jax.Array | np.ndarray):
                object.__setattr__(self, name, tuple(value))
        super().__post_init__()

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        dtype, name = jnp.result_type(float), self.call_name
        # Python's own numbers stay: they meet each other in Python's precision, and XLA folds them.
        numbers = jax.tree.map(
            lambda x: float(x) if isinstance(x, int | float) else checks.scalar(name, jnp.asarray(x, dtype)), self
        )
        return type(self).formula(jnp.asarray(step, dtype), **numbers.fields())

    def check(self) -> None:
        """Raises ValueError for fields that are not as required."""
        for requirement, names in {"numbers": list(self.numeric), **self.required}.items():
            expected, holds = REQUIREMENTS[requirement]
            for group in [names] if isinstance(names, tuple) else zip(names, strict=True):
                values = [getattr(self, name) for name in group]
                if not holds(*values):
                    got = " and ".join(map(show, values))
                    raise ValueError(f"{self.call_name}: {' and '.join(group)} must be {expected}; got {got}")


def from_formula(**required: Sequence[str]) -> Callable[[Callable[Concatenate[Any, P], Any]], Factory[P, Schedule]]:
    """Makes a formula `f(step, *fields)` a subclass of Schedule, and returns the function that makes its values.

    A field without annotation is a number, which the formula gets as a Python float or an array of the step's dtype.
    """

    def make(formula: Callable[Concatenate[Any, P], Any]) -> Factory[P, Schedule]:
        fields = list(inspect.signature(formula).parameters.values())[1:]
        # As text, which is what the signatures of all others hold; `Hyper` is known by its own name.
        numbers = {field.name: "Hyper | None" if field.default is None else "Hyper" for field in fields}
        others = {field.name: field.annotation for field in fields if field.annotation is not field.empty}
        body = {field.name: field.default for field in fields if field.default is not field.empty}
        body |= {"__annotations__": numbers | others, "__doc__": formula.__doc__, "__module__": formula.__module__}
        # By this qualified name pickle finds the function, and through it the class.
        body |= {"__qualname__": formula.__name__, "formula": staticmethod(formula), "required": required}
        record: Any = type(formula.__name__.title().replace("_", ""), (Schedule,), body)
        return factory(record, lambda schedule: schedule, Schedule)

    return make


def _rising(*values: Any, strictly: bool = False) -> bool:
    """Whether those of the values that are known rise."""
    known = [value for value in values if isinstance(value, int | float | np.number)]
    return all(a < b if strictly else a <= b for a, b in pairwise(known))


# In words, and as a function of the fields.
REQUIREMENTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "numbers": ("made of numbers", lambda x: not any(map(callable, jax.tree.leaves(x, is_leaf=callable)))),
    "positive": ("more than 0", lambda x: _rising(0, x, strictly=True)),
    "not_negative": ("at least 0", lambda x: all(_rising(0, y) for y in jax.tree.leaves(x))),
    "mapping": ("a dict or None", lambda x: x is None or isinstance(x, dict)),
    "fractions": ("from 0 to 1, in order", lambda *xs: _rising(0, *xs, 1)),
    "increasing": ("a number and a larger one", lambda x, y: _rising(x, y, strictly=True)),
    "shape": ("'linear', 'cosine' or '1-sqrt'", lambda x: x in SHAPES),
    "curve": ("'linear' or 'cosine'", lambda x: x in ("linear", "cosine")),
    "functions": ("functions of the step", lambda functions: all(map(callable, functions))),
    "joined": ("n + 1 and n, the steps in order", lambda fs, steps: len(fs) == len(steps) + 1 and _rising(*steps)),
}
