"""What optax gets wrong and must be right here: the rows of the design that these rules touch, each by its name."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import gradxform as gx


def final(tx, params, grads, steps):
    """The state after steps of one gradient."""

    def step(state, _):
        return tx.update(grads, state, params)[1], None

    return jax.lax.scan(step, tx.init(params), length=steps)[0]


def test_adam_on_bfloat16_parameters_does_not_stick():
    ones = jnp.ones(3, jnp.bfloat16)
    nu = final(gx.adam(1e-3), ones, ones, 3000).stages["scale_by_adam"].nu
    # 1 - 0.999^3000, with 3000 roundings of float32.
    np.testing.assert_allclose(nu, 1 - 0.999**3000, rtol=1e-4)


@pytest.mark.parametrize("tx", [gx.adam(1e-3), gx.sgd(1e-3, 0.9), gx.scale_by_sign()], ids=repr)
def test_state_dtype_of_bfloat16_parameters_with_float32_gradients_stays(tx):
    params, grads = {"a": jnp.ones(3, jnp.bfloat16)}, {"a": jnp.ones(3)}
    state = final(tx, params, grads, 5)
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, tx.init(params))


def test_global_norm_of_many_bfloat16_leaves():
    # A sum in bfloat16 sticks at 256 times what is added: there are more leaves than that, and more elements in each.
    grads = [jnp.ones(272, jnp.bfloat16)] * 272
    assert _norm(grads) == 272


@pytest.mark.parametrize(("value", "dtype", "norm"), [(1e20, jnp.float32, 4e20), (1e3, jnp.float16, 4e3)])
def test_global_norm_of_large_values_does_not_overflow(value, dtype, norm):
    grads = jnp.full(16, value, dtype)
    np.testing.assert_allclose(_norm(grads), norm, rtol=1e-6)
    clipped, _ = _clip(grads, 2.0)
    assert clipped.dtype == dtype
    # Half a unit in the last place of float16.
    np.testing.assert_allclose(clipped, 0.5, rtol=5e-4)


def test_global_norm_of_small_values_does_not_underflow():
    np.testing.assert_allclose(_norm(jnp.full(16, 1e-30)), 4e-30, rtol=1e-6)


def test_clip_by_global_norm_of_zeros_to_zero():
    clipped, _ = _clip(jnp.zeros(3), 0.0)
    np.testing.assert_array_equal(clipped, 0)


def test_clip_by_global_norm_in_shard_map_over_sharded_gradients():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded, replicated = PartitionSpec("data"), PartitionSpec()
    grads = {"cut": jnp.full((16, 3), 2.0), "whole": jnp.full(5, 2.0)}
    tx = gx.clip_by_global_norm(1.0)
    state = tx.init(grads)
    specs = {"cut": sharded, "whole": replicated}
    update = jax.shard_map(tx.update, mesh=mesh, in_specs=(specs, replicated), out_specs=(specs, replicated))
    clipped, state = jax.jit(update)(grads, state)
    np.testing.assert_allclose(optax.tree.norm(clipped), 1.0, rtol=1e-6)
    np.testing.assert_allclose(gx.metrics(state)["clip_by_global_norm.norm"], 2 * 53**0.5, rtol=1e-6)


@pytest.mark.parametrize("way", ["pmap", "shard_map without types"])
def test_clip_by_global_norm_where_types_do_not_tell(way):
    grads, cut = jnp.full((8, 4), 2.0), PartitionSpec("data")
    tx = gx.on_axes(gx.clip_by_global_norm(1.0), cut)

    def clipped(grads):
        return tx.update(grads, tx.init(grads))[0]

    if way == "pmap":
        found = jax.pmap(clipped, axis_name="data")(grads)
    else:
        mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        found = jax.jit(jax.shard_map(clipped, mesh=mesh, in_specs=cut, out_specs=cut, check_vma=False))(grads)
    np.testing.assert_allclose(optax.tree.norm(found), 1.0, rtol=1e-6)


def test_apply_if_finite_in_shard_map_where_one_device_has_a_nan():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cut, whole = PartitionSpec("data"), PartitionSpec()
    tx = gx.guard(gx.sgd(1.0))
    grads = jnp.ones(16)
    for bad, expected in {False: -1.0, True: 0.0}.items():
        given = grads.at[3].set(jnp.nan) if bad else grads
        update = jax.shard_map(tx.update, mesh=mesh, in_specs=(cut, whole, cut), out_specs=(cut, whole))
        updates, state = jax.jit(update)(given, tx.init(grads), grads)
        np.testing.assert_array_equal(updates, expected)
        assert bool(gx.metrics(state)["guard.skipped"]) == bad


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_init_under_jit_keeps_the_shardings_of_the_parameters(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType[kind],))
    params = jax.device_put(jnp.ones((16, 4)), jax.NamedSharding(mesh, PartitionSpec("data")))
    for tx in (gx.adam(0.1), optax.adam(0.1)):
        slots = [leaf for leaf in jax.tree.leaves(gx.init_sharded(tx, params)) if leaf.ndim]
        assert len(slots) == 2
        assert all(slot.sharding.is_equivalent_to(params.sharding, 2) for slot in slots)


@pytest.mark.parametrize("clip", [gx.clip_by_norm(1.0), gx.clip_by_block_rms(0.1), gx.zero_nans()], ids=repr)
def test_clipping_of_a_leaf_in_shard_map_sees_the_whole_leaf(clip):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cut, whole = PartitionSpec("data"), PartitionSpec()
    grads = jnp.arange(16.0).at[3].set(jnp.nan if clip == gx.zero_nans() else 3.0)
    update = jax.shard_map(clip.update, mesh=mesh, in_specs=(cut, whole), out_specs=(cut, whole))
    expected = clip.update(grads, clip.init(grads))
    got = jax.jit(update)(grads, clip.init(grads))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


@pytest.mark.parametrize("check_vma", [True, False])
def test_apply_if_finite_in_shard_map_where_one_device_has_a_nan_all_skip(check_vma):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cut, whole = {"cut": PartitionSpec("data"), "whole": PartitionSpec()}, PartitionSpec()
    params = {"cut": jnp.ones(16), "whole": jnp.ones(3)}
    bad = {"cut": jnp.ones(16).at[11].set(jnp.nan), "whole": jnp.ones(3)}
    tx = gx.guard(gx.sgd(1.0))
    update = jax.shard_map(tx.update, mesh=mesh, in_specs=(cut, whole), out_specs=(cut, whole), check_vma=check_vma)
    updates, state = jax.jit(update)(bad, tx.init(params))
    # Of the leaf that all devices have in common each has its own copy, and none of them parts.
    for shard in (*updates["cut"].addressable_shards, *updates["whole"].addressable_shards):
        np.testing.assert_array_equal(shard.data, 0)
    record = state.stages["guard"]
    for counter, count in ((record.skips, 1), (record.inner_state.count, 0)):
        assert [int(shard.data) for shard in counter.addressable_shards] == [count] * 8
    updates, _ = jax.jit(update)(params, state)
    np.testing.assert_array_equal(updates["cut"], -1)


def test_multi_steps_the_inner_runs_when_due_and_nothing_leaks():
    runs = []

    def count_run(updates, params=None):
        jax.debug.callback(lambda: runs.append(1))
        return updates

    tx = gx.accumulate(gx.chain(optax.stateless(count_run), gx.trace(0.9)), 3)
    params, update = jnp.zeros(2), jax.jit(tx.update)
    state, updates = tx.init(params), []
    for grad in (1.0, np.inf, 1.0, 1.0, 1.0, 1.0):
        update_of_step, state = update(jnp.array([1.0, grad]), state, params)
        updates.append(update_of_step)
    jax.effects_barrier()
    assert len(runs) == state.stages["accumulate"].inner_state.count == 2
    # Momentum keeps what it has been given; what was gathered is gone, and what waits is 0.
    np.testing.assert_array_equal(np.stack(updates)[[0, 1, 3, 4]], 0)
    np.testing.assert_array_equal(state.stages["accumulate"].gathered, 0)
    np.testing.assert_allclose(np.stack(updates)[[2, 5], 0], [1.0, 1.9], rtol=1e-6)


def test_gradient_of_shape_one_does_not_broadcast():
    tx = gx.adam(0.1)
    state = tx.init({"w": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"expected shape \(3,\) at 'w'.*got \(1,\)"):
        tx.update({"w": jnp.ones(1)}, state)


@pytest.mark.parametrize(("leaf", "words"), [(jnp.ones(3, int), "floating-point"), (jnp.sin, "expected an array")])
def test_an_integer_or_a_function_among_the_parameters(leaf, words):
    with pytest.raises(TypeError, match=rf"{words}.* at 'layer/odd'.*keep it out of the optimizer"):
        gx.adam(0.1).init({"layer": {"w": jnp.ones(3), "odd": leaf}})


def test_inject_hyperparams_with_bfloat16_parameters_keeps_b2():
    state = gx.inject_hyperparams(gx.adam)(learning_rate=1e-3).init({"w": jnp.ones(3, jnp.bfloat16)})
    assert state.hyperparams["b2"].dtype == jnp.float32
    assert float(state.hyperparams["b2"]) == pytest.approx(0.999)


def test_inject_hyperparams_misspelt_name_is_an_error_that_lists_the_names():
    state = gx.inject_hyperparams(gx.sgd)(learning_rate=0.1, momentum=0.9).init({"w": jnp.ones(3)})
    words = r"there is no 'learning_rte' among inject_hyperparams.learning_rate, inject_hyperparams.momentum"
    with pytest.raises(ValueError, match=words):
        state.hyperparams["learning_rte"] = 0.5
    with pytest.raises(ValueError, match="there is no 'learning_rte' among"):
        gx.adjust(state, learning_rte=0.5)


def test_monitor_has_one_structure_from_init_on():
    params = {"a": jnp.ones(3, jnp.bfloat16)}
    measures = {"norm": optax.tree.norm, "share": gx.measure_with_ema(lambda tree: optax.tree.norm(tree) > 1, 0.9)}
    tx = gx.chain(gx.monitor(measures), gx.adam(0.1))
    state = final(tx, params, params, 5)
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, tx.init(params))
    np.testing.assert_allclose(optax.tree.get(state, "norm"), 3**0.5, rtol=1e-6)
    np.testing.assert_allclose(optax.tree.get(state, "share"), 1, rtol=1e-6)


def test_repr_equality_pickle():
    one, other = (gx.adamw(gx.cosine_decay_schedule(1e-3, 10)) for _ in range(2))
    assert repr(one) == repr(other)
    assert "0x" not in repr(one)
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == other


def _clip(grads, max_norm):
    tx = gx.clip_by_global_norm(max_norm)
    return tx.update(grads, tx.init(grads))


def _norm(grads):
    return gx.metrics(_clip(grads, 1.0)[1])["clip_by_global_norm.norm"]
