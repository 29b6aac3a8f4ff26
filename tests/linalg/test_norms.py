"""Spectral norms without a decomposition; triangular systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from gradxform.linalg import norm_lower_bound, right_divide, spectral_norm
from tests.linalg.matrices import matrix

NORMS = {"spectral_norm": jax.jit(spectral_norm), "norm_lower_bound": jax.jit(norm_lower_bound)}
FUNCTIONS = pytest.mark.parametrize("name", NORMS)
ENTRIES = st.floats(-1, 1, width=32, allow_subnormal=False)


@FUNCTIONS
@given(x=arrays(np.float32, (2, 4, 7), elements=ENTRIES))
def test_never_above_the_norm_and_never_far_below(name, x):
    norm = np.linalg.norm(np.float64(x), 2, axis=(-2, -1))
    found = np.asarray(NORMS[name](jnp.asarray(x)))
    assert np.all(found <= norm * (1 + 1e-5))
    # The longest row alone is at least 1/2 of the norm, for 4 rows; what is smaller than 1e-20 of it may be dropped.
    assert np.all(found >= 0.499 * norm * (norm > 1e-30))


def test_power_iteration_comes_near():
    batch = np.stack([matrix((4, 7), seed=seed) for seed in range(2)])
    many = jax.jit(spectral_norm, static_argnums=1)(jnp.asarray(batch, jnp.float32), 60)
    np.testing.assert_allclose(many, np.linalg.norm(batch, 2, axis=(-2, -1)), rtol=1e-5)
    for shape in ((200, 200), (64, 512)):
        x = matrix(shape)
        found = jax.jit(spectral_norm)(jnp.asarray(x, jnp.float32))
        # As the docstring says.
        assert 0.97 < found / np.linalg.norm(x, 2) <= 1 + 1e-5


def test_a_longest_row_that_is_orthogonal_to_the_singular_vector_is_not_all():
    x = np.zeros((5, 5))
    x[:4, :4] = 0.25  # one singular value, 1
    x[4, 4] = 0.6  # the longest row
    np.testing.assert_allclose(jax.jit(spectral_norm)(jnp.asarray(x, jnp.float32)), 1, rtol=1e-5)


def test_the_lower_bound_is_that_of_psgd():
    for shape in ((6, 9), (9, 6)):
        x = matrix(shape, dtype=np.complex64)
        # By the longest column, or row.
        columns, rows = np.linalg.norm(x, axis=0), np.linalg.norm(x, axis=1)
        a, i = (x, columns.argmax()) if columns.max() > rows.max() else (x.conj().T, rows.argmax())
        v = a[:, i].conj() @ a
        expected = np.linalg.norm(v / np.linalg.norm(v) @ a.conj().T)
        np.testing.assert_allclose(jax.jit(norm_lower_bound)(jnp.asarray(x)), expected, rtol=1e-5)


@FUNCTIONS
def test_zeros_nan_scales_and_dtypes(name):
    x = matrix((4, 7))
    broken = x.copy()
    broken[1, 2] = np.nan
    run = NORMS[name]
    plain = run(jnp.asarray(np.stack([x, 0 * x]), jnp.float32))
    scaled = run(jnp.asarray(np.stack([1e30 * x, 1e-30 * x]), jnp.float32))
    np.testing.assert_allclose(scaled, [1e30 * plain[0], 1e-30 * plain[0]], rtol=1e-5)
    assert plain[1] == 0
    assert np.isnan(run(jnp.asarray(np.stack([broken, x]), jnp.float32))).tolist() == [True, False]
    low = run(jnp.asarray(x, jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(low), plain[0], rtol=2**-7)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_right_divide(dtype):
    upper = np.stack([np.triu(matrix((5, 5), seed=seed, dtype=dtype)) + 3 * np.eye(5, dtype=dtype) for seed in (1, 2)])
    x = np.stack([matrix((3, 5), seed=seed, dtype=dtype) for seed in (3, 4)])
    filled = upper + np.tril(np.ones((5, 5), dtype), -1)  # is not read
    result = jax.jit(right_divide)(jnp.asarray(x), jnp.asarray(filled))
    np.testing.assert_allclose(result @ upper, x, atol=1e-5)
    assert right_divide(jnp.ones((2, 2), jnp.bfloat16), jnp.eye(2, dtype=jnp.bfloat16)).dtype == jnp.bfloat16
