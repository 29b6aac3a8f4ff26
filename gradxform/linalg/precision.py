"""The dtype in which matrices are computed, and what every function of them asks first."""

from __future__ import annotations

from functools import partial, reduce

import jax
import jax.numpy as jnp

from gradxform.maths import unit_scale


def computed(x: jax.Array) -> jax.Array:
    """x in the dtype of its computation: float32 for bfloat16 and float16, else its own.

    Raises:
      ValueError: x has fewer than two axes.
      TypeError: x is neither floating nor complex.
    """
    x = jnp.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"a matrix has the shape (..., rows, cols), not {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(f"a matrix is of floating or complex numbers, not {x.dtype}")
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def matrix_unit_scale(x: jax.Array) -> jax.Array:
    """A number for each matrix, (..., 1, 1), that brings its largest entry to about 1; it has no derivative."""
    return unit_scale(jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True, initial=0.0)))


def adjoint(x: jax.Array) -> jax.Array:
    """x^H, of each matrix."""
    return jnp.conj(x.mT) if jnp.iscomplexobj(x) else x.mT


def identity_like(x: jax.Array) -> jax.Array:
    """The identity beside x, with 1 for the size of each batch axis."""
    return jnp.eye(x.shape[-1], dtype=x.dtype).reshape((1,) * (x.ndim - 2) + x.shape[-1:] * 2)


def times(x: jax.Array, factor: jax.Array) -> jax.Array:
    """x times a real factor, also where x is complex and JAX promotes nothing by itself."""
    return x * factor.astype(x.dtype)


def exact_product(*matrices: jax.Array) -> jax.Array:
    """The product of matrices, with the digits of their dtype on every backend.

    By default a TPU multiplies float32 in bfloat16, and a GPU may in TF32: 3 digits. That does where a product is an
    update. It does not for sums of squares, whose small eigenvalues are lost beside the large ones, and which roots and
    bases are then made of.
    """
    return reduce(partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST), matrices)
