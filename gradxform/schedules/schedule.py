"""What schedules share, how a formula becomes one, and schedules that are made of others."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Concatenate

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.fields import Hyper
from gradxform.core.record import Factory, P, Record, factory
from gradxform.core.text import show
from gradxform.schedules.curves import EXPONENTIAL, SHAPES


class Schedule(Record):
    """What schedules share. A subclass has a formula, and what its fields must be: those in a tuple together.

    With `*` and `+` it is multiplied and added to a number or to another function of the step, and `then` goes on with
    another one. What comes of it is a schedule.
    """

    formula: ClassVar[Callable[..., Any]]
    required: ClassVar[dict[str, Sequence[str]]] = {}
    # NumPy's numbers leave their products and sums with schedules to those.
    __array_ufunc__: ClassVar[None] = None

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

    def __mul__(self, other: Any) -> Schedule:
        return MultiplySchedules(_flat(MultiplySchedules, self, other))

    def __rmul__(self, other: Any) -> Schedule:
        return MultiplySchedules(_flat(MultiplySchedules, other, self))

    def __add__(self, other: Any) -> Schedule:
        return AddSchedules(_flat(AddSchedules, self, other))

    def __radd__(self, other: Any) -> Schedule:
        return AddSchedules(_flat(AddSchedules, other, self))

    def then(self, other: Any, at: Any) -> Schedule:
        """This schedule, and from a step on another, which counts from there: `join_schedules([self, other], [at])`.

        Args:
          other: a schedule, another function of the step, or a number.
          at: the step at which `other` begins, counted from the start of the whole.

        Raises:
          ValueError: `at` is before the last schedule of a `join_schedules` begins.
        """
        first = self if isinstance(self, JoinSchedules) else JoinSchedules([self], [])
        return JoinSchedules([*first.schedules, other], [*first.boundaries, at])

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


class JoinSchedules(Schedule):
    """Applies schedules one after another, each to the steps since its boundary; `then` of a schedule makes one.

    Args:
      schedules: functions of the step, or numbers; the former receive integers where the step and the boundaries are
        integers.
      boundaries: the steps at which the second schedule and those after it begin, in order.

    optax: join_schedules, which drops schedules that have no boundary, and takes no numbers. torch: SequentialLR.
    """

    schedules: Sequence[Hyper]
    boundaries: Sequence[Hyper]
    required: ClassVar = {"numbers": ["boundaries"], "joined": ("schedules", "boundaries")}

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        value = _at(self, self.schedules[0], step)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            with jax.numpy_dtype_promotion("standard"):
                begun, since = step >= boundary, jnp.maximum(step, boundary) - boundary
            value = jnp.where(begun, _at(self, schedule, since), value)
        return value


class MultiplySchedules(Schedule):
    """Multiplies schedules and numbers; `*` of a schedule makes one.

        rates = warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000)
        adamw(rates, weight_decay=rates * (0.1 / 1e-3))

    The example decays by the square of the rate, as Defazio 2025, arXiv:2506.02285, does where layers are normalized:
    weight_decay is 0.1 at the peak of the rate, and falls with it.

    Args:
      factors: functions of the step, and numbers; at least one.

    optax: none. torch: ChainedScheduler, of schedules that are factors.
    """

    factors: Sequence[Hyper]
    required: ClassVar = {"numbers": [], "some": ["factors"]}

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        return functools.reduce(operator.mul, [_at(self, factor, step) for factor in self.factors])


class AddSchedules(Schedule):
    """Adds schedules and numbers; `+` of a schedule makes one.

    Args:
      terms: functions of the step, and numbers; at least one.

    optax: none. torch: none.
    """

    terms: Sequence[Hyper]
    required: ClassVar = {"numbers": [], "some": ["terms"]}

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        return functools.reduce(operator.add, [_at(self, term, step) for term in self.terms])


def _at(schedule: Schedule, part: Any, step: Any) -> jax.Array:
    """What a part of a schedule is at a step: the value of a function, or a number."""
    dtype = jnp.result_type(float)
    if callable(part):
        return jnp.asarray(part(step), dtype)
    return jnp.full(jnp.shape(step), checks.scalar(schedule.call_name, jnp.asarray(part, dtype)), dtype)


def _flat(kind: Any, *parts: Any) -> list[Any]:
    """The parts, and in the place of one that is of the kind itself those that it has."""
    return [each for part in parts for each in (next(iter(part.fields().values())) if type(part) is kind else [part])]


join_schedules = factory(JoinSchedules, lambda record: record, JoinSchedules)
multiply_schedules = factory(MultiplySchedules, lambda record: record, MultiplySchedules)
add_schedules = factory(AddSchedules, lambda record: record, AddSchedules)


def _rising(*values: Any, strictly: bool = False) -> bool:
    """Whether those of the values that are known rise."""
    known = [value for value in values if isinstance(value, int | float | np.number)]
    return all(a < b if strictly else a <= b for a, b in pairwise(known))


DECAYS = (*SHAPES, EXPONENTIAL)
# In words, and as a function of the fields.
REQUIREMENTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "numbers": ("made of numbers", lambda x: not any(map(callable, jax.tree.leaves(x, is_leaf=callable)))),
    "positive": ("more than 0", lambda x: _rising(0, x, strictly=True)),
    "not_positive": ("at most 0", lambda x: _rising(x, 0)),
    "not_negative": ("at least 0", lambda x: all(_rising(0, y) for y in jax.tree.leaves(x))),
    "mapping": ("a dict or None", lambda x: x is None or isinstance(x, dict)),
    "fractions": ("from 0 to 1, in order", lambda *xs: _rising(0, *xs, 1)),
    "increasing": (
        "a number and a larger one, as decay_steps counts the warmup too",
        lambda x, y: _rising(x, y, strictly=True),
    ),
    "shape": (f"one of {', '.join(map(repr, DECAYS))}", lambda x: x in DECAYS),
    "exponential": (
        "another shape, or 'exponential' and more than 0",
        lambda shape, end: shape != EXPONENTIAL or _rising(0, end, strictly=True),
    ),
    "curve": ("'linear' or 'cosine'", lambda x: x in ("linear", "cosine")),
    "some": ("one function of the step or number, or more", lambda x: len(x) > 0),
    "joined": ("n + 1 and n, the steps in order", lambda fs, steps: len(fs) == len(steps) + 1 and _rising(*steps)),
}
