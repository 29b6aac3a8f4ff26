"""Schedules: optax's values, and what it means that they are values themselves."""

import dataclasses
import inspect
import math
import pickle
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

import gradxform as gx
from gradxform import schedules

# Every boundary of the cases below is under 30; the last steps are those of a long run.
STEPS = [*range(32), 1000, 10**6]
# Values are at most 2 and computed by formulas of a few operations that are written in another order than optax's,
# each with an error of half a unit in the last place: 2^-24 of the largest value.
TOLERANCE = 2 * 4 * 2**-23


@dataclasses.dataclass(frozen=True)
class Case:
    """A schedule by its name and arguments, which may be cases again; and what is special about it."""

    name: str
    arguments: dict[str, Any]
    variant: str = ""

    def __str__(self):
        return f"{self.name}:{self.variant}" if self.variant else self.name

    def of(self, library, **others):
        """The schedule as a library makes it, with some arguments replaced."""
        arguments = {**self.arguments, **others}
        return getattr(library, self.name)(**{name: made(value, library) for name, value in arguments.items()})


def made(value, library):
    """An argument with the cases in it made into schedules."""
    if isinstance(value, Case):
        return value.of(library)
    return [made(item, library) for item in value] if isinstance(value, list) else value


def case(name, variant="", **arguments):
    """A case, written like the call."""
    return Case(name, arguments, variant)


def by_root(step):
    """A schedule that is a plain function."""
    return 1 / (1.0 + step) ** 0.5


CYCLES = [
    {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 8},
    {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 6, "end_value": 0.1, "exponent": 2.0},
    {"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 3, "decay_steps": 9},
]
LINE = case("linear_schedule", init_value=1.0, end_value=0.25, transition_steps=10)
OPTAX_CASES = [
    case("constant_schedule", value=0.3),
    case("cosine_decay_schedule", init_value=1.5, decay_steps=20),
    case("cosine_decay_schedule", "alpha", init_value=1.5, decay_steps=20, alpha=0.1, exponent=2.0),
    case("cosine_onecycle_schedule", transition_steps=25, peak_value=2.0),
    case("cosine_onecycle_schedule", "factors", transition_steps=20, peak_value=2.0, pct_start=0.5, final_div_factor=3.0),
    case("exponential_decay", init_value=1.0, transition_steps=7, decay_rate=0.5),
    case("exponential_decay", "staircase", init_value=1.0, transition_steps=7, decay_rate=0.5, staircase=True),
    case("exponential_decay", "floor", init_value=1.0, transition_steps=7, decay_rate=0.5, end_value=0.2),
    case("exponential_decay", "ceiling", init_value=1.0, transition_steps=7, decay_rate=1.2, end_value=1.6),
    case("exponential_decay", "late", init_value=1.0, transition_steps=7, decay_rate=0.5, transition_begin=5),
    case("exponential_decay", "early", init_value=1.0, transition_steps=7, decay_rate=0.5, transition_begin=-5),
    case("exponential_decay", "no steps", init_value=1.0, transition_steps=0, decay_rate=0.5, end_value=2.0),
    case("exponential_decay", "rate 0", init_value=1.0, transition_steps=7, decay_rate=0, end_value=2.0),
    LINE,
    case("linear_schedule", "up", init_value=0.0, end_value=2.0, transition_steps=10, transition_begin=4),
    case("linear_schedule", "no steps", init_value=1.0, end_value=0.25, transition_steps=0),
    case("linear_onecycle_schedule", transition_steps=25, peak_value=2.0),
    case("linear_onecycle_schedule", "fractions", transition_steps=20, peak_value=2.0, pct_start=0.1, pct_final=0.5),
    case("piecewise_constant_schedule", init_value=2.0),
    case("piecewise_constant_schedule", "scales", init_value=0.5, boundaries_and_scales={20: 0.5, 5: 4, 12: 0.0}),
    case("piecewise_interpolate_schedule", interpolate_type="linear", init_value=2.0),
    case(
        "piecewise_interpolate_schedule",
        "linear",
        interpolate_type="linear",
        init_value=0.5,
        boundaries_and_scales={20: 0.5, 5: 4, 12: 0.1},
    ),
    case(
        "piecewise_interpolate_schedule",
        "cosine",
        interpolate_type="cosine",
        init_value=0.5,
        boundaries_and_scales={0: 2.0, 20: 0.5, 6: 2},
    ),
    case("polynomial_schedule", init_value=1.0, end_value=0.1, power=2, transition_steps=10),
    case("polynomial_schedule", "root", init_value=0.0, end_value=2.0, power=0.5, transition_steps=9, transition_begin=3),
    case("polynomial_schedule", "early", init_value=1.0, end_value=0.1, power=3.0, transition_steps=9, transition_begin=-3),
    case("polynomial_schedule", "no steps", init_value=1.0, end_value=0.1, power=2, transition_steps=-1),
    case("warmup_constant_schedule", init_value=0.1, peak_value=1.0, warmup_steps=5),
    case("warmup_cosine_decay_schedule", init_value=0.1, peak_value=1.0, warmup_steps=5, decay_steps=20),
    case("warmup_cosine_decay_schedule", "end", **CYCLES[1]),
    case("warmup_cosine_decay_schedule", "peak 0", **{**CYCLES[1], "peak_value": 0.0, "warmup_steps": 4}),
    case(
        "warmup_exponential_decay_schedule",
        init_value=0.1,
        peak_value=1.0,
        warmup_steps=5,
        transition_steps=6,
        decay_rate=0.5,
    ),
    case(
        "warmup_exponential_decay_schedule",
        "staircase",
        init_value=0.1,
        peak_value=1.0,
        warmup_steps=5,
        transition_steps=6,
        decay_rate=0.5,
        transition_begin=2,
        staircase=True,
        end_value=0.2,
    ),
    case("sgdr_schedule", cosine_kwargs=CYCLES),
    case("join_schedules", schedules=[LINE], boundaries=[]),
    case("join_schedules", "three", schedules=[LINE, by_root, case("constant_schedule", value=0.1)], boundaries=[7, 20]),
]
CASES = [
    *OPTAX_CASES,
    case("warmup_stable_decay", peak_value=1.5, warmup_steps=4, stable_steps=10, decay_steps=9, end_value=0.1),
    case("warmup_stable_decay", "line", peak_value=1.5, warmup_steps=4, stable_steps=0, decay_steps=9, shape="linear"),
    case("warmup_stable_decay", "cosine", peak_value=1.5, warmup_steps=0, stable_steps=5, decay_steps=9, shape="cosine"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_optax_case = pytest.mark.parametrize("case", OPTAX_CASES, ids=str)


def as_optax():
    """Optax's schedules mix dtypes and ranks, which the other tests forbid."""
    stack = [jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow")]
    return _all(stack)


def close(actual, desired):
    """Asserts that values agree to rounding."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(desired), rtol=0, atol=TOLERANCE)


def values(schedule, steps=STEPS):
    """The values at steps, one compiled call for all."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps)))
