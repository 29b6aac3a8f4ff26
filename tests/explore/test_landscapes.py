"""Landscapes are what their formulas say, 0 at their minima and more elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import gradxform as gx

LANDSCAPES = [
    gx.landscapes.quadratic(50.0),
    gx.landscapes.ravine(50.0),
    gx.landscapes.saddle,
    gx.landscapes.rosenbrock,
    gx.landscapes.beale,
    gx.landscapes.himmelblau,
    gx.landscapes.plateau,
    gx.landscapes.rastrigin,
]
# Values that are worked out by hand, or stand in tables of test functions.
KNOWN = [
    ("quadratic(50)", (10.0, 2.0), 3.0),
    ("ravine(50)", (3.0, 1.0), (16 / 50 + 4) / 4),
    ("saddle", (0.0, 0.0), 0.25),
    ("rosenbrock", (-1.2, 1.0), 24.2),
    ("beale", (0.0, 0.0), 14.203125),
    ("beale", (1.0, 1.0), 14.203125),
    ("himmelblau", (0.0, 0.0), 170.0),
    ("himmelblau", (-0.270845, -0.923039), 181.617),
    ("plateau", (10.0, 10.0), 1.0),
    ("rastrigin", (1.0, -2.0), 5.0),
    ("rastrigin", (0.5, 0.5), 40.5),
]
by_name = {landscape.name: landscape for landscape in LANDSCAPES}
each = pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda landscape: landscape.name)


@pytest.mark.parametrize(("name", "x", "value"), KNOWN)
def test_values(name, x, value):
    np.testing.assert_allclose(by_name[name](jnp.array(x)), value, rtol=1e-5)


@each
def test_is_0_at_the_minima_with_a_gradient_of_0_and_curved_up(landscape):
    for minimum in landscape.minima:
        x = jnp.array(minimum)
        # Himmelblau's fourth powers of 3 round to 1e-6 of a hundred.
        np.testing.assert_allclose(landscape(x), 0, atol=1e-9)
        np.testing.assert_allclose(jax.grad(landscape)(x), 0, atol=2e-4)
        assert np.all(np.linalg.eigvalsh(np.asarray(jax.hessian(landscape)(x), np.float64)) > 0)


@each
def test_start_and_minima_are_in_the_picture_and_the_start_is_no_minimum(landscape):
    for x in (landscape.start, *landscape.minima):
        assert all(low < value < high for value, (low, high) in zip(x, landscape.bounds, strict=True))
    assert landscape(jnp.array(landscape.start)) > 0.1


@each
@given(st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)))
def test_is_nowhere_less_than_0(landscape, x):
    # Rastrigin's 20 and its cosines round to 4e-6 of each other.
    assert landscape(jnp.array(x)) >= -4e-6


@pytest.mark.parametrize("condition", [1.0, 7.0, 1000.0])
@pytest.mark.parametrize("make", [gx.landscapes.quadratic, gx.landscapes.ravine])
def test_the_condition_number_is_the_one_that_was_asked(make, condition):
    curvatures = np.linalg.eigvalsh(np.asarray(jax.hessian(make(condition))(jnp.zeros(2)), np.float64))
    np.testing.assert_allclose(curvatures, [1 / condition, 1.0], rtol=1e-4)


def test_a_ravine_is_at_45_degrees():
    hessian = np.asarray(jax.hessian(gx.landscapes.ravine(9.0))(jnp.zeros(2)), np.float64)
    valley = np.linalg.eigh(hessian)[1][:, 0]
    np.testing.assert_allclose(abs(valley), [0.5**0.5] * 2, rtol=1e-5)


def test_a_saddle_is_one():
    hessian = jax.hessian(gx.landscapes.saddle)(jnp.zeros(2))
    np.testing.assert_allclose(hessian, [[1.0, 0.0], [0.0, -1.0]], atol=1e-7)
    np.testing.assert_allclose(jax.grad(gx.landscapes.saddle)(jnp.zeros(2)), 0)


def test_a_plateau_is_flat_far_away():
    assert jnp.linalg.norm(jax.grad(gx.landscapes.plateau)(jnp.array([6.0, 4.0]))) < 1e-6


@each
def test_many_points_at_once(landscape):
    points = np.random.default_rng(0).uniform(-2, 2, (2, 5, 3)).astype(np.float32)
    at_once = landscape(points)
    assert at_once.shape == (5, 3)
    np.testing.assert_allclose(at_once[4, 1], landscape(jnp.array(points[:, 4, 1])), rtol=1e-5)


def test_alike_are_equal():
    assert gx.landscapes.quadratic(7.0) == gx.landscapes.quadratic(7.0)
    assert gx.landscapes.quadratic(7.0) != gx.landscapes.quadratic(8.0)
    assert len(set(LANDSCAPES)) == len(LANDSCAPES)


@pytest.mark.parametrize("x", [jnp.ones(3), jnp.ones(()), [1.0, 1.0], 1.0])
def test_another_shape_is_an_error(x):
    with pytest.raises(ValueError, match=r"beale takes an array of shape \(2,\), as jnp.array\(\[1.0, 1.0\]\); got a"):
        gx.landscapes.beale(x)


@pytest.mark.parametrize("make", [gx.landscapes.quadratic, gx.landscapes.ravine])
@pytest.mark.parametrize("condition", [0.5, -1.0, np.nan])
def test_a_condition_number_below_1_is_an_error(make, condition):
    with pytest.raises(ValueError, match="the condition number must be at least 1"):
        make(condition)
