"""step: the parameters after an update, rounded once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

PARAMS = {
    "w": jnp.asarray(np.random.default_rng(0).normal(size=(16, 6)), jnp.float32),
    "b": jnp.asarray(np.random.default_rng(1).normal(size=5), jnp.float32),
}
CHAINS = {
    "adamw": gx.adamw(1e-2),
    "momentum": gx.sgd(0.1, 0.9),
    "a number left to multiply by": gx.chain(gx.scale(-1.0), gx.clip_by_global_norm(0.3)),
    "clip and adamw": gx.chain(gx.clip_by_global_norm(0.3), gx.adamw(1e-2)),
    "a guest": gx.chain(gx.clip(1.0), optax.sgd(0.1)),
    "guard": gx.guard(gx.adam(0.1)),
    "nothing": gx.chain(),
}
every_chain = pytest.mark.parametrize("name", CHAINS)


def grads_at(params, number):
    return jax.tree.map(lambda leaf: jnp.sin(leaf * (number + 1)), params)


def run(step, tx, params, steps=4):
    """Parameters and state after a few steps."""
    state = tx.init(params)
    for number in range(steps):
        params, state = step(grads_at(params, number), state, params)
    return params, state


def in_two(tx, grads, state, params):
    updates, state = tx.update(grads, state, params)
    return gx.apply_updates(params, updates), state


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@every_chain
@pytest.mark.parametrize("compiled", [False, True], ids=["by hand", "under jit"])
def test_in_float32_it_is_bit_for_bit_update_and_apply_updates(name, compiled):
    tx = CHAINS[name]
    ours, theirs = tx.step, partial(in_two, tx)
    if compiled:
        ours, theirs = jax.jit(ours), jax.jit(theirs)
    assert_equal(run(ours, tx, PARAMS), run(theirs, tx, PARAMS))


def test_a_parameter_in_bfloat16_is_rounded_once():
    params, tx = jnp.ones(3, jnp.bfloat16), gx.scale(0.003907)
    state = tx.init(params)
    # In bfloat16 an update of 0.003907 is 0.00390625, half a unit of 1, which is rounded to the even number.
    for step in (tx.step, jax.jit(tx.step)):
        once, _ = step(params, state, params)
        assert once.dtype == jnp.bfloat16
        np.testing.assert_array_equal(once.astype(np.float32), 1.0078125)
    np.testing.assert_array_equal(in_two(tx, params, state, params)[0].astype(np.float32), 1.0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.complex64], ids=lambda dtype: dtype.__name__)
def test_parameters_keep_their_dtypes_and_the_state_is_that_of_update(dtype):
    tx, params = gx.adamw(1e-2), jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    state = tx.init(params)
    ours, after = tx.step(params, state, params)
    theirs, expected = in_two(tx, params, state, params)
    assert jax.tree.map(lambda leaf: (leaf.dtype, leaf.shape), ours) == jax.tree.map(
        lambda leaf: (leaf.dtype, leaf.shape), theirs
    )
    assert_equal(after, expected)


def test_sums_of_small_steps_differ_by_less_than_those_that_are_rounded_twice():
    """Against the same steps in float64, of parameters in bfloat16 with gradients in bfloat16."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    tx = gx.sgd(0.0123)
    state, grads = tx.init(params), grads_at(params, 0)
    exact = jax.tree.map(lambda p, g: np.float64(p) - 0.0123 * np.float64(g), params, grads)
    once, twice = tx.step(grads, state, params)[0], in_two(tx, grads, state, params)[0]

    def error(found):
        return sum(np.abs(np.float64(a) - b).sum() for a, b in zip(*map(jax.tree.leaves, (found, exact)), strict=True))

    assert error(once) < error(twice)


def test_it_is_compiled_once_by_hand_and_under_jit_for_all_numbers():
    step = jax.jit(lambda tx, grads, state, params: tx.step(grads, state, params))
    state = gx.adamw(0.1).init(PARAMS)
    for rate in (0.1, 0.2):
        step(gx.adamw(rate), PARAMS, state, PARAMS)
        gx.adamw(rate).step(PARAMS, state, PARAMS)
    assert step._cache_size() == 1


def test_parameters_without_a_gradient_stay_as_they_are():
    params = {"w": jnp.ones(3), "table": jnp.arange(3), "act": jax.nn.relu, "none": None}
    grads = {"w": jnp.ones(3), "table": None, "act": None, "none": None}
    tx = gx.sgd(0.1)
    state = tx.init({"w": params["w"], "table": None, "act": None, "none": None})
    new, _ = tx.step(grads, state, params)
    np.testing.assert_allclose(new["w"], 0.9, rtol=1e-6)
    assert new["table"] is params["table"]
    assert new["act"] is jax.nn.relu
    assert new["none"] is None


@pytest.mark.parametrize("call", [lambda f, *args: f(*args), lambda f, *args: jax.eval_shape(f, *args)])
def test_what_cannot_be_added_is_an_error_that_says_where(call):
    tx, state = gx.sgd(0.1), gx.sgd(0.1).init(PARAMS)
    with pytest.raises(ValueError, match=r"step needs the parameters: call step\(grads, state, params\)"):
        call(tx.step, PARAMS, state, None)
    with pytest.raises(ValueError, match=r"expected shape \(5,\) at 'b', as the parameters have, got \(1,\)"):
        call(tx.step, {**PARAMS, "b": jnp.ones(1)}, state, PARAMS)
    whole = {"n": jnp.arange(3)}
    nothing = gx.chain()
    with pytest.raises(TypeError, match=r"got float32 at 'n', where the parameter is int32\[3\], .*no fraction"):
        call(nothing.step, {"n": jnp.ones(3)}, nothing.init(whole), whole)
    added, _ = nothing.step(whole, nothing.init(whole), whole)
    np.testing.assert_array_equal(added["n"], [0, 2, 4])
    mean = gx.measure_with_ema(lambda tree: tree["b"].sum(), 0.9)
    with pytest.raises(TypeError, match=r"measure_with_ema returns a measurement, which is no update.*call update"):
        call(mean.step, PARAMS, mean.init(PARAMS), PARAMS)
    broken = optax.stateless(lambda updates, params: {"w": updates["w"]})
    with pytest.raises(ValueError, match=r"expected a leaf at 'b', where the parameters have one"):
        call(gx.chain(broken).step, PARAMS, gx.chain(broken).init(PARAMS), PARAMS)


def test_extra_arguments_reach_the_rules():
    tx = gx.polyak_sgd()
    new, _ = tx.step(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)
    expected, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)
    assert_equal(new, gx.apply_updates(PARAMS, expected))


def test_in_a_scan_with_donation():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-2))

    def body(carry, number):
        params, state = carry
        return tx.step(grads_at(params, number), state, params), None

    @partial(jax.jit, donate_argnums=(0, 1))
    def many(params, state):
        return jax.lax.scan(body, (params, state), jnp.arange(4.0))[0]

    expected = run(tx.step, tx, PARAMS)
    first = jax.tree.map(jnp.copy, PARAMS)
    found = many(first, tx.init(first))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Fused otherwise, a few ulps.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
def test_in_shard_map_of_sharded_and_replicated_leaves(dtype):
    tx = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(1e-2))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    specs = {"w": P("data"), "b": P()}
    step = jax.shard_map(
        lambda grads, params: tx.step(grads, tx.init(params), params)[0],
        mesh=mesh,
        in_specs=(specs, specs),
        out_specs=specs,
    )
    found, expected = jax.jit(step)(params, params), tx.step(params, tx.init(params), params)[0]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype
        # A norm that is summed over devices rounds otherwise: an ulp, of bfloat16 where that is the dtype.
        np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=1e-6 if dtype == jnp.float32 else 2**-7)


@pytest.mark.parametrize("of_params", [jnp.float32, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ["adamw", "clip and adamw"])
def test_its_program_is_no_larger_than_that_of_update_and_apply_updates(name, of_params):
    tx, params = CHAINS[name], jax.tree.map(lambda leaf: leaf.astype(of_params), PARAMS)
    args = (params, tx.init(params), params)

    def program(step):
        ordered = jax.jit(lambda params, state, grads: step(grads, state, params), donate_argnums=(0, 1))
        return gx.program(ordered, *args)

    ours, theirs = program(tx.step), program(partial(in_two, tx))
    assert ours.bytes <= theirs.bytes
    assert ours.kernels <= theirs.kernels
    assert ours.temporary_bytes <= theirs.temporary_bytes
