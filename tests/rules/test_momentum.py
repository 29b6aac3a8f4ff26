"""Sums that forget nothing: a decay of 1 is a plain sum, or a maximum, and is optax's too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx

PARAMS = jnp.array([1.0, -2.0, 0.5])
GRADS = jnp.array([[0.5, 0.3, -1.0], [-0.2, 0.4, 0.25], [0.1, 0.2, 2.0]])


def steps(tx):
    state, found = tx.init(PARAMS), []
    for grad in GRADS:
        updates, state = tx.update(grad, state, PARAMS)
        found.append(updates)
    return jnp.stack(found)


def test_trace_with_a_decay_of_one_is_a_plain_sum():
    np.testing.assert_allclose(steps(gx.trace(decay=1.0)), jnp.cumsum(GRADS, 0), rtol=1e-6)
    np.testing.assert_allclose(steps(gx.velocity(0.1, decay=1.0)), -0.1 * jnp.cumsum(GRADS, 0), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib, contrib: lib.trace(1.0, nesterov=True),
        lambda lib, contrib: lib.sgd(0.1, momentum=1.0),
        lambda lib, contrib: lib.scale_by_adamax(b2=1.0),
        lambda lib, contrib: lib.scale_by_novograd(b1=1.0),
        lambda lib, contrib: contrib.scale_by_simplified_ademamix(b1=1.0),
        lambda lib, contrib: contrib.prodigy(beta3=1.0),
    ],
    ids=["trace", "sgd", "adamax", "novograd", "simplified_ademamix", "prodigy"],
)
def test_a_sum_or_a_maximum_that_forgets_nothing_is_that_of_optax(make):
    # optax multiplies by integers, and takes 1 - b^t in float32, off by 3e-5.
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_allclose(steps(make(gx, gx)), steps(make(optax, optax.contrib)), rtol=1e-4)


@pytest.mark.parametrize("decay", [1.5, -0.5, np.float32("nan")])
def test_a_sum_that_grows_by_itself_is_refused(decay):
    with pytest.raises(ValueError, match="trace: decay must be at least 0 and at most 1; got"):
        gx.trace(decay)


@pytest.mark.parametrize("make", [gx.ema, lambda b: gx.adam(0.1, b1=b), lambda b: gx.rmsprop(0.1, b)])
def test_a_mean_that_would_never_move_is_refused(make):
    with pytest.raises(ValueError, match=r"must be at least 0 and less than 1; got 1\.0"):
        make(1.0)
