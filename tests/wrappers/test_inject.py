"""inject_hyperparams: optax's arguments and state, without optax's faults."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0])}
GRADS = {"w": jnp.array([0.5, 0.25, -1.0])}


def warm_up(step):
    return 0.1 * (step + 1)


def follow(tx, steps=5, change=None):
    """The parameters after each step, and the last state; `change` is done to the state before the third."""
    params, state, path = PARAMS, tx.init(PARAMS), []
    for step in range(steps):
        if step == 2 and change is not None:
            state = change(state)
        updates, state = tx.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params["w"])
    return np.stack(path), state


def assert_same_path(ours, theirs):
    # 1 - b2 of a float32 b2 is off by 1e-5 of itself, and so are steps, which are of 0.1 to 0.5 here.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop", "lion"])
@pytest.mark.parametrize("rate", [0.1, warm_up], ids=["number", "schedule"])
def test_equals_optax(name, rate):
    ours, state = follow(gx.inject_hyperparams(getattr(gx, name))(learning_rate=rate))
    with jax.numpy_dtype_promotion("standard"):
        theirs, their_state = follow(optax.inject_hyperparams(getattr(optax, name))(learning_rate=rate))
    assert_same_path(ours, theirs)
    # optax holds the value of the last update, as we do.
    np.testing.assert_allclose(state.hyperparams["learning_rate"], their_state.hyperparams["learning_rate"], rtol=1e-6)


@pytest.mark.parametrize("factory", [gx.adam, optax.adam], ids=["ours", "optax's"])
def test_a_written_value_counts_from_the_next_step(factory):
    def write(state):
        state.hyperparams["learning_rate"] = 0.5
        return state

    injected = gx.inject_hyperparams(factory)
    with jax.numpy_dtype_promotion("standard"):
        path, state = follow(injected(learning_rate=0.1), change=write)
        adjusted, _ = follow(injected(learning_rate=0.1), change=lambda state: gx.adjust(state, learning_rate=0.5))
        plain, _ = follow(factory(lambda step: jnp.where(step < 2, 0.1, 0.5)))
    assert_same_path(path, plain)
    np.testing.assert_array_equal(path, adjusted)
    assert state.hyperparams["learning_rate"].dtype == jnp.float32


def test_values_are_float32_for_bfloat16_parameters():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state = gx.inject_hyperparams(gx.adam)(learning_rate=0.1).init(params)
    assert {value.dtype for value in state.hyperparams.values()} == {jnp.dtype("float32")}
    # In bfloat16 it would be 1.
    assert float(state.hyperparams["b2"]) == pytest.approx(0.999)


def test_integers_are_numbers_where_numbers_are_asked_for_and_else_stay():
    tx = gx.inject_hyperparams(gx.sgd)(learning_rate=1)
    assert tx.init(PARAMS).hyperparams["learning_rate"].dtype == jnp.float32
    tx = gx.inject_hyperparams(gx.apply_every)(k=4)
    assert tx.init(PARAMS).hyperparams == {}
    updates, _ = tx.update(GRADS, tx.init(PARAMS))
    np.testing.assert_array_equal(updates["w"], 0)


def test_a_name_that_is_none_is_an_error_that_lists_the_names():
    tx = gx.inject_hyperparams(gx.sgd)(learning_rate=0.1, momentum=0.9)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"there is no 'learning_rte' among .*learning_rate, .*momentum"):
        state.hyperparams["learning_rte"] = 0.5
    state.stages["inject_hyperparams"].hyperparams["learning_rte"] = 0.5
    with pytest.raises(ValueError, match=r"expected hyperparameters \['learning_rate', 'momentum'\] in the state"):
        tx.update(GRADS, state)


def test_functions_that_are_no_schedules_stay():
    def weights(params):
        return jax.tree.map(lambda leaf: leaf.ndim == 1, params)

    for factory in (gx.adamw, optax.adamw):
        with jax.numpy_dtype_promotion("standard"):
            tx = gx.inject_hyperparams(factory)(learning_rate=warm_up, mask=weights)
            assert "mask" not in tx.init(PARAMS).hyperparams
            assert_same_path(follow(tx)[0], follow(factory(warm_up, mask=weights))[0])
    tx = gx.inject_hyperparams(gx.adopt)(learning_rate=0.1)
    assert "clip_value_fn" not in tx.init(PARAMS).hyperparams


def test_a_factory_of_your_own():
    def decaying(rate, decay: float, steps: int = 3):
        assert isinstance(steps, int)
        return gx.chain(gx.add_decayed_weights(decay * rate), gx.sgd(rate))

    tx = gx.inject_hyperparams(decaying)(0.1, 2)
    state = tx.init(PARAMS)
    assert sorted(state.hyperparams) == ["decay", "rate"]
    updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.1 * (GRADS["w"] + 0.2 * PARAMS["w"]), rtol=1e-6)


def test_static_args_are_left_alone():
    tx = gx.inject_hyperparams(gx.adam, static_args="b2")(learning_rate=0.1)
    assert "b2" not in tx.init(PARAMS).hyperparams
    with pytest.raises(ValueError, match="static_args has beta, which the factory has not"):
        gx.inject_hyperparams(gx.adam, static_args=["beta"])


def test_a_scheduled_value_cannot_be_adjusted():
    tx = gx.inject_hyperparams(gx.adam)(learning_rate=gx.linear_schedule(0.1, 0.0, 10))
    with pytest.raises(ValueError, match="learning_rate follows a schedule, which would write over it"):
        gx.adjust(tx.init(PARAMS), learning_rate=0.5)
    with pytest.raises(ValueError, match="learning_rate follows a schedule, which would write over it"):
        tx.init(PARAMS).hyperparams["learning_rate"] = 0.5


def test_is_a_value():
    tx = gx.inject_hyperparams(gx.adamw)(learning_rate=gx.linear_schedule(0.1, 0.0, 10), mask=gx.not_biases_or_norms())
    assert repr(tx).startswith("inject_hyperparams(adamw)(")
    assert eval(repr(tx), vars(gx)) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert hash(tx) == hash(eval(repr(tx), vars(gx)))
    assert all(isinstance(leaf, int | float) for leaf in jax.tree.leaves(tx))


def test_hyperparams_are_those_of_the_next_update():
    tx = gx.chain(gx.clip_by_global_norm(2.0), gx.inject_hyperparams(gx.adam)(learning_rate=warm_up))
    state = tx.init(PARAMS)
    for step in range(3):
        values = gx.hyperparams(tx, state)
        assert values["inject_hyperparams.learning_rate"] == pytest.approx(0.1 * (step + 1))
        assert values["clip_by_global_norm.max_norm"] == 2.0
        _, state = tx.update(GRADS, state)


def test_hyperparams_of_several_can_be_read_together():
    tx = gx.chain(gx.live(gx.clip_by_global_norm(1.0)), gx.inject_hyperparams(gx.sgd)(learning_rate=0.1))
    state = tx.init(PARAMS)
    assert dict(state.hyperparams) == {"clip_by_global_norm.max_norm": 1.0, "learning_rate": jnp.float32(0.1)}
    state.hyperparams["learning_rate"] = 0.5
    state.hyperparams["max_norm"] = 2.0
    assert gx.hyperparams(tx, state) == {"clip_by_global_norm.max_norm": 2.0, "inject_hyperparams.learning_rate": 0.5}


def test_takes_optax_s_arguments():
    ours, theirs = (inspect.signature(f).parameters for f in (gx.inject_hyperparams, optax.inject_hyperparams))
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


def test_works_in_a_scan_and_compiles_once():
    tx, traces = gx.inject_hyperparams(gx.adamw)(learning_rate=0.1), []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = tx.update(GRADS, state, params)
        return gx.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    for rate in np.linspace(0.1, 0.2, 20):
        params, state = step(params, gx.adjust(state, learning_rate=rate))
    assert len(traces) == 1
    (_, last), _ = jax.lax.scan(lambda carry, _: (step(*carry), None), (params, state), None, 3)
    assert jax.tree.map(jax.typeof, last) == jax.tree.map(jax.typeof, state)


class Patient:
    """A schedule with a state of its own: halves the rate whenever the loss has not fallen."""

    def init(self):
        return {"rate": jnp.float32(0.2), "best": jnp.float32(np.inf)}

    def update(self, state, *, value=np.inf, **_):
        rate = jnp.where(value < state["best"], state["rate"], state["rate"] / 2)
        return {"rate": rate, "best": jnp.minimum(value, state["best"])}

    def __call__(self, state, *, value=np.inf, **_):
        del value
        return state["rate"]


@pytest.mark.parametrize("inject", [gx.inject_hyperparams, gx.inject_stateful_hyperparams])
@pytest.mark.parametrize(
    "schedule", [Patient(), optax.schedules.WrappedSchedule(optax.linear_schedule(0.2, 0.1, 3))], ids=["own", "optax's"]
)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_schedules_with_a_state_are_optax_s(inject, schedule, name):
    ours = inject(getattr(gx, name))(learning_rate=schedule)
    theirs = optax.inject_hyperparams(getattr(optax, name))(learning_rate=schedule)
    state, first = ours.init(PARAMS), jax.tree.map(jax.typeof, ours.init(PARAMS))
    expected_state = theirs.init(PARAMS)
    assert state.hyperparams["learning_rate"] == expected_state.hyperparams["learning_rate"] == jnp.float32(0.2)
    step = jax.jit(lambda state, value: ours.update(GRADS, state, PARAMS, value=value))
    for value in (3.0, 2.0, 2.5, 1.0, 1.0):
        updates, state = step(state, value)
        with jax.numpy_dtype_promotion("standard"):
            expected, expected_state = theirs.update(GRADS, expected_state, PARAMS, value=value)
        assert_same_path(updates["w"], expected["w"])
        for held in ("hyperparams", "hyperparams_states"):
            mine, other = (
                getattr(s, held)["learning_rate"] for s in (state.stages["inject_hyperparams"], expected_state)
            )
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), mine, other)
    assert jax.tree.map(jax.typeof, state) == first
    with pytest.raises(ValueError, match="learning_rate follows a schedule, which would write over it"):
        gx.adjust(state, learning_rate=0.5)


def test_hyperparams_has_what_a_schedule_with_a_state_says_of_the_next_update():
    tx = gx.inject_stateful_hyperparams(gx.sgd)(learning_rate=Patient())
    state = tx.init(PARAMS)
    for value, rate in ((1.0, 0.2), (2.0, 0.1), (0.5, 0.1)):
        _, state = tx.update(GRADS, state, PARAMS, value=value)
        assert gx.hyperparams(tx, state)["inject_hyperparams.learning_rate"] == jnp.float32(rate)


@pytest.mark.parametrize(
    "factory",
    [gx.clip_by_global_norm, gx.clip_by_norm, gx.normalize_by_update_norm],
    ids=lambda factory: factory.__name__,
)
def test_the_order_of_a_norm_is_no_number_that_lives_in_the_state(factory):
    tx = gx.inject_hyperparams(factory)(0.1)
    state = jax.jit(tx.init)(PARAMS)
    assert not {"ord", "order"} & set(state.hyperparams)
    updates, _ = jax.jit(tx.update)(GRADS, state)
    assert_same_path(updates["w"], factory(0.1).update(GRADS, factory(0.1).init(PARAMS))[0]["w"])


def test_a_rule_of_your_own_says_which_of_its_arguments_are_numbers():
    @gx.transform
    class Halves(gx.LeafRule):
        by: gx.Positive = 2.0
        power: float = 1.0

        def update(self, grad, slots, leaf):
            return grad / self.by**self.power if self.power else grad, slots

    tx = gx.inject_hyperparams(Halves)(4.0, 1.0)
    state = jax.jit(tx.init)(PARAMS)
    assert list(state.hyperparams) == ["by"]
    np.testing.assert_array_equal(tx.update(GRADS, state)[0]["w"], GRADS["w"] / 4)


def test_integers_that_are_counts_stay_where_any_array_will_do():
    tx = gx.inject_hyperparams(optax.contrib.muon)(0.1)
    params = {"w": jnp.arange(6.0).reshape(2, 3)}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = tx.init(params)
        assert "learning_rate" in state.hyperparams
        assert "ns_steps" not in state.hyperparams
        updates, _ = tx.update(params, state, params)
        plain = optax.contrib.muon(0.1)
        expected, _ = plain.update(params, plain.init(params), params)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5)


def untyped(rate):
    return optax.sgd(rate)


def of_a_float(rate: float):
    return optax.sgd(rate)


@pytest.mark.parametrize("factory", [untyped, of_a_float])
def test_a_function_where_a_number_is_asked_for_or_nothing_is_said_is_a_schedule(factory):
    state = gx.inject_hyperparams(factory)(lambda step: 0.5 / (1 + step)).init(jnp.ones(2))
    assert state.hyperparams == {"rate": 0.5}
