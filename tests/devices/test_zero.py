"""zero: the state is divided among the devices, and the numbers are those of the transform on mean gradients."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

STEPS = 20
SHAPES = {"dense": {"kernel": (16, 24), "bias": (24,)}, "head": (24, 8)}
CHAINS = {
    "adamw": gx.adamw(0.01),
    "mars and came": gx.chain(gx.mars(), gx.came(0.01)),
    "clip and adamw": gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.01)),
    "guards": gx.chain(
        gx.zclip(1.0, 0.9, 5),
        gx.autoclip(50.0, 6),
        gx.adagc(1.1, 0.9, 5),
        gx.adamw(0.01, b2=0.9, clipping_threshold=0.8),
    ),
    "lamb": gx.lamb(0.01),
    "adafactor": gx.adafactor(0.01, 4, momentum=0.9),
    "prodigy": gx.prodigy(estim_lr0=1e-2),
    "sgd with momentum": gx.sgd(0.1, 0.9),
    "cautious": gx.cautious(gx.adamw(0.01, weight_decay=0.1, cautious=True)),
    "towards the first": gx.chain(gx.add_decay_toward_first(0.1), gx.sgd(0.1, 0.9)),
    "partition": gx.partition(
        {"matrices": gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.01)), "rest": gx.sgd(0.1, 0.9)},
        gx.labels({gx.by_ndim(2): "matrices"}, "rest"),
    ),
    "masked and frozen": gx.chain(
        gx.masked(gx.clip_by_global_norm(0.5), gx.by_path("dense/*")),
        gx.selective_transform(gx.adam(0.01), freeze_mask=gx.by_path("head")),
        gx.scale_by_group({"dense": 0.5, "rest": 1.0}, gx.labels({"dense/*": "dense"}, "rest")),
        gx.freeze(gx.by_path("*/bias"), until=10),
    ),
}


def drawn(seed, *lead):
    rng = np.random.default_rng(seed)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    return structure.unflatten(jnp.asarray(rng.normal(size=(*lead, *shape)), jnp.float32) for shape in shapes)


PARAMS = drawn(0)
# For each step a gradient of each device's own.
NOISE = drawn(1, STEPS, 8)


def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


def model_mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def steps(tx, params, state, noise):
    def body(carry, noise):
        params, state = carry
        grads = jax.tree.map(lambda p, n: (n + 0.3 * p).astype(p.dtype), params, noise)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), None

    return jax.lax.scan(body, (params, state), noise)[0]


def on_one_device(tx):
    noise = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=1), NOISE)
    return jax.jit(lambda: steps(tx, PARAMS, tx.init(PARAMS), noise))()[0]


def mine(noise):
    return jax.tree.map(lambda leaf: leaf[:, 0], noise)


def by_shard_map(tx, check_vma):
    def run(params, noise):
        return steps(tx, params, tx.init(params), mine(noise))[0]

    in_specs = (P(), P(None, "data"))
    return jax.jit(jax.shard_map(run, mesh=mesh(), in_specs=in_specs, out_specs=P(), check_vma=check_vma))(
        PARAMS, NOISE
    )


def by_pmap(tx):
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), PARAMS)
    noise = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), NOISE)
    run = jax.pmap(lambda params, noise: steps(tx, params, tx.init(params), noise)[0], axis_name="data")
    found = run(params, noise)
    for leaf in jax.tree.leaves(found):
        np.testing.assert_array_equal(leaf, jnp.stack([leaf[0]] * 8))
    return jax.tree.map(lambda leaf: leaf[0], found)


def assert_close(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Of the largest parameter: sums over devices round in another order.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(theirs))))


WAYS = {
    "shard_map": lambda tx: by_shard_map(tx, True),
    "shard_map without types": lambda tx: by_shard_map(tx, False),
    "pmap": by_pmap,
}
REFERENCES = {}


# These in all ways, the others in two each.
IN_ALL_WAYS = ("adamw", "clip and adamw", "partition")


CHAINS_AND_WAYS = [
    (name, way)
    for row, name in enumerate(CHAINS)
    for column, way in enumerate(WAYS)
    if name in IN_ALL_WAYS or (row + column) % len(WAYS)
]


@pytest.mark.parametrize(("name", "way"), CHAINS_AND_WAYS)
def test_is_the_transform_on_mean_gradients(name, way):
    if name not in REFERENCES:
        REFERENCES[name] = on_one_device(CHAINS[name])
    # The bias is smaller than the least size, and stays whole.
    assert_close(WAYS[way](gx.zero(CHAINS[name], "data", min_size=100)), REFERENCES[name])


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("name", ["clip and adamw", "adafactor", "prodigy"])
def test_init_outside_of_the_map(name, check_vma):
    tx = gx.zero(CHAINS[name], "data", min_size=100)
    specs = gx.state_specs(tx, PARAMS, P(), mesh())
    run = jax.shard_map(
        lambda params, state, noise: steps(tx, params, state, mine(noise)),
        mesh=mesh(),
        in_specs=(P(), specs, P(None, "data")),
        out_specs=(P(), specs),
        check_vma=check_vma,
    )
    state = gx.init_sharded(tx, jax.device_put(PARAMS, jax.NamedSharding(mesh(), P())))
    assert jax.tree.map(lambda leaf: leaf.sharding.spec, state) == specs
    params, after = jax.jit(run)(PARAMS, state, NOISE)
    assert_close(params, on_one_device(CHAINS[name]))
    assert jax.tree.map(kind, after) == jax.tree.map(kind, state)


def kind(leaf):
    return leaf.shape, leaf.dtype, leaf.sharding.shard_shape(leaf.shape)


def test_slots_are_cut_and_those_of_small_leaves_whole():
    specs = gx.state_specs(gx.zero(gx.adam(0.1), "data", min_size=100), PARAMS, P(), mesh())
    assert specs.stages["zero"].stages["scale_by_adam"].mu == {
        "dense": {"kernel": P(None, "data"), "bias": P(None)},
        "head": P("data", None),
    }


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("name", ["clip and adamw", "adafactor"])
def test_leaves_that_another_axis_cuts(name, where, check_vma):
    specs = {"dense": {"kernel": P(None, "model"), "bias": P("model")}, "head": P("model")}
    plain = CHAINS[name]
    if where == "inside":
        tx = gx.zero(gx.on_axes(plain, specs), "data", min_size=20)
    else:
        tx = gx.on_axes(gx.zero(plain, "data", min_size=20), specs)
    state_specs = gx.state_specs(tx, PARAMS, specs, model_mesh())
    # Of the eight gradients two go to each of the four devices that differ in their data.
    noise = jax.tree.map(lambda leaf: leaf.reshape(STEPS, 4, 2, *leaf.shape[2:]).mean(2), NOISE)
    noise_specs = jax.tree.map(lambda spec: P(None, "data", *spec), specs, is_leaf=lambda node: isinstance(node, P))
    run = jax.shard_map(
        lambda params, state, noise: steps(tx, params, state, mine(noise))[0],
        mesh=model_mesh(),
        in_specs=(specs, state_specs, noise_specs),
        out_specs=specs,
        check_vma=check_vma,
    )
    assert_close(jax.jit(run)(PARAMS, tx.init(PARAMS), noise), on_one_device(plain))


def test_bfloat16_parameters_have_float32_slots_and_bfloat16_updates():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    tx = gx.zero(gx.adamw(0.01), "data", min_size=100)

    def run(params):
        updates, state = tx.update(params, tx.init(params), params)
        return updates, state.stages["zero"].stages["scale_by_adam"].nu["head"]

    updates, nu = jax.jit(jax.shard_map(run, mesh=mesh(), in_specs=P(), out_specs=(P(), P("data"))))(params)
    plain = gx.adamw(0.01)
    expected, _ = plain.update(params, plain.init(params), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    assert nu.dtype == jnp.float32
    # One unit in the last place of bfloat16.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(*map(np.float32, (a, b)), rtol=8e-3), updates, expected)


def test_gradients_that_jax_has_summed_are_cut_and_not_summed_again():
    # The derivative by parameters that are the same everywhere comes summed where types tell.
    tx = gx.zero(gx.sgd(1.0), "data", mean=False, min_size=1)

    def run(w, x):
        grads = jax.grad(lambda w: jnp.sum(w * x[0]))(w)
        return tx.update(grads, tx.init(w), w)[0]

    x = jnp.arange(64.0).reshape(8, 8)
    updates = jax.jit(jax.shard_map(run, mesh=mesh(), in_specs=(P(), P("data")), out_specs=P()))(jnp.ones(8), x)
    np.testing.assert_allclose(updates, -jnp.sum(x, 0), rtol=1e-6)


def test_the_sum_of_gradients():
    tx = gx.zero(gx.sgd(1.0), "data", mean=False, min_size=1)
    run = jax.shard_map(
        lambda x: tx.update(x[0], tx.init(x[0]))[0], mesh=mesh(), in_specs=P("data"), out_specs=P(), check_vma=False
    )
    x = jnp.arange(64.0).reshape(8, 8)
    np.testing.assert_allclose(jax.jit(run)(x), -jnp.sum(x, 0), rtol=1e-6)


def test_extra_arguments_reach_the_rules():
    tx = gx.zero(gx.polyak_sgd(), "data", min_size=1)
    run = jax.shard_map(
        lambda x: tx.update(x, tx.init(x), x, value=jnp.ones(()))[0], mesh=mesh(), in_specs=P(), out_specs=P()
    )
    x = jnp.arange(8.0)
    plain = gx.polyak_sgd()
    np.testing.assert_allclose(jax.jit(run)(x), plain.update(x, plain.init(x), x, value=1.0)[0], rtol=1e-6)


def test_is_a_value():
    def make():
        return gx.chain(gx.zero(gx.adamw(gx.cosine_decay_schedule(0.1, 10)), "data", min_size=7), gx.scale(0.5))

    tx = make()
    assert tx == make()
    assert hash(tx) == hash(make())
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert tx != gx.chain(gx.zero(gx.adamw(gx.cosine_decay_schedule(0.1, 10)), "data"), gx.scale(0.5))
    names = vars(gx)
    assert eval(repr(tx), dict(names)) == tx
    assert jax.tree.unflatten(jax.tree.structure(tx), jax.tree.leaves(tx)) == tx
    replaced = gx.replace(gx.zero(gx.sgd(0.1), "data"), learning_rate=0.2)
    assert replaced == gx.zero(gx.sgd(0.2), "data")


@pytest.mark.parametrize("settings", [{}, {"mean": True}, {"mean": False}, {"min_size": 8}], ids=repr)
def test_what_was_said_is_what_is_printed(settings):
    tx = gx.zero(gx.sgd(0.1), "data", **settings)
    assert eval(repr(tx), {**vars(gx)}) == tx


def init_in_map(tx, params=PARAMS, **kwargs):
    run = jax.shard_map(tx.init, mesh=mesh(), in_specs=P(), out_specs=P(), check_vma=False, **kwargs)
    return jax.eval_shape(run, params)


def test_an_axis_that_is_not_mapped():
    tx = gx.zero(gx.adam(0.1), "model")
    with pytest.raises(ValueError, match="zero: there is no mapped axis 'model' here; mapped are 'data'"):
        init_in_map(tx)
    with pytest.raises(ValueError, match="no mapped axis 'model' here; mapped are 'data'"):
        jax.pmap(tx.init, axis_name="data")({"w": jnp.ones((8, 3))})
    with pytest.raises(ValueError, match="no mapped axis 'model' here; nothing is: call it inside shard_map or pmap"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="zero: there is no mesh axis 'model'; there are 'data'"):
        gx.state_specs(tx, PARAMS, P(), mesh())


def test_a_leaf_that_the_devices_do_not_divide():
    tx = gx.zero(gx.adam(0.1), "data", min_size=20)
    params = {"dense": {"odd": jnp.ones((7, 9))}}
    words = (
        r"zero: 8 devices along 'data' divide no whole axis of the leaf at 'dense/odd', of shape \(7, 9\); "
        "a min_size above 63 leaves it whole"
    )
    with pytest.raises(ValueError, match=words):
        init_in_map(tx, params)
    with pytest.raises(ValueError, match=words):
        gx.state_specs(tx, params, P(), mesh())
    with pytest.raises(ValueError, match=words):
        jax.pmap(tx.init, axis_name="data")(jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), params))
    init_in_map(gx.zero(gx.adam(0.1), "data", min_size=64), params)


def test_a_leaf_that_another_axis_cuts_and_nobody_told():
    tx = gx.zero(gx.adam(0.1), "data")
    run = jax.shard_map(tx.init, mesh=model_mesh(), in_specs=P("model"), out_specs=P("model"))
    with pytest.raises(ValueError, match=r"zero: the leaf at 'w' varies over mesh axis 'model' too.*on_axes"):
        jax.eval_shape(run, {"w": jnp.ones((8, 8))})


@pytest.mark.parametrize("inner", [optax.adam(0.1), 3, gx.adam], ids=["optax", "number", "function"])
def test_inner_is_no_transform(inner):
    with pytest.raises(TypeError, match="zero: inner must be a gradxform transform; put an optax one in a chain"):
        gx.zero(inner, "data")


def test_axis_name_is_no_name():
    with pytest.raises(TypeError, match=r"zero: axis_name must be the name of a mesh axis; got \('data',\)"):
        gx.zero(gx.adam(0.1), ("data",))


def test_a_parameter_that_is_no_array():
    with pytest.raises(TypeError, match="parameters: expected an array at 'f'"):
        gx.zero(gx.adam(0.1), "data").init({"f": jnp.sin})


def test_gradients_that_do_not_fit_the_parameters():
    tx = gx.zero(gx.adam(0.1), "data", min_size=1)
    run = jax.shard_map(
        lambda p, g: tx.update(g, tx.init(p), p), mesh=mesh(), in_specs=P(), out_specs=P(), check_vma=False
    )
    with pytest.raises(ValueError, match=r"updates: expected shape .* at 'w'"):
        jax.eval_shape(run, {"w": jnp.ones(16)}, {"w": jnp.ones(8)})
    with pytest.raises(ValueError, match="updates: expected a leaf at 'w'"):
        jax.eval_shape(run, {"w": jnp.ones(16)}, {"v": jnp.ones(16)})


def test_optax_transforms_of_single_elements_in_a_chain():
    tx = gx.zero(gx.chain(optax.adam(0.01)), "data", min_size=100)
    # optax multiplies by integers.
    with jax.numpy_dtype_promotion("standard"):
        found = by_shard_map(tx, True)
    assert_close(found, on_one_device(gx.adam(0.01)))


def test_wraps_and_is_wrapped():
    tx = gx.masked(gx.zero(gx.sgd(0.1, 0.9), "data", min_size=100), {"dense": True, "head": True})
    assert_close(by_shard_map(tx, True), on_one_device(gx.sgd(0.1, 0.9)))


MATRICES = {"w": jnp.ones((16, 24)), "b": jnp.ones(24)}


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (gx.chain(optax.contrib.muon(0.1)), "takes the elements of a leaf together"),
        (gx.chain(optax.clip_by_global_norm(1.0)), r"clip_by_global_norm takes .*\(reduce_sum\)"),
        (gx.masked(optax.contrib.muon(0.1), True), "partition takes the elements"),
        (gx.masked(gx.lbfgs(linesearch=None), True), "lbfgs takes the elements"),
        (gx.inject_hyperparams(optax.contrib.muon)(0.1), "inject_hyperparams takes the elements"),
        (gx.lbfgs(linesearch=None), "lbfgs takes the elements"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_guest_that_needs_whole_leaves_is_an_error(inner, words):
    tx = gx.zero(inner, "data", min_size=100)
    run = jax.shard_map(
        lambda w: tx.update(w, tx.init(w), w)[0], mesh=mesh(), in_specs=P(), out_specs=P(), check_vma=False
    )
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        pytest.raises(ValueError, match=words + r".*part of the leaf at 'w', sharded over mesh axes \('data',\)"),
    ):
        jax.eval_shape(run, MATRICES)


def test_a_guest_sees_leaves_whole_that_are_small():
    tx = gx.zero(gx.chain(optax.clip_by_global_norm(1.0)), "data", min_size=1000)
    run = jax.shard_map(
        lambda w: tx.update(w, tx.init(w), w)[0], mesh=mesh(), in_specs=P(), out_specs=P(), check_vma=False
    )
    # optax multiplies by integers.
    with jax.numpy_dtype_promotion("standard"):
        # 408 squares are summed in float32, one after the other.
        np.testing.assert_allclose(optax.tree.norm(jax.jit(run)(MATRICES)), 1.0, rtol=1e-5)


def test_a_guest_that_knows_of_devices_is_left_alone():
    def summed(updates, params=None):
        size = jax.lax.psum(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates)), "data")
        return jax.tree.map(lambda leaf: leaf / size, updates)

    tx = gx.on_axes(gx.chain(optax.stateless(summed)), P("data"))
    run = jax.shard_map(lambda w: tx.update(w, tx.init(w), w)[0], mesh=mesh(), in_specs=P("data"), out_specs=P("data"))
    np.testing.assert_allclose(jax.jit(run)(jnp.ones(16)), 1 / 16)
