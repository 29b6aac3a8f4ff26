"""Equinox's models and filter_jit work with ours unchanged, and go through Orbax."""

import equinox as eqx
import jax
import pytest

import gradxform as gx
from tests.ecosystem.common import (
    X,
    adjustable,
    assert_close,
    assert_equal,
    by_hand,
    every_tx,
    largest_step,
    mean_square,
    saved_and_restored,
)


def loss(model):
    return mean_square(jax.vmap(model)(X))


def create(tx, seed=0):
    # An MLP holds functions beside its arrays.
    model = eqx.nn.MLP(4, 3, 5, 1, key=jax.random.key(seed))
    return model, tx.init(params_of(model))


def params_of(model):
    return eqx.filter(model, eqx.is_inexact_array)


@eqx.filter_jit
def step(model, state, tx):
    updates, state = tx.update(eqx.filter_grad(loss)(model), state, params_of(model))
    return eqx.apply_updates(model, updates), state


@pytest.fixture(autouse=True)
def _like_most_users():
    # optax mixes dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@every_tx
def test_trains_as_a_plain_loop_does(tx):
    model, state = create(tx)
    params, functions = eqx.partition(model, eqx.is_inexact_array)
    for expected in by_hand(tx, lambda params: loss(eqx.combine(params, functions)), params, 4):
        model, state = step(model, state, tx)
        assert_close(params_of(model), expected)


@every_tx
def test_goes_through_orbax(tx, tmp_path):
    model, state = create(tx)
    for _ in range(2):
        model, state = step(model, state, tx)
    other, fresh = create(tx, seed=1)
    saved = (params_of(model), state)
    restored = saved_and_restored(tmp_path / "state", saved, (params_of(other), fresh))
    assert_equal(restored, saved)
    # Of the restored model the functions are those of the new one.
    model_again = eqx.combine(restored[0], other)
    ours, theirs = step(model_again, restored[1], tx), step(model, state, tx)
    assert_equal((params_of(ours[0]), ours[1]), (params_of(theirs[0]), theirs[1]))


@adjustable
def test_adjusts_what_was_restored(tx, tmp_path):
    model, state = create(tx)
    model, state = step(model, state, tx)
    restored = saved_and_restored(tmp_path / "state", state, tx.init(params_of(model)))
    adjusted = gx.adjust(restored, learning_rate=1e-3)
    before = params_of(model)
    assert largest_step(before, params_of(step(model, restored, tx)[0])) > 0.05
    assert largest_step(before, params_of(step(model, adjusted, tx)[0])) < 2e-3


def test_a_transform_is_an_argument_whose_numbers_do_not_retrace():
    traces = []

    @eqx.filter_jit
    def counted(model, state, tx):
        traces.append(tx)
        return tx.update(params_of(model), state, params_of(model))

    # filter_jit traces arrays; Python's own numbers it keeps static, as everywhere.
    for rate in (0.1, 0.2, 0.3):
        tx = gx.adamw(jax.numpy.float32(rate))
        model, state = create(tx)
        counted(model, state, tx)
    assert len(traces) == 1
