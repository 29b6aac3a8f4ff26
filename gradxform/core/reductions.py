"""Sums, maxima and norms over leaves that may be spread over devices.

With each leaf come the mesh axes over which it is spread. A sum over such a leaf is the sum of its local part, then
`psum` over just those axes; a leaf that is the same everywhere is not counted once per device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradxform.core import alike
from gradxform.core.placement import Axes
from gradxform.core.precision import DType, fitting, is_complex, mixing, real_dtype, wider
from gradxform.maths import Axis, abs_pow, abs_sq, safe_root, unit_scale

# What a norm or an inner product is of: a leaf, or two, of which a norm takes the difference.
Term = tuple[jax.Array] | tuple[jax.Array, jax.Array]
# Terms that are alike, in shape, dtype and sharding.
Group = tuple[Any, ...]
Join = Callable[[jax.Array, jax.Array], jax.Array]


def norm(leaves: Sequence[jax.Array], axes: Sequence[Axes], ord: float = 2) -> jax.Array:
    """The vector norm of order `ord` (at least 1, or infinity) of all leaves together, on all devices together.

    No intermediate overflows or underflows where the norm itself does not.

    Returns:
      A real array of shape (), float32 at least. NaN if a leaf holds NaN, infinity if one holds infinity.
    """
    dtype = real_dtype(*(leaf.dtype for leaf in leaves))
    groups, kept = _grouped([((leaf,), names) for leaf, names in zip(leaves, axes, strict=True) if leaf.size])
    if not groups:
        return jnp.zeros((), dtype)
    if ord == 2:
        return _root_of_squares(groups, kept, _all_axes(groups), dtype)

    def power_sum(scale: jax.Array) -> jax.Array:
        sums = [_of_group(_power_sum, lax.add, (ord, dtype), group, scale) for group in groups]
        return _joined(kept, sums, dtype, lax.add, lax.psum)

    if ord == 1:
        # No sum of moduli on the way is greater than the last.
        return power_sum(jnp.ones((), dtype))
    maxima = [_of_group(_largest, lax.max, (), group) for group in groups]
    largest = _joined(kept, maxima, dtype, lax.max, lax.pmax)
    if math.isinf(ord):
        return largest
    scale = unit_scale(largest)
    return safe_root(power_sum(scale), ord) / scale


def distance(lefts: Sequence[jax.Array], rights: Sequence[jax.Array], axes: Sequence[Axes]) -> jax.Array:
    """The L2 norm of the differences of two lists of leaves, as `norm`; no difference is kept in memory."""
    dtype = real_dtype(*(leaf.dtype for leaf in (*lefts, *rights)))
    groups, kept = _grouped([((a, b), names) for a, b, names in zip(lefts, rights, axes, strict=True) if a.size])
    return _root_of_squares(groups, kept, _all_axes(groups), dtype) if groups else jnp.zeros((), dtype)


def example_norms(leaves: Sequence[jax.Array]) -> jax.Array:
    """The L2 norm of each example over all leaves, which hold one example after the other along axis 0.

    Inside `shard_map` the examples are those of the device, and the leaves behind axis 0 are taken to be whole.

    Returns:
      A real array of shape (examples,), float32 at least, with the safety of `norm`.
    """
    groups, kept = _grouped([((leaf,), ()) for leaf in leaves])
    behind = tuple(tuple(range(1, leaf.ndim)) for ((leaf,), *_) in groups)
    return _root_of_squares(groups, kept, behind, real_dtype(*(leaf.dtype for leaf in leaves)))


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
    return _total(_dot, [((a, b), names) for a, b, names in zip(lefts, rights, axes, strict=True)], dtype)


def total(leaves: Sequence[jax.Array], axes: Sequence[Axes], dtype: DType) -> jax.Array:
    """The sum of all elements of all leaves of real numbers or bools, on all devices together, of shape ()."""
    return _total(_sum, [((leaf,), names) for leaf, names in zip(leaves, axes, strict=True)], dtype)


def counts(leaves: Sequence[jax.Array], axes: Sequence[Axes], dtype: DType) -> list[jax.Array]:
    """How many elements of each leaf of bools are true, on all devices together, of shape ()."""
    # In integers on the device, as a sum of ones in float32 may stop at 2^24.
    found = alike.each(lambda leaf: jnp.sum(leaf, dtype=jnp.int32).astype(dtype), [(leaf,) for leaf in leaves])
    for names in dict.fromkeys(filter(None, axes)):
        # One collective for all leaves that are spread alike.
        places = [place for place, of_leaf in enumerate(axes) if of_leaf == names]
        for place, count in zip(places, lax.psum([found[place] for place in places], names), strict=True):
            found[place] = count
    return found


def total_size(x: jax.Array, axes: Axes) -> int:
    """How many elements a leaf has on all devices together."""
    return x.size * math.prod(map(lax.axis_size, axes))


def own_keys(key: jax.Array, axes: Sequence[Axes]) -> list[jax.Array]:
    """A random key for each leaf; of a leaf that is spread over devices, each draws for its own part."""
    # All at once, which is traced as one operation.
    keys = list(jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(axes)))) if axes else []
    return list(map(_folded, keys, axes))


def _folded(key: jax.Array, axes: Axes) -> jax.Array:
    for axis in axes:
        key = jax.random.fold_in(key, lax.axis_index(axis))
    return key


def any_true(x: jax.Array, axes: Axes) -> jax.Array:
    """Whether any element of a leaf of bools is true, on any device."""
    found = jnp.any(x)
    return lax.pmax(found.astype(jnp.int32), axes).astype(bool) if axes else found


def norm_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The L2 norms over some axes, which stay with length 1, of a leaf that is cut along them over mesh axes."""
    over = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    over = tuple(each % x.ndim for each in over)
    dtype = real_dtype(x.dtype)
    if not x.size:
        return jnp.zeros([1 if each in over else size for each, size in enumerate(x.shape)], dtype)
    return jnp.expand_dims(_root_of_squares((((x,),),), (axes,), (over,), dtype), over)


def mean_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The means over some axes, as `norm_along`; 0 of no elements."""
    mean = (jnp.mean if x.size else jnp.sum)(x, axis=axis, keepdims=True)
    return lax.pmean(mean, axes) if axes else mean


def max_along(x: jax.Array, axis: Axis, axes: Axes) -> jax.Array:
    """The largest of values that are at least 0 over some axes, as `norm_along`; 0 where there are none."""
    largest = jnp.max(x, axis=axis, keepdims=True, initial=0)
    return lax.pmax(largest, axes) if axes else largest


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _root_of_squares(
    groups: tuple[Group, ...], axes: tuple[Axes, ...], over: tuple[tuple[int, ...], ...], dtype: DType
) -> jax.Array:
    """The L2 norm of all terms together, or norms, of whatever has the same place along the axes that are kept.

    Args:
      groups: what is squared and summed.
      axes: for each group the mesh axes over which its terms are sharded.
      over: for each group the axes of its terms that are summed over.
      dtype: that of the norms.
    """

    def joined(sums: Iterable[jax.Array], dtype: DType = dtype) -> jax.Array:
        return _joined(axes, list(sums), dtype, lax.add, lax.psum)

    def of_three(groups: tuple[Group, ...]) -> jax.Array:
        """The root of that of three sums which has kept the range."""
        bits = _bits(dtype)
        sums = [_three_sums(group, summed, dtype) for group, summed in zip(groups, over, strict=True)]
        plain, lowered, raised = map(joined, zip(*sums, strict=True))
        rescued = jnp.where(plain > 1, safe_root(lowered, 2) * 2.0**bits, safe_root(raised, 2) * 2.0**-bits)
        return jnp.where(_is_lost(plain), rescued, safe_root(plain, 2))

    def in_double(groups: tuple[Group, ...]) -> jax.Array:
        """The root of a sum in float64, whose range no square of a float32 leaves."""
        double = np.dtype(np.float64)
        with jax.enable_x64(True):
            one = jnp.ones((), double)
            sums = [
                _of_group(_square_sum, lax.add, (summed, double), group, one)
                for group, summed in zip(groups, over, strict=True)
            ]
            return lax.convert_element_type(safe_root(joined(sums, double), 2), dtype)

    # A GPU would make kernels of three sums; but it sums in float64 as fast as its memory brings the values.
    gpu = of_three if dtype == np.float64 else in_double
    return lax.platform_dependent(groups, cuda=gpu, rocm=gpu, default=of_three)


@_root_of_squares.defjvp
def _root_of_squares_jvp(
    axes: tuple[Axes, ...],
    over: tuple[tuple[int, ...], ...],
    dtype: DType,
    primals: tuple[tuple[Group, ...]],
    tangents: tuple[tuple[Group, ...]],
) -> tuple[jax.Array, jax.Array]:
    """d|x| = <x, dx> / |x|, and 0 at x = 0: no square, and no branch that is not taken, can make it infinite."""
    (groups,), (moves,) = primals, tangents
    norms = _root_of_squares(groups, axes, over, dtype)
    divisor = jnp.where(norms == 0, 1, norms)
    changes = [
        _of_group(_change, lax.add, (summed, dtype), tuple(zip(group, move, strict=True)), divisor)
        for group, move, summed in zip(groups, moves, over, strict=True)
    ]
    return norms, _joined(axes, changes, dtype, lax.add, lax.psum)


def _bits(dtype: DType) -> int:
    """The power of two by which values are lowered or raised whose squares leave the range of a dtype."""
    return int(jnp.finfo(dtype).maxexp * 5 / 8)


def _is_lost(plain: jax.Array) -> jax.Array:
    """Whether the squares in a sum have left the range of its dtype, or some of them may have."""
    return jnp.isinf(plain) | (plain < 2.0 ** -_bits(plain.dtype))


# Jitted for each group, so that the two forms are traced for a few leaves.
@partial(jax.jit, static_argnums=(1, 2))
def _three_sums(group: Group, over: tuple[int, ...], dtype: DType) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sums of squares of a group: plain, of lowered values, and of raised values.

    The second counts where the first, of all groups together, is infinite, and the third where that is lost otherwise.
    """
    bits = _bits(dtype)

    def square_sum(group: Group, scale: Any) -> jax.Array:
        return _of_group(_square_sum, lax.add, (over, dtype), group, jnp.asarray(scale, dtype))

    def in_two_passes(group: Group) -> tuple[jax.Array, jax.Array, jax.Array]:
        """One sum, and one of scaled values only if squares have left the dtype's range."""
        plain = square_sum(group, 1)
        scale = jnp.where(plain > 1, jnp.full_like(plain, 2.0**-bits), jnp.full_like(plain, 2.0**bits))
        scaled = lax.cond(jnp.any(_is_lost(plain)), lambda: square_sum(group, scale), lambda: plain)
        return plain, jnp.where(jnp.isinf(plain), scaled, plain * 2.0**-bits * 2.0**-bits), scaled

    def in_one_pass(group: Group) -> tuple[jax.Array, jax.Array, jax.Array]:
        """All of them, for XLA to take together."""
        return square_sum(group, 1), square_sum(group, 2.0**-bits), square_sum(group, 2.0**bits)

    # A CPU takes three times as long for three sums. A TPU takes them in one pass, where a branch would keep it from
    # holding values between two.
    return lax.platform_dependent(group, cpu=in_two_passes, default=in_one_pass)


def _all_axes(groups: tuple[Group, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(group[0][0].ndim)) for group in groups)


def _square_sum(term: Term, scale: jax.Array, over: tuple[int, ...], dtype: DType) -> jax.Array:
    """The sum of squares in a dtype, of values that are multiplied by a scale first; XLA drops one of 1."""
    value = _difference(term, dtype)
    # In lax's own operations: jnp's take many times as long to trace.
    factor = lax.expand_dims(scale, over if scale.ndim else tuple(range(value.ndim)))
    value = value * factor if is_complex(value) else lax.mul(value, factor)
    return lax.reduce_sum(abs_sq(value) if is_complex(value) else lax.square(value), over)


def _change(of: tuple[Term, Term], norms: jax.Array, over: tuple[int, ...], dtype: DType) -> jax.Array:
    """How the norms change by a term's tangent."""
    value, change = (_difference(each, dtype) for each in of)
    return jnp.sum(_real_product(value / jnp.expand_dims(norms, over), change), axis=over)


def _difference(term: Term, dtype: DType) -> jax.Array:
    """A term's value in the dtype of computation: a leaf, or the difference of two."""
    value, *minus = map(fitting(dtype), term)
    for other in minus:
        value = lax.sub(value, other)
    return value


def _power_sum(term: Term, scale: jax.Array, ord: float, dtype: DType) -> jax.Array:
    return jnp.sum(abs_pow(_difference(term, dtype) * scale, ord))


def _largest(term: Term) -> jax.Array:
    return jnp.max(jnp.abs(term[0])).astype(real_dtype(term[0].dtype))


def _total(function: Callable[..., jax.Array], terms: Sequence[tuple[Term, Axes]], dtype: DType) -> jax.Array:
    """The sum of a function of all terms, of shape ()."""
    together, axes = _grouped(terms)
    sums = [_of_group(function, lax.add, (dtype,), group) for group in together]
    return _joined(axes, sums, dtype, lax.add, lax.psum) if sums else jnp.zeros((), dtype)


def _sum(term: Term, dtype: DType) -> jax.Array:
    return jnp.sum(term[0], dtype=dtype)


def _dot(term: Term, dtype: DType) -> jax.Array:
    # A sum of products: a dot on an accelerator would round its inputs to fewer bits.
    return jnp.sum(_real_product(*term), dtype=dtype)


def _real_product(a: jax.Array, b: jax.Array) -> jax.Array:
    fit = fitting(a.dtype, b.dtype)
    a, b = fit(a), fit(b)
    return (jnp.conj(a) * b).real if is_complex(a) else a * b


def _grouped(terms: Sequence[tuple[Term, Axes]]) -> tuple[tuple[Group, ...], tuple[Axes, ...]]:
    """Terms, each with its mesh axes, in groups, and the mesh axes of each group."""
    places = alike.groups([(axes, *map(jax.typeof, term)) for term, axes in terms])
    return tuple(tuple(terms[i][0] for i in group) for group in places), tuple(terms[group[0]][1] for group in places)


# Jitted, so that terms are traced once for all groups that are alike, and for all scales.
@partial(jax.jit, static_argnums=(0, 1, 2))
def _of_group(
    function: Callable[..., jax.Array], join: Join, static: tuple[Any, ...], group: Group, *args: jax.Array
) -> jax.Array:
    """`function(term, *args, *static)` of a group's terms, joined to one."""
    with mixing(*jax.tree.leaves(group[0])):
        return _pairwise([function(term, *args, *static) for term in group], join)


def _joined(
    axes: Iterable[Axes],
    values: list[jax.Array],
    dtype: DType,
    join: Join,
    collective: Callable[[jax.Array, Axes], jax.Array],
) -> jax.Array:
    """One value from one a group: pairwise, for precision, and one collective for each set of axes."""
    spread: dict[Axes, list[jax.Array]] = {}
    for of_value, value in zip(axes, values, strict=True):
        spread.setdefault(of_value, []).append(value if value.dtype == dtype else value.astype(dtype))
    results = []
    for shared, values_there in spread.items():
        value = _pairwise(values_there, join)
        results.append(collective(value, shared) if shared else value)
    return _pairwise(results, join)


def _pairwise(values: list[jax.Array], join: Join) -> jax.Array:
    while len(values) > 1:
        pairs = [join(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]
