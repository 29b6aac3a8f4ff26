"""Schedules are values themselves: records, arguments of jit and vmap, learning rates."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import schedules
from tests.schedules.cases import LINE, LOW, STEPS, by_root, close, every_case, values


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
    schedule, traced, steps = case.of(schedules), [], jnp.asarray(STEPS)

    @jax.jit
    def at_steps(schedule):
        traced.append(schedule)
        return schedule(steps)

    other = jax.tree.map(lambda number: number * 2, schedule)
    assert other != schedule
    close(at_steps(schedule), values(schedule))
    close(at_steps(other), values(other))
    assert len(traced) == 1


@every_case
def test_is_an_argument_of_vmap(case):
    schedule, steps = case.of(schedules), jnp.asarray(STEPS)
    swept = jax.tree.map(lambda number: number * jnp.asarray([1.0, 2.0, 3.0]), schedule)
    alone = [jax.tree.map(lambda number, factor=factor: number * factor, schedule) for factor in (1, 2, 3)]
    together = jax.jit(jax.vmap(lambda schedule: schedule(steps)))(swept)
    close(together, [values(schedule) for schedule in alone])


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
    expected = values(schedule, [6])[0]
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
    close(found, values(schedule).reshape(steps.shape))


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


@every_case
def test_is_a_learning_rate(case):
    schedule = case.of(schedules)
    tx = gx.sgd(schedule)
    params = jnp.asarray([1.0, 2.0])
    step = jax.jit(tx.update)
    state = tx.init(params)
    for count in range(4):
        rate = np.float32(schedule(count))
        close(gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"], rate)
        updates, state = step(jnp.asarray([1.0, -0.5]), state, params)
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
