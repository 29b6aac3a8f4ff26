"""Derivatives through steps equal optax's, with respect to the rate, the first parameters and the gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.case import params
from tests.contract.cases import CASES, is_differentiated_forwards
from tests.contract.runs import exactly

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


def assert_equal(ours, theirs):
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        # Rounding of some steps in float64, second derivatives included.
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.name)
def test_equal_optax(case):
    if is_differentiated_forwards(case):
        # Of the updates and the parameters of 100 steps, along one direction.
        run = exactly(case)
        assert_equal(run.ours_moved, run.theirs_moved)
    else:
        assert_equal(*in_reverse(case))


def in_reverse(case):
    """Of the loss after five steps, with respect to the rate and to each of the first parameters: ours and optax's."""

    def derivatives(chain, tx, rate, first):
        return jax.grad(lambda rate, first: loss_after_five_steps(chain, tx, rate, first, case), (0, 1))(rate, first)

    def both(rate, first):
        ours = derivatives(gx.chain, case.make(), rate, first)
        with jax.numpy_dtype_promotion("standard"):
            return ours, derivatives(optax.chain, case.optax(), rate, first)

    with jax.enable_x64(True):
        return jax.jit(both)(jnp.asarray(0.01), case.of_few(params(np.float64)))


def test_both_modes_are_used():
    # Asked until both were there, as a case is traced to tell.
    assert any(map(is_differentiated_forwards, SMOOTH))
    assert not all(map(is_differentiated_forwards, SMOOTH))


def test_are_finite_at_zero():
    def squares(clip, tree):
        updates, _ = clip.update(tree, clip.init(tree))
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates))

    clips = [gx.clip_by_global_norm(1.0), gx.clip_by_norm(1.0), gx.clip_by_block_rms(1.0)]
    gradients = jax.jit(lambda tree: [jax.grad(partial(squares, clip))(tree) for clip in clips])
    for leaf in jax.tree.leaves(gradients({"a": jnp.zeros(3), "b": jnp.zeros((2, 2))})):
        np.testing.assert_array_equal(leaf, 1.0)
