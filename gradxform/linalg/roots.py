"""Inverse roots of symmetric positive semidefinite matrices."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gradxform.linalg.norms import spectral_norm
from gradxform.linalg.precision import adjoint, computed, exact_product, identity_like, matrix_unit_scale, times

RootMethod = Literal["eigh", "newton"]

# Iterations of the power method for the largest eigenvalue: the ridge is relative to it, and the Newton iteration
# converges wherever it is right to a factor of 2.
_POWER_ITERATIONS = 30
# Below this error the iteration squares its error; when that does not even halve, only rounding is left.
_QUADRATIC = 1e-2


@partial(jax.jit, static_argnames=("p", "method"))
def inverse_root(
    x: jax.Array,
    p: int | float,
    *,
    ridge: Any = 1e-6,
    eps: Any = 0.0,
    method: RootMethod = "eigh",
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> jax.Array:
    """The inverse root of each Hermitian positive semidefinite matrix.

        (x + (ridge l + eps) I)^(-1 / p),   l the largest eigenvalue of x

    Args:
      x: (..., n, n), Hermitian, of any floating or complex dtype. Eigenvalues below 0, as rounding leaves them, count
        as 0.
      p: the root, above 0; a whole number for "newton".
      ridge: relative to the largest eigenvalue.
      eps: in the scale of x. Where one of the two is above 0 the result is finite whatever the rank.
      method: "eigh" is by eigenvalues. "newton" is by products of matrices alone, which accelerators do fast:

            M <- z (x + (ridge l + eps) I),   H <- z^(1/p) I,   z = (1 + p) / (2 l)
            T = ((p + 1) I - M) / p,   H <- H T,   M <- T^p M,   until max |M - I| <= tolerance

        with l by power iteration, a few percent below the largest eigenvalue where the next ones are close. A matrix
        that stops to converge, as one with negative eigenvalues does, keeps its last iterate before.
      iterations: the most steps of "newton".
      tolerance: when "newton" stops; in float32 rounding may stop it before.

    Returns:
      (..., n, n) in the dtype of x; the identity for a matrix of zeros, NaN for one with an entry that is not finite.

    Raises:
      ValueError: p is not above 0, or is not whole for "newton"; or no such method.

    Guo & Higham 2006, equation 3.9; Anil et al. 2020, arXiv:2002.09018, algorithm I. torch, optax: none.
    """
    if not p > 0:
        raise ValueError(f"the root p is above 0, not {p}")
    y = computed(x)
    scale = matrix_unit_scale(y)
    failed = ~jnp.all(jnp.isfinite(y), axis=(-2, -1), keepdims=True)
    # LAPACK may loop on what is not finite.
    y = times(jnp.where(failed, 0, y), scale)
    y = (y + adjoint(y)) / 2
    if method == "eigh":
        root = _by_eigh(y, p, ridge, eps * scale)
    elif method == "newton":
        if p != int(p):
            raise ValueError(f"the Newton iteration is for a whole p, not {p}")
        # Its errors grow where products lose digits.
        with jax.default_matmul_precision("highest"):
            root = _by_newton(y, int(p), ridge, eps * scale, iterations, tolerance)
    else:
        raise ValueError(f'method is "eigh" or "newton", not {method!r}')
    zero = jnp.all(y == 0, axis=(-2, -1), keepdims=True)
    root = jnp.where(zero, identity_like(y), times(root, scale ** (1 / p)))
    return jnp.where(failed, jnp.nan, root).astype(x.dtype)


def _by_eigh(x: jax.Array, p: float, ridge: Any, eps: jax.Array) -> jax.Array:
    values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
    values = jnp.maximum(values, 0)
    values = values + ridge * values[..., -1:] + eps[..., 0]
    return exact_product(times(vectors, (values ** (-1 / p))[..., None, :]), adjoint(vectors))


def _by_newton(x: jax.Array, p: int, ridge: Any, eps: jax.Array, iterations: int, tolerance: float) -> jax.Array:
    eye = identity_like(x)
    largest = spectral_norm(x, _POWER_ITERATIONS)[..., None, None]
    largest = jnp.where(largest == 0, 1, largest)
    z = (1 + p) / (2 * largest)

    def error_of(m: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(m - eye), axis=(-2, -1), keepdims=True)

    def going(state: tuple[jax.Array, ...]) -> jax.Array:
        step, _, _, _, active = state
        return (step < iterations) & jnp.any(active)

    def turn(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, m, h, error, active = state
        t = ((p + 1) * eye - m) / p
        next_m = jnp.linalg.matrix_power(t, p) @ m
        next_error = error_of(next_m)
        # The error of one that converges may rise by a little at first, as it is the largest entry's.
        better = active & (next_error < jnp.where(error < _QUADRATIC, 0.5, 1.2) * error)
        m, h = jnp.where(better, next_m, m), jnp.where(better, h @ t, h)
        return step + 1, m, h, jnp.where(better, next_error, error), better & (next_error > tolerance)

    m = times(x + times(eye, ridge * largest + eps), z)
    error = error_of(m)
    h = times(eye, z ** (1 / p))
    return jax.lax.while_loop(going, turn, (jnp.int32(0), m, h, error, error > tolerance))[2]
