"""Fields that make no sense are errors that say what was expected and what came."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform import schedules
from tests.schedules.cases import CYCLES, LINE, case, close

PIECES = "boundaries_and_scales must be"
JOINED = "schedules and boundaries must be n + 1 and n, the steps in order; got"
WRONG = [
    (case("cosine_decay_schedule", 1.0, 0), "decay_steps must be more than 0; got 0"),
    (case("cosine_decay_schedule", 1.0, np.float32("nan")), "decay_steps must be more than 0; got np.float32(nan)"),
    (case("cosine_decay_schedule", LINE, 10), "init_value must be made of numbers; got linear_schedule("),
    (case("cosine_onecycle_schedule", 0, 1.0), "transition_steps must be more than 0; got 0"),
    (case("cosine_onecycle_schedule", 9, 1.0, 1.5), "pct_start must be from 0 to 1, in order; got 1.5"),
    (case("exponential_decay", 1.0, 10, -0.5), "decay_rate must be at least 0; got -0.5"),
    (case("join_schedules", [LINE, LINE], []), f"{JOINED} ("),
    (case("join_schedules", [LINE, LINE], [5, 9]), f"{JOINED} ("),
    (case("join_schedules", [LINE, LINE, LINE], [9, 7]), f"{JOINED} ("),
    (case("multiply_schedules", []), "factors must be one function of the step or number, or more; got ()"),
    (case("add_schedules", []), "terms must be one function of the step or number, or more; got ()"),
    (case("cyclic_schedule", 0.1, 1.0, 0), "rise_steps must be more than 0; got 0"),
    (case("cyclic_schedule", 0.1, 1.0, 5, -1), "fall_steps must be more than 0; got -1"),
    (
        case("cyclic_schedule", 0.1, 1.0, 5, mode="square"),
        "mode must be 'triangular', 'triangular2' or 'exp_range'; got 'square'",
    ),
    (case("rsqrt_schedule", 1.0, 5, timescale=0.0), "timescale must be more than 0; got 0.0"),
    (case("power_schedule", 1.0, 1.0, 0.5, 9), "exponent must be at most 0; got 0.5"),
    (case("power_schedule", 1.0, 1.0, -0.5, 9, tokens_per_step=0), "tokens_per_step must be more than 0; got 0"),
    (case("linear_onecycle_schedule", -1, 1.0), "transition_steps must be more than 0; got -1"),
    (
        case("linear_onecycle_schedule", 9, 1.0, 0.9, 0.1),
        "pct_start and pct_final must be from 0 to 1, in order; got 0.9",
    ),
    (case("linear_onecycle_schedule", 9, 1.0, div_factor=0), "div_factor must be more than 0; got 0"),
    (case("piecewise_constant_schedule", 1.0, {5: -1.0}), f"{PIECES} at least 0; got {{5: -1.0}}"),
    (case("piecewise_constant_schedule", 1.0, (5, 6)), f"{PIECES} a dict or None; got (5, 6)"),
    (case("piecewise_interpolate_schedule", "linear", 1.0, {5: -1.0}), f"{PIECES} at least 0; got {{5: -1.0}}"),
    (
        case("piecewise_interpolate_schedule", "cubic", 1.0),
        "interpolate_type must be 'linear' or 'cosine'; got 'cubic'",
    ),
    (case("sgdr_schedule", []), "cosine_kwargs must be one dict or more; got ()"),
    (
        case("warmup_cosine_decay_schedule", 0.0, 1.0, 9, 9),
        "warmup_steps and decay_steps must be a number and a larger",
    ),
    (case("warmup_exponential_decay_schedule", 0.0, 1.0, 5, 9, -1), "decay_rate must be at least 0; got -1"),
    (case("warmup_stable_decay", 1.0, -1, 5, 5), "warmup_steps must be at least 0; got -1"),
    (case("warmup_stable_decay", 1.0, 5, -2, 5), "stable_steps must be at least 0; got -2"),
    (case("warmup_stable_decay", 1.0, 5, 5, -3), "decay_steps must be at least 0; got -3"),
    (
        case("warmup_stable_decay", 1.0, 5, 5, 5, shape="root"),
        "shape must be one of 'linear', 'cosine', '1-sqrt', '1-square', 'mirror-cosine', 'exponential'; got 'root'",
    ),
    (
        case("warmup_stable_decay", 1.0, 5, 5, 5, shape="exponential"),
        "shape and end_value must be another shape, or 'exponential' and more than 0; got 'exponential' and 0.0",
    ),
]


@pytest.mark.parametrize(("case", "message"), WRONG, ids=str)
def test_fields_that_make_no_sense(case, message):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{case.name}: {message}')}"):
        case.of(schedules)


def test_a_cycle_that_makes_no_sense():
    with pytest.raises(
        ValueError, match=r"^warmup_cosine_decay_schedule: warmup_steps and decay_steps .*; got 8 and 8$"
    ):
        schedules.sgdr_schedule([CYCLES[0], {**CYCLES[0], "warmup_steps": 8}])
    with pytest.raises(TypeError, match=r"warmup_cosine_decay_schedule.*'power'"):
        schedules.sgdr_schedule([{**CYCLES[0], "power": 2}])


def test_a_string_for_a_number():
    with pytest.raises(TypeError, match=r"cosine_decay_schedule: decay_steps must be a .*number.*; got 'ten'"):
        schedules.cosine_decay_schedule(1.0, "ten")


def test_what_is_no_schedule_and_no_number():
    line = LINE.of(schedules)
    for wrong in ("half", None, True):
        with pytest.raises(TypeError, match="factors must be a real number, an array or a function of the step; got"):
            line * wrong
        with pytest.raises(TypeError, match="terms must be a real number, an array or a function of the step; got"):
            wrong + line
        with pytest.raises(TypeError, match="schedules must be a real number, an array or a function of the step"):
            line.then(wrong, at=5)
    with pytest.raises(ValueError, match=rf"^join_schedules: {re.escape(JOINED)}.* and \(9, 5\)$"):
        line.then(line, at=9).then(line, at=5)
    with pytest.raises(ValueError, match=r"multiply_schedules: .*shape \(\), got shape \(3,\).*jax.vmap"):
        (line * jnp.ones(3))(0)


def test_many_numbers_for_one():
    with pytest.raises(ValueError, match=r"cosine_decay_schedule: .*shape \(\), got shape \(3,\).*jax.vmap"):
        schedules.cosine_decay_schedule(jnp.ones(3), 10)(0)


def test_traced_numbers_are_not_checked():
    found = jax.jit(lambda steps: schedules.cosine_decay_schedule(1.0, steps)(5))
    close([found(10), found(0)], [0.5, 1.0])
