"""Hyperparameters are replaced by name, live in the state, and change without a retrace."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.cases import CASES

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "v": jnp.array([0.5])}
GRADS = {"w": jnp.array([0.5, 0.25, -1.0]), "v": jnp.array([2.0])}
COSINE = gx.cosine_decay_schedule(0.1, 10)
TX = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(COSINE), gx.masked(gx.adam(0.2), {"w": True, "v": False}))


def updates_of(tx, state=None):
    return tx.update(GRADS, tx.init(PARAMS) if state is None else state, PARAMS)[0]


def assert_same(ours, expected, rtol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), ours, expected)


# replace


def test_replace_by_name():
    assert gx.replace(gx.adam(0.1), learning_rate=0.2, b1=0.8) == gx.adam(0.2, b1=0.8)


def test_replace_by_path():
    new = gx.replace(TX, {"scale_by_adam.b1": 0.8, "masked.inner.scale_by_adam.b1": 0.7})
    inner = gx.masked(gx.adam(0.2, 0.7), {"w": True, "v": False})
    assert new == gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(COSINE, 0.8), inner)


def test_replace_by_the_end_of_a_path():
    new = gx.replace(TX, {"inner.scale_by_adam.b1": 0.7, "learning_rate.init_value": 0.3}, max_norm=2)
    assert "scale_by_adam(b1=0.7" in repr(new)
    assert "init_value=0.3" in repr(new)
    assert new.stages[0] == gx.clip_by_global_norm(2).stages[0]


def test_replace_other_arguments_and_schedules():
    new = gx.replace(gx.adamw(0.1), learning_rate=COSINE, mask={"w": True, "v": False}, nesterov=True)
    assert new == gx.adamw(COSINE, mask={"w": True, "v": False}, nesterov=True)


def test_replace_one_of_a_pair():
    assert gx.replace(gx.prodigy(), {"betas.1": 0.99}) == gx.prodigy(betas=(0.9, 0.99))


def test_replace_keeps_the_names_of_a_named_chain():
    tx = gx.named_chain(("clip", gx.clip(1.0)), ("descend", gx.adam(0.1)))
    assert gx.replace(tx, {"descend.scale_by_adam.b1": 0.8, "clip.max_delta": 2.0}) == gx.named_chain(
        ("clip", gx.clip(2.0)), ("descend", gx.adam(0.1, 0.8))
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"beta1": 0.9}, r"replace: there is no 'beta1' among clip_by_global_norm.max_norm, .*scale_by_adam.b1, "),
        ({"b1": 0.9}, "replace: 'b1' may be any of scale_by_adam.b1, masked.inner.scale_by_adam.b1; say which"),
        ({"max_norm": -1.0}, "clip_by_global_norm: max_norm must be at least 0; got -1.0"),
        ({"am.b1": 0.5}, "there is no 'am.b1'"),
    ],
)
def test_replace_errors(changes, match):
    with pytest.raises(ValueError, match=match):
        gx.replace(TX, changes)


def test_the_hint_is_the_last_part_of_a_name_however_many_stand_before_it():
    tx = gx.masked(gx.adam(0.1), {"w": True, "v": False})
    with pytest.raises(ValueError, match=r"there is no 'beta1' among masked\.inner, .*; did you mean b1\?$"):
        gx.replace(tx, beta1=0.5)


def test_replace_and_live_take_transforms_of_ours():
    with pytest.raises(TypeError, match="replace takes a gradxform transform, got GradientTransformationExtraArgs"):
        gx.replace(optax.adam(0.1), learning_rate=0.2)
    with pytest.raises(TypeError, match="live takes a gradxform transform, got int"):
        gx.live(3, "learning_rate")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replacing_every_hyperparameter_by_itself_changes_nothing(case):
    tx = case.make()
    values = {
        f"{stage}.{name}": getattr(node, name) for stage, node in tx.stages for name in getattr(node, "numeric", ())
    }
    assert gx.replace(tx, values) == tx


# hyperparams


def test_hyperparams_of_transforms_within_have_their_path():
    state = TX.init(PARAMS)
    _, state = TX.update(GRADS, state, PARAMS)
    values = gx.hyperparams(TX, state)
    assert values["masked.inner.scale_by_learning_rate.learning_rate"] == pytest.approx(0.2)
    assert values["scale_by_learning_rate.learning_rate"] == pytest.approx(float(COSINE(1)))


def test_hyperparams_of_transforms_within_are_at_their_own_step():
    within = gx.chain(gx.sgd(0.1), gx.apply_if_finite(gx.sgd(lambda step: 1.0 + step), 5))
    state = within.init(PARAMS)
    bad = jax.tree.map(lambda g: g * jnp.nan, GRADS)
    for grads in (GRADS, bad, GRADS):
        _, state = within.update(grads, state, PARAMS)
    # The transform within was not asked for the second.
    values = gx.hyperparams(within, state)
    assert values["apply_if_finite.inner.scale_by_learning_rate.learning_rate"] == 3.0


# live and adjust


def test_live_hyperparameters_are_in_the_state_as_float32():
    tx = gx.live(gx.adamw(1, mask=lambda p: {"w": True, "v": False}), "learning_rate", "b2")
    state = tx.init(jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS))
    assert state.live.keys() == {"scale_by_adam.b2", "scale_by_learning_rate.learning_rate"}
    assert {value.dtype for value in state.live.values()} == {jnp.dtype("float32")}
    assert float(state.live["scale_by_adam.b2"]) == pytest.approx(0.999)
    assert {value.shape for value in state.live.values()} == {()}


def test_live_computes_the_same():
    for name in ("learning_rate", "b1", "eps"):
        tx = gx.live(gx.adam(0.1), name)
        assert_same(updates_of(tx), updates_of(gx.adam(0.1)), rtol=1e-5)


def test_live_of_no_names_is_live_of_all_numbers():
    tx = gx.live(gx.adamw(COSINE))
    names = {"b1", "b2", "eps", "eps_root"}
    assert tx.init(PARAMS).live.keys() == {f"scale_by_adam.{name}" for name in names} | {
        "add_decayed_weights.weight_decay"
    }
    assert gx.live(tx) == tx


def test_live_is_shown_and_is_a_value():
    tx = gx.live(gx.sgd(0.1), "learning_rate")
    assert repr(tx) == "scale_by_learning_rate(learning_rate=Live(value=0.1))"
    assert tx == gx.sgd(gx.Live(0.1)) == eval(repr(tx), vars(gx)) == pickle.loads(pickle.dumps(tx))
    assert tx != gx.sgd(0.1)


def test_live_keeps_the_range():
    with pytest.raises(ValueError, match="scale_by_learning_rate: learning_rate must be at least 0; got -1"):
        gx.sgd(gx.Live(-1.0))


@pytest.mark.parametrize(
    ("tx", "name", "match"),
    [
        (gx.adam(COSINE), "learning_rate", r"scale_by_learning_rate.learning_rate follows cosine_decay_schedule\("),
        (gx.adam(0.1), "beta", "there is no 'beta' among scale_by_adam.b1"),
        (gx.adam(0.1), "nesterov", "nesterov is no number; these are: scale_by_adam.b1, "),
        (TX, "b1", "'b1' may be any of"),
    ],
)
def test_live_errors(tx, name, match):
    with pytest.raises(ValueError, match=match):
        gx.live(tx, name)


def test_a_schedule_cannot_be_live():
    with pytest.raises(TypeError, match="Live: value must be a number or an array; got cosine_decay_schedule"):
        gx.Live(COSINE)


def test_adjust_counts_from_the_next_step():
    tx = gx.live(gx.chain(gx.clip_by_global_norm(1e3), gx.sgd(0.1)), "learning_rate")
    state = gx.adjust(tx.init(PARAMS), learning_rate=0.7)
    assert_same(updates_of(tx, state), updates_of(gx.sgd(0.7)))
    assert gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"] == pytest.approx(0.7)


def test_adjust_inside_jit():
    tx = gx.live(gx.sgd(0.1, 0.9), "learning_rate")

    @jax.jit
    def step(state, grads):
        # The rate falls where the gradient is large.
        state = gx.adjust(state, learning_rate=0.1 / (1 + optax.tree.norm(grads)))
        return tx.update(grads, state, PARAMS)

    updates, state = step(tx.init(PARAMS), GRADS)
    assert_same(updates, updates_of(gx.sgd(0.1 / (1 + float(optax.tree.norm(GRADS))))), rtol=1e-5)
    assert state.live["scale_by_learning_rate.learning_rate"].dtype == jnp.float32


def test_adjust_within_wrappers_and_by_group():
    groups = {"a": gx.live(gx.adam(0.1)), "b": gx.live(gx.sgd(0.2))}
    tx = gx.chain(gx.clip_by_global_norm(1e3), gx.partition(groups, {"w": "a", "v": "b"}))
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"may be any of partition.a.*learning_rate, partition.b.*learning_rate"):
        gx.adjust(state, learning_rate=1.0)
    state = gx.adjust(state, {"partition.b.scale_by_learning_rate.learning_rate": 1.0}, b1=0.5)
    np.testing.assert_allclose(updates_of(tx, state)["v"], -GRADS["v"], rtol=1e-6)
    assert gx.hyperparams(tx, state)["partition.a.scale_by_adam.b1"] == 0.5


def test_adjust_of_a_population():
    tx = gx.live(gx.sgd(0.1), "learning_rate")
    states = jax.vmap(lambda _: tx.init(PARAMS))(jnp.arange(3))
    states = gx.adjust(states, learning_rate=jnp.array([0.1, 0.2, 0.3]))
    updates, _ = jax.vmap(lambda state: tx.update(GRADS, state))(states)
    np.testing.assert_allclose(updates["v"][:, 0], [-0.2, -0.4, -0.6], rtol=1e-6)
    np.testing.assert_array_equal(gx.adjust(states, learning_rate=1).live["scale_by_learning_rate.learning_rate"], 1)


def test_adjust_keeps_structure_and_the_other_values():
    tx = gx.live(gx.adamw(0.1))
    state = tx.init(PARAMS)
    new = gx.adjust(state, learning_rate=1)
    assert jax.tree.map(jax.typeof, new) == jax.tree.map(jax.typeof, state)
    assert new.live["scale_by_adam.b1"] == state.live["scale_by_adam.b1"]
    assert state.live["scale_by_learning_rate.learning_rate"] == jnp.float32(0.1)


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"learning_rte": 1.0}, ValueError, "there is no 'learning_rte' among scale_by_learning_rate.learning_rate"),
        ({"learning_rate": jnp.ones(3)}, ValueError, r"must be a number or an array of shape \(\); got shape \(3,\)"),
        ({"learning_rate": True}, TypeError, "learning_rate must be a real number; got"),
        ({"learning_rate": 1j}, TypeError, "learning_rate must be a real number; got"),
    ],
)
def test_adjust_errors(values, error, match):
    state = gx.live(gx.sgd(0.1), "learning_rate").init(PARAMS)
    with pytest.raises(error, match=match):
        gx.adjust(state, **values)


def test_adjust_of_what_is_not_live():
    with pytest.raises(ValueError, match="there is no 'learning_rate' among no names at all"):
        gx.adjust(gx.sgd(0.1).init(PARAMS), learning_rate=1.0)


def test_a_state_of_other_names_is_an_error_that_lists_them():
    tx = gx.live(gx.sgd(0.1), "learning_rate")
    state = tx.init(PARAMS)
    state.live["learning_rte"] = 0.5
    with pytest.raises(ValueError, match=r"expected hyperparameters \['scale_by_learning_rate.learning_rate'\] in the"):
        tx.update(GRADS, state)


def test_numbers_that_were_written_in_become_arrays():
    tx = gx.live(gx.sgd(0.1), "learning_rate")
    state = tx.init(PARAMS)
    state.live["scale_by_learning_rate.learning_rate"] = 1
    updates, state = tx.update(GRADS, state)
    assert_same(updates, jax.tree.map(jnp.negative, GRADS))
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, tx.init(PARAMS))


def test_adjust_of_optax_s_own_state():
    tx = optax.inject_hyperparams(gx.adam)(learning_rate=0.1)
    state = gx.adjust((tx.init(PARAMS), {"other": 1}), learning_rate=0.5)
    assert state[0].hyperparams["learning_rate"] == 0.5


# No retrace


def test_a_hundred_adjustments_compile_once():
    tx, traces = gx.live(gx.adamw(0.1)), []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = tx.update(GRADS, state, params)
        return gx.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    for k in range(100):
        params, state = step(params, gx.adjust(state, learning_rate=0.1 / (k + 1), b1=0.9 - k / 1e3))
    assert len(traces) == 1
    assert step._cache_size() == 1


def test_a_hundred_transforms_as_arguments_compile_once():
    traces = []

    @jax.jit
    def step(tx, params, state):
        traces.append(1)
        updates, state = tx.update(GRADS, state, params)
        return gx.apply_updates(params, updates), state

    params, state = PARAMS, gx.adamw(0.1).init(PARAMS)
    for k in range(100):
        tx = gx.chain(gx.adamw(0.1 / (k + 1), b2=0.99 + k / 1e5, weight_decay=1e-4 * k))
        params, state = step(tx, params, state)
    assert len(traces) == 1
    assert step._cache_size() == 1


def test_schedules_that_differ_in_numbers_compile_once_too():
    traces = []

    @jax.jit
    def step(tx, state):
        traces.append(1)
        return tx.update(GRADS, state, PARAMS)

    state = TX.init(PARAMS)
    for peak in (0.1, 0.2, 0.3):
        step(gx.replace(TX, {"learning_rate.init_value": peak}), state)
    assert len(traces) == 1
