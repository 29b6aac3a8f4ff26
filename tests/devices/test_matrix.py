"""The same numbers on one device and on eight, in every way that JAX has to use them, however the leaves are cut."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx

STEPS = 20
SHAPES = {"dense": {"kernel": (16, 24), "bias": (24,)}, "norm": (8,), "head": (24, 8)}
PLACES = {
    "replicated": P(),
    "fully sharded": {"dense": {"kernel": P(None, "data"), "bias": P("data")}, "norm": P("data"), "head": P("data")},
    "mixed leaves": {"dense": {"kernel": P("data"), "bias": P()}, "norm": P("data"), "head": P(None, "data")},
}
CHAINS = {
    "clip": lambda: gx.chain(gx.clip_by_global_norm(0.5), gx.sgd(0.1)),
    "adamw": lambda: gx.adamw(0.01),
    "lamb": lambda: gx.lamb(0.01),
    "adafactor": lambda: gx.adafactor(0.01, 4, momentum=0.9),
    "prodigy": lambda: gx.prodigy(estim_lr0=1e-2),
    "muon": lambda: gx.muon(0.01),
    "guard": lambda: gx.guard(gx.adam(0.01), max_norm=40.0),
    "accumulate": lambda: gx.accumulate(gx.adam(0.01), 3),
    "cautious": lambda: gx.cautious(gx.adamw(0.01, weight_decay=0.1, cautious=True)),
    "clip, guard and adamw": lambda: gx.chain(gx.clip_by_global_norm(30.0), gx.guard(gx.adamw(0.01), max_norm=29.0)),
}


def drawn(seed):
    rng = np.random.default_rng(seed)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    return structure.unflatten(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


PARAMS = drawn(0)
# Gradients of sizes that change, so that some steps are clipped or skipped and others are not.
# Of NumPy, which compiles nothing where they are cut and put together.
NOISE = jax.tree.map(lambda *leaves: np.stack(leaves), *(drawn(k) for k in range(1, STEPS + 1)))
SIZES = np.exp(np.sin(np.arange(STEPS, dtype=np.float32)))


def step(tx, params, state, noise, size):
    """One step, whose gradient is told by each element alone."""
    grads = jax.tree.map(lambda p, n: size * (n + 0.3 * p), params, noise)
    updates, state = tx.update(grads, state, params)
    return gx.apply_updates(params, updates), state


def twenty_steps(tx, params, state, noise, sizes):
    def body(carry, given):
        return step(tx, *carry, *given), None

    return jax.lax.scan(body, (params, state), (noise, sizes))[0]


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((8,), ("data",), axis_types=(kind,))


def specs_of(place):
    return jax.tree.broadcast(PLACES[place], PARAMS, is_leaf=lambda node: isinstance(node, P))


def over_steps(specs):
    return jax.tree.map(lambda spec: P(None, *spec), specs, is_leaf=lambda node: isinstance(node, P))


def on_one_device(tx):
    return jax.jit(lambda: twenty_steps(tx, PARAMS, tx.init(PARAMS), NOISE, SIZES))()[0]


def by_shard_map(tx, place, check_vma):
    specs = specs_of(place)
    # The types tell of norms of leaves; of means along cut axes, and where types do not tell, the user does.
    tx = gx.on_axes(tx, specs)
    state_specs = gx.state_specs(tx, PARAMS, specs, mesh())
    run = jax.shard_map(
        lambda params, state, noise, sizes: twenty_steps(tx, params, state, noise, sizes),
        mesh=mesh(),
        in_specs=(specs, state_specs, over_steps(specs), P()),
        out_specs=(specs, state_specs),
        check_vma=check_vma,
    )
    state = jax.device_put(tx.init(PARAMS), jax.tree.map(partial(NamedSharding, mesh()), state_specs))
    params, after = jax.jit(run)(PARAMS, state, NOISE, SIZES)
    same_kind(after, state)
    return params


def parts(leaf, spec, lead=0):
    """The parts of a leaf on eight devices, one after the other."""
    cut = [i for i, name in enumerate(spec) if name]
    return np.stack(np.split(leaf, 8, cut[0] + lead) if cut else [leaf] * 8)


def together(stacked, spec):
    cut = [i for i, name in enumerate(spec) if name]
    return np.concatenate(list(np.asarray(stacked)), cut[0]) if cut else stacked[0]


def by_pmap(tx, place):
    specs = specs_of(place)
    tx = gx.on_axes(tx, specs)
    params = jax.tree.map(parts, jax.device_get(PARAMS), specs)
    noise = jax.tree.map(lambda leaf, spec: parts(leaf, spec, 1), NOISE, specs)
    state = jax.pmap(tx.init, axis_name="data")(params)
    run = jax.pmap(lambda params, state, noise: twenty_steps(tx, params, state, noise, SIZES), axis_name="data")
    params, after = run(params, state, noise)
    same_kind(after, state)
    return jax.tree.map(together, params, specs)


def by_jit(tx, place, kind):
    on, specs = mesh(kind), specs_of(place)
    shardings = jax.tree.map(lambda spec: NamedSharding(on, spec), specs, is_leaf=lambda node: isinstance(node, P))
    params = jax.device_put(PARAMS, shardings)
    with jax.set_mesh(on):
        state = gx.init_sharded(tx, params)
        kept = jax.tree.map(lambda leaf: leaf.sharding, state)
        run = jax.jit(lambda *args: step(tx, *args), out_shardings=(shardings, kept))
        carry = (params, state)
        for k in range(STEPS):
            noise = jax.device_put(jax.tree.map(lambda leaf, k=k: leaf[k], NOISE), shardings)
            # Eight devices on two cores: steps that pile up can keep each other from meeting in a sum.
            carry = jax.block_until_ready(run(*carry, noise, SIZES[k]))
    same_kind(carry[1], state)
    return carry[0]


def same_kind(after, before):
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        assert new.sharding.is_equivalent_to(old.sharding, old.ndim)


WAYS = {
    "pmap": by_pmap,
    "shard_map": lambda tx, place: by_shard_map(tx, place, True),
    "shard_map without types": lambda tx, place: by_shard_map(tx, place, False),
    "jit, automatic axes": lambda tx, place: by_jit(tx, place, AxisType.Auto),
    "jit, explicit axes": lambda tx, place: by_jit(tx, place, AxisType.Explicit),
}
REFERENCES = {}


def reference(name):
    """The parameters of a chain on one device; once for all who ask."""
    if name not in REFERENCES:
        REFERENCES[name] = on_one_device(CHAINS[name]())
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), *jax.device_get((REFERENCES[name], PARAMS)))
        assert min(jax.tree.leaves(moved)) > 1e-3
    return REFERENCES[name]


def pairs(ways):
    """Chain, way and place, so that each chain meets each way and each place, and each way each place."""
    return [
        (name, way, list(PLACES)[(row + column) % len(PLACES)])
        for row, name in enumerate(CHAINS)
        for column, way in enumerate(ways)
    ]


@pytest.mark.parametrize(("name", "way", "place"), pairs(WAYS))
def test_same_numbers(name, way, place):
    found = WAYS[way](CHAINS[name](), place)
    for ours, expected in zip(jax.tree.leaves(found), jax.tree.leaves(reference(name)), strict=True):
        # Of the largest parameter: sums over devices round in another order.
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
