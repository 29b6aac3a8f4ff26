"""State in few bits and parameters of 16 bits on many devices: the numbers of one device, and shards of whole blocks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx

STEPS = 6
SHAPES = {"w": (128, 16), "v": (16, 256), "layers": (4, 32, 16), "norm": (24,)}
DTYPES = {"w": jnp.bfloat16, "v": jnp.bfloat16, "layers": jnp.float32, "norm": jnp.float32}
# Data and tensor parallel, on a mesh of (4, 2); of all axes at once, and of none.
SPECS = {"w": P("x", "y"), "v": P(None, ("x", "y")), "layers": P("x", "y"), "norm": P()}
FSDP = {"w": P("x"), "v": P(None, "x"), "layers": P(None, None, "x"), "norm": P("x")}


def adamw(*, stochastic=False, min_size=64):
    nearest, other = gx.int8(16, stochastic=stochastic), gx.int4(16, stochastic=stochastic)
    return gx.stored(gx.adamw(0.01), mu=other, nu=nearest, min_size=min_size)


CHAINS = {
    "int8 and int4": adamw,
    "at random": partial(adamw, stochastic=True),
    "split weights": lambda: gx.split_weights(gx.stored(gx.adam(0.01), gx.as_dtype("bfloat16"), min_size=64)),
}


def drawn(seed, dtypes=None):
    rng = np.random.default_rng(seed)
    dtypes = dtypes or dict.fromkeys(SHAPES, jnp.float32)
    return {name: jnp.asarray(rng.normal(size=shape), dtypes[name]) for name, shape in SHAPES.items()}


PARAMS = drawn(0, DTYPES)
NOISE = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(drawn(seed) for seed in range(1, STEPS + 1)))


def run(tx, params, state, noise):
    """Steps whose gradients are told by each element alone."""

    def body(carry, noise):
        params, state = carry
        grads = jax.tree.map(lambda p, n: (n + 0.3 * p.astype(n.dtype)).astype(p.dtype), params, noise)
        return tx.step(grads, state, params), None

    return jax.lax.scan(body, (params, state), noise)[0]


def over_steps(specs):
    return jax.tree.map(lambda spec: P(None, *spec), specs, is_leaf=is_spec)


def is_spec(node):
    return isinstance(node, P)


def on_mesh(mesh, specs):
    return jax.tree.map(partial(NamedSharding, mesh), specs, is_leaf=is_spec)


def grid(kind=AxisType.Auto, shape=(4, 2)):
    return jax.make_mesh(shape, ("x", "y"), axis_types=(kind,) * 2)


def by_jit(tx, kind, specs=SPECS):
    mesh = grid(kind)
    shardings = on_mesh(mesh, specs)
    with jax.set_mesh(mesh):
        params, noise = jax.device_put((PARAMS, NOISE), (shardings, on_mesh(mesh, over_steps(specs))))
        state = gx.init_sharded(tx, params)
        kept = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
        found = jax.jit(partial(run, tx), out_shardings=kept)(params, state, noise)
    is_sharded(found[1], specs)
    return found


def is_sharded(state, specs):
    """That all parts of what codecs keep of a leaf are sharded as the leaf."""
    paths = jax.tree_util.tree_leaves_with_path(state, is_leaf=lambda node: hasattr(node, "codec"))
    kept = [(path[-1].key, each) for path, each in paths if hasattr(each, "codec")]
    assert len(kept) == 6
    for name, each in kept:
        for part in each.parts.values():
            expected = NamedSharding(part.sharding.mesh, specs[name])
            assert part.sharding.is_equivalent_to(expected, part.ndim), (name, part.sharding)


def by_shard_map(tx, check_vma, told=True, specs=SPECS):
    mesh, tx = grid(), gx.on_axes(tx, specs) if told else tx
    of_state = gx.state_specs(tx, PARAMS, specs, mesh)
    map_ = partial(jax.shard_map, mesh=mesh, check_vma=check_vma)
    begin = map_(tx.init, in_specs=(specs,), out_specs=of_state)
    step = map_(partial(run, tx), in_specs=(specs, of_state, over_steps(specs)), out_specs=(specs, of_state))
    return jax.jit(lambda params, noise: step(params, begin(params), noise))(PARAMS, NOISE)


WAYS = {
    "automatic axes": lambda tx: by_jit(tx, AxisType.Auto),
    "automatic axes, FSDP": lambda tx: by_jit(tx, AxisType.Auto, FSDP),
    "explicit axes": lambda tx: by_jit(tx, AxisType.Explicit),
    "shard_map": lambda tx: by_shard_map(tx, True),
    "shard_map without types": lambda tx: by_shard_map(tx, False),
}
REFERENCES = {}


def reference(name):
    if name not in REFERENCES:
        tx = CHAINS[name]()
        REFERENCES[name] = jax.jit(lambda: run(tx, PARAMS, tx.init(PARAMS), NOISE))()
    return REFERENCES[name]


def same(found, expected):
    """Equal but for a few elements whose code is the next one, where XLA fuses the arithmetic of shards otherwise."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, map(gx.decoded, (found, expected))), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        ours, theirs = (np.asarray(leaf, np.float64) for leaf in (ours, theirs))
        apart, largest = np.abs(ours - theirs), np.max(np.abs(theirs), initial=0)
        # Float32 rounds otherwise by some 1e-7, and a code in a thousand may be so near to the middle of two.
        assert np.mean(apart > 1e-5 * largest) <= 2e-3
        # The codes of int4 are 1/7 of a block's largest apart, those of a companded one more.
        assert np.max(apart, initial=0) <= 0.3 * largest


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("way", WAYS)
def test_same_numbers(name, way):
    same(WAYS[way](CHAINS[name]()), reference(name))


def replicas(mesh, steps=20):
    """Parameters and state of each device after steps with replicated parameters, each device's in a row."""
    tx = gx.chain(gx.pmean_updates("x"), gx.stochastic_rounding(adamw(stochastic=True)))

    def run(data):
        def body(carry, noise):
            params, state = carry
            grads = jax.tree.map(lambda p: (noise[0] * p.astype(noise.dtype) + noise[1]).astype(p.dtype), params)
            return tx.step(grads, state, params), None

        params = {"w": PARAMS["w"], "v": PARAMS["v"]}
        last = jax.lax.scan(body, (params, tx.init(params)), data[0])[0]
        return jax.tree.map(lambda leaf: leaf[None], last)

    data = jnp.asarray(np.random.default_rng(7).normal(size=(8, steps, 2)), jnp.float32)
    # Without types, so that nothing but the numbers makes replicas the same.
    return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=P("x"), out_specs=P("x"), check_vma=False))(data)


def test_replicas_do_not_drift():
    for leaf in jax.tree.leaves(replicas(jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,)))):
        leaf = np.asarray(leaf)
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
