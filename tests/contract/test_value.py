"""A transform is a value: it prints, compares, pickles, and is a pytree of its numeric hyperparameters."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.contract.case import at, params, total, warm_up
from tests.contract.cases import CASES

NAMES = {**vars(gx), "inf": np.inf}
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_prints_as_the_call_that_makes_it(case):
    tx = case.make()
    # A plain function is printed by its name, which is no call; a schedule of the library's is.
    text = repr(tx)
    for function in (warm_up, total):
        text = text.replace(f"<{function.__module__}.{function.__qualname__}>", function.__name__)
    assert eval(text, {**NAMES, "warm_up": warm_up, "total": total}) == tx


@every_case
def test_made_alike_is_equal_and_hashes_alike(case):
    one, other = case.make(), case.make()
    assert one == other
    assert hash(one) == hash(other)
    assert {one: 1}[other] == 1
    assert one != gx.scale(123.0)
    assert one != "a transform"


def test_different_transforms_are_unequal():
    # sgd without momentum is the learning rate and nothing else, and normalize another name.
    transforms = [case.make() for case in CASES if case.name not in ("sgd", "normalize")]
    for i, tx in enumerate(transforms):
        assert tx not in transforms[:i]


@every_case
def test_pickles_and_copies_with_its_state(case):
    tx, first = case.make(), params()
    _, state = tx.update(at(0, case.gradients(1)), tx.init(first), first, **case.extra)
    for copied in (pickle.loads(pickle.dumps((tx, state))), copy.deepcopy((tx, state))):
        assert copied[0] == tx
        assert jax.tree.structure(copied[1]) == jax.tree.structure(state)
        jax.tree.map(np.testing.assert_array_equal, copied[1], state)


@every_case
def test_is_a_pytree_of_its_numbers(case):
    tx = case.make()
    leaves, structure = jax.tree.flatten(tx)
    assert all(isinstance(leaf, int | float) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves) == tx
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tx)[0]]
    assert len(set(paths)) == len(leaves)


@every_case
def test_as_an_argument_of_jit_new_numbers_do_not_retrace(case):
    tx, first, grad = case.make(), params(), at(0, case.gradients(1))
    traces = []

    @jax.jit
    def update(tx, grad, first):
        traces.append(tx)
        return tx.update(grad, tx.init(first), first, **case.extra)[0]

    expected = tx.update(grad, tx.init(first), first, **case.extra)[0]
    result = update(tx, grad, first)
    # 1 - b2 of a traced b2 is taken in float32, where 0.001 has 1e-5 of error.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-5, atol=1e-6), result, expected)
    update(jax.tree.map(lambda number: number * 0.9, tx), grad, first)
    assert len(traces) == 1


@every_case
def test_many_hyperparameters_at_once_equal_one_after_the_other(case):
    tx, first, grad = case.make(), params(), at(0, case.gradients(1))
    one, other = (jax.tree.map(lambda number, k=k: np.float32(number * k), tx) for k in (1.0, 0.9))
    if not jax.tree.leaves(tx):
        assert one == other == tx
        return
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other)
    update = jax.jit(lambda tx: tx.update(grad, tx.init(first), first, **case.extra)[0])
    results = jax.vmap(update)(both)
    for i, alone in enumerate((one, other)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), at(i, results), update(alone))
