"""Matrices cut into blocks of one size, and put together again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.linalg.precision import identity_like


def block_shape(rows: int, columns: int, size: int) -> tuple[int, ...]:
    """The shape of `blocks` of a matrix of so many rows and columns."""
    down, across = math.ceil(rows / size), math.ceil(columns / size)
    return (*((down, across) if down * across > 1 else ()), min(rows, size), min(columns, size))


def blocks(x: jax.Array, size: int) -> jax.Array:
    """Each matrix in blocks, from its first corner on, of as many rows and as many columns as it has, or `size`.

    Args:
      x: (..., rows, columns).
      size: at least 1.

    Returns:
      (..., blocks down, blocks across, rows, columns), where the last blocks are filled up with zeros; x itself where
      one block has it all.
    """
    down, across, *block = _counted(x.shape[-2:], size)
    if down * across == 1:
        return x
    front = x.shape[:-2]
    missing = [
        (0, count * length - own) for count, length, own in zip((down, across), block, x.shape[-2:], strict=True)
    ]
    filled = jnp.pad(x, [(0, 0)] * len(front) + missing)
    return filled.reshape(*front, down, block[0], across, block[1]).swapaxes(-3, -2)


def joined_blocks(x: jax.Array, rows: int, columns: int, size: int) -> jax.Array:
    """The matrices of so many rows and columns of which `blocks` made these."""
    down, across, *block = _counted((rows, columns), size)
    if down * across == 1:
        return x
    whole = x.swapaxes(-3, -2).reshape(*x.shape[:-4], down * block[0], across * block[1])
    return whole[..., :rows, :columns]


def filled_up(factor: jax.Array, length: int, size: int, axis: int) -> jax.Array:
    """Factors of a side of blocks, with their largest diagonal element on the diagonal where blocks are filled up.

    There they have zeros, which roots would take for the smallest eigenvalues of all. What is beside is not touched.

    Args:
      factor: (..., blocks down, blocks across, n, n).
      length: of the side of the whole matrix.
      size: as in `blocks`.
      axis: 0 for rows, 1 for columns.
    """
    count, own = math.ceil(length / size), min(length, size)
    if count * own == length:
        return factor
    missing = (np.arange(count * own) >= length).reshape(count, 1, own).swapaxes(0, axis)
    missing = missing.reshape((1,) * (factor.ndim - 4) + missing.shape)
    largest = jnp.max(jnp.diagonal(factor, axis1=-2, axis2=-1).real, axis=-1, keepdims=True)
    diagonal = jnp.where(missing, largest, 0)[..., None].astype(factor.dtype)
    return factor + diagonal * identity_like(factor)


def _counted(shape: Sequence[int], size: int) -> tuple[int, ...]:
    rows, columns = shape
    found = block_shape(rows, columns, size)
    return found if len(found) == 4 else (1, 1, *found)
