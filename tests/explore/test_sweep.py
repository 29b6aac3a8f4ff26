"""Many hyperparameters at once equal one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

PARAMS = {"w": jnp.array([3.0, -2.0]), "b": jnp.array(1.0)}
SCALES = {"w": jnp.array([1.0, 10.0]), "b": jnp.array(0.5)}
RATES = np.logspace(-4, 0, 16)


def loss(params):
    return sum(jnp.sum(scale * params[key] ** 2) for key, scale in SCALES.items())


def train(tx, steps=20):
    """The loss before each step, the last parameters and the last state."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), value

    last, losses = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), None, steps)
    return losses, *last


def test_sixteen_learning_rates_at_once_equal_sixteen_runs():
    at_once = gx.sweep(gx.adamw, {"learning_rate": RATES})(train)
    one_by_one = [jax.jit(lambda rate=rate: train(gx.adamw(rate)))() for rate in RATES]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    # Twenty steps of rounding, of the same operations in other orders.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), at_once, stacked)


def test_a_grid_is_all_combinations_the_last_name_fastest():
    swept = gx.sweep(gx.sgd, {"learning_rate": [0.1, 0.2], "momentum": [0.5, 0.9, 0.99]})
    assert len(swept) == 6
    assert list(swept) == [gx.sgd(rate, momentum) for rate in (0.1, 0.2) for momentum in (0.5, 0.9, 0.99)]
    np.testing.assert_allclose(swept.points["momentum"], [0.5, 0.9, 0.99] * 2)
    assert repr(swept) == "<Sweep of 6 transforms over learning_rate: 2, momentum: 3>"
    losses, params, state = swept(train)
    assert losses.shape == (6, 20)
    assert params["w"].shape == (6, 2)
    assert state.stages["trace"].trace["w"].shape == (6, 2)


def test_of_a_transform_by_the_names_of_replace():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(gx.cosine_decay_schedule(0.1, 20)))
    swept = gx.sweep(tx, {"learning_rate.init_value": [0.1, 0.2], "scale_by_adam.b1": [0.8, 0.9]})
    assert swept[1] == tx
    losses, *_ = swept(train)
    np.testing.assert_allclose(losses[1], train(tx)[0], rtol=1e-5)


def test_compiles_once():
    traces = []

    def counted(tx):
        traces.append(1)
        return train(tx)[0][-1]

    gx.sweep(gx.adam, {"learning_rate": RATES})(counted)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("make", "grid", "match"),
    [
        (gx.adam, {}, "at least one hyperparameter"),
        (gx.adam, {"learning_rate": 0.1}, "learning_rate must be a sequence of finite numbers; got 0.1"),
        (gx.adam, {"learning_rate": []}, "learning_rate must be a sequence"),
        (gx.adam, {"learning_rate": [0.1, np.nan]}, "learning_rate must be a sequence of finite numbers"),
        (gx.adam, {"learning_rate": [0.1, -0.1]}, "learning_rate must be at least 0; got -0.1"),
        (gx.adam(0.1), {"beta": [0.1]}, "there is no 'beta' among scale_by_adam.b1"),
        (lambda rate: rate, {"rate": [0.1]}, "make must return a transform; got 0.1"),
    ],
)
def test_errors(make, grid, match):
    with pytest.raises(ValueError, match=match):
        gx.sweep(make, grid)


def test_an_unknown_name_of_a_factory_is_an_error():
    with pytest.raises(TypeError, match="has no argument 'rate'"):
        gx.sweep(gx.adam, {"rate": [0.1]})
