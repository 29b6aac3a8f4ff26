"""nnx.Optimizer works with ours unchanged, and goes through Orbax."""

import jax
import pytest
from flax import nnx

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


class Model(nnx.Module):
    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.first, self.second = nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.tanh(self.first(x)))


def loss(model):
    return mean_square(model(X))


def create(tx, seed=0):
    model = Model(seed)
    return model, nnx.Optimizer(model, tx, wrt=nnx.Param)


@nnx.jit
def step(model, optimizer):
    optimizer.update(model, nnx.grad(loss)(model))


def params_of(model):
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def all_of(model, optimizer):
    return nnx.to_pure_dict(nnx.state((model, optimizer)))


@pytest.fixture(autouse=True)
def _like_most_users():
    # Flax and optax mix dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@every_tx
def test_trains_as_a_plain_loop_does(tx):
    model, optimizer = create(tx)
    graph, params = nnx.split(model)
    for expected in by_hand(tx, lambda params: loss(nnx.merge(graph, params)), params, 4):
        step(model, optimizer)
        assert_close(params_of(model), nnx.to_pure_dict(expected))
    assert optimizer.step[...] == 4


@every_tx
def test_goes_through_orbax(tx, tmp_path):
    model, optimizer = create(tx)
    step(model, optimizer)
    step(model, optimizer)
    other, its_optimizer = create(tx, seed=1)
    saved = all_of(model, optimizer)
    restored = saved_and_restored(tmp_path / "state", saved, all_of(other, its_optimizer))
    assert_equal(restored, saved)
    nnx.update((other, its_optimizer), restored)
    step(model, optimizer)
    step(other, its_optimizer)
    assert_equal(all_of(other, its_optimizer), all_of(model, optimizer))


@adjustable
def test_adjusts_what_was_restored(tx, tmp_path):
    model, optimizer = create(tx)
    step(model, optimizer)
    other, its_optimizer = create(tx, seed=1)
    template = all_of(other, its_optimizer)
    nnx.update((other, its_optimizer), saved_and_restored(tmp_path / "state", all_of(model, optimizer), template))
    its_optimizer.opt_state = nnx.data(gx.adjust(its_optimizer.opt_state, learning_rate=1e-3))
    before = params_of(model)
    step(model, optimizer)
    step(other, its_optimizer)
    assert largest_step(before, params_of(model)) > 0.05
    assert largest_step(before, params_of(other)) < 2e-3


def test_metrics_and_hyperparams_are_read():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.zero_nans(), gx.live(gx.adamw(0.1), "learning_rate"))
    model, optimizer = create(tx)
    step(model, optimizer)
    assert gx.hyperparams(tx, optimizer.opt_state)["scale_by_learning_rate.learning_rate"] == pytest.approx(0.1)
    metrics = gx.metrics(optimizer.opt_state)
    assert all(isinstance(value, jax.Array) for value in metrics.values())
    assert metrics["clip_by_global_norm.norm"] > 0
    # As of parameters that no variables hold.
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    assert set(metrics) == set(gx.metrics(tx.init(params)))
    assert "zero_nans.found_nan/first/kernel" in metrics
    assert gx.metrics(optimizer).keys() == metrics.keys()
    assert gx.metrics(optimizer.opt_state, host=True) == {key: value.item() for key, value in metrics.items()}
