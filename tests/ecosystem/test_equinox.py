"""Equinox's models and filter_jit work with ours unchanged, and go through Orbax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
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


class Model(eqx.Module):
    """Arrays beside a function, an integer, an array of integers, and a matrix that is not trained."""

    weight: jax.Array
    activation: object
    size: int
    count: jax.Array
    frozen: jax.Array


MODEL = Model(jnp.ones((2, 2)), jax.nn.relu, 3, jnp.arange(3), jnp.ones((2, 2)))
TRAINED = Model(True, False, False, False, False)
GRADS = eqx.filter(MODEL, TRAINED)


@pytest.mark.parametrize(
    "tx",
    [
        gx.adamw(0.1),
        gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)),
        gx.lamb(0.1),
        gx.prodigy(),
        gx.guard(gx.adamw(0.1)),
        gx.masked(gx.adamw(0.1), lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)),
        gx.chain(optax.scale(0.5), gx.adamw(0.1)),
    ],
    ids=["adamw", "clip and adamw", "lamb", "prodigy", "guard", "masked", "with a guest"],
)
def test_an_unfiltered_model_as_the_parameters(tx):
    state = tx.init(eqx.filter(MODEL, TRAINED))
    updates, after = tx.update(GRADS, state, MODEL)
    expected = tx.update(GRADS, state, GRADS)
    assert jax.tree.structure((updates, after)) == jax.tree.structure(expected)
    # Two programs, which XLA may fuse otherwise.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), (updates, after), expected)
    assert eqx.apply_updates(MODEL, updates).activation is jax.nn.relu


@pytest.mark.parametrize(
    ("where", "leaf", "words"),
    [
        ("activation", jax.nn.relu, "updates: expected an array at 'activation'"),
        ("count", jnp.arange(3), r"updates: expected a floating-point array at 'count', got int32\[3\]"),
        ("activation", jnp.ones(2), "parameters: expected an array at 'activation', got <jax"),
        ("frozen", jnp.ones((2, 2)), r"got a leaf at 'frozen', where .* have none"),
    ],
    ids=["a function", "integers", "a gradient for a function", "a gradient for what has no slots"],
)
def test_a_leaf_with_a_gradient_is_to_be_an_array_with_slots(where, leaf, words):
    tx = gx.adamw(0.1)
    grads = eqx.tree_at(lambda model: getattr(model, where), GRADS, leaf, is_leaf=lambda x: x is None)
    with pytest.raises((TypeError, ValueError), match=words):
        tx.update(grads, tx.init(eqx.filter(MODEL, TRAINED)), MODEL)


def test_a_gradient_of_none_for_what_has_slots_is_an_error_with_the_path():
    tx = gx.adamw(0.1)
    with pytest.raises(ValueError, match=r"updates: expected a leaf at 'frozen', where the slots mu of scale_by_adam"):
        tx.update(GRADS, tx.init(eqx.filter(MODEL, eqx.is_inexact_array)), MODEL)


def test_a_state_is_of_what_is_trained():
    with pytest.raises(TypeError, match=r"parameters: expected an array at 'activation', .* None in its place"):
        gx.adamw(0.1).init(MODEL)
