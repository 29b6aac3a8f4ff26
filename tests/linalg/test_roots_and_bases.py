"""Inverse roots, eigenbases and orthogonal iteration of Hermitian matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform.linalg import eigenbasis, inverse_root, orthogonal_iteration
from tests.linalg.matrices import matrix, positive

METHODS = ["eigh", "newton"]


def root_by_eigenvalues(x, p, ridge):
    values, vectors = np.linalg.eigh(x)
    return (vectors * (np.maximum(values, 0) + ridge * values[-1]) ** (-1 / p)) @ vectors.conj().T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("p", "dtype"), [(2, np.float64), (4, np.float64), (3, np.complex128)])
def test_equals_eigenvalues_in_float64(method, p, dtype):
    """Condition 1e6; and of rank 5, where the ridge is all that the rest has."""
    low = positive(5, 10, dtype=dtype)
    low = np.pad(low, ((0, 7), (0, 7)))
    batch = np.stack([positive(12, 1e6, dtype=dtype), 1e3 * low])
    with jax.enable_x64(True):
        run = partial(inverse_root, ridge=1e-3, tolerance=1e-12, method=method)
        result = jax.jit(run, static_argnums=1)(jnp.asarray(batch), p)
    for found, x in zip(result, batch, strict=True):
        expected = root_by_eigenvalues(x, p, 1e-3)
        # The largest eigenvalue by the power method is right to 1e-6 where the second is 0.3 of it or less, and 30
        # iterations bring 0.6 to 1e-13; the ridge is relative to it.
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module", params=METHODS)
def run(request):
    """The fourth root in float32, one program for what is odd."""
    return jax.jit(partial(inverse_root, p=4, method=request.param))


def test_float32_is_right_at_the_default_ridge(run):
    x = np.stack([positive(12, 1e5, seed=seed) for seed in range(4)])
    result = np.asarray(run(jnp.asarray(x, jnp.float32)), np.float64)
    for found, each in zip(result, x, strict=True):
        regular = each + 1e-6 * np.eye(12)
        # x found^4 is I: float32 has eigenvalues of 1e-5 to 1e-2 of themselves.
        np.testing.assert_allclose(found @ found @ regular @ found @ found, np.eye(12), atol=0.03)


def test_zeros_nan_and_scales(run):
    x = positive(12, 100)
    broken = x.copy()
    broken[3, 4] = np.nan
    result = np.asarray(run(jnp.asarray(np.stack([0 * x, broken, 1e30 * x, 1e-30 * x]), jnp.float32)))
    np.testing.assert_array_equal(result[0], np.eye(12, dtype=np.float32))
    assert np.all(np.isnan(result[1]))
    for found, scale in zip(result[2:], (1e30, 1e-30), strict=True):
        expected = root_by_eigenvalues(scale * x, 4, 1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_negative_eigenvalues_do_not_blow_up(run):
    x = positive(12, 100) - 0.05 * np.eye(12)
    result = np.asarray(run(jnp.asarray(np.stack([x, -x, x - 0.5 * np.eye(12), x]), jnp.float32)))
    assert np.all(np.isfinite(result))


def test_low_precision_keeps_its_dtype():
    x = jnp.asarray(positive(6, 10), jnp.bfloat16)
    result = jax.jit(inverse_root, static_argnums=1)(x, 2)
    assert result.dtype == jnp.bfloat16
    expected = root_by_eigenvalues(np.asarray(x, np.float64), 2, 1e-6)
    # Half of the last of 8 bits.
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, atol=2**-8 * np.abs(expected).max())


def test_a_root_that_is_not_whole():
    x = positive(6, 10)
    result = jax.jit(inverse_root, static_argnums=1)(jnp.asarray(x, jnp.float32), 2.5)
    np.testing.assert_allclose(result, root_by_eigenvalues(x, 2.5, 1e-6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("p", "options", "message"),
    [
        (0, {}, "above 0, not 0"),
        (2.5, {"method": "newton"}, "a whole p, not 2.5"),
        (2, {"method": "svd"}, 'method is "eigh" or "newton"'),
    ],
)
def test_what_does_not_fit_is_an_error(p, options, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(partial(inverse_root, p=p, **options), jax.ShapeDtypeStruct((3, 3), jnp.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_the_eigenbasis_is_diagonal_and_in_order(dtype):
    x = np.stack([positive(8, 100, seed=seed, dtype=dtype) for seed in range(2)])
    with jax.enable_x64(True):
        basis = np.asarray(jax.jit(eigenbasis)(jnp.asarray(x)))
    for q, each in zip(basis, x, strict=True):
        diagonal = np.linalg.eigvalsh(each)[::-1]
        np.testing.assert_allclose(q.conj().T @ each @ q, np.diag(diagonal), atol=1e-12)
        np.testing.assert_allclose(q.conj().T @ q, np.eye(8), atol=1e-12)


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_orthogonal_iteration_is_a_qr_of_the_product(dtype, sort):
    x = np.stack([positive(6, 10, seed=seed, dtype=dtype) for seed in range(2)])
    basis = np.stack([np.linalg.qr(matrix((6, 6), seed=seed, dtype=dtype))[0] for seed in (5, 6)])
    with jax.enable_x64(True):
        step = jax.jit(partial(orthogonal_iteration, sort=sort))
        new, order = map(np.asarray, step(jnp.asarray(x), jnp.asarray(basis)))
        assert order.dtype == np.int32
        for i in range(2):
            rayleigh = np.real(np.diag(basis[i].conj().T @ x[i] @ basis[i]))
            expected_order = np.argsort(-rayleigh) if sort else np.arange(6)
            np.testing.assert_array_equal(order[i], expected_order)
            q, r = np.linalg.qr(x[i] @ basis[i][:, expected_order])
            phases = np.diag(r) / np.abs(np.diag(r))
            np.testing.assert_allclose(new[i], q * phases, atol=1e-12)
        for _ in range(200):
            new, order = step(jnp.asarray(x), new)
        # The eigenvalues' ratio is 0.63, to the power of 200.
        np.testing.assert_allclose(
            np.asarray(jnp.swapaxes(new, -1, -2).conj() @ x @ new),
            [np.diag(np.linalg.eigvalsh(each)[::-1]) for each in x],
            atol=1e-12,
        )
        np.testing.assert_array_equal(order, [np.arange(6)] * 2)


def test_bases_of_zeros_and_nan():
    x = np.stack([np.zeros((5, 5)), np.full((5, 5), np.nan)])
    basis = np.stack([np.linalg.qr(matrix((5, 5)))[0]] * 2)
    x, basis = jnp.asarray(x, jnp.float32), jnp.asarray(basis, jnp.float32)
    for result in (jax.jit(eigenbasis)(x), jax.jit(orthogonal_iteration)(x, basis)[0]):
        np.testing.assert_allclose(result[0].T @ result[0], np.eye(5), atol=1e-6)
        assert np.all(np.isnan(result[1]))
