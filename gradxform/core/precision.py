"""The precision policy: rules compute in float32 at least, float64 stays float64, complex stays complex."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

DType = np.dtype[Any]


def wider(*dtypes: Any) -> DType:
    """The smallest dtype that holds all of these, also where the user made implicit promotion an error."""
    with jax.numpy_dtype_promotion("standard"):
        return np.dtype(jnp.result_type(*dtypes))


def compute_dtype(*dtypes: Any) -> DType:
    """The dtype in which a rule computes with arrays of these dtypes."""
    return wider(jnp.float32, *dtypes)


def real_dtype(*dtypes: Any) -> DType:
    """The dtype in which a rule computes norms, squares and hyperparameters: that of the parts of a complex number."""
    return np.dtype(jnp.finfo(compute_dtype(*dtypes)).dtype)


def is_inexact(x: Any) -> bool:
    """Whether an array is floating-point or complex."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def is_too_small(dtype: Any) -> bool:
    """Whether a dtype is one of the floating-point ones of 8 bits or less, which JAX promotes to no other."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits <= 8


def is_complex(x: Any) -> bool:
    """Whether an array is complex."""
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


def fitting(*dtypes: Any) -> Callable[[jax.Array], jax.Array]:
    """The cast of an array to the dtype of computation with these dtypes; integers and bools are left as they are."""
    real = real_dtype(*dtypes)

    def fit(x: jax.Array) -> jax.Array:
        if x.dtype == real or not is_inexact(x):
            return x
        return x.astype(wider(real, jnp.complex64) if is_complex(x) else real)

    return fit


def rounded(x: jax.Array, dtype: Any) -> jax.Array:
    """An array with the numbers that it has once it was kept in another dtype, in its own."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    kept = x.astype(dtype).astype(x.dtype)
    if not jnp.issubdtype(x.dtype, jnp.floating) or jnp.finfo(dtype).nexp != jnp.finfo(x.dtype).nexp:
        return kept
    # XLA may leave out a cast there and back, which only rounds.
    return lax.reduce_precision(kept, exponent_bits=jnp.finfo(dtype).nexp, mantissa_bits=jnp.finfo(dtype).nmant)


def mixing(*arrays: Any) -> AbstractContextManager[Any]:
    """Lets complex leaves meet the real numbers of a rule, also where the user made implicit promotion an error."""
    return jax.numpy_dtype_promotion("standard") if any(map(is_complex, arrays)) else nullcontext()
