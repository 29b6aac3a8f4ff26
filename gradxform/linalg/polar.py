"""Polar factors of matrices by Newton-Schulz iterations, which are products of matrices alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from gradxform.linalg.coefficients import Coefficients, Triple, newton_schulz_coefficients
from gradxform.linalg.precision import adjoint, computed, identity_like, matrix_unit_scale, times
from gradxform.maths import abs_sq, safe_root

Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]
Segments = tuple[tuple[Triple, ...], ...]
Product = Callable[[jax.Array, jax.Array], jax.Array]
Operand = Callable[[jax.Array], jax.Array]

# From this aspect on the Gram form has fewer operations, however often it restarts: of k steps in s segments it does
# 4 r s + 8 k - 6 s products of the shorter side, the plain form 4 r k + 2 k, with r the aspect.
_GRAM_ASPECT = 1.5
# From this size on a CPU is faster with products by halves where they are Hermitian: five steps take 0.88 of the time
# at 768 and 0.76 at 2048, but 1.2 at 384. Quarters gain no more. On a TPU v5e they take 1.1 to 3 times the cycles at
# 384 to 4096, as putting the halves together takes longer than a quarter of a product.
_HALVED_SIZE = 768
# How much a segment of the Gram form may stretch the smallest singular values, as the product of its a. Errors of the
# size of R's largest eigenvalue are stretched by the square of that, less the last step. With these bounds no set loses
# more than in the plain form, also beside one dominant singular value. The first segment starts from eigenvalues whose
# sum is 1; divided by other norms than Frobenius' they may all be 1.
_STRETCH, _FIRST_STRETCH = 16.0, 64.0
# What is taken for an `a` that is not known when the program is made: most of the published ones are less.
_UNKNOWN_STRETCH = 4.0
# Precisions in which products of float32 keep its digits on every backend.
_EXACT = ("highest", "float32", "F32_F32_F32", "F64_F64_F64")
# From this size on a CPU is faster with one matrix of a batch after the other, by a quarter, as each stays in the
# cache. Accelerators take the batch as one.
_LOOP_SIZE = 64
# From this size on, which fills a TPU's matrix unit, its products are given what they would round float32 to: half the
# bytes, the same numbers, and a fifth less cycles of a step.
_ROUNDED_SIZE = 128


def orthogonalize(
    x: jax.Array,
    ns_coeffs: Coefficients = "standard",
    ns_steps: int = 5,
    preconditioning: Preconditioning = "frobenius",
    eps: Any = 1e-8,
    *,
    gram: bool | None = None,
) -> jax.Array:
    """The polar factor U V^H of each matrix U S V^H, nearly: its singular values go to a band about 1.

        x <- x / (|x| + eps)
        x <- a x + (b A + c A^2) x,   A = x x^H,   once for each triple (a, b, c)

    Args:
      x: (..., rows, cols), of any floating or complex dtype. Where rows > cols the transpose is computed.
      ns_coeffs: the triples, or the name of a set; see `newton_schulz_coefficients`. After the division by the
        Frobenius norm, singular values from `least` to 1 end in the band; those beneath end lower, none above.

            set              steps   least    band
            "standard"       5       1/300    0.68 to 1.21
            "standard"       5       1/1000   0.47 to 1.21
            "dion"           5       1/300    0.97 to 1.15
            "dion"           5       1/1000   0.47 to 1.15
            "polar_express"  5       1/1000   0.84 to 1.13
            "polar_express"  6       1/1000   0.99 to 1.01
            "polar_express"  8       1/3000   0.98 to 1.01
            "polar_express"  10      1/10000  0.99 to 1.01
            "deepseek"       10      1/20000  0.99 to 1.01

      ns_steps: how many steps, where the set does not say.
      preconditioning: by what the matrix is divided first.
        - "frobenius": |x| + eps, |x| the Frobenius norm.
        - "spectral": |x| + eps, |x| the largest singular value, by the eigenvalues of A: costs more than all the rest.
        - "schatten": max(|A|^(1/2), eps^(1/2)), |A| the Frobenius norm, from the first step's A.
        - "aol": each row (column, where the transpose is computed) by max(s^(1/2), eps^(1/2)), s the sum of |A| over
          the row, from the first step's A. The singular vectors then are those of the matrix so divided, not of x.
      eps: see there. What is much smaller than eps stays small.
      gram: whether to iterate on A instead of x: the same numbers in exact arithmetic, by fewer operations where x is
        far from square; see below. None: where the longer side is more than 1.5 times the shorter and products keep
        the digits of their dtype: on a CPU, for float64, and where `jax.default_matmul_precision` is "highest".

    Returns:
      The shape and dtype of x. Zeros stay zeros. A matrix with a NaN or an infinity becomes NaN, others of its batch
      do not. A single row or column is divided by its length, and then its length is what the triples make of 1.

    Raises:
      ValueError: fewer than two axes, no such preconditioning, or coefficients that do not fit.
      TypeError: x is of integers.

    **Gram form.** With P = a I + b R + c R^2, which commutes with R = x x^H: Q <- P Q, R <- P R P, and Q x at the end.
    R holds the squares of small singular values beside large ones, so that rounding errors of the latter's size grow
    with every step. Therefore x <- Q x and R = x x^H anew, before the product of all a since exceeds 16 (from the
    start: 64, if by the Frobenius norm): after three of five standard steps. In float32 the result is as far from that
    of float64 as the plain form's is, 1e-6 to 5e-5 for conditions up to 1e4. Where products round float32 to bfloat16,
    as on a TPU by default, it loses the small singular values or diverges even with a new R every other step, and by
    TF32 it loses a percent of them; so there the plain form is the default.

    Jordan 2024, Muon; "aol": Boissin et al. 2025, arXiv:2512.04632; "schatten": Grishina et al. 2025, arXiv:2506.10935;
    the Gram form with restarts: Zhang, Amsel, Chen & Dao 2026. optax: orthogonalize_via_newton_schulz, which for
    "aol" and "schatten" takes 1e-8 for any eps, and for "schatten" the transpose for the adjoint of a complex matrix.
    torch: inside torch.optim.Muon.
    """
    steps = newton_schulz_coefficients(ns_coeffs, ns_steps)
    if preconditioning not in get_args(Preconditioning):
        raise ValueError(f"no preconditioning {preconditioning!r}; there are {', '.join(get_args(Preconditioning))}")
    # What is known is a constant of the program, and tells where the Gram form restarts.
    known = tuple(tuple(each if isinstance(each, float) else None for each in triple) for triple in steps)
    unknown = [each for triple in steps for each in triple if not isinstance(each, float)]
    return _compiled(x, unknown, eps, known, preconditioning, gram)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled(
    x: jax.Array,
    unknown: list[Any],
    eps: Any,
    known: tuple[tuple[float | None, ...], ...],
    preconditioning: Preconditioning,
    gram: bool | None,
) -> jax.Array:
    """The form that suits the shape and the backend; traced once for a shape, and compiled once if called by hand."""
    y = computed(x)
    eps = jnp.asarray(eps, y.real.dtype)
    rest = (jnp.asarray(each).astype(y.dtype) for each in unknown)
    triples = [[next(rest) if each is None else each for each in triple] for triple in known]
    steps = tuple((a, b, c) for a, b, c in triples)
    tall = y.shape[-2] > y.shape[-1]
    y = adjoint(y) if tall else y
    rows, cols = y.shape[-2:]
    gram_on_cpu = cols > _GRAM_ASPECT * rows if gram is None else gram
    gram_elsewhere = gram_on_cpu and (gram is not None or _exact(y))
    looped, halved = y.ndim > 2 and rows >= _LOOP_SIZE, rows >= _HALVED_SIZE

    rounds = rows >= _ROUNDED_SIZE and y.dtype == jnp.float32 and not _exact(y)

    def run(x: jax.Array, eps: jax.Array, gram: bool, product: Product, rounded: Operand = _as_it_is) -> jax.Array:
        segments: Segments = _segments(steps, preconditioning) if gram else tuple((step,) for step in steps)
        return _orthogonalized(x, eps, segments, preconditioning, product, rounded)

    on_cpu = partial(run, gram=gram_on_cpu, product=_by_halves if halved else _product)
    elsewhere = partial(run, gram=gram_elsewhere, product=_product)
    if looped or halved or rounds or gram_on_cpu != gram_elsewhere:
        on_cpu = partial(_looped, on_cpu) if looped else on_cpu
        on_tpu = partial(elsewhere, rounded=_in_bfloat16) if rounds else elsewhere
        y = jax.lax.platform_dependent(y, eps, cpu=on_cpu, tpu=on_tpu, default=elsewhere)
    else:
        y = on_cpu(y, eps)
    return (adjoint(y) if tall else y).astype(x.dtype)


def _orthogonalized(
    x: jax.Array,
    eps: jax.Array,
    segments: Segments,
    preconditioning: Preconditioning,
    product: Product,
    rounded: Operand,
) -> jax.Array:
    """Divided and iterated, for rows <= cols; segments of one step are the plain form."""
    x, first = _preconditioned(x, eps, preconditioning, product)
    for segment in segments:
        operand = rounded(x)
        squared = product(operand, adjoint(operand)) if first is None else first
        x, first = _advanced(x, operand, squared, segment, product, rounded), None
    return x


def _advanced(
    x: jax.Array,
    operand: jax.Array,
    squared: jax.Array,
    segment: tuple[Triple, ...],
    product: Product,
    rounded: Operand,
) -> jax.Array:
    """x after a segment's steps; `operand` is x for products, `squared` its x x^H."""
    if len(segment) == 1:
        ((a, b, c),) = segment
        # Not (a I + b A + c A^2) x: where products round to bfloat16, x itself would lose its small singular values.
        return a * x + _product(rounded(b * squared + c * product(squared, squared)), operand)
    eye = identity_like(squared)
    q = p = eye
    for i, (a, b, c) in enumerate(segment):
        squared = product(product(p, squared), p) if i else squared
        p = a * eye + b * squared + c * product(squared, squared)
        q = product(p, q) if i else p
    return q @ x


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """x y, of bfloat16 in float32."""
    return jnp.matmul(x, y, preferred_element_type=jnp.float32 if x.dtype == jnp.bfloat16 else x.dtype)


def _as_it_is(x: jax.Array) -> jax.Array:
    return x


def _in_bfloat16(x: jax.Array) -> jax.Array:
    # The barrier keeps it in memory: else each product would read float32 and round it anew.
    return jax.lax.optimization_barrier(x.astype(jnp.bfloat16))


def _by_halves(x: jax.Array, y: jax.Array) -> jax.Array:
    """x y where that is Hermitian but for rounding, by three quarters of the operations."""
    half = x.shape[-2] // 2
    top = x[..., :half, :] @ y
    corner = x[..., half:, :] @ y[..., half:]
    bottom = jnp.concatenate([adjoint(top[..., half:]), corner], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2)


def _preconditioned(
    x: jax.Array, eps: jax.Array, by: Preconditioning, product: Product
) -> tuple[jax.Array, jax.Array | None]:
    """x divided by its norm, and its x x^H where that was needed for it."""
    # Squares of large or small entries leave the range of the dtype, so that the largest one is made about 1 before.
    scale = matrix_unit_scale(x)
    x = times(x, scale)
    if by == "frobenius":
        return times(x, _inverse(safe_root(_total(abs_sq(x)), 2) + eps * scale)), None
    squared = product(x, adjoint(x))
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


def _looped(function: Any, x: jax.Array, eps: jax.Array) -> jax.Array:
    """function(x, eps) of one matrix of a batch after the other."""
    matrices = x.reshape(-1, *x.shape[-2:])
    return jax.lax.map(lambda matrix: function(matrix, eps), matrices).reshape(x.shape)


def _exact(x: jax.Array) -> bool:
    """Whether products of float32 keep its digits on accelerators too."""
    # JAX makes the attributes of its options when it is imported, so that a type checker does not know them.
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return jnp.finfo(x.dtype).bits > 32 or precision in _EXACT
