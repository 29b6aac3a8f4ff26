"""Chains: flattening, names, one counter, and optax's transforms as guests."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"w": jnp.arange(3.0), "b": jnp.ones(())}
GRADS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(3.0)}


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


def test_nested_chains_are_flat_with_one_counter():
    tx = gx.chain(gx.chain(gx.clip(1.0), gx.adam(0.1)), gx.chain(gx.scale(2.0)))
    assert tx == gx.chain(gx.clip(1.0), gx.scale_by_adam(), gx.scale_by_learning_rate(0.1), gx.scale(2.0))
    state = tx.init(PARAMS)
    assert list(state.stages) == ["clip", "scale_by_adam", "scale_by_learning_rate", "scale"]
    counters = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.int32]
    assert len(counters) == 1
    for expected in (1, 2, 3):
        _, state = tx.update(GRADS, state, PARAMS)
        assert state.count == expected


def test_the_state_is_read_by_the_rule_s_name():
    state = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1)).init({"dense": {"kernel": jnp.ones((2, 3))}})
    assert state.stages["scale_by_adam"].mu["dense"]["kernel"].shape == (2, 3)


def test_rules_of_one_name_are_numbered_in_their_order():
    pair = gx.chain(gx.scale(1.0), gx.scale(2.0))
    tx = gx.chain(pair, gx.clip(1.0), pair)
    assert [stage.name for stage in tx.stages] == ["scale", "scale_2", "clip", "scale_3", "scale_4"]
    assert repr(tx).startswith("chain(")


def test_a_chain_of_one_is_that_one_and_a_chain_of_none_changes_nothing():
    assert gx.chain(gx.adam(0.1)) == gx.adam(0.1)
    empty = gx.chain()
    updates, _ = empty.update(GRADS, empty.init(PARAMS))
    close(updates, GRADS)
    assert repr(empty) == "chain()"


def test_named_chain_keeps_the_names():
    tx = gx.named_chain(("clip", gx.clip(1.0)), ("descend", gx.adam(0.1)))
    state = tx.init(PARAMS)
    assert set(state.stages) == {"clip", "descend.scale_by_adam", "descend.scale_by_learning_rate"}
    assert [stage.name for stage in gx.chain(tx, gx.clip(2.0)).stages][-1] == "clip_2"
    with pytest.raises(ValueError, match="named_chain: expected names of their own, got more than one clip"):
        gx.named_chain(("clip", gx.clip(1.0)), ("clip", gx.clip(2.0)))


@pytest.mark.parametrize("wrong", [gx.scale, len, None, 3, (1, 2)])
def test_what_is_no_transform_is_an_error(wrong):
    with pytest.raises(TypeError, match="chain takes transforms, ours or optax's; got"):
        gx.chain(gx.scale(1.0), wrong)


def test_optax_in_a_gradxform_chain():
    tx = gx.chain(gx.clip_by_global_norm(1.0), optax.scale_by_lion(), gx.scale_by_learning_rate(0.1))
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_lion(), optax.scale_by_learning_rate(0.1))
    assert repr(tx.stages[1].node) == "<optax.scale_by_lion>"
    state, other = tx.init(PARAMS), theirs.init(PARAMS)
    assert isinstance(state.stages["scale_by_lion"], optax.ScaleByLionState)
    for _ in range(3):
        updates, state = tx.update(GRADS, state, PARAMS)
        expected, other = theirs.update(GRADS, other, PARAMS)
        close(updates, expected)


def test_gradxform_in_optax_wrappers():
    ours = optax.chain(
        optax.masked(gx.trace(0.9), {"w": True, "b": False}),
        optax.partition({"a": gx.adam(0.1), "z": gx.set_to_zero()}, {"w": "a", "b": "z"}),
    )
    theirs = optax.chain(
        optax.masked(optax.trace(0.9), {"w": True, "b": False}),
        optax.partition({"a": optax.adam(0.1), "z": optax.set_to_zero()}, {"w": "a", "b": "z"}),
    )
    updates, _ = ours.update(GRADS, ours.init(PARAMS), PARAMS)
    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        expected, _ = theirs.update(GRADS, theirs.init(PARAMS), PARAMS)
    close(updates, expected)


def test_gradxform_in_multi_steps_and_inject_hyperparams():
    def losses(library):
        make = optax.inject_hyperparams(library.adamw)
        tx = optax.MultiSteps(make(learning_rate=0.1, b1=0.8), 2)
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(4):
            updates, state = tx.update(params, state, params)
            params = optax.apply_updates(params, updates)
        return params

    # optax's wrappers mix dtypes.
    with jax.numpy_dtype_promotion("standard"):
        close(losses(gx), losses(optax))


def test_extra_arguments_reach_the_guests_that_take_them_and_the_rules_that_declare_them():
    @gx.transform
    class ScaleByValue(gx.LeafRule):
        value = gx.Extra()

        def update(self, grad, slots, leaf):
            return grad * leaf.extra["value"], slots

    tx = gx.chain(ScaleByValue(), optax.contrib.reduce_on_plateau(factor=0.5, patience=1), optax.scale(1.0))
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"scale_by_value needs an extra argument: .*params, value=\.\.\.\)"):
        tx.update(GRADS, state, PARAMS)
    # optax's rule mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        updates, state = tx.update(GRADS, state, PARAMS, value=2.0, another="ignored")
    close(updates, jax.tree.map(lambda g: 2 * g, GRADS))
    assert state.stages["reduce_on_plateau"].best_value == 2.0


def test_extra_arguments_that_nobody_takes_are_ignored():
    tx = gx.adam(0.1)
    assert optax.with_extra_args_support(tx) is tx
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0, value_fn=len)
    assert jax.tree.structure(updates) == jax.tree.structure(GRADS)


def test_is_optax_s_pair():
    tx = gx.adam(0.1)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    init, update = tx
    updates, _ = update(GRADS, init(PARAMS), PARAMS)
    assert jax.tree.structure(updates) == jax.tree.structure(GRADS)
    plain = tx._replace(update=lambda updates, state, params=None, **extra: (updates, state))
    assert not isinstance(plain, gx.Transform)
    assert plain.update(GRADS, None)[0] is GRADS


def test_guests_see_the_dtype_that_came():
    seen = []

    def update(updates, state, params=None):
        seen.append(jax.tree.map(lambda leaf: leaf.dtype, updates))
        return updates, state

    spy = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    grads = {"w": jnp.ones(2, jnp.bfloat16)}
    tx = gx.chain(gx.clip_by_global_norm(1.0), spy, gx.scale(2.0))
    updates, _ = tx.update(grads, tx.init(grads), grads)
    assert seen == [{"w": jnp.bfloat16}]
    assert updates["w"].dtype == jnp.bfloat16


def test_with_extra_args_support_keeps_the_state_and_takes_what_it_has_no_use_for():
    ours = gx.adam(0.1)
    assert gx.with_extra_args_support(ours) is ours
    plain = optax.GradientTransformation(*optax.scale_by_lion())
    tx = gx.with_extra_args_support(plain)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)
    expected, other = plain.update(GRADS, plain.init(PARAMS), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, (updates, state), (expected, other))
