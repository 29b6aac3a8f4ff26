"""Shardings of states: slots lie as their parameters do, nothing is whole on one device, and zero cuts them too."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx

KINDS = {"automatic axes": AxisType.Auto, "explicit axes": AxisType.Explicit}
SHAPES = {"dense": {"kernel": (64, 48), "bias": (48,)}, "norm": (4,), "head": (48, 64)}
SPECS = {"dense": {"kernel": P("data"), "bias": P()}, "norm": P(), "head": P(None, "data")}
TRANSFORMS = {
    "adamw": lambda: gx.adamw(0.01),
    "clip and lamb": lambda: gx.chain(gx.clip_by_global_norm(1.0), gx.lamb(0.01)),
    "adafactor": lambda: gx.adafactor(0.01, 4, momentum=0.9),
    "dog": lambda: gx.dog(),
    "masked": lambda: gx.masked(gx.adam(0.01), {"dense": True, "norm": False, "head": True}),
    "partition": lambda: gx.partition(
        {"a": gx.adam(0.01), "b": gx.sgd(0.1, 0.9)}, {"dense": "a", "norm": "b", "head": "b"}
    ),
    "accumulate": lambda: gx.accumulate(gx.adam(0.01), 2),
    "optax.adam": lambda: optax.adam(0.01),
    "optax.chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9)),
    "MultiSteps": lambda: optax.MultiSteps(gx.adam(0.01), 2),
}


def drawn(seed):
    rng = np.random.default_rng(seed)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    return structure.unflatten(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((8,), ("data",), axis_types=(kind,))


def placed(tree, on, specs=SPECS):
    return jax.device_put(tree, jax.tree.map(lambda spec: NamedSharding(on, spec), specs, is_leaf=is_spec))


def is_spec(node):
    return isinstance(node, P)


def per_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def whole(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def slots_at(state, path):
    return [leaf for where, leaf in jax.tree_util.tree_leaves_with_path(state) if path in jax.tree_util.keystr(where)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_slots_lie_as_their_parameters_before_and_after_steps(name, kind):
    tx, on = TRANSFORMS[name](), mesh(KINDS[kind])
    params = placed(drawn(0), on)
    # optax's numbers of several dtypes meet.
    with jax.set_mesh(on), jax.numpy_dtype_promotion("standard"):
        state = gx.init_sharded(tx, params)
        before = jax.tree.map(lambda leaf: leaf.sharding, (params, state))

        @jax.jit
        def step(params, state):
            updates, state = tx.update(jax.tree.map(lambda p: 0.3 * p + 1, params), state, params)
            return gx.apply_updates(params, updates), state

        after = step(*step(params, state))
    like_kernel = [leaf for leaf in slots_at(state, "kernel") if leaf.shape == (64, 48)]
    assert like_kernel
    for leaf in like_kernel:
        assert leaf.sharding.is_equivalent_to(params["dense"]["kernel"].sharding, 2)
    for new, sharding in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert new.sharding.is_equivalent_to(sharding, new.ndim), jax.tree.map(lambda leaf: leaf.sharding, after)


def test_lookahead_whose_parameters_are_pairs():
    tx, on = gx.lookahead(gx.adam(0.01), 3, 0.5), mesh()
    params = optax.LookaheadParams.init_synced(placed(drawn(0), on))
    state = gx.init_sharded(tx, params)
    before = jax.tree.map(lambda leaf: leaf.sharding, (params, state))

    @jax.jit
    def step(params, state):
        # optax multiplies bools by floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(params.fast, state, params)
        return gx.apply_updates(params, updates), state

    after = step(params, state)
    for new, sharding in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert new.sharding.is_equivalent_to(sharding, new.ndim)
    for leaf in slots_at(state, "kernel"):
        assert leaf.sharding.is_equivalent_to(params.fast["dense"]["kernel"].sharding, 2)


def test_factored_slots_are_cut_along_the_axes_that_they_keep():
    specs = gx.state_specs(gx.scale_by_factored_rms(min_dim_size_to_factor=4), drawn(0), SPECS, mesh())
    record = specs.stages["scale_by_factored_rms"]
    assert (record.v_row["dense"]["kernel"], record.v_col["dense"]["kernel"]) == (P(None), P("data"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [None, "data"])
@pytest.mark.parametrize("name", ["adamw", "optax.adam", "dog"])
def test_init_holds_no_whole_copy_on_a_device(name, zero, kind):
    tx, on = TRANSFORMS[name](), mesh(KINDS[kind])
    params = placed(drawn(0), on, jax.tree.map(lambda _: P(), SPECS, is_leaf=is_spec) if zero else SPECS)
    with jax.set_mesh(on):
        shardings = gx.state_shardings(tx, params, zero=zero, min_size=40)
        compiled = jax.jit(tx.init, out_shardings=shardings).lower(params).compile()
        state = gx.init_sharded(tx, params, zero=zero, min_size=40)
    memory = compiled.memory_analysis()
    # What is small and whole: a bias, scalars, and the pointers of the tuple that is returned.
    assert memory.output_size_in_bytes + memory.temp_size_in_bytes < whole(state) / 8 + 2048
    assert per_device(state) < whole(state) / 8 + 1024


WIDTH = 32


def small_gpt():
    """The parameters of a small language model, and its loss."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(0.1 * rng.normal(size=shape), jnp.float32)

    def block():
        return {
            "norm": normal(WIDTH),
            "qkv": normal(WIDTH, 3 * WIDTH),
            "out": normal(WIDTH, WIDTH),
            "up": normal(WIDTH, 4 * WIDTH),
            "bias": normal(4 * WIDTH),
            "down": normal(4 * WIDTH, WIDTH),
        }

    params = {"embedding": normal(64, WIDTH), "blocks": [block(), block()], "head": normal(WIDTH, 64)}
    return params, jnp.asarray(rng.integers(0, 64, (16, 12)))


def loss(params, tokens):
    hidden = params["embedding"][tokens]
    for block in params["blocks"]:
        q, k, v = jnp.split((hidden * (1 + block["norm"][None, None])) @ block["qkv"], 3, -1)
        hidden = hidden + jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v @ block["out"]
        hidden = hidden + jax.nn.gelu(hidden @ block["up"] + block["bias"][None, None]) @ block["down"]
    scores = jax.nn.log_softmax(hidden @ params["head"])
    return -jnp.mean(jnp.take_along_axis(scores, jnp.roll(tokens, -1, -1)[..., None], -1))


def step_of(tx):
    def step(params, state, tokens):
        updates, state = tx.update(jax.grad(loss)(params, tokens), state, params)
        return gx.apply_updates(params, updates), state

    return step


@pytest.mark.parametrize("name", ["adamw", "lamb", "adafactor", "prodigy", "sm3", "guard", "accumulate"])
def test_zero_leaves_each_device_an_eighth(name):
    """Of adafactor's vectors too, if they may be cut."""
    within = {"guard": lambda: gx.guard(gx.adamw(0.1)), "accumulate": lambda: gx.accumulate(gx.adamw(0.1), 8)}
    tx = within[name]() if name in within else getattr(gx, name)(0.1)
    params = {"dense": jnp.ones((512, 384)), "bias": jnp.ones(384), "more": [jnp.ones((256, 1024))] * 4}
    state = gx.init_sharded(tx, jax.device_put(params, NamedSharding(mesh(), P())), zero="data", min_size=8)
    assert per_device(state) <= whole(tx.init(params)) / 8 * 1.05


@pytest.mark.parametrize(
    "tx",
    [gx.chain(gx.clip_by_global_norm(0.1), gx.adamw(0.01, eps=1e-4)), gx.lamb(0.01)],
    ids=["clip and adamw", "lamb"],
)
def test_zero_under_jit(tx):
    first, tokens = small_gpt()
    on = mesh()
    everywhere = NamedSharding(on, P())
    params, batch = jax.device_put(first, everywhere), jax.device_put(tokens, NamedSharding(on, P("data")))
    state = gx.init_sharded(tx, params, zero="data", min_size=64)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    step = jax.jit(step_of(tx), out_shardings=(everywhere, shardings)).lower(params, state, batch).compile()

    plain, plain_state = first, tx.init(first)
    plain_step = jax.jit(step_of(tx))
    for _ in range(5):
        params, state = jax.block_until_ready(step(params, state, batch))
        plain, plain_state = plain_step(plain, plain_state, tokens)
    for ours, expected in zip(jax.tree.leaves(params), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(expected))))
        assert ours.sharding.is_equivalent_to(everywhere, ours.ndim)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == shardings
    assert per_device(state) <= whole(plain_state) / 8 * 1.05

    # A new parameter is made of slots that are cut, and is whole on each device: it must be gathered, once. Where there
    # is one all-gather for each of them and of its shape, there is none of a slot, which would be another.
    gathered = Counter(re.findall(r"= f32\[([\d,]*)\]\S* all-gather\(", step.as_text()))
    cut = [leaf.shape for leaf in jax.tree.leaves(first) if leaf.size >= 64]
    assert gathered == Counter(",".join(map(str, shape)) for shape in cut)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_of_parameters_that_are_cut_already(kind):
    on = jax.make_mesh((4, 2), ("data", "model"), axis_types=(KINDS[kind],) * 2)
    specs = {"dense": {"kernel": P("model"), "bias": P()}, "norm": P(), "head": P(None, "model")}
    params, tx = placed(drawn(0), on, specs), gx.adamw(0.01)
    everywhere = jax.tree.map(lambda leaf: leaf.sharding, params)
    with jax.set_mesh(on):
        state = gx.init_sharded(tx, params, zero="data", min_size=64)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, state)

        def step(params, state):
            updates, state = tx.update(jax.tree.map(lambda p: 0.3 * p + 1, params), state, params)
            return gx.apply_updates(params, updates), state

        found, after = jax.jit(step, out_shardings=(everywhere, shardings))(params, state)
    assert state.stages["scale_by_adam"].mu["dense"]["kernel"].sharding.spec == P("model", "data")
    assert jax.tree.map(lambda leaf: leaf.sharding, after) == shardings
    assert per_device(state) <= whole(state) / 8 + 1024
    expected, _ = step(drawn(0), tx.init(drawn(0)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found, expected)


def test_small_slots_stay_whole_and_so_do_those_that_nothing_divides():
    params = {"small": jnp.ones(8), "odd": jnp.ones((33, 35)), "cut": jnp.ones((33, 64))}
    specs = gx.state_specs(gx.sgd(0.1, 0.9), params, P(), mesh(), zero="data", min_size=64)
    trace = specs.stages["trace"].trace
    assert trace == {"small": P(None), "odd": P(None, None), "cut": P(None, "data")}


PARAMS = {"dense": {"kernel": jnp.ones((16, 8)), "bias": jnp.ones(8)}}
CUT_ALL = {"zero": "data", "min_size": 8}


def test_zero_cuts_nothing_twice_over_one_mesh_axis():
    specs = gx.state_specs(gx.sgd(0.1, 0.9), PARAMS, {"dense": {"kernel": P("data"), "bias": P()}}, mesh(), **CUT_ALL)
    assert specs.stages["trace"].trace["dense"] == {"kernel": P("data", None), "bias": P("data")}


def test_integers_that_nothing_trains_are_no_hindrance():
    params = {**PARAMS, "table": jnp.arange(8)}
    tx = gx.masked(gx.sgd(0.1, 0.9), {"dense": True, "table": False})
    specs = gx.state_specs(tx, params, P(), mesh(), **CUT_ALL)
    record = specs.stages["masked"].inner_state.stages["trace"]
    assert record.trace == {"dense": {"kernel": P("data", None), "bias": P("data")}, "table": optax.MaskedNode()}


def test_slots_of_1024_elements_and_more_are_cut_unless_another_size_is_asked_for():
    params, tx, on = {"cut": jnp.ones(1024), "whole": jnp.ones(1016)}, gx.sgd(0.1, 0.9), mesh()
    placed = jax.device_put(params, NamedSharding(on, P()))
    specs = [
        gx.state_specs(tx, params, P(), on, zero="data"),
        jax.tree.map(lambda sharding: sharding.spec, gx.state_shardings(tx, placed, zero="data")),
        jax.tree.map(lambda leaf: leaf.sharding.spec, gx.init_sharded(tx, placed, zero="data")),
        gx.state_specs(gx.zero(tx, "data"), params, P(), on).stages["zero"],
    ]
    for each in specs:
        cut, whole = each.stages["trace"].trace.values()
        assert (*cut, any(whole)) == ("data", False)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (P("nope"), "there is no mesh axis 'nope' for the leaf at 'dense/bias', of shape (8,); here are 'data'"),
        ({"dense": P(None, "data")}, "has more axes than the leaf at 'dense/bias', of shape (8,)"),
        ({"dense": {"bias": P()}}, "a prefix of the parameters; got none for the leaf at 'dense/kernel'"),
        ({"dense": P(), "x": P()}, "a prefix of the parameters; got one at 'x', where there is no leaf"),
        ({"dense": {"kernel": P("data", "data"), "bias": None}}, "twice, for the leaf at 'dense/kernel'"),
    ],
    ids=["no such axis", "too many axes", "a leaf without", "one too many", "twice"],
)
def test_specs_that_do_not_fit(specs, words):
    with pytest.raises(ValueError, match="state_specs: ") as error:
        gx.state_specs(gx.adam(0.1), PARAMS, specs, mesh())
    assert words in str(error.value)


def test_a_number_of_devices_that_does_not_divide_a_leaf():
    params = {"w": jax.ShapeDtypeStruct((12, 16), jnp.float32)}
    words = r"8 devices along 'data' do not divide axis 0 of the leaf at 'w', of shape \(12, 16\)"
    with pytest.raises(ValueError, match=words):
        gx.state_specs(gx.adam(0.1), params, P("data"), mesh())
    with pytest.raises(ValueError, match=words):
        gx.state_shardings(gx.adam(0.1), params, NamedSharding(mesh(), P("data")))


def test_a_mesh_axis_for_zero_that_is_not_there():
    with pytest.raises(ValueError, match="zero: there is no mesh axis 'nope'; there are 'data'"):
        gx.init_sharded(gx.adam(0.1), placed(PARAMS, mesh(), {"dense": {"kernel": P(), "bias": P()}}), zero="nope")


def test_shardings_that_are_none_or_of_several_meshes():
    with pytest.raises(TypeError, match="expected a NamedSharding for the parameter at 'dense/bias', got Single"):
        gx.state_shardings(gx.adam(0.1), PARAMS)
    one = NamedSharding(mesh(), P())
    other = NamedSharding(jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2), P())
    with pytest.raises(ValueError, match="expected shardings over one mesh, got 2"):
        gx.state_shardings(gx.adam(0.1), PARAMS, {"dense": {"kernel": other, "bias": one}})
    with pytest.raises(ValueError, match="shardings that are a prefix of the parameters; got one at 'x', where there"):
        gx.state_shardings(gx.adam(0.1), PARAMS, {"dense": one, "x": one})
    with pytest.raises(ValueError, match="of the parameters; got none for the leaf at 'dense/bias'"):
        gx.state_shardings(gx.adam(0.1), PARAMS, {"dense": {"kernel": one}})


def test_a_parameter_or_a_transform_that_is_none():
    with pytest.raises(TypeError, match="parameters: expected an array at 'f'"):
        gx.state_specs(gx.adam(0.1), {"f": jnp.sin}, P(), mesh())
    with pytest.raises(TypeError, match="state_specs: expected a transform, ours or optax's, got function"):
        gx.state_specs(gx.adam, PARAMS, P(), mesh())
