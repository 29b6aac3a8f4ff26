"""A transform is a value: it prints, compares, pickles, and is a pytree of its numeric hyperparameters."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.contract.case import halved, often, params, total, warm_up
from tests.contract.cases import CASES

pytestmark = pytest.mark.portable

NAMES = {**vars(gx), "inf": np.inf}
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_prints_as_the_call_that_makes_it(case):
    tx = case.make()
    # A plain function is printed by its name, which is no call; a schedule of the library's is.
    text = repr(tx)
    functions = {function.__name__: function for function in (warm_up, total, often, halved)}
    for function in functions.values():
        text = text.replace(f"<{function.__module__}.{function.__qualname__}>", function.__name__)
    assert eval(text, {**NAMES, **functions}) == tx


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


def counting(like):
    return jnp.asarray(np.arange(like.size).reshape(like.shape).astype(like.dtype))


@every_case
def test_pickles_and_copies_with_its_state(case):
    tx = case.make()
    # Of numbers that count up, in the shapes of the first state, which costs no program.
    state = jax.tree.map(counting, jax.eval_shape(tx.init, case.of_few(params())))
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
