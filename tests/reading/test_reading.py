"""Metrics and hyperparameters are read from outside, the same keys at every step."""

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx

PARAMS = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
CLIPS = gx.chain(gx.zero_nans(), gx.clip_by_global_norm(1.0), gx.clip_by_global_norm(0.5))
TX = gx.chain(CLIPS, gx.adam(lambda step: 0.1 * step))


def test_metrics_have_the_same_keys_at_every_step():
    state = TX.init(PARAMS)
    keys = list(gx.metrics(state))
    assert keys == [
        "zero_nans.found_nan/dense/bias",
        "zero_nans.found_nan/dense/kernel",
        "clip_by_global_norm.norm",
        "clip_by_global_norm_2.norm",
    ]
    grads = jax.tree.map(lambda leaf: 2 * leaf, PARAMS)
    for update in (TX.update, jax.jit(TX.update)):
        _, state = update(grads, state)
        assert sorted(gx.metrics(state)) == sorted(keys)
    values = gx.metrics(state)
    assert values["clip_by_global_norm.norm"] == pytest.approx(24**0.5)
    assert values["clip_by_global_norm_2.norm"] == pytest.approx(1.0)


def test_metrics_stack_in_a_scan():
    def step(state, grads):
        _, state = TX.update(grads, state)
        return state, gx.metrics(state)

    grads = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    _, values = jax.lax.scan(step, TX.init(PARAMS), grads)
    assert values["clip_by_global_norm.norm"].tolist() == pytest.approx([6**0.5, 24**0.5])


def test_hyperparams_are_those_of_the_next_update():
    state = TX.init(PARAMS)
    for step in range(3):
        values = gx.hyperparams(TX, state)
        assert values["scale_by_learning_rate.learning_rate"] == pytest.approx(0.1 * step)
        assert values["clip_by_global_norm_2.max_norm"] == 0.5
        assert values["scale_by_adam.b2"] == pytest.approx(0.999)
        _, state = TX.update(PARAMS, state)


def test_hyperparams_that_are_none_are_left_out():
    tx = gx.scale_by_learning_rate(None)
    assert gx.hyperparams(tx, tx.init(PARAMS)) == {}


def test_what_is_no_transform_or_state_is_an_error():
    with pytest.raises(TypeError, match="metrics takes the state of a gradxform transform, got tuple"):
        gx.metrics(())
    with pytest.raises(TypeError, match="hyperparams takes a gradxform transform and its state, got int and State"):
        gx.hyperparams(3, TX.init(PARAMS))
