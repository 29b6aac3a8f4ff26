"""The schedules that are tested, and how their values are taken."""

import contextlib
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

# The phases of the cases below end before step 30; the last steps are those of a long run.
STEPS = [*range(32), 1000, 10**6]
# Relative to the largest value, and to 1. Formulas are of a few operations, in another order than optax's, and each of
# them adds half a unit in the last place.
TOLERANCE = 8 * 2**-23


@dataclasses.dataclass(frozen=True)
class Case:
    """A schedule: the public name, after a colon what is special, and the arguments, which may be cases again."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self):
        return self.name

    def of(self, library):
        """The schedule as a library makes it."""
        return getattr(library, self.public_name)(*made(list(self.args), library), **self.kwargs)

    @property
    def public_name(self):
        """The name under which a library has it."""
        return self.name.split(":")[0]


def made(arg, library):
    """An argument, with the cases in it made by a library."""
    if isinstance(arg, list):
        return [made(item, library) for item in arg]
    return arg.of(library) if isinstance(arg, Case) else arg


def case(name, *args, **kwargs):
    """A case, written like the call."""
    return Case(name, args, kwargs)


def by_root(step):
    """A schedule that is a plain function, and knows no step before 0."""
    return 1 / jnp.sqrt(1.0 + step)


CYCLES = [
    {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 8},
    {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 6, "end_value": 0.1, "exponent": 2.0},
    {"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 3, "decay_steps": 9},
]
LINE = case("linear_schedule", 1.0, 0.25, 10)
LOW = case("constant_schedule:low", 0.1)
OPTAX_CASES = [
    case("constant_schedule", 0.3),
    case("cosine_decay_schedule", 1.5, 20),
    case("cosine_decay_schedule:alpha", 1.5, 20, alpha=0.1, exponent=2.0),
    case("cosine_onecycle_schedule", 25, 2.0),
    case("cosine_onecycle_schedule:factors", 20, 2.0, 0.5, div_factor=10.0, final_div_factor=3.0),
    case("exponential_decay", 1.0, 7, 0.5),
    case("exponential_decay:staircase", 1.0, 7, 0.5, staircase=True),
    case("exponential_decay:lower bound", 1.0, 7, 0.5, end_value=0.2),
    case("exponential_decay:upper bound", 1.0, 7, 1.2, end_value=1.6),
    case("exponential_decay:late", 1.0, 7, 0.5, transition_begin=5),
    case("exponential_decay:early", 1.0, 7, 0.5, transition_begin=-5),
    case("exponential_decay:no steps", 1.0, 0, 0.5, end_value=2.0),
    case("exponential_decay:rate 0", 1.0, 7, 0, end_value=2.0),
    LINE,
    case("linear_schedule:up", 0.0, 2.0, 10, transition_begin=4),
    case("linear_schedule:no steps", 1.0, 0.25, 0),
    case("linear_onecycle_schedule", 25, 2.0),
    case("linear_onecycle_schedule:fractions", 20, 2.0, 0.1, 0.5),
    case("piecewise_constant_schedule", 2.0),
    case("piecewise_constant_schedule:scales", 0.5, {20: 0.5, 5: 4, 12: 0.0}),
    case("piecewise_interpolate_schedule", "linear", 2.0),
    case("piecewise_interpolate_schedule:linear", "linear", 0.5, {20: 0.5, 5: 4, 12: 0.1}),
    case("piecewise_interpolate_schedule:cosine", "cosine", 0.5, {0: 2.0, 20: 0.5, 6: 2}),
    case("polynomial_schedule", 1.0, 0.1, 2, 10),
    case("polynomial_schedule:root", 0.0, 2.0, 0.5, 9, transition_begin=3),
    case("polynomial_schedule:early", 1.0, 0.1, 3.0, 9, transition_begin=-3),
    case("polynomial_schedule:no steps", 1.0, 0.1, 2, -1),
    case("warmup_constant_schedule", 0.1, 1.0, 5),
    case("warmup_cosine_decay_schedule", 0.1, 1.0, 5, 20),
    case("warmup_cosine_decay_schedule:no rise", **CYCLES[1]),
    case("warmup_cosine_decay_schedule:peak 0", 0.1, 0.0, 5, 20, end_value=0.5),
    case("warmup_exponential_decay_schedule", 0.1, 1.0, 5, 6, 0.5),
    case("warmup_exponential_decay_schedule:staircase", 0.1, 1.0, 5, 6, 0.5, 2, staircase=True, end_value=0.2),
    case("sgdr_schedule", CYCLES),
    case("join_schedules", [LINE, by_root, LOW], [7, 20]),
    case("join_schedules:one", [LINE], []),
]
CASES = [
    *OPTAX_CASES,
    case("warmup_stable_decay", 1.5, 4, 10, 9, end_value=0.1),
    case("warmup_stable_decay:linear", 1.5, 4, 0, 9, init_value=0.5, shape="linear"),
    case("warmup_stable_decay:cosine", 1.5, 0, 5, 9, shape="cosine"),
    case("warmup_stable_decay:1-square", 1.5, 2, 5, 9, shape="1-square"),
    case("warmup_stable_decay:mirror-cosine", 1.5, 2, 5, 9, end_value=0.5, shape="mirror-cosine"),
    case("warmup_stable_decay:exponential", 1.5, 2, 5, 9, end_value=0.01, shape="exponential"),
    case("rsqrt_schedule", 1.5, 4, timescale=9.0),
    case("rsqrt_schedule:cooldown", 1.5, 4, 10, 9, timescale=9.0, init_value=0.5),
    case("power_schedule", 0.5, 2.0, -0.51, 4, tokens_per_step=3.0),
    case("power_schedule:decay", 0.5, 2.0, -0.51, 4, 10, 9, 3.0, 0.1, 0.01, shape="exponential"),
    case("power_schedule:no warm-up", 0.5, 2.0, -0.51, 0, 10, 9, 16, shape="1-sqrt"),
    case("cyclic_schedule", 0.5, 1.5, 4),
    case("cyclic_schedule:triangular2", 0.5, 1.5, 3, 5, mode="triangular2"),
    case("cyclic_schedule:exp_range", 0.5, 1.5, 3, 5, mode="exp_range", gamma=0.25),
    case("join_schedules:numbers", [0.5, LINE, 0.25], [4, 20]),
    case("multiply_schedules", [LINE, by_root, 0.5]),
    case("multiply_schedules:number", [2]),
    case("add_schedules", [0.5, LINE, by_root, LOW]),
]
FIRST_VALUES = ("init_value", "peak_value", "value")
WITH_FIRST_VALUE = [case for case in OPTAX_CASES if case.public_name not in ("join_schedules", "sgdr_schedule")]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_optax_case = pytest.mark.parametrize("case", OPTAX_CASES, ids=str)


@contextlib.contextmanager
def for_optax():
    """Optax's schedules mix dtypes and ranks, which JAX forbids in these tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def close(actual, desired):
    """Asserts that values agree to rounding."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=TOLERANCE * max(1, np.abs(desired).max()))


@jax.jit
def at(schedule, steps):
    """The values at each of some steps, with the schedule's numbers traced."""
    return jax.vmap(schedule)(steps)


def values(schedule, steps=STEPS):
    """The values at each of some steps, traced once for all schedules that differ in their numbers."""
    return np.asarray(at(schedule, jnp.asarray(steps)))


def compiled(schedule, steps=STEPS):
    """The values at each of some steps, where XLA knows the schedule's numbers."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps)))


def times(schedule, factor):
    """The schedule with other numbers, as many times as large."""
    return jax.tree.map(lambda number: number * factor, schedule)


class Together(NamedTuple):
    """The values at `STEPS` of a schedule of a case, taken of all cases in one program, which costs a third.

    Attributes:
      traced: with its numbers traced, for each of `FACTORS` by which they are multiplied.
      known: where XLA knows them, for the same factors.
      swept: for all factors at once, by `vmap`.
    """

    traced: list[np.ndarray]
    known: list[np.ndarray]
    swept: np.ndarray


FACTORS = (1, 2)


@functools.cache
def together():
    """What `Together` says, by case; and how often the schedules were traced for the first of it."""
    schedules, steps, traced = [case.of(gx) for case in CASES], jnp.asarray(STEPS), []
    with_others = [[times(schedule, factor) for schedule in schedules] for factor in FACTORS]

    @jax.jit
    def at_steps(schedules, steps):
        traced.append(schedules)
        return [schedule(steps) for schedule in schedules]

    by_number = [at_steps(given, steps) for given in with_others]
    known = jax.jit(lambda steps: [[jax.vmap(schedule)(steps) for schedule in given] for given in with_others])(steps)
    swept = jax.jit(jax.vmap(lambda schedules: [schedule(steps) for schedule in schedules]))(
        [times(schedule, jnp.asarray(FACTORS, jnp.float32)) for schedule in schedules]
    )
    found = {
        case: Together([values[i] for values in by_number], [values[i] for values in known], swept[i])
        for i, case in enumerate(map(str, CASES))
    }
    return jax.device_get(found), len(traced)
