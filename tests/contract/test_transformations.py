"""Compiled in any way, the numbers are those of calls by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.contract.case import at, rules
from tests.contract.cases import DISTINCT, KINDS
from tests.contract.runs import BY_HAND, Run, by_hand, compiled, given, reusing, steps

DEVICES = 8
every_distinct = pytest.mark.parametrize("case", DISTINCT, ids=lambda case: case.name)
every_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.name)


def assert_same(ours, expected, rtol=2e-6, atol=1e-7):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        if not jnp.issubdtype(b.dtype, jnp.inexact):
            np.testing.assert_array_equal(a, b)
            continue
        # XLA may fuse and so round otherwise: a few ulps of float32, and of a number that is the difference of larger
        # ones, an ulp or two of theirs, such as its array has too.
        largest = np.max(np.abs(b), where=np.isfinite(b), initial=0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=max(atol, 2e-7 * largest))


@every_distinct
def test_two_runs_at_once_in_a_compiled_scan(case):
    ours, expected = jax.tree.map(lambda leaf: leaf[:, :BY_HAND], compiled(case)), by_hand(case)[1]
    ours, expected = (ours.updates, ours.state), (expected.updates, expected.state)
    assert_same(at(0, ours), at(0, expected))
    # Through these gradients a bound that momo_adam estimates keeps a digit less.
    assert_same(at(1, ours), at(1, expected), rtol=1e-5)


@every_distinct
def test_a_step_may_be_given_what_it_is_to_reuse_and_other_numbers(case):
    """`jit` with the transform as an argument, and with parameters and state donated: one program for all steps."""
    tx, compiled_step = case.make(), reusing(case)
    first, grads = given(case)
    start = state = tx.init(first)
    now = first
    for i in range(BY_HAND):
        now, state, updates = compiled_step(tx, now, state, at(i, grads))
    # Metrics of the step before are not read, and so not donated.
    slots = [getattr(record, name) for rule, record in rules(tx, start) for name in getattr(rule, "slots", ())]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((first, start.count, slots)))
    expected = at(-1, at(0, by_hand(case)[1]))
    # 1 - b2 of a traced b2 is taken in float32, where 0.001 has 1e-5 of error.
    assert_same(Run(updates, now, state), expected, rtol=5e-5, atol=1e-6)
    compiled_step(jax.tree.map(lambda number: number * 0.9, tx), now, state, at(0, grads))
    assert compiled_step._cache_size() == 1


@every_distinct
def test_many_hyperparameters_at_once_equal_one_after_the_other(case):
    tx, (first, grads) = case.make(), given(case)
    one, other = (jax.tree.map(lambda number, k=k: number * k, tx) for k in (1.0, 0.9))
    if not jax.tree.leaves(tx):
        assert one == other == tx
        return

    def update(tx):
        return tx.update(at(0, grads), tx.init(first), first, **case.extra)[0]

    both = jax.tree.map(lambda a, b: np.array([a, b], np.float32), one, other)
    results = jax.jit(jax.vmap(update))(both)
    for i, tx in enumerate((one, other)):
        # It reuses what it is given.
        params = jax.tree.map(jnp.copy, first)
        *_, expected = reusing(case)(tx, params, tx.init(params), at(0, grads))
        assert_same(at(i, results), expected, rtol=1e-5, atol=1e-6)


@every_kind
def test_pmap(case):
    def run(first, grads):
        return steps(case.make(), first, grads, case.extra)

    first, grads = given(case)
    everywhere = jax.tree.map(lambda leaf: jnp.stack([leaf] * DEVICES), (first, at(slice(BY_HAND), grads)))
    results = Run(*jax.pmap(run)(*everywhere))
    expected = at(0, by_hand(case)[1])
    for device in range(DEVICES):
        ours = at(device, results)
        assert_same((ours.updates, ours.state), (expected.updates, expected.state))
