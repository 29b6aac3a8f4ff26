"""Every transform of the contract with its state in int8: it is a value, and its steps are near those without."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.core.keep import is_encoded
from tests.contract.case import params
from tests.contract.cases import CASES

STEPS = 3
# Blocks of two, so that the smallest leaves have several.
CODEC = gx.int8(2)


def kept_by(case):
    """The transform of a case, its state in int8."""
    return gx.stored(case.make(), CODEC, min_size=0)


def encoded(state):
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=is_encoded) if is_encoded(leaf)]


@functools.cache
def keeps_something(case):
    """Whether any of its slots is kept by the codec."""
    return bool(encoded(jax.eval_shape(kept_by(case).init, case.of_few(params()))))


KEEPING = [case for case in CASES if keeps_something(case)]
every_case = pytest.mark.parametrize("case", KEEPING, ids=lambda case: case.name)


def run(tx, case, first, grads):
    """The updates of some steps of a scan, which wants one structure, shape and dtype for ever, and the last state."""

    def step(state, grad):
        updates, state = tx.update(grad, state, first, **case.extra)
        return state, updates

    return jax.lax.scan(step, tx.init(first), grads)
