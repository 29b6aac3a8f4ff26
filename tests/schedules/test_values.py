"""Values are optax's, but where optax's are wrong."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradxform import schedules
from tests.schedules.cases import (
    FIRST_VALUES,
    OPTAX_CASES,
    STEPS,
    WITH_FIRST_VALUE,
    close,
    compiled,
    every_optax_case,
    for_optax,
    together,
    values,
)


@every_optax_case
def test_values_are_those_of_optax(case):
    schedule = case.of(schedules)
    with for_optax():
        # All steps at once, and operation by operation: compiled as a whole some of optax's are wrong, as below.
        theirs = jax.vmap(case.of(optax))(jnp.asarray(STEPS))
    close([schedule(step) for step in STEPS[::6]], theirs[::6])
    found, _ = together()
    close(found[case.name].traced[0], theirs)
    close(found[case.name].known[0], theirs)


@cache
def slopes():
    """The derivatives of the value at step 6 with respect to the first value, by case: ours and optax's."""

    fields = {case.name: case.of(schedules).fields() for case in WITH_FIRST_VALUE}
    names = {case: next(name for name in FIRST_VALUES if name in fields[case]) for case in fields}

    def slope(case, library, number):
        make = getattr(library, case.public_name)
        given, name = fields[case.name], names[case.name]
        return jax.grad(lambda number: jnp.asarray(make(**{**given, name: number})(6)))(number)

    @partial(jax.jit, static_argnums=0)
    def of(library, numbers):
        return {case.name: slope(case, library, numbers[case.name]) for case in WITH_FIRST_VALUE}

    numbers = {case: fields[case][names[case]] for case in fields}
    ours = of(schedules, numbers)
    with for_optax():
        return ours, of(optax, numbers)


@pytest.mark.parametrize("case", WITH_FIRST_VALUE, ids=str)
def test_derivatives_are_those_of_optax(case):
    ours, theirs = slopes()
    close(ours[case.name], theirs[case.name])


def test_every_schedule_of_optax_is_here():
    theirs = {name for name in vars(optax) if name.endswith(("_schedule", "_schedules")) or name == "exponential_decay"}
    theirs -= {name for name in theirs if not callable(getattr(optax, name)) or name.startswith("scale_by")}
    assert theirs == {case.public_name for case in OPTAX_CASES}


def test_phases_are_cut_to_the_step_that_optax_takes():
    # In Python 0.29 * 100 is a little less than 29, in float32 it is 29.
    schedule, steps = schedules.linear_onecycle_schedule(100, 1.0, 0.29, 0.57), range(25, 61)
    with for_optax():
        theirs = [optax.linear_onecycle_schedule(100, 1.0, 0.29, 0.57)(step) for step in steps]
    close(compiled(schedule, steps), theirs)


# What optax gets wrong.


# XLA multiplies by 1 / length, which in float32 is not exact for these: length (1 / length) is less than 1.
LENGTHS = pytest.mark.parametrize("length", [41, 47, 55, 82])


@LENGTHS
def test_staircase_is_not_late_under_jit(length):
    schedule = schedules.exponential_decay(1.0, length, 0.5, staircase=True)
    steps = [length - 1, length, 2 * length - 1, 2 * length]
    np.testing.assert_array_equal(compiled(schedule, steps), [1, 0.5, 0.5, 0.25])


@LENGTHS
@pytest.mark.parametrize("power", [0.25, 1])
def test_transition_ends_at_its_end_under_jit(length, power):
    schedule = schedules.polynomial_schedule(1.0, 0.0, power, length)
    np.testing.assert_array_equal(compiled(schedule, [0, length, length + 1]), [1, 0, 0])


def test_warmup_of_no_steps_is_at_the_peak():
    np.testing.assert_array_equal(values(schedules.warmup_constant_schedule(0.0, 1.0, 0)), np.ones(len(STEPS)))


def test_onecycle_rises_without_a_fall():
    cosine = schedules.cosine_onecycle_schedule(10, 1.0, 1.0, final_div_factor=2.0)
    close(values(cosine, [0, 5, 9, 10]), [0.04, 0.52, 0.9765072, 0.02])
    linear = schedules.linear_onecycle_schedule(10, 1.0, 0.5, 0.5)
    close(values(linear, [0, 4, 5, 10]), [0.04, 0.808, 0.04, 4e-6])
