"""Spectral norms of matrices, without a decomposition."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from gradxform.linalg.precision import adjoint, computed, matrix_unit_scale, times
from gradxform.maths import abs_sq, safe_root


@partial(jax.jit, static_argnames="iterations")
def spectral_norm(x: jax.Array, iterations: int = 16) -> jax.Array:
    """The largest singular value of each matrix by power iteration, never above the true one but for rounding.

        v <- x^H x v / |x^H x v|, `iterations` times;   the result is |x v|

    How far it is below depends on the second largest singular value s2: by about (s2 / s1)^(4 iterations) of itself
    where that is small, and on random matrices of any shape, whose largest ones lie close, by 3% after 16 iterations.

    Args:
      x: (..., rows, cols), of any floating or complex dtype; large and small entries neither overflow nor vanish.
      iterations: two products of the matrix with a vector each.

    Returns:
      (...), real; 0 for zeros, NaN where an entry is NaN.

    The first v is made of the longest row and of a fixed vector without a pattern, since the row alone may be
    orthogonal to the singular vector.

    optax: power_iteration, of a symmetric matrix. torch: torch.nn.utils.parametrizations.spectral_norm, which keeps v
    from call to call.
    """
    scaled = computed(x)
    scale = matrix_unit_scale(scaled)
    scaled = times(scaled, scale)
    rows = jnp.sum(abs_sq(scaled), axis=-1)
    longest = jnp.take_along_axis(scaled, jnp.argmax(rows, axis=-1)[..., None, None], axis=-2)
    v = _unit(adjoint(longest)) + _unit(_without_pattern(scaled))
    v = jax.lax.fori_loop(0, iterations, lambda _, v: _unit(adjoint(scaled) @ (scaled @ v)), v)
    return (_length(scaled @ _unit(v)) / scale)[..., 0, 0].astype(x.real.dtype)


@jax.jit
def norm_lower_bound(x: jax.Array) -> jax.Array:
    """A lower bound of the largest singular value of each matrix, from its longest column or row.

        r the longest of all columns and rows;   for a row v = x r^H, |x^H v| / |v|;   for a column the same of x^H

    On random matrices the norm is at most sqrt(2) times it.

    Args:
      x: (..., rows, cols), of any floating or complex dtype; large and small entries neither overflow nor vanish.

    Returns:
      (...), real; 0 for zeros, NaN where an entry is NaN.

    Li's PSGD, which divides its steps by it: norm_lower_bound in the authors' code; torch: none.
    """
    scaled = computed(x)
    scale = matrix_unit_scale(scaled)
    scaled = times(scaled, scale)
    (by_row, row), (by_column, column) = _from_longest_row(scaled), _from_longest_row(adjoint(scaled))
    bound = jnp.where(by_column > by_row, column, row) / scale[..., 0, 0]
    return bound.astype(x.real.dtype)


def _from_longest_row(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The longest row's length squared, and the bound from it."""
    lengths = jnp.sum(abs_sq(x), axis=-1)
    longest = jnp.take_along_axis(x, jnp.argmax(lengths, axis=-1)[..., None, None], axis=-2)
    bound = _length(adjoint(x) @ _unit(x @ adjoint(longest)))
    return jnp.max(lengths, axis=-1), bound[..., 0, 0]


def _length(v: jax.Array) -> jax.Array:
    return safe_root(jnp.sum(abs_sq(v), axis=-2, keepdims=True), 2)


def _unit(v: jax.Array) -> jax.Array:
    length = _length(v)
    return times(v, 1 / jnp.where(length == 0, 1, length))


def _without_pattern(x: jax.Array) -> jax.Array:
    """A fixed vector, as a column for each matrix."""
    # Angles that grow as the square have no period; a float32 keeps the digits of squares up to here.
    angles = jnp.square(jnp.arange(x.shape[-1], dtype=x.real.dtype) % 1000)
    return jnp.cos(angles).astype(x.dtype).reshape((1,) * (x.ndim - 2) + (-1, 1))
