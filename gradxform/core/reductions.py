"""Sums, maxima and norms over leaves that may be spread over devices.

With each leaf come the mesh axes over which it is spread. A sum over such a leaf is the sum of its local part, then
`psum` over just those axes; a leaf that is the same everywhere is not counted once per device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gradxform.core.placement import Axes
from gradxform.core.precision import DType, fitting, is_complex, mixing, real_dtype, wider
from gradxform.maths import Axis, abs_pow, abs_sq, safe_root, unit_scale

# What a norm is of: a leaf, or two of which it is the difference.
Term = tuple[jax.Array] | tuple[jax.Array, jax.Array]


def norm(leaves: Sequence[jax.Array], axes: Sequence[Axes], ord: float = 2) -> jax.Array:
    """The vector norm of order `ord` (at least 1, or infinity) of all leaves together, on all devices together.

    No intermediate overflows or underflows where the norm itself does not.

    Returns:
      A real array of shape (), float32 at least. NaN if a leaf holds NaN, infinity if one holds infinity.
    """
    dtype = real_dtype(*(leaf.dtype for leaf in leaves))
    spread = [(leaf, names) for leaf, names in zip(leaves, axes, strict=True) if leaf.size]
    if not spread:
        return jnp.zeros((), dtype)
    filled, kept = [leaf for leaf, _ in spread], tuple(names for _, names in spread)
    if math.isinf(ord):
        return _largest(filled, kept, dtype)
    terms: list[Term] = [(leaf,) for leaf in filled]
    if ord == 2:
        return _euclidean(lambda scale: _power_sum(terms, scale, kept, 2, dtype), jnp.ones((), dtype))
    if ord == 1:
        # No sum of moduli on the way is greater than the last.
        return _power_sum(terms, jnp.ones((), dtype), kept, 1, dtype)
    scale = unit_scale(_largest(filled, kept, dtype))
    return safe_root(_power_sum(terms, scale, kept, ord, dtype), ord) / scale


def distance(lefts: Sequence[jax.Array], rights: Sequence[jax.Array], axes: Sequence[Axes]) -> jax.Array:
    """The L2 norm of the differences of two lists of leaves, as `norm`; no difference is kept in memory."""
    dtype = real_dtype(*(leaf.dtype for leaf in (*lefts, *rights)))
    spread = [((a, b), names) for a, b, names in zip(lefts, rights, axes, strict=True) if a.size]
    if not spread:
        return jnp.zeros((), dtype)
    terms: list[Term] = [term for term, _ in spread]
    kept = tuple(names for _, names in spread)
    return _euclidean(lambda scale: _power_sum(terms, scale, kept, 2, dtype), jnp.ones((), dtype))


def example_norms(leaves: Sequence[jax.Array]) -> jax.Array:
    """The L2 norm of each example over all leaves, which hold one example after the other along axis 0.

    Inside `shard_map` the examples are those of the device, and the leaves behind axis 0 are taken to be whole.

    Returns:
      A real array of shape (examples,), float32 at least, with the safety of `norm`.
    """
    dtypes = [leaf.dtype for leaf in leaves]
    dtype, fit = real_dtype(*dtypes), fitting(*dtypes)

    def power_sums(scales: jax.Array) -> jax.Array:
        return _pairwise([jax.vmap(partial(_term_power_sum, ord=2))((fit(leaf),), scales) for leaf in leaves], lax.add)

    return _euclidean(power_sums, jnp.ones(len(leaves[0]), dtype))


def example_sum(leaf: jax.Array, weights: jax.Array) -> jax.Array:
    """The weighted sum of the examples that a leaf holds along axis 0, in the wider of the two dtypes."""
    wide = wider(leaf.dtype, weights.dtype)
    # A product makes no weighted copy of the leaf, and on a CPU reads it in order, where a sum of products takes a
    # hundred times as long. At its highest precision, or an accelerator would round what goes in to fewer bits.
    return jnp.tensordot(weights.astype(wide), leaf.astype(wide), axes=1, precision=lax.Precision.HIGHEST)


def vdot(lefts: Sequence[jax.Array], rights: Sequence[jax.Array], axes: Sequence[Axes]) -> jax.Array:
    """The inner product of two lists of leaves, on all devices together: the real part of the sum of conj(a) b.

    Returns:
      A real array of shape (), float32 at least.
    """
    dtype = real_dtype(*(leaf.dtype for leaf in (*lefts, *rights)))
    # A sum of products: a dot on an accelerator would round its inputs to fewer bits.
    return total([_real_product(a, b) for a, b in zip(lefts, rights, strict=True)], axes, dtype)


def total(leaves: Sequence[jax.Array], axes: Sequence[Axes], dtype: DType) -> jax.Array:
    """The sum of all elements of all leaves of real numbers or bools, on all devices together, of shape ()."""
    if not leaves:
        return jnp.zeros((), dtype)
    sums = [jnp.sum(leaf, dtype=dtype) for leaf in leaves]
    return _joined(axes, sums, dtype, lax.add, lax.psum)


def total_size(x: jax.Array, axes: Axes) -> int:
    """How many elements a leaf has on all devices together."""
    return x.size * math.prod(map(lax.axis_size, axes))


def own_key(key: jax.Array, index: int, axes: Axes) -> jax.Array:
    """The random key of the index-th leaf; of a leaf that is spread over devices, each draws for its own part."""
    key = jax.random.fold_in(key, index)
    for axis in axes:
        key = jax.random.fold_in(key, lax.axis_index(axis))
    return key


def any_true(x: jax.Array, axes: Axes) -> jax.Array:
    """Whether any element of a leaf of bools is true, on any device."""
    found = jnp.any(x)
    return lax.pmax(found.astype(jnp.int32), axes).astype(bool) if axes else found


def norm_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The L2 norms over some axes, which stay with length 1, of a leaf that is cut along them over mesh axes."""
    scale = unit_scale(max_along(jnp.abs(x), axis, axes))
    squares = jnp.sum(abs_sq(x * scale), axis=axis, keepdims=True)
    return safe_root(lax.psum(squares, axes) if axes else squares, 2) / scale


def mean_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The means over some axes, as `norm_along`."""
    mean = jnp.mean(x, axis=axis, keepdims=True)
    return lax.pmean(mean, axes) if axes else mean


def max_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The largest of values that are at least 0 over some axes, as `norm_along`; 0 where there are none."""
    largest = jnp.max(x, axis=axis, keepdims=True, initial=0)
    return lax.pmax(largest, axes) if axes else largest


def _euclidean(power_sum: Callable[[jax.Array], jax.Array], ones: jax.Array) -> jax.Array:
    """L2 norms in one pass, and a second one, of scaled values, only if squares have left the dtype's range.

    Looking for the largest value first would read every gradient twice at every step; a loop over one pass with a
    scale that is not constant costs a tenth of a step of clip and adamw, and saves compiling the rare pass.

    Args:
      power_sum: the sums of squares of values that are first multiplied by a scale.
      ones: the scale of the first pass, in the shape and dtype of the norms.
    """
    bits = int(jnp.finfo(ones.dtype).maxexp * 5 / 8)
    down, up = jnp.asarray(2.0**-bits, ones.dtype), jnp.asarray(2.0**bits, ones.dtype)
    plain = power_sum(ones)
    is_lost = jnp.isinf(plain) | (plain < down)
    scale = jnp.where(is_lost, jnp.where(plain > 1, down, up), ones)
    return lax.cond(
        jnp.any(is_lost),
        lambda: safe_root(power_sum(scale), 2) / scale,
        lambda: safe_root(plain, 2),
    )


# Jitted, so that the second use, in the branch that is rarely taken, is not traced again.
@partial(jax.jit, static_argnames=("axes", "ord", "dtype"))
def _power_sum(terms: list[Term], scale: jax.Array, axes: tuple[Axes, ...], ord: float, dtype: DType) -> jax.Array:
    sums = [_term_power_sum(term, scale, ord) for term in terms]
    return _joined(axes, sums, dtype, lax.add, lax.psum)


def _largest(leaves: list[jax.Array], axes: Sequence[Axes], dtype: DType) -> jax.Array:
    return _joined(axes, [_leaf_largest(leaf) for leaf in leaves], dtype, lax.max, lax.pmax)


@jax.jit
def _real_product(a: jax.Array, b: jax.Array) -> jax.Array:
    fit = fitting(a.dtype, b.dtype)
    a, b = fit(a), fit(b)
    return (jnp.conj(a) * b).real if is_complex(a) else a * b


@partial(jax.jit, static_argnames="ord")
def _term_power_sum(term: Term, scale: jax.Array, ord: float) -> jax.Array:
    dtypes = [leaf.dtype for leaf in term]
    with mixing(*term):
        value, *minus = map(fitting(*dtypes), term)
        for other in minus:
            value = value - other
        return jnp.sum(abs_pow(value * scale.astype(real_dtype(*dtypes)), ord))


@jax.jit
def _leaf_largest(leaf: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(leaf)).astype(real_dtype(leaf.dtype))


def _joined(
    axes: Iterable[Axes],
    values: list[jax.Array],
    dtype: DType,
    join: Callable[[jax.Array, jax.Array], jax.Array],
    collective: Callable[[jax.Array, Axes], jax.Array],
) -> jax.Array:
    """One value from one a leaf: pairwise, for precision, and one collective for each set of axes."""
    groups: dict[Axes, list[jax.Array]] = {}
    for of_value, value in zip(axes, values, strict=True):
        groups.setdefault(of_value, []).append(value.astype(dtype))
    results = []
    for shared, group in groups.items():
        value = _pairwise(group, join)
        results.append(collective(value, shared) if shared else value)
    return _pairwise(results, join)


def _pairwise(values: list[jax.Array], join: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    while len(values) > 1:
        pairs = [join(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]
