"""Derivatives through five steps, of the loss with respect to the rate and the first parameters, equal optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.case import params
from tests.contract.cases import CASES

SMOOTH = [case for case in CASES if case.optax and case.smooth]


def loss(tree):
    """A quadratic with another curvature in each leaf, away from its minimum."""
    parts = [curvature * jnp.sum(jnp.square(leaf - 3)) for curvature, leaf in enumerate(jax.tree.leaves(tree), 1)]
    return sum(parts)


def loss_after_five_steps(chain, tx, rate, first, case):
    tx = chain(tx, (gx if chain is gx.chain else optax).scale_by_learning_rate(rate))

    def step(carry, _):
        params, state = carry
        updates, new = tx.update(case.incoming(jax.grad(loss)(params)), state, params, **case.extra)
        # Some of optax's states change their dtypes at the first step.
        new = jax.tree.map(lambda leaf, old: jnp.asarray(leaf, jnp.asarray(old).dtype), new, state)
        return (jax.tree.map(jnp.add, params, updates), new), None

    # A scan, which compiles one step and not five.
    (last, _), _ = jax.lax.scan(step, (first, tx.init(first)), None, 5)
    return loss(last)


def derivatives(chain, tx, rate, first, case):
    # In reverse mode, in which a root of 0 makes a NaN also where `where` chooses another value.
    return jax.grad(lambda rate, first: loss_after_five_steps(chain, tx, rate, first, case), (0, 1))(rate, first)


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.name)
def test_equal_optax(case):
    def both(rate, first):
        ours = derivatives(gx.chain, case.make(), rate, first, case)
        with jax.numpy_dtype_promotion("standard"):
            return ours, derivatives(optax.chain, case.optax(), rate, first, case)

    with jax.enable_x64(True):
        ours, theirs = jax.jit(both)(jnp.asarray(0.01), case.of_few(params(np.float64)))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        # Five steps of rounding in float64, second derivatives included.
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("clip", [gx.clip_by_global_norm(1.0), gx.clip_by_norm(1.0), gx.clip_by_block_rms(1.0)])
def test_are_finite_at_zero(clip):
    def squares(tree):
        updates, _ = clip.update(tree, clip.init(tree))
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates))

    gradient = jax.grad(squares)({"a": jnp.zeros(3), "b": jnp.zeros((2, 2))})
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 1.0)
