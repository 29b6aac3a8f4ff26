"""Every transform of the contract that keeps arrays, with them in int8: a value, whose steps are near those without."""

import functools
import pickle

import jax
import numpy as np
import pytest

import gradxform as gx
from gradxform.core.keep import is_encoded
from tests.contract.case import at, params
from tests.contract.cases import CASES, DISTINCT
from tests.contract.runs import by_hand, given, steps

STEPS = 3
# Blocks of two, so that the smallest leaves have several.
CODEC = gx.int8(2)


def kept_by(case):
    """The transform of a case, its state in int8."""
    return gx.stored(case.make(), CODEC, min_size=0)


def encoded(state):
    """What codecs keep of a state."""
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=is_encoded) if is_encoded(leaf)]


@functools.cache
def first_shapes(case):
    """What `init` makes of shapes, of which nothing is allocated."""
    return jax.eval_shape(kept_by(case).init, case.of_few(params()))


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# An optimizer keeps what its rule does, and most are a rule and a rate.
NAMES = {case.public_name for case in CASES}
ALONE = [case for case in DISTINCT if f"scale_by_{case.public_name}" not in NAMES]


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_steps_are_near_those_of_float32(case):
    if not encoded(first_shapes(case)):
        pytest.skip("it keeps no arrays, or copies of parameters alone")
    # A scan wants one structure, shape and dtype for ever.
    run = jax.jit(lambda first, grads: steps(kept_by(case), first, at(slice(STEPS), grads), case.extra))
    updates, _, states = jax.device_get(run(*given(case)))
    state, expected = at(-1, states), at(slice(STEPS), at(0, by_hand(case)[1])).updates
    shapes = first_shapes(case)
    assert jax.tree.structure(state) == jax.tree.structure(shapes)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), jax.tree.leaves(state)) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), jax.tree.leaves(shapes)
    )
    # One of two in a block has its own number, the other is within 1/127 of it, for three steps; and where a rule
    # divides by what it kept, twice.
    assert norm(jax.tree.map(np.subtract, updates, expected)) <= 0.03 * norm(expected)


@every_case
def test_is_a_value(case):
    tx = kept_by(case)
    assert tx == kept_by(case) != case.make()
    assert hash(tx) == hash(kept_by(case))
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert repr(tx).startswith("stored(")
    try:
        text = gx.to_json(case.make())
    except TypeError:
        # A function of the test's own has no name in a file.
        return
    if gx.from_json(text) == case.make():
        assert gx.from_json(gx.to_json(tx)) == tx
