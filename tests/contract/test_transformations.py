"""Under `jit`, `scan`, `vmap` and `pmap` the numbers are those of eager execution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.contract.case import at, params
from tests.contract.cases import CASES

STEPS = 4
DEVICES = 8
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@functools.cache
def eagerly(case):
    """Updates of each step and the last state, one call after the other."""
    tx, first, grads = case.make(), params(), case.gradients(STEPS)
    state, updates = tx.init(first), []
    for i in range(STEPS):
        update, state = tx.update(at(i, grads), state, first, **case.extra)
        updates.append(update)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *updates), state


def assert_same(ours, expected):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        # XLA may fuse and so round otherwise: a few ulps of float32.
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)


def scanned(case):
    """(parameters, stacked gradients) -> stacked updates and the last state."""
    tx = case.make()

    def run(first, grads):
        def step(state, grad):
            updates, state = tx.update(grad, state, first, **case.extra)
            return state, updates

        state, updates = jax.lax.scan(step, tx.init(first), grads)
        return updates, state

    return run


@every_case
def test_jit(case):
    tx, first, grads = case.make(), params(), case.gradients(STEPS)
    step, state, updates = jax.jit(functools.partial(tx.update, **case.extra)), tx.init(first), []
    for i in range(STEPS):
        update, state = step(at(i, grads), state, first)
        updates.append(update)
    assert step._cache_size() == 1
    assert_same((jax.tree.map(lambda *leaves: np.stack(leaves), *updates), state), eagerly(case))


@every_case
def test_scan(case):
    assert_same(jax.jit(scanned(case))(params(), case.gradients(STEPS)), eagerly(case))


@every_case
def test_vmap(case):
    first, grads = params(), case.gradients(STEPS)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), (first, grads))
    both = jax.jit(jax.vmap(scanned(case)))(*twice)
    for i in range(2):
        assert_same(at(i, both), eagerly(case))


@every_case
def test_pmap(case):
    first, grads = params(), case.gradients(STEPS)
    everywhere = jax.tree.map(lambda leaf: jnp.stack([leaf] * DEVICES), (first, grads))
    results = jax.pmap(scanned(case))(*everywhere)
    for device in range(DEVICES):
        assert_same(at(device, results), eagerly(case))
