"""Bases in which symmetric matrices are diagonal, at once or one step nearer."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from gradxform.linalg.precision import computed, exact_product, matrix_unit_scale, times


@jax.jit
def eigenbasis(x: jax.Array) -> jax.Array:
    """The eigenvectors of each Hermitian matrix, as columns in descending order of their eigenvalues.

    Args:
      x: (..., n, n), Hermitian, of any floating or complex dtype. Only its Hermitian part counts.

    Returns:
      (..., n, n), orthonormal columns, each up to its sign (complex: its phase); NaN where an entry is NaN.

    jax: jnp.linalg.eigh, in ascending order. optax: none. torch: torch.linalg.eigh.
    """
    y = computed(x)
    y, failed = _without_nan(times(y, matrix_unit_scale(y)))
    return jnp.where(failed, jnp.nan, jnp.linalg.eigh(y).eigenvectors[..., ::-1]).astype(x.dtype)


@partial(jax.jit, static_argnames="sort")
def orthogonal_iteration(x: jax.Array, basis: jax.Array, *, sort: bool = True) -> tuple[jax.Array, jax.Array]:
    """One step of a basis towards the eigenvectors of each Hermitian matrix.

        order: the columns q of the basis by descending q^H x q
        basis <- the factor Q of the QR decomposition of x basis[:, order]

    The phases are chosen so that R has a diagonal that is not negative, and a basis at its goal stays as it is.

    Args:
      x: (..., n, n), Hermitian and positive semidefinite, of any floating or complex dtype.
      basis: (..., n, n), orthonormal columns, of the same dtype.
      sort: whether to put the columns in order first.

    Returns:
      The new basis, and the order, (..., n) of int32, in which what is kept for each column has to be put too.

    Vyas et al. 2024, arXiv:2409.11321, algorithm 4, without the order; their code has it. optax: none. torch: none.
    """
    x, q = (computed(each) for each in (x, basis))
    x, failed = _without_nan(times(x, matrix_unit_scale(x)))
    image = exact_product(x, q)
    order = jnp.broadcast_to(jnp.arange(q.shape[-1], dtype=jnp.int32), q.shape[:-1])
    if sort:
        order = jnp.argsort(-jnp.sum(jnp.conj(q) * image, axis=-2).real, axis=-1).astype(jnp.int32)
        image = jnp.take_along_axis(image, order[..., None, :], axis=-1)
    new, upper = jnp.linalg.qr(image)
    diagonal = jnp.diagonal(upper, axis1=-2, axis2=-1)[..., None, :]
    size = jnp.abs(diagonal)
    new = new * jnp.where(size == 0, 1, times(diagonal, 1 / jnp.where(size == 0, 1, size)))
    return jnp.where(failed, jnp.nan, new).astype(basis.dtype), order


def leading_vectors(x: jax.Array, rank: int) -> jax.Array:
    """The left singular vectors of the largest singular values of each matrix, as columns.

    Args:
      x: (..., rows, cols), of any floating or complex dtype.
      rank: how many, at most as many as the shorter side is long.

    Returns:
      (..., rows, rank), orthonormal columns, the largest entry of each of which is positive, so that they do not depend
      on the signs of a decomposition; NaN where an entry is NaN.

    jax: jnp.linalg.svd, with any signs. torch: torch.linalg.svd.
    """
    if not x.size:
        return jnp.zeros((*x.shape[:-1], rank), x.dtype)
    y = computed(x)
    y, failed = _without_nan(y * matrix_unit_scale(y))
    vectors = jnp.linalg.svd(y, full_matrices=False)[0][..., :rank]
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=-2, keepdims=True), axis=-2)
    return jnp.where(failed, jnp.nan, vectors * (largest.conj() / jnp.abs(largest))).astype(x.dtype)


def _without_nan(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Matrices with zeros in the place of those that are not finite, on which LAPACK may loop; and which those are."""
    failed = ~jnp.all(jnp.isfinite(x), axis=(-2, -1), keepdims=True)
    return jnp.where(failed, 0, x), failed
