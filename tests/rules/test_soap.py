"""SOAP against the paper's algorithm with its authors' departures, in NumPy; and what is special in it."""

import numpy as np
import pytest

import gradxform as gx
from tests.contract import references_preconditioned as references
from tests.rules.preconditioned import CLOSE, gradients, updates_of


# With sides that differ by two or more the first basis is arbitrary in what it has not seen.
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5, 5)])
@pytest.mark.parametrize("every", [1, 3])
def test_ten_steps_of_the_algorithm(shape, every):
    grads = gradients(shape)
    ours = updates_of(gx.scale_by_soap(precondition_frequency=every), grads)
    np.testing.assert_allclose(ours, references.soap(list(grads), every=every), **CLOSE)


def test_other_numbers_and_one_side_alone():
    grads = gradients((4, 3))
    ours = updates_of(gx.scale_by_soap(0.9, 0.8, 1e-3, 2, 3, 0.7), grads)
    expected = references.soap(list(grads), 0.9, 0.8, 1e-3, 2, factor_b=0.7, largest=3)
    np.testing.assert_allclose(ours, expected, **CLOSE)


def test_identity_for_the_bases_is_adam():
    grads = gradients((4, 6))
    ours = updates_of(gx.scale_by_soap(0.9, 0.99, 0.0, max_precond_dim=0), grads)
    np.testing.assert_array_equal(ours[0], 0)
    np.testing.assert_allclose(ours[1:], updates_of(gx.scale_by_adam(0.9, 0.99, 0.0), grads[1:]), **CLOSE)


def test_without_corrections():
    grads = gradients((4, 4), 6)
    plain = updates_of(gx.scale_by_soap(0.9, 0.8, debias=False), grads)
    steps = np.maximum(np.arange(6), 1)[:, None, None]
    correction = np.sqrt(1 - 0.8**steps) / (1 - 0.9**steps)
    np.testing.assert_allclose(plain * correction, updates_of(gx.scale_by_soap(0.9, 0.8), grads), **CLOSE)
