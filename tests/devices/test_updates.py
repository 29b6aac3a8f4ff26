"""pmean_updates and psum_updates: gradients are joined over devices, once, and only where that makes sense."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

ALONG = P("data")
PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
DATA = jnp.arange(1.0, 9.0)
JOIN = {"pmean": gx.pmean_updates, "psum": gx.psum_updates}
JOINED = {"pmean": 4.5, "psum": 36.0}


def mesh(shape=(8,), names=("data",)):
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))


def assert_times(updates, size, like=PARAMS):
    jax.tree.map(lambda u, p: np.testing.assert_allclose(u, size * p, rtol=1e-6), updates, like)


def update_with(tx, check_vma, on, data=ALONG):
    """One step, each device's gradients being its number times the parameters."""

    def step(params, state, x):
        grads = jax.tree.map(lambda p: p * x.ravel()[0], params)
        return tx.update(grads, state, params)

    return jax.jit(jax.shard_map(step, mesh=on, in_specs=(P(), P(), data), out_specs=(P(), P()), check_vma=check_vma))


@pytest.mark.parametrize("name", JOIN)
@pytest.mark.parametrize("check_vma", [True, False])
def test_joins_the_gradients_of_all_devices_in_shard_map(name, check_vma):
    tx = gx.chain(JOIN[name]("data"), gx.clip_by_global_norm(1e6), gx.guard(gx.sgd(1.0)))
    updates, state = update_with(tx, check_vma, mesh())(PARAMS, tx.init(PARAMS), DATA)
    assert_times(updates, -JOINED[name])
    # What follows sees the joint gradient, and agrees on all devices.
    norm = np.sqrt(58.0) * JOINED[name]
    np.testing.assert_allclose(gx.metrics(state)["clip_by_global_norm.norm"], norm, rtol=1e-6)


@pytest.mark.parametrize("name", JOIN)
def test_joins_the_gradients_of_all_devices_in_pmap(name):
    tx = gx.chain(JOIN[name]("data"), gx.sgd(1.0))
    everywhere = partial(jax.tree.map, lambda leaf: jnp.stack([leaf] * 8))

    def step(params, x):
        return tx.update(jax.tree.map(lambda p: p * x, params), tx.init(params), params)[0]

    updates = jax.pmap(step, axis_name="data")(everywhere(PARAMS), DATA)
    assert_times(updates, -JOINED[name], everywhere(PARAMS))


@pytest.mark.parametrize("name", JOIN)
@pytest.mark.parametrize("check_vma", [True, False])
def test_joins_over_several_axes_or_one_of_them(name, check_vma):
    on, data = mesh((4, 2), ("data", "model")), P("data", "model")
    both = JOIN[name](("data", "model"))
    updates, _ = update_with(both, check_vma, on, data)(PARAMS, both.init(PARAMS), DATA.reshape(4, 2))
    assert_times(updates, JOINED[name])
    # Over one axis alone, along which the data are cut.
    one = JOIN[name]("data")
    updates, _ = update_with(one, check_vma, on)(PARAMS, one.init(PARAMS), jnp.arange(1.0, 5.0))
    assert_times(updates, {"pmean": 2.5, "psum": 10.0}[name])


@pytest.mark.parametrize("name", JOIN)
def test_a_gradient_that_jax_has_summed_already_is_left_as_it_is(name):
    tx, on = JOIN[name]("data"), mesh()

    def step(params, x):
        grads = jax.grad(lambda p: x[0] * sum(map(jnp.sum, jax.tree.leaves(p))))(params)
        return tx.update(grads, tx.init(params))[0]

    updates = jax.jit(jax.shard_map(step, mesh=on, in_specs=(P(), P("data")), out_specs=P()))(PARAMS, DATA)
    assert_times(updates, 36.0, jax.tree.map(jnp.ones_like, PARAMS))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_joined_in_float32(dtype):
    """In bfloat16 256 and seven ones would be 256."""
    values = jnp.array([256.0] + [1.0] * 7, dtype)
    updates = jax.pmap(lambda x: gx.psum_updates("data").update(x, gx.psum_updates("data").init(x))[0], "data")(values)
    assert updates.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(updates.astype(np.float32), np.asarray(263.0, jnp.dtype(dtype)).astype(np.float32))


@pytest.mark.parametrize("name", JOIN)
def test_a_nan_of_one_device_is_skipped_by_all(name):
    tx = gx.chain(JOIN[name]("data"), gx.guard(gx.adam(0.1)))
    updates, state = update_with(tx, True, mesh())(PARAMS, tx.init(PARAMS), DATA.at[3].set(jnp.nan))
    assert_times(updates, 0.0)
    assert gx.metrics(state)["guard.skips"] == 1


@pytest.mark.parametrize("check_vma", [True, False])
def test_joins_within_a_guard_too(check_vma):
    """The gradients vary over the devices, by their types, and the updates of the step do not: nor do those of none."""
    tx = gx.guard(gx.chain(gx.pmean_updates("data"), gx.sgd(1.0)))
    updates, _ = update_with(tx, check_vma, mesh())(PARAMS, tx.init(PARAMS), DATA)
    assert_times(updates, -4.5)
    updates, _ = update_with(tx, check_vma, mesh())(PARAMS, tx.init(PARAMS), DATA.at[3].set(jnp.nan))
    assert_times(updates, 0.0)


@pytest.mark.parametrize("tx", [gx.pmean_updates("data"), gx.psum_updates(("data", "model"))], ids=repr)
def test_is_a_value(tx):
    assert eval(repr(tx), vars(gx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert jax.tree.leaves(tx) == []


@pytest.mark.parametrize("name", JOIN)
def test_errors(name):
    tx = JOIN[name]("data")
    with pytest.raises(
        ValueError, match=rf"{name}_updates: there is no mapped axis 'data' here; nothing is: call it in"
    ):
        tx.update(PARAMS, tx.init(PARAMS))
    other = JOIN[name]("model")
    with pytest.raises(ValueError, match="there is no mapped axis 'model' here; mapped are 'data'"):
        update_with(other, True, mesh())(PARAMS, other.init(PARAMS), DATA)
    cut = gx.on_axes(tx, P("data"))
    with pytest.raises(
        ValueError, match=rf"{name}_updates: a leaf of shape \(\d+,\) is cut over 'data', as on_axes tells"
    ):
        jax.shard_map(
            lambda x: cut.update(x, cut.init(x))[0],
            mesh=mesh(),
            in_specs=P("data"),
            out_specs=P("data"),
            check_vma=False,
        )(DATA)
