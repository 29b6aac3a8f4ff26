"""Weight decay: where it is cautious, where it follows the square of the rate, and where it goes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.rules.matrices import ran

TINY = 1e-30
SIGNS = np.array([-1.0, -TINY, 0.0, TINY, 1.0])
# Every sign of an update beside every sign of a parameter, in numbers whose product leaves float32's range.
UPDATES, PARAMS = (jnp.asarray(each.ravel(), jnp.float32) for each in np.meshgrid(SIGNS, SIGNS))
AGREES = np.sign(UPDATES) * np.sign(PARAMS) >= 0


def step(tx, grads, params):
    return jax.jit(tx.update)(grads, tx.init(params), params)[0]


@pytest.mark.parametrize("flip_sign", [False, True])
def test_cautious_by_signs_however_small_the_numbers_are(flip_sign):
    sign = -1 if flip_sign else 1
    tx = gx.add_decayed_weights(0.5, flip_sign=flip_sign, cautious=True)
    updates = step(tx, sign * UPDATES, PARAMS)
    np.testing.assert_array_equal(updates, sign * (UPDATES + np.where(AGREES, 0.5 * PARAMS, 0)))


def test_cautious_at_a_gradient_of_0_everything_decays_and_what_is_0_stays():
    params = jnp.array([2.0, -2.0, 0.0])
    updates = step(gx.adamw(0.1, weight_decay=0.5, cautious=True), jnp.zeros(3), params)
    np.testing.assert_allclose(updates, -0.05 * params, rtol=1e-6)


def test_cautious_lets_nan_show():
    updates = step(gx.add_decayed_weights(0.5, cautious=True), jnp.array([np.nan, np.inf, -np.inf]), jnp.ones(3))
    np.testing.assert_array_equal(updates, [np.nan, np.inf, -np.inf])
    assert np.isnan(step(gx.add_decayed_weights(0.5, cautious=True), jnp.ones(1), jnp.full(1, np.nan))).all()


def test_cautious_of_complex_numbers_is_by_the_angle_between_them():
    angles = np.exp(1j * np.array([0.0, 0.4, 0.6, 1.0, 1.4, 1.6]) * np.pi).astype(np.complex64)
    updates = step(gx.add_decayed_weights(0.5, cautious=True), jnp.asarray(2j * angles), jnp.full(6, 3j, jnp.complex64))
    # Less than a quarter of a turn.
    decays = np.array([True, True, False, False, False, True])
    np.testing.assert_allclose(updates, 2j * angles + np.where(decays, 1.5j, 0), rtol=1e-6)


def test_cautious_of_bfloat16_is_that_of_float32():
    grads, params = (leaf.astype(jnp.bfloat16) for leaf in (UPDATES, PARAMS))
    tx = gx.add_decayed_weights(0.5, cautious=True)
    updates = step(tx, grads, params)
    assert updates.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        updates, step(tx, *(x.astype(jnp.float32) for x in (grads, params))).astype(jnp.bfloat16)
    )


def test_cautious_in_a_kernel_is_the_same():
    """As int8 with a kernel, whose leaf is large enough to be worth one, and plainly."""
    size = 2**15
    params, grads = jnp.cos(jnp.arange(size, dtype=jnp.float32)), jnp.sin(0.7 * jnp.arange(size, dtype=jnp.float32))

    def first_step(fused):
        tx = gx.stored(gx.adamw(0.1, weight_decay=0.5, cautious=True), gx.int8(), fused=fused)
        return step(tx, grads, params)

    # Multiplied and added in one, or one after the other.
    np.testing.assert_allclose(first_step(True), first_step(False), rtol=1e-6, atol=1e-7)


# Towards the first weights.


def test_l2_sp_pulls_back_to_the_first_weights():
    first = {"w": jnp.array([1.0, -2.0]), "head": jnp.array([3.0])}
    mask = {"w": True, "head": False}
    toward = gx.add_decay_toward_first(0.5, mask)
    new = gx.add_decayed_weights(0.1, {"w": False, "head": True})
    tx = gx.chain(toward, new, gx.sgd(1.0))
    state = tx.init(first)
    zeros = jax.tree.map(jnp.zeros_like, first)
    moved = {"w": jnp.array([2.0, -2.0]), "head": jnp.array([3.0])}
    updates, after = jax.jit(tx.update)(zeros, state, moved)
    np.testing.assert_allclose(updates["w"], [-0.5, 0.0])
    np.testing.assert_allclose(updates["head"], [-0.3], rtol=1e-6)
    np.testing.assert_array_equal(after.stages["add_decay_toward_first"].first["w"], first["w"])
    # What is new has no copy, and what decays to 0 has none.
    assert [leaf.shape for leaf in jax.tree.leaves(state.stages)] == [(2,)]


def test_l2_sp_begins_with_no_decay_and_keeps_a_copy_that_may_outlive_the_parameters():
    params = jnp.array([1.0, -2.0], jnp.bfloat16)
    tx = gx.add_decay_toward_first(0.5)
    state = tx.init(params)
    record = state.stages["add_decay_toward_first"]
    assert record.first.dtype == jnp.float32
    run = jax.jit(tx.update, donate_argnums=(1, 2))
    np.testing.assert_array_equal(run(jnp.ones(2, jnp.bfloat16), state, params)[0], [1.0, 1.0])


def test_cautious_l2_sp_is_by_the_way_from_the_first_weights():
    tx = gx.add_decay_toward_first(0.5, cautious=True)
    state = tx.init(jnp.full(3, 5.0))
    updates, _ = tx.update(jnp.array([1.0, 1.0, -1.0]), state, jnp.array([6.0, 4.0, 4.0]))
    np.testing.assert_allclose(updates, [1.5, 1.0, -1.5])


def test_describe_tells_of_a_copy():
    text = str(gx.describe(gx.add_decay_toward_first(0.1), jnp.ones(2)))
    assert "first: float32, a copy" in text


# Corrected decay.


def test_corrected_decay_is_adamw_s_at_the_largest_rate():
    grads = np.linspace(-1.0, 1.0, 30).reshape(10, 3)
    first = np.array([1.0, 0.0, -1.0])
    peak, plain = (
        ran(gx.adamw(0.1, weight_decay=0.5, **most), grads, first)[1] for most in ({"max_learning_rate": 0.1}, {})
    )
    np.testing.assert_allclose(peak, plain, rtol=1e-12)


def decay_after(tx, state):
    """What a parameter of 1 changes by at a gradient of 0."""
    updates, state = tx.update(jnp.zeros(1), state, jnp.ones(1))
    return float(updates[0]), state


def test_corrected_decay_follows_the_rate_of_the_same_step():
    make = partial(gx.adamw, weight_decay=0.5, max_learning_rate=0.2)
    falling = make(gx.linear_schedule(0.2, 0.0, 4))
    alive, injected = gx.live(make(0.2), "learning_rate"), gx.inject_hyperparams(make)(learning_rate=0.2)
    states = [tx.init(jnp.ones(1)) for tx in (falling, alive, injected)]
    for rate in (0.2, 0.15, 0.1, 0.05, 0.0):
        states[1] = gx.adjust(states[1], learning_rate=rate)
        states[2].hyperparams["learning_rate"] = jnp.asarray(rate)
        for i, tx in enumerate((falling, alive, injected)):
            change, states[i] = decay_after(tx, states[i])
            assert change == pytest.approx(-0.5 * rate**2 / 0.2, rel=1e-6, abs=1e-9)
    assert gx.replace(make(0.2), learning_rate=0.1) == make(0.1)


def test_corrected_decay_of_normalised_layers_alone():
    tx = gx.partition(
        {
            "normalised": gx.adamw(0.1, weight_decay=0.5, max_learning_rate=0.4),
            "output": gx.adamw(0.1, weight_decay=0.5),
        },
        gx.labels({"head/*": "output"}, "normalised"),
    )
    params = {"head": {"w": jnp.ones(1)}, "body": jnp.ones(1)}
    updates = step(tx, jax.tree.map(jnp.zeros_like, params), params)
    np.testing.assert_allclose(updates["head"]["w"], -0.05, rtol=1e-6)
    np.testing.assert_allclose(updates["body"], -0.0125, rtol=1e-6)


def test_corrected_decay_of_0_needs_no_parameters():
    tx = gx.descend_with_corrected_decay(0.1, 0.2)
    np.testing.assert_allclose(tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0], -0.1, rtol=1e-6)


@pytest.mark.parametrize("arguments", [{"independent": True}, {"weight_decay": None}])
def test_corrected_decay_with_what_it_cannot_follow_is_an_error(arguments):
    with pytest.raises(ValueError, match="max_learning_rate says how decay follows the rate"):
        gx.adamw(0.1, max_learning_rate=0.1, **arguments)


def test_a_largest_rate_of_0_is_an_error():
    with pytest.raises(ValueError, match="max_learning_rate must be more than 0; got 0"):
        gx.descend_with_corrected_decay(0.1, 0.0)
