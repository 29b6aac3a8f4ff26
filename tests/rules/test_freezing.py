"""Leaves that stay, until when, and factors of groups; as masks they are tried beside partitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

PARAMS = {"w": jnp.arange(1.0, 4.0), "b": jnp.ones(2)}
GRADS = {"w": jnp.array([3.0, 0.0, 4.0]), "b": jnp.array([1.0, -1.0])}
MASK = {"w": True, "b": False}
BY_RULE = gx.labels({"w": "train"}, "keep")


@pytest.mark.parametrize(
    "until", [2, jnp.array(2.0), gx.constant_schedule(2.0), lambda step: 2], ids=["int", "array", "schedule", "lambda"]
)
def test_leaves_are_let_go_at_a_step(until):
    tx = gx.freeze(MASK, until=until)
    state, frozen = tx.init(PARAMS), []
    for _ in range(4):
        updates, state = jax.jit(tx.update)(GRADS, state, PARAMS)
        np.testing.assert_array_equal(updates["b"], GRADS["b"])
        frozen.append(not np.any(updates["w"]))
    assert frozen == [True, True, False, False]


def test_leaves_are_let_go_by_hand():
    tx = gx.live(gx.chain(gx.sgd(0.1), gx.freeze(gx.by_path("w"), until=10**6)), "until")
    state = tx.init(PARAMS)
    assert not np.any(tx.update(GRADS, state)[0]["w"])
    np.testing.assert_allclose(tx.update(GRADS, gx.adjust(state, until=0))[0]["w"], -0.1 * GRADS["w"], rtol=1e-6)
    with pytest.raises(ValueError, match="until must be at least 0"):
        gx.freeze(True, until=-1)


def test_a_frozen_leaf_lets_no_nan_out():
    nans = jax.tree.map(lambda grad: grad * jnp.nan, GRADS)
    for tx in (gx.freeze(True, until=3), gx.freeze(True), gx.selective_transform(gx.sgd(0.1), freeze_mask=True)):
        updates, _ = tx.update(nans, tx.init(PARAMS), PARAMS)
        assert not any(map(np.any, jax.tree.leaves(updates)))


def test_factors_of_groups_follow_schedules_and_live():
    tx = gx.live(gx.scale_by_group({"train": 0.1, "keep": gx.linear_schedule(0.0, 1.0, 2)}, BY_RULE), "train")
    state = gx.adjust(tx.init(PARAMS), train=3.0)
    for step in range(3):
        assert float(gx.hyperparams(tx, state)["scale_by_group.factors.keep"]) == step / 2
        updates, state = tx.update(GRADS, state)
        np.testing.assert_array_equal(updates["w"], 3 * GRADS["w"])
        np.testing.assert_array_equal(updates["b"], step / 2 * GRADS["b"])
    fixed = gx.replace(tx, {"factors.train": 2.0})
    assert float(gx.hyperparams(fixed, fixed.init(PARAMS))["scale_by_group.factors.train"]) == 2
