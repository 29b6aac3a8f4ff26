"""Metrics of transforms within transforms are found, under their paths, wherever a state can be."""

import importlib
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
CLIP = gx.clip_by_global_norm(1.0)
LABELS = {"w": "matrices", "b": "rest"}

# What holds CLIP, and under which name its metric is found.
WITHIN = {
    "masked": (gx.masked(CLIP, {"w": True, "b": False}), "masked.clip_by_global_norm.norm", 2),
    "partition": (
        gx.partition({"rest": gx.sgd(0.1), "matrices": CLIP}, LABELS),
        "partition.matrices.clip_by_global_norm.norm",
        2,
    ),
    "a chain in a partition in a chain": (
        gx.chain(gx.scale(2.0), gx.partition({"rest": gx.identity(), "matrices": gx.chain(CLIP)}, LABELS)),
        "partition.matrices.clip_by_global_norm.norm",
        4,
    ),
    "masked twice": (
        gx.masked(gx.masked(CLIP, {"w": True, "b": False}), True),
        "masked.masked.clip_by_global_norm.norm",
        2,
    ),
    "apply_if_finite": (gx.apply_if_finite(CLIP, 3), "apply_if_finite.clip_by_global_norm.norm", 6**0.5),
    "optax's wrapper": (gx.chain(optax.masked(CLIP, {"w": True, "b": False})), "masked.clip_by_global_norm.norm", 2),
    "a rule": (
        gx.mechanize(gx.chain(CLIP, gx.scale_by_learning_rate(1.0))),
        "mechanize.clip_by_global_norm.norm",
        6**0.5,
    ),
    "optax's chain": (optax.chain(optax.scale(1.0), CLIP), "clip_by_global_norm.norm", 6**0.5),
    "MultiSteps": (gx.MultiSteps(CLIP, 1), "multi_steps.clip_by_global_norm.norm", 6**0.5),
}
optax_mixes_dtypes = jax.numpy_dtype_promotion("standard")
every_holder = pytest.mark.parametrize(("tx", "name", "norm"), WITHIN.values(), ids=WITHIN)


@every_holder
@optax_mixes_dtypes
def test_metrics_within_are_found_with_the_same_keys_at_every_step(tx, name, norm):
    state = tx.init(PARAMS)
    before = gx.metrics(state)
    _, state = jax.jit(tx.update)(PARAMS, state, PARAMS)
    after = gx.metrics(state)
    assert list(after) == list(before)
    assert after[name] == pytest.approx(norm)


@every_holder
@optax_mixes_dtypes
def test_in_a_scan_inside_jit_and_under_vmap(tx, name, norm):
    def step(state, grads):
        _, state = tx.update(grads, state, PARAMS)
        return state, gx.metrics(state)

    @jax.jit
    def both(twice):
        in_turn = jax.lax.scan(step, tx.init(PARAMS), twice)
        return in_turn[1], jax.vmap(step)(jax.vmap(tx.init)(twice), twice)[1]

    in_turn, at_once = both(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS))
    assert in_turn[name].tolist()[0] == pytest.approx(norm)
    assert at_once[name].tolist() == pytest.approx([norm, norm])


def test_two_of_one_name_are_numbered():
    tx = optax.chain(CLIP, gx.clip_by_global_norm(0.5))
    _, state = tx.update(PARAMS, tx.init(PARAMS))
    assert gx.metrics(state) == {
        "clip_by_global_norm.norm": pytest.approx(6**0.5),
        "clip_by_global_norm.norm_2": pytest.approx(1.0),
    }


def test_groups_that_hold_like_transforms_are_told_apart():
    tx = gx.live(gx.partition({"matrices": gx.sgd(0.1), "b": gx.sgd(0.2)}, {"w": "matrices", "b": "b"}))
    state = tx.init(PARAMS)
    name = "partition.{}.scale_by_learning_rate.learning_rate".format
    assert float(gx.hyperparams(tx, state)[name("matrices")]) == pytest.approx(0.1)
    state = gx.adjust(state, {name("matrices"): 0.5})
    assert gx.hyperparams(tx, state)[name("matrices")] == 0.5
    assert float(gx.hyperparams(tx, state)[name("b")]) == pytest.approx(0.2)


def test_a_state_of_no_transform_of_ours_is_an_error():
    with pytest.raises(TypeError, match="metrics takes the state of a gradxform transform, got tuple"):
        gx.metrics(optax.adam(0.1).init(PARAMS))


def test_on_the_host_they_are_python_s_numbers_and_go_into_json(monkeypatch):
    tx = gx.chain(
        gx.zero_nans(),
        gx.count_nonfinite(),
        gx.guard(gx.sgd(0.1)),
        gx.snapshot("grads", lambda updates, *_: updates),
        gx.record_leaf_norms(),
    )
    grads = {"w": jnp.array([[1.0, jnp.nan], [2.0, 3.0]]), "b": jnp.array([4.0, 5.0])}
    _, state = jax.jit(tx.update)(grads, tx.init(PARAMS), PARAMS)
    arrays, fetched, fetch = gx.metrics(state), [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: fetched.append(tree) or fetch(tree))
    values = gx.metrics(state, host=True)
    assert len(fetched) == 1
    assert list(values) == list(arrays)
    for key, value in values.items():
        np.testing.assert_array_equal(value, arrays[key])
    assert type(values["zero_nans.found_nan/w"]) is bool
    assert values["zero_nans.found_nan/w"]
    assert type(values["count_nonfinite.steps"]) is int
    assert type(values["record_leaf_norms.norm/b"]) is float
    assert json.loads(json.dumps(values)) == values


def test_on_the_host_nan_stays_and_low_precision_and_many_runs_are_numbers_too():
    tx = gx.chain(gx.snapshot("last", lambda updates, *_: updates["b"]), gx.record_norms())
    grads = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 1.5, jnp.bfloat16).at[..., 0].set(jnp.nan), PARAMS)
    _, state = tx.update(grads, tx.init(grads), grads)
    values = gx.metrics(state, host=True)
    last, norm = (next(value for key, value in values.items() if word in key) for word in ("snapshot", "norm"))
    assert type(norm) is float
    assert math.isnan(norm)
    assert math.isnan(last[0])
    assert last[1] == 1.5
    states = jax.vmap(tx.init)(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS))
    assert len(next(value for key, value in gx.metrics(states, host=True).items() if "norm" in key)) == 2


def test_on_the_host_inside_jit_is_an_error_that_says_what_to_do():
    tx = gx.chain(CLIP)

    @jax.jit
    def step(state):
        return gx.metrics(state, host=True)

    with pytest.raises(
        TypeError, match=r"got clip_by_global_norm.norm traced; inside of jit take metrics\(state\), and"
    ):
        step(tx.init(PARAMS))


def test_metrics_come_in_the_order_of_the_chain():
    # Where nnx is there, its variables are looked for.
    importlib.import_module("flax.nnx")
    state = gx.chain(gx.zero_nans(), CLIP, gx.count_nonfinite()).init({"w": jnp.ones(2)})
    names = ["zero_nans.found_nan/w", "clip_by_global_norm.norm", "count_nonfinite.count", "count_nonfinite.steps"]
    assert list(gx.metrics(state)) == list(gx.metrics(state, host=True)) == names
