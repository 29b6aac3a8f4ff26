"""Schedules are values themselves: records, arguments of jit and vmap, learning rates."""

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import schedules
from tests.schedules.cases import CASES, LINE, LOW, STEPS, by_root, close, every_case, times, together, values


@every_case
def test_is_a_value(case):
    schedule, twin = case.of(schedules), case.of(schedules)
    assert schedule == twin
    assert hash(schedule) == hash(twin)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule != LOW.of(schedules)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.transition_steps = 1


@every_case
def test_prints_as_the_call_that_makes_it(case):
    schedule = case.of(schedules)
    text = repr(schedule).replace(f"<{by_root.__module__}.by_root>", "by_root")
    assert text.startswith(f"{case.public_name}(")
    assert eval(text, {**vars(schedules), "by_root": by_root}) == schedule


@every_case
def test_is_a_pytree_of_its_numbers(case):
    schedule = case.of(schedules)
    leaves, structure = jax.tree.flatten(schedule)
    assert leaves
    assert all(isinstance(leaf, int | float) for leaf in leaves)
    again = structure.unflatten(leaves)
    assert again == schedule
    assert repr(again) == repr(schedule)


@every_case
def test_is_an_argument_of_jit(case):
    found, times_traced = together()
    # In two programs: in one XLA knows the schedule's numbers, and in the other they are arguments.
    close(found[case.name].traced, found[case.name].known)
    assert times(case.of(schedules), 2) != case.of(schedules)
    assert times_traced == 1


@every_case
def test_is_an_argument_of_vmap(case):
    found, _ = together()
    close(found[case.name].swept, found[case.name].traced)


def test_vmap_over_one_number():
    schedule = LINE.of(schedules)
    swept = schedule.replace(init_value=jnp.asarray([1.0, 2.0]))
    axes = jax.tree.map(lambda _: None, schedule).replace(init_value=0)
    close(jax.vmap(lambda schedule: schedule(5), in_axes=(axes,))(swept), [0.625, 1.125])


def test_functions_are_compared_by_identity():
    first, second = (schedules.join_schedules([lambda step: 0.5], []) for _ in range(2))
    assert first == first.replace()
    assert first != second


# Steps and numbers of every kind.


@every_case
def test_a_step_of_any_kind_gives_a_real_scalar(case):
    schedule = case.of(schedules)
    expected = together()[0][case.name].traced[0][6]
    for step in (6, 6.0, np.int32(6), np.int64(6), np.uint8(6), np.asarray(6), jnp.int32(6), jnp.asarray(6)):
        value = schedule(step)
        assert isinstance(value, jax.Array)
        assert (value.shape, value.dtype) == ((), jnp.float32)
        close(value, expected)


@every_case
def test_many_steps_at_once(case):
    schedule = case.of(schedules)
    steps = np.asarray(STEPS, np.int32).reshape(2, -1)
    found = schedule(steps)
    assert found.shape == steps.shape
    close(found, together()[0][case.name].traced[0].reshape(steps.shape))


NUMBERS = [np.float32(0.5), np.float64(0.5), jnp.bfloat16(0.5), np.asarray(0.5), np.int64(2)]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_numbers_of_any_kind(number):
    schedule = schedules.cosine_decay_schedule(number, np.int64(10), alpha=number)
    close(jax.jit(schedule)(5), schedules.cosine_decay_schedule(float(number), 10, float(number))(5))


def test_float64_where_it_is_on():
    with jax.enable_x64(True):
        value = schedules.cosine_decay_schedule(1.0, 10)(jnp.int32(3))
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, (1 + np.cos(0.3 * np.pi)) / 2, rtol=1e-15)


def test_lengths_beyond_int32():
    last = jnp.int32(2**31 - 1)
    close(jax.jit(schedules.cosine_decay_schedule(1.0, 2**33))(last), (1 + np.cos(np.pi / 4)) / 2)
    close(jax.jit(schedules.piecewise_constant_schedule(1.0, {2**40: 0.5}))(last), 1.0)
    close(jax.jit(schedules.linear_schedule(1.0, 0.0, 2**31 - 2))(last), 0.0)


def test_joined_functions_get_whole_steps():
    table = jnp.asarray([3, 1, 2])
    schedule = schedules.join_schedules([lambda step: 0.5, lambda step: table[step]], [2**25 + 1])
    close(values(schedule, [0, 2**25, 2**25 + 1, 2**25 + 2]), [0.5, 0.5, 3.0, 1.0])


def test_join_at_a_fraction_of_a_step():
    close(values(schedules.join_schedules([LINE.of(schedules), jnp.asarray], [2.5]), [2, 3, 5]), [0.85, 0.5, 2.5])


# In an optimizer.


@functools.cache
def four_steps():
    """Four updates of SGD with the schedule of each case, in one program, and the states before them."""
    transforms = {case.name: gx.sgd(case.of(schedules)) for case in CASES}
    grad = jnp.asarray([1.0, -0.5])
    step = jax.jit(lambda states: {name: tx.update(grad, states[name]) for name, tx in transforms.items()})
    states, found = {name: tx.init(grad) for name, tx in transforms.items()}, {name: [] for name in transforms}
    for _ in range(4):
        done = step(states)
        for name, (updates, _) in done.items():
            found[name].append((np.asarray(updates), states[name]))
        states = {name: state for name, (_, state) in done.items()}
    return found


@every_case
def test_is_a_learning_rate(case):
    schedule = case.of(schedules)
    tx = gx.sgd(schedule)
    for count, (updates, state) in enumerate(four_steps()[case.name]):
        rate = np.float32(schedule(count))
        close(gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"], rate)
        close(updates, [-rate, rate / 2])


def test_an_optimizer_with_a_new_schedule_is_not_traced_again():
    traced, grad = [], jnp.ones(2)

    @jax.jit
    def first_update(tx):
        traced.append(tx)
        return tx.update(grad, tx.init(grad))[0]

    for peak in (0.1, 0.2):
        close(first_update(gx.sgd(schedules.warmup_cosine_decay_schedule(peak, 2 * peak, 3, 9))), [-peak, -peak])
    assert len(traced) == 1
