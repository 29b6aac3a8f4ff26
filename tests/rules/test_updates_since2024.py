"""MARS, Grokfast, LaProp, Adam-mini, CAME and AdamH: edges, the blocks and matrices of leaves, and what they equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.rules.matrices import gradients, ran, updates_of

# Rounding of float64.
CLOSE = {"rtol": 1e-12, "atol": 1e-15}
MADE = {
    "mars": gx.mars(),
    "grokfast": gx.grokfast(),
    "laprop": gx.laprop(0.1),
    "adam_mini": gx.adam_mini(0.1),
    "adam_mini, outputs": gx.adam_mini(0.1, blocks=-1),
    "came": gx.came(0.1),
    "adamh": gx.adamh(0.1),
}
PARAMS = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3), "none": jnp.zeros((4, 3))}


@jax.jit
def two_steps(grads):
    """The updates of both steps, of each."""
    found = {}
    for name, tx in MADE.items():
        state, updates = tx.init(PARAMS), []
        for _ in range(2):
            update, state = tx.update(grads, state, PARAMS)
            updates.append(update)
        found[name] = updates
    return found


def test_gradients_of_zero_move_nothing():
    for name, updates in two_steps(jax.tree.map(jnp.zeros_like, PARAMS)).items():
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates)), name


def test_a_nan_shows_in_its_own_leaf_and_with_a_joint_norm_in_all():
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    grads["kernel"] = grads["kernel"].at[0, 0].set(jnp.nan)
    for name, updates in two_steps(grads).items():
        for update in updates:
            assert np.isnan(update["kernel"][0, 0]), name
            assert np.isnan(update["bias"]).all() == (name == "mars")
            assert np.isfinite(update["bias"]).all() == (name != "mars")


def test_matrices_of_zero_have_no_norm_to_keep():
    update, _ = two_steps(jax.tree.map(jnp.ones_like, PARAMS))["adamh"]
    np.testing.assert_array_equal(update["none"], 0)


def test_first_step_of_mars_is_the_gradient_and_without_gamma_it_only_clips():
    grads = {"kernel": gradients((4, 3)), "bias": gradients((3,))}
    clipped = updates_of(gx.clip_by_global_norm(1.0), grads)
    first = updates_of(gx.mars(), jax.tree.map(lambda leaf: leaf[:1], grads))
    for name, leaf in updates_of(gx.mars(gamma=0.0), grads).items():
        np.testing.assert_allclose(leaf, clipped[name], **CLOSE)
        np.testing.assert_allclose(first[name], clipped[name][:1], **CLOSE)


def test_mars_of_matrices_alone_has_their_norm():
    grads = {"kernel": gradients((4, 3)), "bias": gradients((3,))}
    found = updates_of(gx.masked(gx.mars(), gx.by_ndim(2)), grads)
    np.testing.assert_array_equal(found["bias"], grads["bias"])
    np.testing.assert_allclose(found["kernel"], updates_of(gx.mars(), grads["kernel"]), **CLOSE)


def test_laprop_without_a_mean_of_squares_is_the_mean_of_signs():
    grads = gradients((4, 3))
    expected = updates_of(gx.chain(gx.scale_by_sign(), gx.ema(0.9)), grads)
    np.testing.assert_allclose(updates_of(gx.scale_by_laprop(b2=0.0, eps=0.0), grads), expected, **CLOSE)


def test_each_head_is_a_block():
    grads = gradients((4, 2, 3))
    heads = updates_of(gx.scale_by_adam_mini(blocks=1), grads)
    for head in range(2):
        np.testing.assert_allclose(heads[:, :, head], updates_of(gx.scale_by_adam_mini(), grads[:, :, head]), **CLOSE)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_block_for_each_element_is_adam(nesterov):
    grads = gradients((4, 3))
    found = updates_of(gx.scale_by_adam_mini(blocks=(0, -1), nesterov=nesterov), grads)
    np.testing.assert_allclose(found, updates_of(gx.scale_by_adam(nesterov=nesterov), grads), **CLOSE)


def test_blocks_of_a_transformer():
    params = {
        "embedding": np.zeros((9, 4)),
        "query": {"kernel": np.zeros((4, 2, 3)), "bias": np.zeros((2, 3))},
        "norm": {"scale": np.zeros(4)},
        "dense": {"kernel": np.zeros((4, 5)), "bias": np.zeros(5)},
    }
    kinds = {"tokens": 0, "heads": -2, "outputs": -1, "whole": None}
    labels = gx.labels({"embedding": "tokens", "query/*": "heads", "*/scale": "whole", "*": "outputs"})
    tx = gx.partition({name: gx.scale_by_adam_mini(blocks=blocks) for name, blocks in kinds.items()}, labels)
    states = jax.eval_shape(tx.init, params)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(states) if leaf.dtype == jnp.float32)
    moments = [leaf.shape for leaf in jax.tree.leaves(params)]
    assert shapes == sorted([*moments, (9,), (2,), (2,), (), (5,), (5,)])


@pytest.mark.parametrize("blocks", ["heads", (0, "heads"), 1.0, True])
def test_blocks_are_axes(blocks):
    with pytest.raises(TypeError, match="scale_by_adam_mini: blocks must be an axis or a tuple of axes; got"):
        gx.adam_mini(0.1, blocks=blocks)


def test_came_takes_stacked_layers_as_each_alone():
    """More layers than a matrix has columns: by default the layers would be factored. Clipping is of whole leaves."""
    grads = gradients((7, 4, 3))
    tx = gx.scale_by_came(clipping_threshold=1e9, weight_dimension_numbers=gx.MatrixAxes())
    alone = gx.scale_by_came(clipping_threshold=1e9)
    stacked = updates_of(tx, grads)
    for layer in range(7):
        np.testing.assert_allclose(stacked[:, layer], updates_of(alone, grads[:, layer]), **CLOSE)
    assert not np.allclose(stacked, updates_of(alone, grads))
    assert gx.from_json(gx.to_json(tx)) == tx


def test_came_goes_on_less_where_steps_are_far_from_their_mean():
    """Two rows of one size, of which one turns at each step."""
    turning = np.array([1.0, -1.0] * 5)
    grads = np.stack([np.stack([np.ones(3), turn * np.ones(3)]) for turn in turning])
    last = np.abs(updates_of(gx.scale_by_came(b3=0.9), grads)[-1])
    mean = np.abs(ran(gx.scale_by_came(b3=0.9), grads)[2].stages["scale_by_came"].mu)
    assert (last[1] / mean[1] < 0.7 * last[0] / mean[0]).all()


def test_came_of_axes_of_several_kinds_is_an_error():
    with pytest.raises(TypeError, match="scale_by_came: weight_dimension_numbers must be MatrixAxes"):
        gx.came(0.1, weight_dimension_numbers={"w": gx.MatrixAxes()})


def test_adamh_is_hyperball_around_adam():
    axes = gx.hidden_matrices
    expected = gx.hyperball(gx.adam(3e-4, b2=0.95), 0.01, axes, radius="first")
    assert gx.adamh(0.01, b2=0.95, adam_learning_rate=3e-4, weight_dimension_numbers=axes, radius="first") == expected


def test_centralize_takes_the_inputs_of_convolutions_and_of_matrices():
    params = {"conv": gradients((3, 3, 2, 5), 1), "dense": gradients((4, 3), 1), "bias": gradients((3,), 1)}
    found = updates_of(gx.centralize(axis="inputs"), params)
    np.testing.assert_allclose(found["conv"].sum(axis=(1, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(found["dense"].sum(axis=1), 0, atol=1e-14)
    np.testing.assert_array_equal(found["bias"], params["bias"])
    with pytest.raises(ValueError, match="centralize: axis must be axes or 'inputs'; got 'outputs'"):
        gx.centralize(axis="outputs")
