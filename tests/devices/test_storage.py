"""State in few bits and parameters of 16 bits on many devices: the numbers of one, and no block in two shards."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx
from tests.devices import replicas

STEPS = 6
SHAPES = {"w": (2, 128, 16), "v": (16, 256), "norm": (24,)}
DTYPES = {"w": jnp.bfloat16, "v": jnp.bfloat16, "norm": jnp.float32}
# On a mesh of (4, 2): data and tensor parallel, and one axis for all.
SPECS = {"w": P(None, "x", "y"), "v": P(None, ("x", "y")), "norm": P()}
FSDP = {"w": P(None, "x"), "v": P(None, "x"), "norm": P("x")}


def adamw(*, stochastic=False):
    mu, nu = gx.int4(16, stochastic=stochastic), gx.int8(16, stochastic=stochastic)
    return gx.stored(gx.adamw(0.01), mu=mu, nu=nu, min_size=64)


CHAINS = {"to the nearest": adamw, "at random, and split weights": lambda: gx.split_weights(adamw(stochastic=True))}


def drawn(seed, dtypes=None):
    rng = np.random.default_rng(seed)
    dtypes = dtypes or dict.fromkeys(SHAPES, jnp.float32)
    return {name: jnp.asarray(rng.normal(size=shape), dtypes[name]) for name, shape in SHAPES.items()}


PARAMS = drawn(0, DTYPES)
# Of NumPy, which compiles nothing where they are cut and put together.
NOISE = jax.tree.map(lambda *leaves: np.stack(leaves), *(drawn(seed) for seed in range(1, STEPS + 1)))


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
    assert len(kept) == 4
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


def by_pmap(tx):
    mesh, specs = grid(shape=(8, 1)), FSDP | {"norm": P()}
    tx = gx.on_axes(tx, specs)
    params, noise = jax.tree.map(parts, jax.device_get(PARAMS), specs), jax.tree.map(parts, NOISE, over_steps(specs))
    found = jax.pmap(lambda params, noise: run(tx, params, tx.init(params), noise), axis_name="x")(params, noise)
    return jax.tree.map(together, found, (specs, gx.state_specs(tx, PARAMS, specs, mesh)))


def parts(leaf, spec):
    """The parts of a leaf on eight devices, one after the other."""
    axes = [axis for axis, name in enumerate(spec) if name]
    return np.stack(np.split(leaf, 8, axes[0]) if axes else [leaf] * 8)


def together(stacked, spec):
    axes = [axis for axis, name in enumerate(spec) if name]
    return np.concatenate(list(np.asarray(stacked)), axes[0]) if axes else stacked[0]


WAYS = {
    "jit, automatic axes": lambda tx: by_jit(tx, AxisType.Auto),
    "jit, automatic axes, FSDP": lambda tx: by_jit(tx, AxisType.Auto, FSDP),
    "jit, explicit axes": lambda tx: by_jit(tx, AxisType.Explicit),
    "shard_map": lambda tx: by_shard_map(tx, True),
    "shard_map without types": lambda tx: by_shard_map(tx, False),
    "shard_map, untold": lambda tx: by_shard_map(tx, True, told=False),
    "pmap": by_pmap,
}
NEAREST, RANDOM = CHAINS
# Untold, each device has noise of its own; so there only what is not random is the same.
PAIRS = [
    *((NEAREST, way) for way in ("jit, automatic axes", "jit, explicit axes", "shard_map, untold")),
    *((RANDOM, way) for way in WAYS if way != "shard_map, untold"),
]
REFERENCES = {}


def reference(name):
    if name not in REFERENCES:
        tx = CHAINS[name]()
        REFERENCES[name] = jax.jit(lambda: run(tx, PARAMS, tx.init(PARAMS), NOISE))()
    return REFERENCES[name]


# However arrays were sharded, what they are decoded by is one program.
decoded = jax.jit(gx.decoded)


def same(found, expected):
    """Equal but for a few elements whose code is the next one, where XLA fuses the arithmetic of shards otherwise."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    leaves = (jax.tree.leaves(decoded(jax.device_get(each))) for each in (found, expected))
    for ours, theirs in zip(*leaves, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        ours, theirs = (np.asarray(leaf, np.float64) for leaf in (ours, theirs))
        apart, largest = np.abs(ours - theirs), np.max(np.abs(theirs), initial=0)
        # Float32 rounds otherwise by some 1e-7, and a code in a thousand may be so near to the middle of two.
        assert np.mean(apart > 1e-5 * largest) <= 2e-3
        # The codes of int4 are 1/7 of a block's largest apart, those of a companded one more.
        assert np.max(apart, initial=0) <= 0.3 * largest


@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_same_numbers(name, way):
    same(WAYS[way](CHAINS[name]()), reference(name))


def test_replicas_do_not_drift():
    replicas.same(replicas.of(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)))(replicas.DATA))


@pytest.mark.parametrize("wrapped", ["stochastic_rounding", "split_weights", "kahan", "master_weights"])
def test_what_is_kept_beside_parameters_is_sharded_as_they_are(wrapped):
    tx = getattr(gx, wrapped)(gx.sgd(0.1))
    for zero, expected in ((None, SPECS["w"]), ("z", P("z", "x", "y"))):
        mesh = jax.sharding.AbstractMesh((4, 2, 2), ("x", "y", "z"))
        specs = gx.state_specs(tx, PARAMS, SPECS, mesh, zero=zero)
        _, *beside = specs.stages[wrapped]
        assert all(column["w"] == expected for column in beside)
        assert len(beside) == (wrapped != "stochastic_rounding")


ZERO = {"w": jnp.ones((96, 16)), "v": jnp.ones((16, 64)), "b": jnp.ones(24)}


@pytest.mark.parametrize("inside", [True, False], ids=["zero of stored", "stored of zero"])
@pytest.mark.parametrize("check_vma", [True, False])
def test_zero_cuts_no_block_and_has_the_numbers_of_one_device(inside, check_vma):
    codec = {"mu": gx.int8(16), "nu": gx.int8(16, stochastic=True), "min_size": 64}
    if inside:
        tx = gx.zero(gx.stored(gx.adamw(0.01), **codec), "x", min_size=64)
    else:
        tx = gx.stored(gx.zero(gx.adamw(0.01), "x", min_size=64), **codec)
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    specs = gx.state_specs(tx, ZERO, P(), mesh)

    def steps(tx, params, state, data):
        def body(carry, scale):
            params, state = carry
            grads = jax.tree.map(
                lambda p: 0.3 * p + jnp.sin(scale * jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params
            )
            updates, state = tx.update(grads, state, params)
            return (gx.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (params, state), data)[0]

    data = jnp.arange(1.0, 4.0)
    on_map = jax.shard_map(
        partial(steps, tx), mesh=mesh, in_specs=(P(), specs, P()), out_specs=(P(), specs), check_vma=check_vma
    )
    # The blocks are those of the whole, so that `init` need not know of the devices.
    state = jax.device_put(jax.jit(tx.init)(ZERO), on_mesh(mesh, specs))
    params, state = jax.jit(on_map)(ZERO, state, data)
    plain = gx.stored(gx.adamw(0.01), **codec)
    expected, expected_state = jax.jit(lambda params: steps(plain, params, plain.init(params), data))(ZERO)
    same(params, expected)
    adam = state.stages["zero"] if inside else state.stages["stored"].stages["zero"]
    adam = (adam.stages["stored"] if inside else adam).stages["scale_by_adam"]
    expected = expected_state.stages["stored"].stages["scale_by_adam"]
    same(adam.mu, expected.mu)
    same(adam.nu, expected.nu)
    # Along its longer axis a device would have 12 rows, in which no block of 16 is whole.
    assert jax.tree.map(lambda part: part.sharding.spec, adam.mu["w"]).parts == {
        "codes": P(None, "x"),
        "scale": P(None, "x"),
    }
    assert jax.tree.map(lambda part: part.sharding.spec, adam.mu["v"]).parts == {
        "codes": P(None, "x"),
        "scale": P(None, "x"),
    }


GPT = {
    "embedding": (65, 384),
    "qkv": (6, 384, 1152),
    "out": (384, 384),
    "up": (384, 1536),
    "down": (1536, 384),
    "bias": (1536,),
}


@pytest.mark.parametrize("codec", [gx.int8(), gx.int4(stochastic=False)], ids=["int8", "int4"])
@pytest.mark.parametrize("kind", ["zero", "state_specs(zero=...)"])
def test_eight_devices_divide_the_codes_of_a_language_model(kind, codec):
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in GPT.items()}
    mesh, tx = jax.sharding.AbstractMesh((8,), ("x",)), gx.stored(gx.adamw(0.01), codec)
    if kind == "zero":
        specs = gx.state_specs(gx.zero(tx, "x"), params, P(), mesh)
    else:
        specs = gx.state_specs(tx, params, P(), mesh, zero="x")
    found = {
        jax.tree_util.keystr(path): spec for path, spec in jax.tree_util.tree_leaves_with_path(specs, is_leaf=is_spec)
    }
    # Its 65 rows do not divide, and along the other axis are three blocks.
    whole = {name for name, spec in found.items() if not any(spec)}
    assert all("count" in name or "embedding" in name for name in whole)
    assert len(found) - len(whole) == 2 * (2 * 4 + 1)


def crossing(place):
    """A block of 16 that shards of 12 would cross, met on a path of JAX."""
    tx, specs = gx.stored(gx.adam(0.1), gx.int8(16), min_size=64), {"w": P("x"), "b": P()}
    params = {"w": jnp.ones((96, 48)), "b": jnp.ones(8)}
    mesh, explicit = (jax.make_mesh((8,), ("x",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit))
    match place:
        case "state_specs":
            gx.state_specs(tx, params, specs, mesh)
        case "init_sharded":
            gx.init_sharded(tx, jax.device_put(params, on_mesh(mesh, specs)))
        case "explicit axes":
            jax.eval_shape(tx.init, jax.device_put(params, on_mesh(explicit, specs)))
        case "shard_map" | "shard_map without types":
            told = gx.on_axes(tx, specs)
            check_vma = place == "shard_map"
            map_ = jax.shard_map(told.init, mesh=mesh, in_specs=(specs,), out_specs=P(), check_vma=check_vma)
            jax.eval_shape(map_, params)
        case "pmap":
            parted = jax.tree.map(parts, params, specs)
            jax.pmap(gx.on_axes(tx, specs).init, axis_name="x")(parted)


@pytest.mark.parametrize(
    "place", ["state_specs", "init_sharded", "explicit axes", "shard_map", "shard_map without types", "pmap"]
)
def test_a_shard_that_a_block_would_cross(place):
    words = (
        r"stored: slot mu at 'w': its shape is \(96, 48\), and a block of 16 along axis 0 would cross shards, of which "
        r"each of 8 has 12; block=12 or axis=1 would fit; leave it out with where="
    )
    with pytest.raises(ValueError, match=words):
        crossing(place)


def test_blocks_of_which_nobody_told_where_they_are_cut():
    tx, mesh = (
        gx.stored(gx.adam(0.1), gx.int8(16), min_size=64),
        jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,)),
    )
    words = r"slot mu at 'w': each device has \(12, 48\) of it, .* varies over mesh axes \('x',\).*tell it with on_axes"
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(jax.shard_map(tx.init, mesh=mesh, in_specs=P("x"), out_specs=P("x")), {"w": jnp.ones((96, 48))})


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic axes", "explicit axes"])
def test_a_step_exchanges_what_the_plain_one_does(kind):
    mesh = grid(kind)
    shardings = on_mesh(mesh, SPECS)

    def exchanges(tx):
        with jax.set_mesh(mesh):
            params = jax.tree.map(
                lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                PARAMS,
                shardings,
            )
            kept = gx.state_shardings(tx, params)
            state = jax.tree.map(
                lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                jax.eval_shape(tx.init, params),
                kept,
            )
            step = jax.jit(lambda p, s, g: tx.step(g, s, p), out_shardings=(shardings, kept))
            found = gx.program(step.lower(params, state, params).compile()).collectives
        return sorted((each.kind, each.bytes) for each in found)

    plain = exchanges(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.01)))
    assert plain
    assert exchanges(gx.split_weights(gx.chain(gx.clip_by_global_norm(1.0), adamw(stochastic=True)))) == plain


def test_a_checkpoint_of_eight_devices_restores_onto_another_mesh_and_onto_one_device(tmp_path):
    tx = CHAINS[NEAREST]()
    params, state = by_jit(tx, AxisType.Auto)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "saved", {"params": params, "state": state})
        checkpointer.wait_until_finished()
        for mesh in (grid(shape=(2, 4)), jax.make_mesh((1, 1), ("x", "y"), devices=jax.devices()[:1])):
            shardings = on_mesh(mesh, SPECS)
            like = {"params": shardings, "state": gx.state_shardings(tx, PARAMS, shardings)}
            like = jax.tree.map(
                lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                {"params": params, "state": state},
                like,
            )
            restored = checkpointer.restore(tmp_path / "saved", like)
            assert jax.tree.structure(restored["state"]) == jax.tree.structure(state)
            for ours, theirs, wanted in zip(
                *map(jax.tree.leaves, (restored["state"], state, like["state"])), strict=True
            ):
                assert ours.sharding == wanted.sharding
                np.testing.assert_array_equal(ours, theirs)


def test_zero_of_split_weights_steps_as_one_device():
    inner = gx.split_weights(gx.adamw(0.1), 16)
    tx, mesh = gx.zero(inner, "x", min_size=64), jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    params = {"w": PARAMS["w"], "norm": PARAMS["norm"]}
    # A mean of eight that are equal is exact.
    grads = jax.tree.map(jnp.sign, params)
    specs = gx.state_specs(tx, params, P(), mesh)
    assert specs.stages["zero"].stages["split_weights"].error["w"] == P(None, "x", None)

    def three_steps(tx, params, state, grads):
        for _ in range(3):
            params, state = tx.step(grads, state, params)
        return params, state

    on_map = jax.shard_map(partial(three_steps, tx), mesh=mesh, in_specs=(P(), specs, P()), out_specs=(P(), specs))
    params_there, state = jax.jit(on_map)(params, tx.init(params), grads)
    expected, expected_state = jax.jit(partial(three_steps, inner))(params, inner.init(params), grads)
    # Float32 of one device to rounding, as XLA fuses parts otherwise; parameters of bfloat16 are 4e-3 apart.
    np.testing.assert_allclose(params_there["norm"], expected["norm"], atol=1e-6)
    ours, theirs = (_wide(*each) for each in ((params_there, state.stages["zero"]), (expected, expected_state)))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def _wide(params, state):
    """The parameter w and the bits that it lacks as one number."""
    high = jax.lax.bitcast_convert_type(params["w"], jnp.uint16).astype(jnp.int32) << 16
    low = state.stages["split_weights"].error["w"].astype(jnp.int32)
    return jax.lax.bitcast_convert_type(high + low, jnp.float32)


def test_untold_shards_have_random_numbers_of_their_own():
    tx, mesh = gx.stored(gx.trace(0.9), gx.int8(16, stochastic=True), min_size=64), grid()
    grads = jnp.tile(NOISE["v"][0][:, :32], (4, 1))

    def first_codes(grads):
        _, state = tx.update(grads, tx.init(grads))
        return state.stages["stored"].stages["trace"].trace.parts["codes"]

    # Over y the shards are replicas, which the types hold to be the same.
    codes = jax.jit(jax.shard_map(first_codes, mesh=mesh, in_specs=P("x"), out_specs=P("x")))(grads)
    shards = np.stack(np.split(np.asarray(codes, np.int32), 4))
    # Of what is the same on all shards some is rounded down on one and up on another.
    apart = np.abs(shards - shards[:1])
    assert np.max(apart) == 1
    assert all(np.any(each) for each in apart[1:])
