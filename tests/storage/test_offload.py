"""State in the host's memory: where its arrays are before and after a step, and the numbers of the transform."""

import pickle
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx
from gradxform.storage.offload import check_memory

HOST = "pinned_host"


def params_of(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    shapes = {"w": (64, 32), "v": (64, 32), "u": (32, 64), "b": (8,)}
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


PARAMS = params_of()


def kinds(tree):
    """The kinds of memory in which large arrays of a state are, and small ones."""
    leaves = jax.tree.leaves(tree)
    large = {leaf.sharding.memory_kind for leaf in leaves if leaf.size >= 1024}
    return large, {leaf.sharding.memory_kind for leaf in leaves if leaf.size < 1024}


def steps(tx, params, state):
    """Three steps, the second of which is of a branch of its own."""

    def body(carry, index):
        def step(params, state):
            return tx.step(jax.tree.map(lambda p: (0.3 * p + 1).astype(p.dtype), params), state, params)

        return jax.lax.cond(index == 1, step, step, *carry), None

    return jax.lax.scan(body, (params, state), jnp.arange(3))[0]


INNER = {
    "rules": lambda: gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)),
    "codecs and split weights": lambda: gx.split_weights(gx.stored(gx.adam(0.1), gx.int8(32), min_size=8)),
    "matrices": lambda: gx.muon(0.1),
    "wrapper": lambda: gx.guard(gx.adam(0.1), max_norm=1000.0),
    "optax": lambda: gx.chain(optax.adam(0.1)),
}


@pytest.mark.parametrize("name", INNER)
def test_lies_on_the_host_between_steps_and_has_the_same_numbers(name):
    inner, dtype = INNER[name](), jnp.bfloat16 if "split" in name else jnp.float32
    tx, params = gx.offloaded(inner, min_size=1024), params_of(dtype)
    # optax multiplies by numbers of several dtypes.
    with jax.numpy_dtype_promotion("standard"):
        state = tx.init(params)
        expected = jax.jit(partial(steps, inner))(params, inner.init(params))
        run = jax.jit(partial(steps, tx), donate_argnums=(0, 1))
        assert kinds(state) == ({HOST}, {"device"})
        found = run(params, state)
    assert kinds(found[0]) == ({"device"}, {"device"})
    assert kinds(found[1]) == ({HOST}, {"device"})
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state) if leaf.size >= 1024)
    found = found[0], found[1].stages["offloaded"]
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        ours, theirs = (np.asarray(leaf, np.float32) for leaf in (ours, theirs))
        # XLA may fuse otherwise; a code, or a bit that is split off, is then another.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1 if "split" in name else 1e-6)


def test_by_hand():
    tx = gx.offloaded(gx.adam(0.1), min_size=1024)
    state = tx.init(PARAMS)
    updates, after = tx.update(PARAMS, state, PARAMS)
    assert (kinds(state), kinds(after)) == (({HOST}, {"device"}),) * 2
    np.testing.assert_allclose(updates["w"], gx.adam(0.1).update(PARAMS, gx.adam(0.1).init(PARAMS))[0]["w"], rtol=1e-6)
    stored = gx.offloaded(gx.stored(gx.adam(0.1), gx.int8(32), min_size=8), min_size=1024).init(PARAMS)
    mu = stored.stages["offloaded"].stages["stored"].stages["scale_by_adam"].mu["w"]
    assert kinds(mu) == ({HOST}, {"device"})
    np.testing.assert_array_equal(gx.decoded(mu), np.zeros((64, 32)))
    np.testing.assert_array_equal(gx.eval_params(tx, after, PARAMS)["w"], PARAMS["w"])


def test_leaves_and_sizes_are_chosen():
    def large(tx):
        adam = tx.init(PARAMS).stages["offloaded"].stages["scale_by_adam"]
        return {name for name, leaf in adam.mu.items() if leaf.sharding.memory_kind == HOST}

    assert large(gx.offloaded(gx.adam(0.1), min_size=8)) == {"w", "v", "u", "b"}
    assert large(gx.offloaded(gx.adam(0.1))) == set()
    assert large(gx.offloaded(gx.adam(0.1), where=gx.by_path("[uv]"), min_size=8)) == {"u", "v"}


def test_two_leaves_at_once_are_on_the_device():
    """That the slots of the third wait until those of the first are back, by which XLA does not load all at first."""
    tx = gx.offloaded(gx.adam(0.1), min_size=8)
    program = jax.make_jaxpr(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    barriers = [eqn for eqn in program.eqns if eqn.primitive.name == "optimization_barrier"]
    assert [len(eqn.invars) for eqn in barriers] == [4, 4]
    assert all(var.aval.memory_space == jax.memory.Space.Host for eqn in barriers for var in eqn.invars)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic axes", "explicit axes"])
def test_sharded(kind):
    tx = gx.offloaded(gx.stored(gx.adam(0.1), gx.int8(8), min_size=8), min_size=1024)
    mesh, specs = jax.make_mesh((8,), ("x",), axis_types=(kind,)), {"w": P("x"), "v": P(), "u": P(None, "x"), "b": P()}
    shardings = jax.tree.map(partial(NamedSharding, mesh), specs)
    expected = jax.jit(partial(steps, tx))(PARAMS, tx.init(PARAMS))
    with jax.set_mesh(mesh):
        params = jax.device_put(PARAMS, shardings)
        state = gx.init_sharded(tx, params)
        kept = jax.tree.map(lambda leaf: leaf.sharding, state)
        found = jax.jit(partial(steps, tx), out_shardings=(shardings, kept))(params, state)
        of_state = gx.state_specs(tx, PARAMS, specs, mesh)
        run = partial(steps, gx.on_axes(tx, specs))
        mapped = jax.shard_map(run, mesh=mesh, in_specs=(specs, of_state), out_specs=(specs, of_state), check_vma=False)
        in_map = jax.jit(mapped)(params, state)
    for each in (state, found[1], in_map[1]):
        assert kinds(each) == ({HOST}, {"device"})
    codes = found[1].stages["offloaded"].stages["stored"].stages["scale_by_adam"].mu["w"].parts["codes"]
    assert codes.sharding.is_equivalent_to(NamedSharding(mesh, P("x"), memory_kind=HOST), 2)
    for each in (found, in_map):
        for name, leaf in each[0].items():
            np.testing.assert_allclose(leaf, expected[0][name], rtol=1e-5, atol=1e-6)


def test_pmap_and_a_state_on_the_device_are_errors():
    tx = gx.offloaded(gx.adam(0.1), min_size=1024)
    words = "expected a state in memory of the kind 'pinned_host'; that at .* is on the device"
    on_device = jax.device_put(tx.init(PARAMS), jax.memory.Space.Device)
    with pytest.raises(ValueError, match=words):
        tx.update(PARAMS, on_device, PARAMS)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), PARAMS)
    with pytest.raises(ValueError, match=words + ".*pmap returns nothing in that memory"):
        jax.pmap(tx.update)(many, jax.pmap(tx.init)(many), many)
    # As the message says.
    everywhere = jax.device_put(PARAMS, NamedSharding(jax.make_mesh((1,), ("x",), devices=jax.devices()[:1]), P()))
    restored = jax.device_put(on_device, gx.state_shardings(tx, everywhere))
    assert kinds(tx.update(everywhere, restored, everywhere)[1]) == ({HOST}, {"device"})


def test_a_backend_without_such_memory():
    kinds = [SimpleNamespace(kind="device"), SimpleNamespace(kind="unpinned_host")]
    device = SimpleNamespace(platform="toaster", addressable_memories=lambda: kinds)
    words = "devices of the platform 'toaster' have no memory of the kind 'pinned_host'.*'device', 'unpinned_host'"
    with pytest.raises(RuntimeError, match=words):
        check_memory(device)


@pytest.mark.parametrize("settings", [{}, {"min_size": 7}, {"where": gx.by_path("w"), "min_size": 8}], ids=repr)
def test_is_a_value(settings):
    tx = gx.offloaded(gx.stored(gx.adamw(0.1), gx.int8()), **settings)
    assert eval(repr(tx), {**vars(gx)}) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert jax.tree.unflatten(jax.tree.structure(tx), jax.tree.leaves(tx)) == tx
    assert tx != gx.offloaded(gx.stored(gx.adamw(0.1), gx.int8()), min_size=9)


def test_what_is_no_transform_and_no_size():
    with pytest.raises(TypeError, match="offloaded: inner must be a transform; got 3"):
        gx.offloaded(3)
    with pytest.raises(TypeError, match=r"offloaded: min_size must be an integer; got 1\.5"):
        gx.offloaded(gx.adam(0.1), min_size=1.5)
