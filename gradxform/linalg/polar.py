"""Polar factors of matrices by Newton-Schulz iterations, which are products of matrices alone."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from gradxform.linalg.coefficients import Coefficients, Triple, newton_schulz_coefficients
from gradxform.linalg.precision import adjoint, computed, identity_like, matrix_unit_scale, times
from gradxform.maths import abs_sq, safe_root

Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]
Segments = tuple[tuple[Triple, ...], ...]

# From this aspect on the Gram form has fewer operations, however often it restarts: of k steps in s segments it does
# 4 r s + 8 k - 6 s products of the shorter side, the plain form 4 r k + 2 k, with r the aspect.
_GRAM_ASPECT = 1.5
# How much a segment of the Gram form may stretch the smallest singular values, as the product of its a. The errors of
# the products, eps in the largest eigenvalue of R, are stretched by its square, so that 16 is 1.5e-5 in float32. The
# first segment starts from a spectrum whose squares sum to 1, of which the largest is mostly a small part.
_STRETCH, _FIRST_STRETCH = 16.0, 64.0
# What is taken for an `a` that is not known when the program is made: the published ones lie about it.
_UNKNOWN_STRETCH = 4.0
# Precisions in which products of float32 keep its digits on every backend.
_EXACT = ("highest", "float32", "F32_F32_F32", "F64_F64_F64")
# On a CPU a loop over the matrices of a batch is faster from this size on, as what one matrix needs stays in the cache.
_LOOP_SIZE = 64


def orthogonalize(
    x: jax.Array,
    ns_coeffs: Coefficients = "standard",
    ns_steps: int = 5,
    preconditioning: Preconditioning = "frobenius",
    eps: Any = 1e-8,
    *,
    gram: bool | None = None,
) -> jax.Array:
    """U V^H of each matrix U S V^H, nearly: its singular values go to a band about 1, its singular vectors stay.

        x <- x / (|x| + eps)
        x <- a x + (b A + c A^2) x,   A = x x^H,   once for each triple (a, b, c)

    Args:
      x: (..., rows, cols), of any floating or complex dtype. Where rows > cols the transpose is computed.
      ns_coeffs: the triples, or the name of a set; see `newton_schulz_coefficients`. Of a matrix whose singular values
        are 1 to 1/1000 of their root mean square times sqrt(n) (n the shorter side), they end in
        - "standard", 5 steps: 0.3 to 1.21; from 1/300 on 0.67 to 1.21,
        - "dion": 0.4 to 1.3,
        - "polar_express", 8 steps: 0.99 to 1.01,
        - "deepseek": 0.99 to 1.01.
      ns_steps: how many steps, where the set does not say.
      preconditioning: by what the matrix is divided first.
        - "frobenius": |x| + eps, |x| the Frobenius norm.
        - "spectral": |x| + eps, |x| the largest singular value, by the eigenvalues of A: costs more than all the rest.
        - "schatten": max(|A|^(1/2), eps^(1/2)), |A| the Frobenius norm, from the first step's A.
        - "aol": each row (column, where the transpose is computed) by max(s^(1/2), eps^(1/2)), s the sum of |A| over
          the row, from the first step's A. What results is near the polar factor of another matrix than x.
      eps: see there; a number in the scale of x.
      gram: whether to iterate on A instead of x, which are the same numbers in exact arithmetic and fewer operations
        where x is not square; see below. None: where the longer side is more than 1.5 times the shorter, if products
        keep the digits of their dtype: on a CPU, for float64, and where `jax.default_matmul_precision` is "highest".

    Returns:
      The shape and dtype of x. Zeros stay zeros. A matrix with a NaN or an infinity becomes NaN, others of its batch
      do not. A single row or column is divided by its length, and then its length is what the triples make of 1.

    Raises:
      ValueError: fewer than two axes, no such preconditioning, or coefficients that do not fit.
      TypeError: x is of integers.

    **Gram form.** With P = a I + b R + c R^2, which commutes with R = x x^H: Q <- P Q, R <- P R P, and Q x at the end.
    R carries small eigenvalues, the squares of small singular values, beside large ones, so rounding errors of the
    latter's size grow with every step. Therefore x <- Q x and R = x x^H anew before the product of all a exceeds 16 (at
    first 64). In float32 the numbers differ from the plain form's by about 1e-5; on one dominant singular value the
    directions of the smallest may differ by 2e-4 of theirs. In bfloat16 products, which are a TPU's default, no restart
    short of every step is stable.

    Jordan 2024, Muon; "aol": Boissin et al. 2025, arXiv:2512.04632; "schatten": Grishina et al. 2025, arXiv:2506.10935;
    the Gram form with restarts: Zhang, Amsel, Chen & Dao 2026. optax: orthogonalize_via_newton_schulz, which for
    "aol" and "schatten" takes 1e-8 for any eps, and for "schatten" the transpose for the adjoint of a complex matrix.
    torch: inside torch.optim.Muon.
    """
    steps = newton_schulz_coefficients(ns_coeffs, ns_steps)
    if preconditioning not in get_args(Preconditioning):
        raise ValueError(f"no preconditioning {preconditioning!r}; there are {', '.join(get_args(Preconditioning))}")
    y = computed(x)
    steps = tuple(_like(triple, y) for triple in steps)
    tall = y.shape[-2] > y.shape[-1]
    y = adjoint(y) if tall else y
    segments = _segments(steps, preconditioning)
    plain = partial(_orthogonalized, segments=_each_alone(steps), preconditioning=preconditioning)
    by_gram = partial(_orthogonalized, segments=segments, preconditioning=preconditioning)
    eps = jnp.asarray(eps, y.real.dtype)
    if gram is None:
        wide = y.shape[-1] > _GRAM_ASPECT * y.shape[-2] and len(segments) < len(steps)
        here, there = (by_gram if wide else plain), (by_gram if wide and _exact(y) else plain)
    else:
        here = there = by_gram if gram else plain
    looped = y.ndim > 2 and y.shape[-2] >= _LOOP_SIZE
    if looped or here is not there:
        y = jax.lax.platform_dependent(y, eps, cpu=partial(_looped, here) if looped else here, default=there)
    else:
        y = here(y, eps)
    return (adjoint(y) if tall else y).astype(x.dtype)


def _orthogonalized(x: jax.Array, eps: jax.Array, segments: Segments, preconditioning: Preconditioning) -> jax.Array:
    """Divided and iterated, for rows <= cols; segments of one step are the plain form."""
    x, first = _preconditioned(x, eps, preconditioning)
    for segment in segments:
        squared = x @ adjoint(x) if first is None else first
        x, first = _advanced(x, squared, segment), None
    return x


def _advanced(x: jax.Array, squared: jax.Array, segment: tuple[Triple, ...]) -> jax.Array:
    """x after a segment's steps, `squared` its x x^H."""
    if len(segment) == 1:
        ((a, b, c),) = segment
        # The sum on the outside goes into the product's kernel on a TPU, in a I + b A + c A^2 it does not.
        return a * x + (b * squared + c * (squared @ squared)) @ x
    eye = identity_like(squared)
    q = p = eye
    for i, (a, b, c) in enumerate(segment):
        squared = (p @ squared) @ p if i else squared
        p = a * eye + b * squared + c * (squared @ squared)
        q = p @ q if i else p
    return q @ x


def _preconditioned(x: jax.Array, eps: jax.Array, by: Preconditioning) -> tuple[jax.Array, jax.Array | None]:
    """x divided by its norm, and its x x^H where that was needed for it."""
    # Squares of large or small entries leave the range of the dtype, so that the largest one is made about 1 before.
    scale = matrix_unit_scale(x)
    x = times(x, scale)
    if by == "frobenius":
        return times(x, _inverse(safe_root(_total(abs_sq(x)), 2) + eps * scale)), None
    squared = x @ adjoint(x)
    floor = jnp.sqrt(eps) * scale
    if by == "spectral":
        divisor = safe_root(_largest_eigenvalue(squared), 2) + eps * scale
    elif by == "schatten":
        divisor = jnp.maximum(safe_root(_total(abs_sq(squared)), 4), floor)
    else:
        divisor = jnp.maximum(safe_root(jnp.sum(jnp.abs(squared), axis=-1, keepdims=True), 2), floor)
    factor = _inverse(divisor)
    return times(x, factor), times(times(squared, factor), factor.mT)


def _total(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=(-2, -1), keepdims=True)


def _inverse(x: jax.Array) -> jax.Array:
    """1 / x, and 0 for 0: zeros are divided by nothing."""
    return jnp.where(x == 0, 0, 1 / jnp.where(x == 0, 1, x))


def _largest_eigenvalue(squared: jax.Array) -> jax.Array:
    # LAPACK may loop on what is not finite.
    failed = ~jnp.all(jnp.isfinite(squared), axis=(-2, -1), keepdims=True)
    largest = jnp.linalg.eigvalsh(jnp.where(failed, 0, squared))[..., -1:, None]
    return jnp.where(failed, jnp.nan, jnp.maximum(largest, 0))


def _segments(steps: tuple[Triple, ...], preconditioning: Preconditioning) -> Segments:
    """The steps between the restarts of the Gram form."""
    segments: list[tuple[Triple, ...]] = []
    stretch, bound = 1.0, _FIRST_STRETCH if preconditioning == "frobenius" else _STRETCH
    segment: tuple[Triple, ...] = ()
    for step in steps:
        by = abs(step[0]) if isinstance(step[0], float) else _UNKNOWN_STRETCH
        if segment and stretch * by > bound:
            segments.append(segment)
            segment, stretch, bound = (), 1.0, _STRETCH
        segment, stretch = (*segment, step), stretch * by
    return (*segments, segment) if segment else ()


def _each_alone(steps: tuple[Triple, ...]) -> Segments:
    return tuple((step,) for step in steps)


def _looped(function: Any, x: jax.Array, eps: jax.Array) -> jax.Array:
    """function(x, eps) of one matrix of a batch after the other."""
    matrices = x.reshape(-1, *x.shape[-2:])
    return jax.lax.map(lambda matrix: function(matrix, eps), matrices).reshape(x.shape)


def _like(triple: Triple, x: jax.Array) -> Triple:
    a, b, c = (each if isinstance(each, float) else jnp.asarray(each).astype(x.dtype) for each in triple)
    return a, b, c


def _exact(x: jax.Array) -> bool:
    """Whether products of float32 keep its digits on accelerators too."""
    # JAX makes the attributes of its options when it is imported, so that a type checker does not know them.
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return jnp.finfo(x.dtype).bits > 32 or precision in _EXACT
