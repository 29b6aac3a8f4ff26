"""Which leaves a transform sees: partition, masked and selective_transform; and what they share with frozen leaves."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core import engine
from gradxform.core.flow import Flow

PARAMS = {"w": jnp.arange(1.0, 4.0), "b": jnp.ones(2)}
GRADS = {"w": jnp.array([3.0, 0.0, 4.0]), "b": jnp.array([1.0, -1.0])}
LABELS = {"w": "train", "b": "keep"}
MASK = {"w": True, "b": False}
BY_RULE = gx.labels({"w": "train"}, "keep")


def ndim_is_one(tree):
    return jax.tree.map(lambda leaf: leaf.ndim == 1, tree)


def theirs(lib):
    return optax.transforms if lib is optax else lib


# Each a function of the library: ours and optax's make the same.
CASES = {
    "masked": lambda lib: lib.masked(lib.adam(0.1), MASK),
    "masked by a function": lambda lib: lib.masked(lib.adam(0.1), ndim_is_one),
    "masked by a rule": lambda lib: lib.masked(lib.adam(0.1), gx.by_path("w")),
    "partition": lambda lib: lib.partition({"train": lib.adam(0.1), "keep": lib.set_to_zero()}, LABELS),
    "partition by a rule": lambda lib: lib.partition({"keep": lib.sgd(0.1, 0.9), "train": lib.adam(0.1)}, BY_RULE),
    "partition of optax's": lambda lib: lib.partition({"train": optax.adam(0.1), "keep": lib.sgd(0.1)}, LABELS),
    "partition with a group of no leaves": lambda lib: lib.partition(
        {"train": lib.adam(0.1), "none": lib.chain(lib.clip_by_global_norm(1.0), lib.sgd(0.1, 0.9))}, "train"
    ),
    "multi_transform": lambda lib: lib.multi_transform({"train": lib.sgd(0.1), "keep": lib.adam(0.1)}, LABELS),
    "freeze": lambda lib: theirs(lib).freeze(MASK),
    "freeze all": lambda lib: theirs(lib).freeze(jnp.array(True)),
    "selective_transform": lambda lib: theirs(lib).selective_transform(lib.adam(0.1), freeze_mask=MASK),
    "scale_by_group": lambda lib: (
        gx.scale_by_group({"train": 0.5, "keep": 2.0}, LABELS)
        if lib is gx
        else optax.partition({"train": optax.scale(0.5), "keep": optax.scale(2.0)}, LABELS)
    ),
}
every_case = pytest.mark.parametrize("name", CASES)


def stepped(tx, steps=4, params=PARAMS):
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(jax.tree.map(jnp.square, params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@every_case
def test_computes_what_optax_computes(name):
    # optax takes Adam's 1 - b2^t in float32, off by 3e-5.
    # Its wrappers mix dtypes too.
    with jax.numpy_dtype_promotion("standard"):
        ours, others = (stepped(CASES[name](lib))[0] for lib in (gx, optax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, others)


@every_case
def test_is_a_value(name):
    one, other = CASES[name](gx), CASES[name](gx)
    # In optax too multi_transform is another name of partition.
    assert repr(one).startswith(f"{name.split()[0].replace('multi_transform', 'partition')}(")
    if "optax" not in name:
        assert pickle.loads(pickle.dumps(one)) == one
        assert (one, hash(one)) == (other, hash(other))
        assert jax.tree.unflatten(*reversed(jax.tree.flatten(one))) == one
    if "optax" not in name and "function" not in name:
        assert eval(repr(one), {**vars(gx), "jnp": jnp}) == one
        assert gx.from_json(gx.to_json(one)) == one
    if "function" in name or "optax" in name:
        with pytest.raises(TypeError, match="to_dict"):
            gx.to_json(one)


def test_a_norm_in_a_group_is_that_of_its_leaves_and_one_in_front_that_of_all():
    groups = {"train": gx.clip_by_global_norm(1.0), "keep": gx.identity()}
    tx = gx.partition(groups, LABELS)
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], GRADS["w"] / 5, rtol=1e-6)
    np.testing.assert_array_equal(updates["b"], GRADS["b"])
    assert float(gx.metrics(state)["partition.train.clip_by_global_norm.norm"]) == 5
    masked = gx.masked(gx.clip_by_global_norm(1.0), MASK)
    jax.tree.map(np.testing.assert_array_equal, masked.update(GRADS, masked.init(PARAMS))[0], updates)
    front = gx.chain(gx.clip_by_global_norm(1.0), gx.masked(gx.scale(2.0), MASK))
    updates, _ = front.update(GRADS, front.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], 2 * GRADS["w"] / 27**0.5, rtol=1e-6)
    np.testing.assert_allclose(updates["b"], GRADS["b"] / 27**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"w": "train"}, r"partition: got no label for 'b'; the labels that there are: 'train', 'keep'"),
        ({"w": "train", "b": None}, r"got no label for 'b'"),
        ({"w": "fast", "b": "slow"}, r"got the unknown label 'slow' for 'b', 'fast' for 'w'; .* 'train', 'keep'"),
        ({"w": jnp.zeros(3), "b": "keep"}, r"got the unknown label .* for 'w'"),
        ({**LABELS, "z": "train"}, r"got labels for 'z', where there is no leaf"),
        (lambda tree: "none", r"got the unknown label 'none' for 'b', 'none' for 'w'"),
        (gx.labels({"b": "keep"}), r"labels: no rule fits the parameter at 'w'"),
    ],
)
def test_a_leaf_with_no_label_or_an_unknown_one_is_an_error(labels, words):
    tx = gx.partition({"train": gx.sgd(0.1), "keep": gx.set_to_zero()}, labels)
    with pytest.raises(ValueError, match=words):
        tx.init(PARAMS)
    with pytest.raises(ValueError, match=words):
        tx.update(GRADS, gx.partition(tx.stages[0].node.transforms, LABELS).init(PARAMS), PARAMS)
    factors = gx.scale_by_group({"train": 1.0, "keep": 1.0}, labels)
    words = words.replace("partition", "scale_by_group").replace("'train', 'keep'", "'keep', 'train'")
    with pytest.raises(ValueError, match=words):
        factors.init(PARAMS)


def test_an_error_lists_some_of_many_leaves():
    with pytest.raises(ValueError, match=r"'0', '1', '2', '3', '4' and 7 more; "):
        gx.partition({"a": gx.sgd(0.1)}, []).init([jnp.ones(1)] * 12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gx.partition([gx.sgd(0.1)], "a"), "transforms must be a dict from labels to them"),
        (lambda: gx.partition({"a": gx.sgd}, "a"), r"transforms\['a'\] must be a transform; .*; call it to make"),
        (lambda: gx.partition({"a": gx.sgd(1.0)}, "a", mask_compatible_extra_args=1), "must be True or False; got 1"),
        (lambda: gx.masked(0.1, True), "masked: inner must be a transform; got 0.1"),
        (lambda: gx.masked(gx.sgd(0.1), None), "masked: mask must be a tree of bools"),
        (lambda: gx.selective_transform(gx.sgd, freeze_mask=True), "optimizer must be a transform"),
        (lambda: gx.selective_transform(gx.sgd(0.1), freeze_mask=None), "freeze_mask must be a tree of bools"),
        (lambda: gx.freeze(None), "freeze: mask must be a tree of bools"),
        (lambda: gx.scale_by_group(0.1, LABELS), "factors must be a dict"),
        (lambda: gx.scale_by_group({"a": "b"}, LABELS), "must be a real number"),
        (lambda: gx.masked(gx.sgd(0.1), {"w": 1, "b": True}).init(PARAMS), r"True or False in the mask at 'w', got 1"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_updates_and_states_that_do_not_fit_are_errors():
    tx = gx.partition({"train": gx.adam(0.1), "keep": gx.set_to_zero()}, LABELS)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"expected a leaf at 'b', where the parameters have one"):
        tx.update({"w": GRADS["w"]}, state, PARAMS)
    other = gx.partition({"train": gx.adam(0.1)}, "train").init(PARAMS)
    with pytest.raises(ValueError, match=r"partition: expected states of 'train', 'keep', got one of 'train'; make it"):
        tx.update(GRADS, other, PARAMS)
    with pytest.raises(ValueError, match="got one of another transform"):
        tx.update(GRADS, state._replace(stages={"partition": ()}), PARAMS)
    with pytest.raises(ValueError, match="masked: expected states of True, got one of another transform"):
        gx.masked(gx.sgd(0.1), MASK).update(GRADS, other._replace(stages={"masked": ()}), PARAMS)
    to_other_leaves = gx.partition(tx.stages[0].node.transforms, {"w": "keep", "b": "train"})
    with pytest.raises(ValueError, match="as the slots mu of scale_by_adam have"):
        to_other_leaves.update(GRADS, state, PARAMS)
    listing = optax.stateless(lambda updates, params: jax.tree.leaves(updates))
    with pytest.raises(ValueError, match=r"partition: the transform of 'all' returned .* where it was given"):
        gx.partition({"all": listing}, "all").update(GRADS, gx.partition({"all": listing}, "all").init(PARAMS))


def test_frozen_leaves_may_be_of_any_dtype():
    params = {"w": jnp.ones(3), "n": jnp.arange(3)}
    grads = {"w": jnp.ones(3), "n": jnp.ones(3, jnp.int32)}
    for tx in (
        gx.partition({"a": gx.adam(0.1), "b": gx.set_to_zero()}, {"w": "a", "n": "b"}),
        gx.selective_transform(gx.adam(0.1), freeze_mask={"w": False, "n": True}),
        gx.chain(gx.masked(gx.adam(0.1), {"w": True, "n": False}), gx.freeze({"w": False, "n": True})),
    ):
        updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
        np.testing.assert_array_equal(updates["n"], jnp.zeros(3, jnp.int32), strict=True)
        np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-5)
    with pytest.raises(TypeError, match=r"expected a floating-point array at 'n'.*with partition"):
        gx.partition({"a": gx.adam(0.1)}, "a").init(params)


def test_low_precision_is_rounded_once():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    tx = gx.chain(gx.scale(1 / 3), gx.partition({"train": gx.scale(3.0), "keep": gx.identity()}, LABELS))
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_array_equal(updates["w"], params["w"], strict=True)
    assert updates["b"].dtype == jnp.bfloat16


def test_a_new_rate_does_not_retrace_and_rates_are_vmapped():
    """Equal transforms have their numbers in one order: a compiled step may be given either."""
    one = gx.partition({"train": gx.sgd(0.1), "keep": gx.sgd(0.2)}, LABELS)
    other = gx.partition({"keep": gx.sgd(0.4), "train": gx.sgd(0.3)}, LABELS)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert (jax.tree.leaves(one), jax.tree.leaves(other)) == ([0.2, 0.1], [0.4, 0.3])
    traces = []

    @jax.jit
    def update(tx):
        traces.append(1)
        return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]

    for tx, rates in ((one, (0.1, 0.2)), (other, (0.3, 0.4))):
        for name, rate in zip(("w", "b"), rates, strict=True):
            np.testing.assert_allclose(update(tx)[name], -rate * PARAMS[name], rtol=1e-6)
    assert len(traces) == 1
    many = jax.vmap(lambda rate: gx.partition({"train": gx.sgd(rate), "keep": gx.sgd(0.2)}, LABELS))(jnp.arange(3.0))
    found = jax.vmap(lambda tx: tx.update(PARAMS, tx.init(PARAMS))[0])(many)
    np.testing.assert_allclose(found["w"], -jnp.outer(jnp.arange(3.0), PARAMS["w"]), rtol=1e-6)
    np.testing.assert_allclose(found["b"], jnp.full((3, 2), -0.2), rtol=1e-6)
    factors = jax.vmap(lambda factor: gx.scale_by_group({"train": factor, "keep": 1.0}, LABELS))(jnp.arange(3.0))
    found = jax.vmap(lambda tx: tx.update(PARAMS, tx.init(PARAMS))[0])(factors)
    np.testing.assert_allclose(found["w"], jnp.outer(jnp.arange(3.0), PARAMS["w"]), rtol=1e-6)


@pytest.mark.parametrize(
    ("tx", "path"),
    [
        (gx.partition({"train": gx.sgd(0.1), "keep": gx.set_to_zero()}, LABELS), "partition.train"),
        (gx.masked(gx.sgd(0.1), MASK), "masked.inner"),
        (gx.selective_transform(gx.sgd(0.1), freeze_mask={"w": False, "b": True}), "selective_transform.train"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hyperparameters_are_read_replaced_and_live(tx, path):
    name = f"{path}.scale_by_learning_rate.learning_rate"
    assert gx.hyperparams(tx, tx.init(PARAMS)) == {name: pytest.approx(0.1)}
    assert gx.hyperparams(gx.replace(tx, {name: 0.2}), tx.init(PARAMS)) == {name: pytest.approx(0.2)}
    assert gx.replace(tx, learning_rate=0.2) == gx.replace(tx, {name: 0.2}) != tx
    alive = gx.live(tx, "learning_rate")
    state = gx.adjust(alive.init(PARAMS), learning_rate=0.5)
    assert gx.hyperparams(alive, state) == {name: 0.5}
    updates, _ = alive.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * GRADS["w"], rtol=1e-6)


def test_labels_and_masks_are_replaced():
    tx = gx.partition({"train": gx.sgd(0.1), "keep": gx.set_to_zero()}, LABELS)
    assert gx.replace(tx, param_labels=BY_RULE) == gx.partition(tx.stages[0].node.transforms, BY_RULE)
    assert gx.replace(gx.masked(gx.sgd(0.1), MASK), mask=True) == gx.masked(gx.sgd(0.1), True)
    frozen = gx.selective_transform(gx.sgd(0.1), freeze_mask=MASK)
    assert gx.replace(frozen, freeze_mask=True) == gx.selective_transform(gx.sgd(0.1), freeze_mask=True)


def test_one_name_for_a_hyperparameter_and_its_live_value_and_metric():
    tx = gx.live(gx.partition({"train": gx.clip_by_global_norm(1.0), "keep": gx.set_to_zero()}, LABELS))
    state = tx.init(PARAMS)
    name = "partition.train.clip_by_global_norm.max_norm"
    assert gx.hyperparams(tx, state) == {name: 1.0}
    assert gx.hyperparams(tx, gx.adjust(state, {name: 2.0})) == {name: 2.0}
    assert list(gx.metrics(state)) == ["partition.train.clip_by_global_norm.norm"]


def test_describe_says_who_got_what():
    described = gx.describe(gx.partition({"train": gx.adam(0.1), "keep": gx.set_to_zero()}, LABELS), PARAMS)
    groups = {each.path: (each.seen.leaves, each.seen.elements, each.state_bytes) for each in described.groups}
    assert groups == {("partition", "train"): (1, 3, 4 + 2 * 12), ("partition", "keep"): (1, 2, 4)}
    route = next(part for part in described.parts if part.path == ("partition",))
    assert (route.kind, [setting.name for setting in route.settings]) == ("route", ["param_labels"])
    assert "partition.train" in repr(described)


def test_attributes_are_found_on_the_state():
    tx = gx.partition({"train": gx.adam(0.1), "keep": gx.set_to_zero()}, LABELS)
    state = tx.init(PARAMS)
    record = state.stages["partition"]
    assert isinstance(record, optax.transforms.PartitionState)
    assert state.inner_states is record.inner_states
    assert set(state.inner_states) == {"train", "keep"}
    assert state.mu is state.inner_states["train"].mu
    assert isinstance(state.mu["b"], optax.MaskedNode)
    masked = gx.masked(gx.adam(0.1), MASK).init(PARAMS)
    assert isinstance(masked.stages["masked"], optax.MaskedState)
    assert masked.inner_state.nu is masked.nu


@pytest.mark.parametrize("name", ["partition", "partition of optax's", "masked", "selective_transform", "freeze"])
def test_the_state_of_optax_s_is_taken_over(name):
    tx, other = CASES[name](gx), CASES[name](optax)
    with jax.numpy_dtype_promotion("standard"):
        params, state = stepped(other, 3)
    taken, report = gx.from_optax(state, tx, params, count=3)
    assert not report.dropped
    with jax.numpy_dtype_promotion("standard"):
        theirs, _ = other.update(params, state, params)
        ours, _ = tx.update(params, taken, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, theirs)


def test_the_state_of_another_partition_is_taken_over():
    old = gx.partition({"train": gx.adam(0.1), "keep": gx.set_to_zero()}, LABELS)
    params, state = stepped(old)
    new = gx.partition({"train": gx.chain(gx.clip(1.0), gx.adam(0.1)), "keep": gx.sgd(0.1, 0.9)}, LABELS)
    taken, _ = gx.migrate(state, new, params)
    jax.tree.map(np.testing.assert_array_equal, taken.mu, state.mu)
    assert int(taken.inner_states["train"].count) == 4
    whole, report = gx.migrate(
        gx.adam(0.1).init(PARAMS),
        gx.masked(gx.adam(0.1), True),
        PARAMS,
        names={"masked.inner_state.scale_by_adam": "scale_by_adam"},
    )
    assert report.kept
    jax.tree.map(np.testing.assert_array_equal, whole.mu, gx.adam(0.1).init(PARAMS).mu)


@pytest.mark.parametrize("name", [name for name in CASES if name != "multi_transform"])
def test_optax_maps_over_what_is_like_parameters(name):
    tx = CASES[name](gx)
    with jax.numpy_dtype_promotion("standard"):
        _, state = stepped(tx)
    mapped = optax.tree.map_params(tx, jnp.zeros_like, state)
    assert jax.tree.structure(mapped) == jax.tree.structure(state)
    if "adam" in repr(tx) and "optax" not in name:
        assert not any(map(np.any, jax.tree.leaves(mapped.mu)))
        assert int(mapped.count) == 4


def test_optax_s_functions_take_ours():
    inner = {"train": gx.adam(0.1), "keep": gx.set_to_zero()}
    for guest, ours in (
        (optax.partition(inner, LABELS), gx.partition(inner, LABELS)),
        (optax.masked(gx.adam(0.1), MASK), gx.masked(gx.adam(0.1), MASK)),
        (optax.masked(ours_in_ours := gx.masked(gx.adam(0.1), MASK), ndim_is_one), ours_in_ours),
        (optax.transforms.selective_transform(gx.adam(0.1), freeze_mask=True), gx.freeze(True)),
    ):
        for tx in (guest, gx.chain(guest), gx.partition({"all": guest}, "all")):
            jax.tree.map(np.testing.assert_array_equal, stepped(tx)[0], stepped(ours)[0])


@pytest.mark.parametrize("given", [True, False])
def test_extra_arguments_like_the_updates_are_parted_if_asked(given):
    seen = []

    def look(updates, state, params=None, *, tags, value):
        seen.append((tags, value))
        return updates, state

    spy = optax.GradientTransformationExtraArgs(lambda params: (), look)
    for tx in (
        gx.masked(spy, MASK, mask_compatible_extra_args=given),
        gx.partition({"train": spy, "keep": gx.identity()}, LABELS, mask_compatible_extra_args=given),
    ):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, tags={"w": 1, "b": 2}, value=3.0)
    assert seen == [({"w": 1, "b": optax.MaskedNode()} if given else {"w": 1, "b": 2}, 3.0)] * 2


def test_a_step_by_hand_is_compiled_once_for_equal_transforms(monkeypatch):
    calls = []
    advance = engine.advance
    monkeypatch.setattr(engine, "advance", lambda *args: calls.append(1) or advance(*args))
    grads = jax.tree.map(lambda leaf: jnp.tile(leaf, 7), GRADS)

    def step(rate):
        tx = gx.partition({"train": gx.scale(rate), "keep": gx.masked(gx.scale(rate), gx.by_path("b"))}, BY_RULE)
        state = tx.init(grads)
        calls.clear()
        tx.update(grads, state)
        return len(calls)

    assert (step(0.75), step(0.25)) == (4, 0)


def test_the_tree_is_flattened_once_for_all_groups(monkeypatch):
    calls = []
    of = Flow.of.__func__
    monkeypatch.setattr(Flow, "of", classmethod(lambda cls, *trees: calls.append(1) or of(cls, *trees)))
    tx = gx.chain(gx.clip(1.0), gx.partition({"train": gx.adam(0.1), "keep": gx.masked(gx.sgd(0.1), True)}, LABELS))
    state = tx.init(PARAMS)
    calls.clear()
    jax.make_jaxpr(tx.update)(GRADS, state, PARAMS)
    assert len(calls) == 1
