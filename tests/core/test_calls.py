"""A transform that is called by hand: one compiled program for its structure and the shapes, whatever its numbers."""

import gc
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core.numbers import Number

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "b": jnp.linspace(0.5, 1.0, 3)}
GRADS = jax.tree.map(lambda leaf: 3 * leaf + 1, PARAMS)


@pytest.fixture
def compiled():
    """Counts the programs that are compiled."""
    counts = {"programs": 0}

    def listen(event, seconds, **_):
        counts["programs"] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counts
    jax.monitoring.unregister_event_duration_listener(listen)


def chain(max_norm=1.0, learning_rate=1e-3, b1=0.9):
    return gx.chain(gx.clip_by_global_norm(max_norm), gx.adamw(learning_rate, b1))


def loop(tx, steps=1, apply=gx.apply_updates):
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(steps):
        updates, state = tx.update(GRADS, state, params)
        params = apply(params, updates)
    return params


@pytest.mark.parametrize("name", ["max_norm", "learning_rate", "b1"])
def test_three_hundred_values_by_hand_compile_nothing_and_keep_nothing(compiled, name):
    values = np.linspace(0.01, 0.9, 300)
    loop(chain(**{name: 0.5}), steps=2)
    compiled["programs"] = 0
    kept = []
    for index, value in enumerate(values):
        loop(chain(**{name: float(value)}))
        if index in (100, 299):
            gc.collect()
            kept.append((len(gc.get_objects()), len(jax.live_arrays())))
    assert compiled["programs"] <= 3
    (objects, arrays), (more_objects, more_arrays) = kept
    assert more_arrays <= arrays
    # Not even one a step: what the loop itself holds may differ a little.
    assert more_objects - objects < 100


def test_a_step_by_hand_is_one_program(compiled):
    tx = chain(learning_rate=gx.cosine_decay_schedule(0.1, 10))
    state = tx.init(PARAMS)
    compiled["programs"] = 0
    _, state = tx.update(GRADS, state, PARAMS)
    assert compiled["programs"] == 1
    tx = chain(learning_rate=gx.cosine_decay_schedule(0.2, 20))
    tx.update(GRADS, state, PARAMS)
    assert compiled["programs"] == 1


def test_apply_updates_by_hand_is_one_program(compiled):
    params = [jnp.full((3, 5), float(i)) for i in range(4)]
    gx.apply_updates(params, params)
    compiled["programs"] = 0
    new = gx.apply_updates(params, params)
    assert compiled["programs"] == 0
    np.testing.assert_array_equal(new[3], np.full((3, 5), 6.0))


def test_a_chain_with_a_guest_compiles_nothing_for_new_numbers(compiled):
    def mixed(number):
        return gx.chain(gx.clip_by_global_norm(number), optax.trace(number), gx.adam(number))

    loop(mixed(0.5), steps=2)
    compiled["programs"] = 0
    for number in np.linspace(0.1, 0.9, 10):
        loop(mixed(float(number)))
    assert compiled["programs"] == 0


@pytest.mark.parametrize("b2", [0.999, 0.999999, 0.1])
def test_numbers_by_hand_have_the_digits_that_they_have_as_constants(b2):
    # From float32(b2), 1 - b2 would be off by 1e-2 at 0.999999. Steps in rounding: the program is another.
    tx = gx.scale_by_adam(b2=b2)
    state = tx.init(PARAMS)
    updates, state = tx.update(GRADS, state)
    expected, expected_state = jax.jit(tx.update)(GRADS, tx.init(PARAMS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, expected_state)


def test_zero_switches_off_by_hand_too():
    tx = gx.add_decayed_weights(0.0)
    updates, _ = tx.update(GRADS, tx.init(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, updates, GRADS)


@gx.transform
class ScaleByRoot(gx.LeafRule):
    """A rule of someone's own, which asks for the value of its number."""

    by: gx.Hyper

    def update(self, grad, slots, leaf):
        return grad * (math.sqrt(self.by) if self.by > 1 else 1.0), slots


def test_a_rule_that_asks_for_the_value_of_a_number_has_it_by_hand():
    for by, factor in ((4.0, 2.0), (9.0, 3.0), (0.5, 1.0)):
        tx = ScaleByRoot(by)
        updates, _ = tx.update(GRADS, tx.init(PARAMS))
        np.testing.assert_allclose(updates["b"], factor * GRADS["b"], rtol=1e-6)


def test_a_schedule_that_asks_for_the_step_has_it_by_hand():
    tx = gx.sgd(lambda step: 1.0 if step < 1 else 0.5)
    state = tx.init(PARAMS)
    for rate in (1.0, 0.5):
        updates, state = tx.update(GRADS, state)
        np.testing.assert_allclose(updates["b"], -rate * GRADS["b"], rtol=1e-6)


def test_an_error_by_hand_comes_without_a_compiler_s_remarks():
    tx = chain()
    with pytest.raises(ValueError, match=r"expected shape \(3,\) at 'b', as the parameters have, got \(1,\)") as raised:
        tx.update({**GRADS, "b": jnp.ones(1)}, tx.init(PARAMS), PARAMS)
    assert raised.value.__context__ is None
    assert not getattr(raised.value, "__notes__", [])


def test_what_is_wrong_in_a_branch_that_is_not_taken_yet_is_an_error_at_once():
    tx = gx.accumulate(gx.adamw(0.1), 2)
    with pytest.raises(ValueError, match="add_decayed_weights needs the parameters"):
        tx.update(GRADS, tx.init(PARAMS))


def test_arrays_of_numpy_and_numbers_are_parameters_by_hand_too():
    params = {"w": np.ones((2, 2), np.float32), "s": 0.5}
    tx = gx.sgd(0.1, 0.9)
    updates, state = tx.update(params, tx.init(params), params)
    updates, _ = tx.update(params, state, params)
    np.testing.assert_allclose(updates["w"], np.full((2, 2), -0.19), rtol=1e-6)
    np.testing.assert_allclose(updates["s"], -0.095, rtol=1e-6)


def test_a_transform_on_traced_numbers_is_part_of_the_trace():
    def stepped(rate):
        tx = gx.sgd(rate)
        return tx.update(GRADS, tx.init(PARAMS))[0]["b"]

    np.testing.assert_allclose(jax.vmap(stepped)(jnp.array([1.0, 2.0]))[1], -2 * GRADS["b"], rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(stepped)(1.0), -GRADS["b"], rtol=1e-6)


@pytest.mark.parametrize("value", [0.999, -3.25, 1e-7, 123456.789, math.inf])
def test_a_number_is_computed_with_as_an_array(value):
    number, x = Number.of(value), jnp.array([1.5, -2.0], jnp.float32)
    plain = jnp.float32(value)
    for computed, expected in [
        (x + number, x + plain),
        (number + x, plain + x),
        (x - number, x - plain),
        (number - x, plain - x),
        (x * number, x * plain),
        (number / x, plain / x),
        (x / number, x / plain),
        (abs(number), abs(plain)),
        (-number * x, -plain * x),
        (number > x, plain > x),
        (jnp.maximum(number, x), jnp.maximum(plain, x)),
        (number**2, plain**2),
    ]:
        np.testing.assert_allclose(computed, expected, rtol=1e-6)
    if math.isfinite(value):
        np.testing.assert_allclose(1 - number, 1 - value, rtol=1e-7)
        assert float(number) == pytest.approx(value, rel=1e-7)


def test_a_transform_that_was_first_called_in_a_map_may_be_called_by_hand():
    tx = gx.sgd(0.1, 0.9)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.P("data")
    x = jnp.arange(8.0)
    mapped = jax.shard_map(lambda x: tx.update(x, tx.init(x))[0], mesh=mesh, in_specs=spec, out_specs=spec)
    np.testing.assert_allclose(mapped(x), tx.update(x, tx.init(x))[0], rtol=1e-6)
