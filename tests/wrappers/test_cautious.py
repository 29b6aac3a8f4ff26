"""cautious: an update keeps those of its elements that go against the gradient, around optimizers and around rules."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

RULES = {
    "ours": (gx.cautious(gx.scale_by_adam(), flip_sign=False), gx.cautious(gx.adam(0.1))),
    "optax's": (gx.cautious(optax.scale_by_adam(), flip_sign=False), gx.cautious(optax.adam(0.1))),
}
RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32), "b": jnp.ones(3)}
GRADS = jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=(6, *leaf.shape)), jnp.float32), PARAMS)


def run(tx, grads=GRADS, params=PARAMS):
    """The updates of each step of a scan, and the last state."""

    def step(state, grad):
        updates, state = tx.update(grad, state, params)
        return state, (updates, gx.metrics(state))

    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        state, (updates, metrics) = jax.jit(lambda: jax.lax.scan(step, tx.init(params), grads))()
    return updates, metrics, state


def once(inner, grad, **kwargs):
    """The first update of one leaf, and the share that was kept."""
    tx = gx.cautious(inner, **kwargs)
    updates, state = tx.update(grad, tx.init(grad), grad)
    return updates, float(gx.metrics(state)["cautious.kept"])


@pytest.mark.parametrize(("rule", "optimizer"), RULES.values(), ids=RULES)
def test_around_a_rule_and_around_the_optimizer_it_makes(rule, optimizer):
    before, metrics, _ = run(gx.chain(rule, gx.scale_by_learning_rate(0.1)))
    after, alike, _ = run(optimizer)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), after, before)
    np.testing.assert_array_equal(metrics["cautious.kept"], alike["cautious.kept"])
    # Momentum goes against some of the gradients' signs, not against all.
    assert 0.3 < np.min(alike["cautious.kept"][1:]) < 1
    assert not np.any(np.sign(after["w"]) == np.sign(GRADS["w"]))


def test_the_sign_of_the_other_kind_leaves_next_to_nothing():
    _, metrics, _ = run(gx.cautious(gx.adam(0.1), flip_sign=False))
    assert metrics["cautious.kept"][0] == 0


def test_a_step_along_the_gradient_is_left_as_it_is():
    grad = jnp.array([1.0, -2.0, 3.0])
    updates, kept = once(gx.sgd(0.5), grad)
    np.testing.assert_array_equal(updates, -0.5 * grad)
    assert kept == 1


def test_a_gradient_of_0_is_no_agreement():
    updates, kept = once(gx.sgd(1.0, 0.9), jnp.zeros(3))
    np.testing.assert_array_equal(updates, 0)
    assert kept == 0
    updates, kept = once(gx.sgd(1.0), jnp.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(updates, [0, *np.array([-1.0, -2.0, -3.0]) / 0.75], rtol=1e-6)
    assert kept == 0.75


def test_the_mean_of_the_mask_counts_as_a_thousandth_at_least():
    updates, kept = once(gx.sgd(1.0), jnp.zeros(5000).at[7].set(1.0))
    # Times 1000, not 5000.
    assert updates[7] == pytest.approx(-1000.0)
    assert kept == pytest.approx(1 / 5000)


def test_products_that_leave_the_range_count():
    updates, kept = once(gx.sgd(1.0), jnp.array([1e-30, 1e30], jnp.float32))
    np.testing.assert_array_equal(updates, np.array([-1e-30, -1e30], np.float32))
    assert kept == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows(value):
    updates, _ = once(gx.adam(0.1), jnp.array([value, 1.0]))
    assert np.isnan(updates[0])
    assert updates[1] < 0


def test_each_leaf_has_a_mean_of_its_own_and_an_empty_one_none():
    tx = gx.cautious(gx.sgd(1.0))
    grads = {"a": jnp.array([1.0, 0.0]), "b": jnp.ones(2), "empty": jnp.ones((0, 2))}
    updates, state = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_array_equal(updates["a"], [-2.0, 0.0])
    np.testing.assert_array_equal(updates["b"], [-1.0, -1.0])
    assert gx.metrics(state)["cautious.kept"] == 0.75


def test_complex_elements_are_kept_within_a_quarter_of_a_turn():
    turns = jnp.asarray(np.exp(1j * np.pi * np.array([0.0, 0.4, 0.6, 1.0])), jnp.complex64)
    turn = gx.stateless(lambda updates, params: -turns * updates)
    updates, kept = once(turn, jnp.full(4, 1 + 1j, jnp.complex64))
    assert kept == 0.5
    np.testing.assert_allclose(
        updates, -2 * np.asarray(turns) * (1 + 1j) * np.array([1, 1, 0, 0]), rtol=1e-6, atol=1e-6
    )


def test_c_adamw_leaves_the_decay_out_of_the_mask_and_around_adamw_it_is_masked():
    """With momentum left over and a gradient of 0, C-AdamW decays alone; around the optimizer nothing moves."""
    apart = gx.chain(
        gx.cautious(gx.scale_by_adam(), flip_sign=False), gx.add_decayed_weights(0.5), gx.scale_by_learning_rate(0.1)
    )
    grads = jax.tree.map(lambda leaf: leaf.at[1].set(0), GRADS)
    found = run(apart, grads)[0]["w"][1]
    np.testing.assert_allclose(found, -0.05 * PARAMS["w"], rtol=1e-6)
    np.testing.assert_array_equal(run(gx.cautious(gx.adamw(0.1, weight_decay=0.5)), grads)[0]["w"][1], 0)


@pytest.mark.parametrize("check_vma", [True, False])
def test_the_mean_is_of_the_whole_leaf_where_devices_have_parts(check_vma):
    """Each device would find another mean in its own part."""
    specs = {"w": P("data"), "b": P()}
    tx = gx.on_axes(gx.cautious(gx.sgd(1.0, 0.9)), specs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    states = gx.state_specs(tx, PARAMS, specs, mesh)
    update = jax.jit(
        jax.shard_map(
            tx.update, mesh=mesh, in_specs=(specs, states, specs), out_specs=(specs, states), check_vma=check_vma
        )
    )
    state, (expected, metrics, _) = tx.init(PARAMS), run(gx.cautious(gx.sgd(1.0, 0.9)))
    for i in range(3):
        updates, state = update(jax.tree.map(lambda leaf, i=i: leaf[i], GRADS), state, PARAMS)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a, b[i], rtol=1e-5, atol=1e-6), updates, expected)
        np.testing.assert_allclose(gx.metrics(state)["cautious.kept"], metrics["cautious.kept"][i], rtol=1e-6)


def test_hyperparameters_within_have_its_path():
    tx = gx.cautious(gx.live(gx.sgd(0.1), "learning_rate"))
    state = gx.adjust(tx.init(PARAMS), learning_rate=0.5)
    assert gx.hyperparams(tx, state) == {"cautious.inner.scale_by_learning_rate.learning_rate": 0.5}
    assert gx.replace(gx.cautious(gx.sgd(0.1)), learning_rate=0.2) == gx.cautious(gx.sgd(0.2))


def test_errors():
    with pytest.raises(TypeError, match=r"cautious: inner must be a transform; got <gradxform.*adam>; call it"):
        gx.cautious(gx.adam)
    with pytest.raises(ValueError, match="put cautious within it"):
        gx.cautious(gx.stochastic_rounding(gx.adam(0.1)))
