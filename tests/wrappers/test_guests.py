"""What wrappers hold: optax's transforms and states from a checkpoint; and optax's wrappers in our chains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx
from tests.ecosystem.common import assert_equal, saved_and_restored

PARAMS = {"a": jnp.linspace(1.0, 2.0, 6).reshape(2, 3), "b": jnp.asarray([0.5, -0.5])}
LABELS = {"a": "matrix", "b": "rest"}

WRAPPERS = {
    "guard": gx.guard,
    "cautious": gx.cautious,
    "accumulate": lambda inner: gx.accumulate(inner, 2),
    "apply_if_finite": lambda inner: gx.apply_if_finite(inner, 2),
    "conditionally_transform": lambda inner: gx.conditionally_transform(inner, lambda step: step % 2 == 0),
    "conditionally_mask": lambda inner: gx.conditionally_mask(inner, lambda step: step % 2 == 0),
    "MultiSteps": lambda inner: gx.MultiSteps(inner, 2),
    "flatten": gx.flatten,
    "split_real_and_imaginary": gx.split_real_and_imaginary,
    "partition": lambda inner: gx.partition({"matrix": inner, "rest": gx.sgd(0.1)}, LABELS),
    "masked": lambda inner: gx.masked(inner, {"a": True, "b": False}),
    "selective_transform": lambda inner: gx.selective_transform(inner, freeze_mask={"a": True, "b": False}),
    "sam": lambda inner: gx.sam(inner, gx.sgd(0.01)),
    "schedule_free": lambda inner: gx.schedule_free(inner, 0.1),
}


def run(tx, steps=4):
    """The parameters after some steps on |p|^2 / 2, by jit."""
    with jax.numpy_dtype_promotion("standard"):
        params, state = PARAMS, tx.init(PARAMS)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(params, state, params)
        return optax.apply_updates(params, updates), state

    # optax relies on implicit promotion, which is an error elsewhere in these tests.
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(steps):
            params, state = step(params, state)
    return params


def assert_alike(ours, theirs):
    # optax takes 1 - b2^t in float32, 0.001 with an error of 6e-5 of it: half of that of each step of 0.1.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5), ours, theirs)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_holds_optax_s_adam_as_it_does_ours(name):
    wrap = WRAPPERS[name]
    assert_alike(run(wrap(gx.adam(0.1))), run(wrap(optax.adam(0.1))))


def test_a_partition_of_muon_and_adamw_by_optax_s_own_functions_stands_in_a_chain():
    theirs = optax.partition({"matrix": optax.contrib.muon(0.1), "rest": optax.adamw(0.1)}, LABELS)
    chain = gx.chain(gx.clip_by_global_norm(1.0), theirs)
    assert_alike(run(chain), run(optax.chain(optax.clip_by_global_norm(1.0), theirs)))


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_checkpoint_goes_on_as_the_run_that_it_is_of(name, tmp_path):
    tx = WRAPPERS[name](gx.adam(0.1))
    step = jax.jit(tx.update)
    _, state = step(PARAMS, tx.init(PARAMS), PARAMS)
    restored = saved_and_restored(tmp_path / "state", state, tx.init(PARAMS))
    assert_equal(step(PARAMS, restored, PARAMS), step(PARAMS, state, PARAMS))
