"""state.hyperparams: read and written under names that leave no doubt, in one state alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

PARAMS = {"w": jnp.array([1.0, 2.0])}
LIVE = gx.live(gx.chain(gx.clip_by_global_norm(10.0), gx.adamw(0.1)))
TWICE = gx.live(gx.chain(gx.scale(2.0), gx.scale(3.0)))


def test_a_name_that_leaves_no_doubt_is_written_where_its_key_is_longer():
    state = LIVE.init(PARAMS)
    state.hyperparams["learning_rate"] = 0.5
    state.hyperparams["scale_by_adam.b1"] = 0
    assert state.live["scale_by_learning_rate.learning_rate"] == state.hyperparams["learning_rate"] == 0.5
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, LIVE.init(PARAMS))
    updates, _ = LIVE.update(PARAMS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * (1 + 1e-4 * PARAMS["w"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("tx", "name", "words"),
    [
        (LIVE, "lr", r"there is no 'lr' among clip_by_global_norm.max_norm, scale_by_adam.b1, .*learning_rate"),
        (TWICE, "step_size", "'step_size' may be any of scale.step_size, scale_2.step_size; say which"),
        (gx.sgd(0.1), "learning_rate", r"no hyperparameter lives in this state; make .* live\(tx, 'learning_rate'\)"),
    ],
    ids=["unknown", "of two", "not live"],
)
def test_another_name_is_refused_at_once(tx, name, words):
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=words):
        state.hyperparams[name] = 0.5
    with pytest.raises(KeyError, match=words):
        state.hyperparams[name]
    assert name not in state.hyperparams


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("fast", TypeError, "learning_rate must be a real number; got 'fast'"),
        (None, TypeError, "must be a real number; got None"),
        (1j, TypeError, "must be a real number; got 1j"),
        (np.ones(2), ValueError, r"must be a number or an array of shape \(\); got shape \(2,\)"),
    ],
    ids=str,
)
def test_a_value_that_is_no_number_is_refused_at_once(value, error, words):
    with pytest.raises(error, match=words):
        LIVE.init(PARAMS).hyperparams["learning_rate"] = value
    with pytest.raises(error, match=words):
        gx.adjust(LIVE.init(PARAMS), learning_rate=value)


@pytest.mark.parametrize(
    "tx",
    [LIVE, gx.inject_hyperparams(gx.sgd)(0.1), gx.chain(gx.inject_hyperparams(gx.sgd)(0.1), gx.live(gx.scale(1.0)))],
)
def test_a_state_made_by_replace_has_values_of_its_own(tx):
    state = tx.init(PARAMS)
    other = state._replace(count=state.count + 1)
    assert (type(other), other.count) == (gx.State, 1)
    other.hyperparams["learning_rate"] = 0.5
    assert [each.hyperparams["learning_rate"] for each in (state, other)] == [jnp.float32(0.1), 0.5]


def test_two_of_one_name_are_told_apart_by_their_stages():
    tx = gx.chain(gx.inject_hyperparams(gx.sgd)(0.1), gx.inject_hyperparams(gx.sgd)(0.2))
    state = tx.init(PARAMS)
    assert list(state.hyperparams) == ["inject_hyperparams.learning_rate", "inject_hyperparams_2.learning_rate"]
    state.hyperparams["inject_hyperparams_2.learning_rate"] = 0.5
    assert [float(value) for value in state.hyperparams.values()] == pytest.approx([0.1, 0.5])


def test_is_a_dict_to_jax_and_to_loggers():
    values = LIVE.init(PARAMS).hyperparams
    fetched = jax.device_get(values)
    assert type(fetched) is dict
    assert fetched == dict(values)
    assert repr(values) == repr(dict(values))
    with pytest.raises(TypeError, match="cannot be deleted"):
        del values["learning_rate"]


def test_is_written_inside_jit():
    @jax.jit
    def step(state, rate):
        state.hyperparams["learning_rate"] = rate
        return LIVE.update(PARAMS, state, PARAMS)

    state = LIVE.init(PARAMS)
    _, after = step(state, 0.25)
    assert after.hyperparams["learning_rate"] == 0.25
    assert state.hyperparams["learning_rate"] == jnp.float32(0.1)
