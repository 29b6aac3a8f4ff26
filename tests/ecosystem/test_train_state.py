"""Flax's TrainState works with ours unchanged, and goes through Orbax."""

import flax.linen as nn
import jax
import pytest
from flax.training.train_state import TrainState

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

MODEL = nn.Sequential([nn.Dense(5), nn.tanh, nn.Dense(3)])
TRACES = []


def loss(params):
    return mean_square(MODEL.apply({"params": params}, X))


def create(tx, seed=0):
    params = MODEL.init(jax.random.key(seed), X)["params"]
    return TrainState.create(apply_fn=MODEL.apply, params=params, tx=tx)


@jax.jit
def step(state):
    TRACES.append("one more")
    return state.apply_gradients(grads=jax.grad(loss)(state.params))


@pytest.fixture(autouse=True)
def _like_most_users():
    # Flax and optax mix dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@every_tx
def test_trains_as_a_plain_loop_does(tx):
    state = create(tx)
    for expected in by_hand(tx, loss, state.params, 4):
        state = step(state)
        assert_close(state.params, expected)
    assert state.step == 4


@every_tx
def test_goes_through_orbax(tx, tmp_path):
    state = step(step(create(tx)))
    restored = saved_and_restored(tmp_path / "state", state, create(tx, seed=1))
    assert_equal(restored, state)
    assert_equal(step(restored), step(state))


@adjustable
def test_adjusts_what_was_restored(tx, tmp_path):
    state = step(create(tx))
    restored = saved_and_restored(tmp_path / "state", state, create(tx, seed=1))
    adjusted = restored.replace(opt_state=gx.adjust(restored.opt_state, learning_rate=1e-3))
    assert largest_step(state.params, step(restored).params) > 0.05
    traced = len(TRACES)
    assert largest_step(state.params, step(adjusted).params) < 2e-3
    assert len(TRACES) == traced


def test_an_equal_transform_is_not_traced_anew():
    step(create(gx.adamw(0.25)))
    traced = len(TRACES)
    # To jax.jit the transform is part of TrainState's structure, which is compared.
    step(create(gx.adamw(0.25)))
    assert len(TRACES) == traced


def test_migrates_what_was_saved_under_another_chain(tmp_path):
    old, new = gx.adamw(0.1), gx.chain(gx.clip_by_global_norm(1e6), gx.adamw(0.1))
    state = step(step(create(old)))
    migrated, _ = gx.migrate(state.opt_state, new, state.params)
    assert_close(step(state.replace(tx=new, opt_state=migrated)).params, step(state).params)
