"""Shampoo and KL-Shampoo against their papers' algorithms, in NumPy; and what is special in them."""

import re

import numpy as np
import pytest

import gradxform as gx
from tests.contract import references_preconditioned as references
from tests.rules.preconditioned import CLOSE, gradients, updates_of

SHAPES = [(4, 3), (3, 7), (5, 5)]
EPS = 1e-6
# Beside eigenvalues of 1 what was not seen has 1e-16 of rounding in eps, and so have its root and what it multiplies.
BESIDE_EPS = {"rtol": 1e-7, "atol": 1e-7}
# Newton's iteration stops at an error of 1e-6, and the error of a root is a part of that of its matrix.
BY_NEWTON = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_steps_of_the_algorithm(shape):
    """The paper's box: sums, and no mean of the gradients."""
    grads = gradients(shape)
    ours = updates_of(gx.scale_by_shampoo(0.0, eps=EPS), grads)
    np.testing.assert_allclose(ours, references.shampoo(list(grads), EPS), **BESIDE_EPS)


@pytest.mark.parametrize("graft", ["none", "sgd", "adagrad", "rmsprop", "adam"])
@pytest.mark.parametrize("b2", [0.95, 1.0])
def test_ten_steps_of_the_practical_form(graft, b2):
    grads = gradients((4, 6))
    ours = updates_of(gx.scale_by_shampoo(0.9, b2, EPS, 3, graft=graft, graft_b2=0.99), grads)
    graft = None if graft == "none" else graft
    expected = references.shampoo(list(grads), EPS, 0.9, b2, 3, graft=graft, graft_b2=0.99)
    np.testing.assert_allclose(ours, expected, **BESIDE_EPS)


@pytest.mark.parametrize(
    ("exponents", "root"),
    [((0.5, 0.0), "eigh"), ((0.0, 0.5), "newton"), ((1 / 3, 1 / 6), "newton"), ((0.4, 0.5), "eigh")],
)
def test_exponents_and_sides(exponents, root):
    grads = gradients((4, 6))
    ours = updates_of(gx.scale_by_shampoo(0.9, 0.95, EPS, exponents=exponents, root=root), grads)
    expected = references.shampoo(list(grads), EPS, 0.9, 0.95, exponents=(-exponents[0], -exponents[1]))
    np.testing.assert_allclose(ours, expected, **(BESIDE_EPS if root == "eigh" else BY_NEWTON))


@pytest.mark.parametrize(
    ("shape", "root"),
    [((4, 6), "eigh"), ((5, 8), "eigh"), ((7, 3), "newton"), ((2, 7), "newton")],
)
def test_blocks_go_their_own_way_whatever_their_size(shape, root):
    grads = gradients(shape)
    ours = updates_of(gx.scale_by_shampoo(0.9, 0.95, EPS, 3, 3, graft="adam", root=root), grads)
    own = references.in_blocks(lambda grads: references.shampoo(grads, EPS, 0.9, 0.95, 3, graft="adam"), 3)
    np.testing.assert_allclose(ours, own(list(grads)), **(BESIDE_EPS if root == "eigh" else BY_NEWTON))


def test_without_corrections():
    """Of means that begin at 0, whose first steps are small."""
    grads = gradients((3, 3), 1)
    plain = updates_of(gx.scale_by_shampoo(0.9, 0.75, 0.0, debias=False), grads)
    corrected = updates_of(gx.scale_by_shampoo(0.9, 0.75, 0.0), grads)
    # A tenth of the gradient, and (1/4)^(-1/4) on both sides.
    np.testing.assert_allclose(plain, 0.1 * 2 * corrected, **CLOSE)


def test_float32_with_the_least_eps():
    """What rounding leaves of eigenvalues of 0 may be below 0, and no root of it is taken."""
    grads = gradients((3, 9)).astype(np.float32)
    updates = updates_of(gx.scale_by_shampoo(), grads)
    assert np.all(np.isfinite(updates))


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"graft": "lion"}, "graft must be one of 'none', 'sgd', 'adagrad', 'rmsprop', 'adam'; got 'lion'"),
        ({"root": "svd"}, "root must be one of 'eigh', 'newton'; got 'svd'"),
        ({"exponents": (-0.25, 0.25)}, "exponents must be two numbers of at least 0; got (-0.25, 0.25)"),
        ({"exponents": (0.5,)}, "exponents must be two numbers"),
        ({"block_size": 0}, "block_size must be at least 1; got 0"),
    ],
)
def test_what_is_not_there_is_an_error(kwargs, match):
    with pytest.raises(ValueError, match=re.escape(match)):
        gx.scale_by_shampoo(**kwargs)


# As for SOAP: with sides that differ by two or more the first basis is arbitrary in what it has not seen.
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5, 5)])
@pytest.mark.parametrize("every", [1, 3])
def test_ten_steps_of_kl_shampoo(shape, every):
    grads = gradients(shape)
    ours = updates_of(gx.scale_by_kl_shampoo(precondition_frequency=every), grads)
    np.testing.assert_allclose(ours, references.kl_shampoo_of_code(list(grads), every=every), **CLOSE)


def test_kl_shampoo_with_other_numbers_and_eigenvalues_at_their_bound():
    # So small that 1 / sqrt(l) of all comes to the bound.
    grads = gradients((4, 4)) * 1e-3
    ours = updates_of(gx.scale_by_kl_shampoo(0.8, 0.5, 1e-2, 2, 0.4, 3.0), grads)
    expected = references.kl_shampoo_of_code(list(grads), 0.8, 0.5, 1e-2, 2, 0.4, 3.0)
    np.testing.assert_allclose(ours, expected, **CLOSE)
    free = updates_of(gx.scale_by_kl_shampoo(0.8, 0.5, 1e-2, 2, 1e-3), grads)
    assert not np.allclose(free, expected)
