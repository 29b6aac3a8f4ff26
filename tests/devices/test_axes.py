"""on_axes: rules that reduce have the numbers of one device, however the leaves are cut over devices."""

import pickle
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

SHAPES = {"first": (16, 6), "last": (6, 16), "both": (8, 4), "joint": (16, 3), "whole": (5,)}
SPECS = {
    "first": P("data"),
    "last": P(None, "data"),
    "both": P("data", "model"),
    "joint": P(("data", "model")),
    "whole": P(),
}
# Of norms of leaves and trees the types tell.
TYPED = {
    "global norm": gx.clip_by_global_norm(0.5),
    "global norm of order 1": gx.clip_by_global_norm(0.5, ord=1),
    "global norm of order 3": gx.clip_by_global_norm(0.5, ord=3),
    "largest of all": gx.clip_by_global_norm(0.5, ord=float("inf")),
    "norm": gx.clip_by_norm(0.5),
    "zclip": gx.zclip(0.5, 0.9, 1),
    "autoclip": gx.autoclip(30.0, 2),
    "adagc": gx.adagc(1.1, 0.9, 1),
    "clipped adam": gx.scale_by_adam(b2=0.5, clipping_threshold=0.5),
    "guard of losses": gx.guard(gx.sgd(1.0), max_loss_deviations=2.0, warm_up=1),
    "block rms": gx.clip_by_block_rms(0.1),
    "trust ratio": gx.scale_by_trust_ratio(),
    "novograd": gx.novograd(0.1),
    "normalize": gx.normalize(),
    "mean over all axes": gx.centralize(axis=(0, -1)),
    "dog": gx.dog(),
    "dowg": gx.dowg(),
    "dadapt_adamw": gx.dadapt_adamw(estim_lr0=1e-2),
    "momo": gx.momo(),
    "polyak": gx.polyak_sgd(),
    "mars": gx.mars(gamma=0.5),
    "mechanize": gx.mechanize(gx.sgd(0.1), s_init=0.1),
}
# Along which of its own axes a leaf is cut, they do not.
TOLD = {
    "units": gx.adaptive_grad_clip(0.01),
    "centralize": gx.centralize(),
    "factored": gx.scale_by_factored_rms(min_dim_size_to_factor=4),
    "adam_mini": gx.scale_by_adam_mini(blocks=-1),
    "adam_mini, whole": gx.scale_by_adam_mini(),
    "came": gx.scale_by_came(),
    "sm3": gx.sm3(0.1),
}
RULES = TYPED | TOLD


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


PARAMS, NOISE = drawn(0), drawn(1)


def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def steps(tx, params, noise):
    """The parameters after three steps, and the metrics that are numbers for a leaf or for all."""

    def body(carry, size):
        params, state = carry
        grads = jax.tree.map(lambda p, n: size * n + 0.3 * p, params, noise)
        updates, state = tx.update(grads, state, params, value=size)
        return (gx.apply_updates(params, jax.tree.map(lambda u: -0.1 * u, updates)), state), None

    first = tx.init(params)
    params, state = jax.lax.scan(body, (params, first), jnp.asarray([1.0, 3.0, 0.5]))[0]
    return params, gx.metrics(state)


def assert_same(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Of the largest number: sums over devices round in another order.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(float(jnp.max(jnp.abs(theirs))), 1e-3))


@cache
def on_one_device(name):
    return jax.jit(partial(steps, RULES[name]))(PARAMS, NOISE)


def over_devices(tx, check_vma):
    return jax.shard_map(
        partial(steps, tx), mesh=mesh(), in_specs=(SPECS, SPECS), out_specs=(SPECS, P()), check_vma=check_vma
    )


def mapped(tx, check_vma):
    return jax.jit(over_devices(tx, check_vma))(PARAMS, NOISE)


@pytest.mark.parametrize("name", RULES)
def test_in_shard_map_without_types(name):
    assert_same(mapped(gx.on_axes(RULES[name], SPECS), False), on_one_device(name))


# One of each kind of reduction: what differs between the ways of mapping is how an axis is found, and not the rule.
REDUCTIONS = ["global norm", "largest of all", "trust ratio", "dowg", "mechanize"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_in_shard_map_types_tell(name):
    assert_same(mapped(RULES[name], True), on_one_device(name))


@pytest.mark.parametrize("name", [name for name in TYPED if name not in REDUCTIONS])
def test_in_shard_map_types_are_those_of_the_specs(name):
    # JAX's own check, at trace time: a reduction that missed an axis would leave an outcome that varies over it.
    jax.eval_shape(over_devices(RULES[name], True), PARAMS, NOISE)


@pytest.mark.parametrize("name", TOLD)
def test_in_shard_map_with_types_axes_are_told(name):
    assert_same(mapped(gx.on_axes(RULES[name], SPECS), True), on_one_device(name))


@pytest.mark.parametrize("name", TOLD)
def test_in_shard_map_with_types_axes_that_nobody_told_are_an_error(name):
    with pytest.raises(ValueError, match=r"its type does not tell along which of its own axes it is cut.*on_axes"):
        mapped(RULES[name], True)


@pytest.mark.parametrize("where", ["init", "update"])
def test_adafactor_does_not_decide_by_the_shape_of_a_part(where):
    # Whole it is to be factored; of its parts, of shape (2, 8), none is.
    tx, w = gx.adafactor(0.1, 8), jnp.ones((8, 8))
    if where == "init":
        run, states = (lambda w, state: tx.init(w).count), None
    else:
        run, states = (lambda w, state: tx.update(w, state, w)[0]), jax.eval_shape(tx.init, w)
    mapped = jax.shard_map(run, mesh=mesh(), in_specs=(P("data"), P()), out_specs=P())
    words = r"scale_by_factored_rms decides by the shape of .*each device has \(2, 8\).*tell it with on_axes"
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(mapped, w, states)


def test_gradients_that_were_joined_before_are_whole():
    tx = gx.chain(gx.pmean_updates("data"), gx.scale_by_factored_rms(min_dim_size_to_factor=4))
    state = tx.init(jnp.ones((8, 8)))
    run = jax.shard_map(lambda g: tx.update(g[0], state)[0], mesh=mesh(), in_specs=P("data"), out_specs=P())
    noise = jax.random.normal(jax.random.key(0), (4, 8, 8))
    expected, _ = gx.scale_by_factored_rms(min_dim_size_to_factor=4).update(
        noise.mean(0), gx.scale_by_factored_rms(min_dim_size_to_factor=4).init(noise[0])
    )
    np.testing.assert_allclose(run(noise), expected, rtol=1e-5)


@pytest.mark.parametrize("name", [*REDUCTIONS, *TOLD])
def test_in_pmap(name):
    # `pmap` has one axis: what two cut elsewhere, here one does.
    specs = {"first": P("data"), "last": P(None, "data"), "both": P("data"), "joint": P("data"), "whole": None}

    def parts(leaf, spec):
        cut = [dim for dim, entry in enumerate(spec or ()) if entry]
        return jnp.stack(jnp.split(leaf, 8, cut[0])) if cut else jnp.stack([leaf] * 8)

    params, noise = ({key: parts(tree[key], specs[key]) for key in tree} for tree in (PARAMS, NOISE))
    found, metrics = jax.pmap(partial(steps, gx.on_axes(RULES[name], specs)), axis_name="data")(params, noise)
    expected, expected_metrics = on_one_device(name)
    assert_same(found, {key: parts(expected[key], specs[key]) for key in expected})
    assert_same(metrics, jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), expected_metrics))


def test_noise_differs_between_parts_and_agrees_on_replicas():
    tx = gx.on_axes(gx.add_noise(1.0, 0.0, seed=0), SPECS)

    def run(grads):
        update, _ = tx.update(grads, tx.init(grads))
        return jax.tree.map(lambda leaf: leaf[None, None], update)

    each = jax.shard_map(run, mesh=mesh(), in_specs=(SPECS,), out_specs=P("data", "model"), check_vma=False)
    drawn = jax.tree.map(np.asarray, jax.jit(each)(jax.tree.map(jnp.zeros_like, PARAMS)))
    np.testing.assert_array_equal(drawn["whole"], np.broadcast_to(drawn["whole"][0, 0], drawn["whole"].shape))
    np.testing.assert_array_equal(drawn["first"][:, 0], drawn["first"][:, 1])
    for name, parts in {"first": 4, "last": 4, "both": 8, "joint": 8, "whole": 1}.items():
        assert len(np.unique(drawn[name].reshape(8, -1), axis=0)) == parts


NESTED = {
    "masked": lambda clip: gx.masked(clip, {"first": True, "last": True, "both": False, "joint": True, "whole": False}),
    "partition": lambda clip: gx.partition(
        {"a": clip, "b": gx.clip_by_norm(0.3)}, {"first": "a", "last": "b", "both": "a", "joint": "b", "whole": "a"}
    ),
    "guard": lambda clip: gx.guard(clip),
    "accumulate": lambda clip: gx.accumulate(clip, 2),
    "chain": lambda clip: gx.chain(gx.scale(0.5), clip),
}


@pytest.mark.parametrize("name", NESTED)
def test_tells_transforms_within(name):
    tx = NESTED[name](gx.clip_by_global_norm(0.5))
    found, _ = mapped(gx.on_axes(tx, SPECS), False)
    assert_same(found, jax.jit(partial(steps, tx))(PARAMS, NOISE)[0])


def test_a_branch_that_is_masked_as_a_whole():
    tree = {"dense": {"kernel": jnp.arange(16.0), "bias": jnp.arange(8.0)}, "head": jnp.arange(16.0)}
    specs = {"dense": {"kernel": P("data"), "bias": P()}, "head": P("data")}
    tx = gx.on_axes(gx.masked(gx.clip_by_global_norm(1.0), {"dense": False, "head": True}), specs)
    run = jax.shard_map(
        lambda grads: tx.update(grads, tx.init(grads), grads)[0],
        mesh=mesh(),
        in_specs=(specs,),
        out_specs=specs,
        check_vma=False,
    )
    updates = jax.jit(run)(tree)
    np.testing.assert_allclose(optax.tree.norm(updates["head"]), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(updates["dense"]["kernel"], tree["dense"]["kernel"])


def test_told_of_one_transform_of_a_chain_tells_all():
    clip = gx.clip_by_global_norm(0.5)
    tx = gx.chain(gx.on_axes(gx.scale(0.5), SPECS), clip)
    assert tx == gx.on_axes(gx.chain(gx.scale(0.5), clip), SPECS)
    assert gx.chain(tx, gx.on_axes(clip, SPECS)).placement == tx.placement


@pytest.mark.parametrize("chain", [gx.chain, lambda *txs: gx.named_chain(*zip("ab", txs, strict=True))])
def test_told_in_two_ways(chain):
    one, other = gx.on_axes(gx.scale(0.5), SPECS), gx.on_axes(gx.scale(0.5), P())
    with pytest.raises(ValueError, match="chain: on_axes told of the parameters of its transforms in different ways"):
        chain(one, other)
    with pytest.raises(ValueError, match="on_axes: the transform has other specs already"):
        gx.on_axes(one, P())
    assert gx.on_axes(one, SPECS) == one


def test_outside_of_a_map_it_changes_nothing():
    tx = gx.chain(gx.clip_by_global_norm(0.5), gx.scale_by_factored_rms(min_dim_size_to_factor=4))
    told = gx.on_axes(tx, SPECS)
    for run in (steps, jax.jit(steps)):
        jax.tree.map(np.testing.assert_array_equal, run(told, PARAMS, NOISE), run(tx, PARAMS, NOISE))


def test_is_a_value():
    def make(specs=SPECS):
        return gx.on_axes(gx.chain(gx.clip_by_global_norm(0.5), gx.adam(gx.linear_schedule(0.1, 0.0, 9))), specs)

    tx = make()
    assert tx == make()
    assert hash(tx) == hash(make())
    assert tx != make(P())
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert gx.from_json(gx.to_json(make([P(), None, (P(("data", "model")),)]))) == make(
        [P(), None, (P(("data", "model")),)]
    )
    assert eval(repr(tx), {**vars(gx), "PartitionSpec": P, "P": P}) == tx
    assert jax.tree.unflatten(jax.tree.structure(tx), jax.tree.leaves(tx)) == tx
    named = gx.on_axes(gx.named_chain(("a", gx.scale(1.0)), ("b", gx.scale(2.0))), P("data"))
    assert gx.from_json(gx.to_json(named)) == named


def test_a_file_whose_specs_are_none():
    form = {"gradxform": 1, "chain": [], "on_axes": {"partition_spec": ["data", 3]}}
    with pytest.raises(ValueError, match=r"from_dict: on_axes.partition_spec: expected names of mesh axes, .* got 3"):
        gx.from_dict(form)
    with pytest.raises(TypeError, match=r"from_dict: on_axes: .*expected PartitionSpecs in the specs, got 'data'"):
        gx.from_dict({**form, "on_axes": "data"})


@pytest.mark.parametrize("tx", [optax.adam(0.1), 3], ids=["optax", "number"])
def test_what_is_told_is_no_transform_of_ours(tx):
    with pytest.raises(TypeError, match=r"on_axes takes a gradxform transform, got .*; put an optax one in a chain"):
        gx.on_axes(tx, P())


def test_specs_that_are_none():
    with pytest.raises(TypeError, match="on_axes: expected PartitionSpecs in the specs, got 'data'"):
        gx.on_axes(gx.adam(0.1), {"a": "data"})


def in_pmap(function, params):
    return jax.pmap(function, axis_name="data")(jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), params))


def in_shard_map(function, params):
    whole = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    return jax.eval_shape(jax.shard_map(function, mesh=whole, in_specs=P(), out_specs=P()), params)


@pytest.mark.parametrize("way", [in_pmap, in_shard_map])
@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (P("nope"), "there is no mesh axis 'nope' for the leaf at 'dense/bias', of shape (8,); here are 'data'"),
        (P(None, "data"), f"{P(None, 'data')} has more axes than the leaf at 'dense/bias', of shape (8,)"),
        ({"dense": {"kernel": P()}}, "a prefix of the {what}; got none for the leaf at 'dense/bias'"),
        (
            {"dense": {"kernel": P(), "bias": P(), "more": P()}},
            "a prefix of the {what}; got one at 'dense/more', where there is no leaf",
        ),
        ({"dense": {"kernel": P("data", "data"), "bias": None}}, "twice, for the leaf at 'dense/kernel'"),
    ],
    ids=["no such axis", "too many axes", "a leaf without", "one too many", "twice"],
)
def test_specs_that_do_not_fit(specs, words, way):
    params = {"dense": {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(8)}}
    untold = gx.clip_by_global_norm(1.0)
    tx = gx.on_axes(untold, specs)
    for what, function in {"parameters": tx.init, "updates": lambda p: tx.update(p, untold.init(p))[0]}.items():
        with pytest.raises(ValueError, match="on_axes: ") as error:
            way(function, params)
        assert words.format(what=what) in str(error.value)


@pytest.mark.parametrize("clip", [gx.clip_by_norm(1.0), gx.clip_by_global_norm(1.0)], ids=repr)
def test_a_leaf_varies_over_an_axis_of_which_the_specs_do_not_tell(clip):
    tx = gx.on_axes(clip, P("data"))
    run = jax.shard_map(lambda g: tx.update(g, tx.init(g))[0], mesh=mesh(), in_specs=P("data", "model"), out_specs=P())
    words = (
        r"clip_by_.*: a leaf of shape \(2, 2\) varies over mesh axis 'model', of which the specs of on_axes do not tell"
    )
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(run, jnp.ones((8, 4)))


def test_averaging_over_an_axis_that_cuts_the_leaf():
    tx = gx.on_axes(gx.pmean_updates("data"), P("data"))
    with pytest.raises(ValueError, match=r"pmean_updates: a leaf of shape .* is cut over 'data', as on_axes tells"):
        in_pmap(lambda g: tx.update(g, tx.init(g))[0], jnp.ones(8))
