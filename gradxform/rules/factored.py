"""Rules that keep squares by rows and columns: Adafactor's factored mean, CAME, and SM3."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import reduce
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from optax.contrib import MuonDimensionNumbers

from gradxform.core.context import Leaf
from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative, Positive
from gradxform.core.matrix_axes import MatrixAxes
from gradxform.core.rule import LeafRule
from gradxform.core.text import show
from gradxform.core.transform import transform
from gradxform.maths import abs_sq, ema, safe_root, shrink_factor


def decay_rate_pow(step: Any, exponent: Any) -> Any:
    """1 - (step + 1)^-exponent: the decay of Adafactor, which grows from 0 to 1; steps from 0 on."""
    return 1.0 - (step + 1) ** (-exponent)


Axes = tuple[int, ...]


def factored_axes(rule: Any, shape: tuple[int, ...]) -> tuple[Axes, Axes] | None:
    """The axes that are averaged for columns and for rows, of a leaf that is to be factored; None for one that is not.

    Those of a matrix, rows and columns, where they are told; else the second largest and the largest.
    """
    told = rule.weight_dimension_numbers
    if not rule.factored or len(shape) < 2:
        return None
    if told is not None:
        rows, columns = (axes if isinstance(axes, tuple) else (axes,) for axes in (told.rows, told.columns))
        if not all(-len(shape) <= axis < len(shape) for axis in rows + columns):
            return None
        rows, columns = (tuple(axis % len(shape) for axis in axes) for axes in (rows, columns))
        least = min(math.prod(shape[axis] for axis in axes) for axes in (rows, columns))
    else:
        *_, second, largest = sorted(range(len(shape)), key=shape.__getitem__)
        rows, columns, least = (second,), (largest,), shape[second]
    return (rows, columns) if least >= max(rule.min_dim_size_to_factor, 1) else None


def all_but(axes: Axes, shape: tuple[int, ...]) -> Axes:
    """The axes of a shape without some of them."""
    return tuple(each for each in range(len(shape)) if each not in axes)


def row_axes(rule: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of v_row: all but the largest, or but the columns."""
    factored = factored_axes(rule, shape)
    return all_but(factored[1], shape) if factored else None


def column_axes(rule: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of v_col: all but the second largest, or but the rows."""
    factored = factored_axes(rule, shape)
    return all_but(factored[0], shape) if factored else None


def unfactored_axes(rule: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of v: all, if the leaf is not factored."""
    return None if factored_axes(rule, shape) else all_but((), shape)


def checked(rule: Any, axes: Any) -> Any:
    """weight_dimension_numbers as ours. Raises TypeError for what is not of one kind for all leaves, or splits."""
    if isinstance(axes, MuonDimensionNumbers):
        axes = MatrixAxes(*cast(Any, axes))
    if axes is not None and (not isinstance(axes, MatrixAxes) or axes.split_rows or axes.split_columns):
        raise TypeError(
            f"{rule.call_name}: weight_dimension_numbers must be MatrixAxes or MuonDimensionNumbers, without split, "
            f"for all leaves; got {show(axes)}; for leaves of several kinds use partition"
        )
    return axes


def factors(square: jax.Array, row: Any, col: Any, axes: tuple[Axes, Axes], decay: Any, leaf: Leaf) -> Any:
    """The running means over columns and over rows, with length 1 along these, of what is kept of them."""
    rows, columns = axes
    return (
        ema(jnp.expand_dims(row, columns), leaf.mean_along(square, columns), decay),
        ema(jnp.expand_dims(col, rows), leaf.mean_along(square, rows), decay),
    )


def over_factors(x: jax.Array, row: jax.Array, col: jax.Array, mean: jax.Array) -> jax.Array:
    """x / sqrt(row col / mean)."""
    return x * lax.rsqrt(row / mean) * lax.rsqrt(col)


def over_root(grad: jax.Array, square: jax.Array, least: Any) -> jax.Array:
    """grad / max(sqrt(square), least)."""
    return grad / jnp.maximum(safe_root(square, 2), least)


class ScaleByFactoredRms(LeafRule):
    """Divides by the root of a running mean square of which only the means of rows and columns are kept.

        d   = decay_rate_fn(t - step_offset, decay_rate),   t from 0 on;   1 - (t - step_offset + 1)^-decay_rate
        s   = |g|^2 + epsilon
        row <- d row + (1 - d) mean(s over the largest axis)
        col <- d col + (1 - d) mean(s over the second largest axis)
        u   = g / sqrt(row col / mean(row))

    A leaf with fewer than two axes of min_dim_size_to_factor keeps the whole mean: v <- d v + (1 - d) s and
    u = g / sqrt(v). With min_rms, the root and mean(row) are at least that:

        u = g / max(sqrt(row col / max(mean(row), min_rms)), min_rms),   or u = g / max(sqrt(v), min_rms)

    Args:
      factored: whether to factor at all.
      decay_rate: the exponent of the decay.
      step_offset: how many steps to take from t; before that d is what it is at t = 0.
      min_dim_size_to_factor: how long the two largest axes of a factored leaf are at least.
      epsilon: added to the squares.
      decay_rate_fn: (step, decay_rate) -> d; the step is a floating-point array of shape (), from 0 on.
      min_rms: the least root mean square to divide by, more than 0, with which epsilon may be 0. None: there is none.
      weight_dimension_numbers: the axes of the matrices that leaves are, as `MatrixAxes()` for (..., in, out), in the
        place of the two largest, which of stacked layers (layers, in, out) may be the layers. Of one kind for all
        leaves; a leaf without these axes is not factored. None: the two largest.

    Raises:
      TypeError: weight_dimension_numbers is something else, or splits a matrix.
      ValueError: step_offset is no int or negative, or a factored leaf is spread over devices and `on_axes` does not
        tell how.

    Shazeer & Stern 2018, arXiv:1804.04235, algorithm 4. optax: scale_by_factored_rms, which needs the parameters,
    takes d in float32 only, and gives NaN before step_offset. torch: inside torch.optim.Adafactor, which factors the
    last two axes of every leaf that has two, however short; its eps[0] is min_rms here, and epsilon is 0.
    """

    factored: bool = True
    decay_rate: NonNegative = 0.8
    step_offset: int = 0
    min_dim_size_to_factor: int = 128
    epsilon: NonNegative = 1e-30
    decay_rate_fn: Callable[[Any, Any], Any] = decay_rate_pow
    min_rms: Positive | None = dataclasses.field(default=None, kw_only=True)
    # One value for all leaves, which is static, and no role, which the maths does not see.
    weight_dimension_numbers: Any = dataclasses.field(default=None, kw_only=True)

    v_row = Slot(axes=row_axes, signed=False)
    v_col = Slot(axes=column_axes, signed=False)
    v = Slot(axes=unfactored_axes, signed=False)

    def check(self):
        if not isinstance(self.step_offset, int) or self.step_offset < 0:
            raise ValueError(f"scale_by_factored_rms: step_offset must be an int, at least 0; got {self.step_offset!r}")
        object.__setattr__(self, "weight_dimension_numbers", checked(self, self.weight_dimension_numbers))

    def update(self, grad, slots, leaf):
        square = abs_sq(grad) + self.epsilon
        step = jnp.maximum(leaf.step.astype(square.dtype) - 1 - self.step_offset, 0)
        decay = jnp.asarray(self.decay_rate_fn(step, self.decay_rate), square.dtype)
        axes = factored_axes(self, leaf.shape)
        if axes is None:
            v = ema(slots.v, square, decay)
            update = grad * lax.rsqrt(v) if self.min_rms is None else over_root(grad, v, self.min_rms)
            return update, slots._replace(v=v)
        rows, columns = axes
        row, col = factors(square, slots.v_row, slots.v_col, axes, decay, leaf)
        mean = leaf.mean_along(row, rows)
        if self.min_rms is None:
            update = over_factors(grad, row, col, mean)
        else:
            update = over_root(grad, row / jnp.maximum(mean, self.min_rms) * col, self.min_rms)
        return update, slots._replace(v_row=row.squeeze(columns), v_col=col.squeeze(rows))


class ScaleByCame(LeafRule):
    """Adafactor with momentum that is divided by how far the steps are from it, by rows and columns too.

        s   = |g|^2 + eps
        r  <- b2 r + (1 - b2) mean(s over columns),   c <- b2 c + (1 - b2) mean(s over rows)
        d   = g / sqrt(r c / mean(r))
        d   = d / max(1, rms(d) / clipping_threshold)
        mu <- b1 mu + (1 - b1) d
        q   = |d - mu|^2 + eps_instability
        R  <- b3 R + (1 - b3) mean(q over columns),   C <- b3 C + (1 - b3) mean(q over rows)
        u   = mu / sqrt(R C / mean(R))

    A leaf of fewer than two axes has d = g / sqrt(v) with v <- b2 v + (1 - b2) s, and u = mu. No mean is corrected for
    its beginning at 0: d is clipped in its place, and with the defaults the first u of matrices is about 10 in size.

    Memory: mu, and four vectors a matrix; half of Adam's.

    Args:
      b1: decay of the momentum, in [0, 1).
      b2: decay of the mean squares of the gradient, in [0, 1).
      b3: decay of those of the instability, in [0, 1). The authors' choice is above b2.
      eps: added to the squares of the gradient.
      eps_instability: added to those of the instability.
      clipping_threshold: the most that the root mean square of d may be, of a whole leaf.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      weight_dimension_numbers: as in `scale_by_factored_rms`. None: the two largest axes of each leaf.

    Raises:
      TypeError: as `scale_by_factored_rms`.
      ValueError: a leaf is spread over devices and `on_axes` does not tell how.

    Luo et al. 2023, arXiv:2307.02047, algorithm 2, which is for matrices; vectors, and the defaults, are as in the
    authors' code (github.com/yangluo7/CAME), which takes the last two axes of each leaf:
    weight_dimension_numbers=MatrixAxes(). optax: none. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    eps: NonNegative = 1e-30
    eps_instability: NonNegative = 1e-16
    clipping_threshold: Positive = 1.0
    mu_dtype: Dtype | None = None
    weight_dimension_numbers: Any = dataclasses.field(default=None, kw_only=True)

    # Every matrix is factored: steps of those that are not have another size.
    factored = True
    min_dim_size_to_factor = 1

    mu = Slot(dtype="mu_dtype")
    v_row = Slot(axes=row_axes, signed=False)
    v_col = Slot(axes=column_axes, signed=False)
    v = Slot(axes=unfactored_axes, signed=False)
    instability_row = Slot(axes=row_axes, signed=False)
    instability_col = Slot(axes=column_axes, signed=False)

    def check(self):
        object.__setattr__(self, "weight_dimension_numbers", checked(self, self.weight_dimension_numbers))

    def update(self, grad, slots, leaf):
        square, axes = abs_sq(grad) + self.eps, factored_axes(self, leaf.shape)

        def clipped(direction):
            return direction * shrink_factor(leaf.rms(direction), self.clipping_threshold)

        if axes is None:
            v = ema(slots.v, square, self.b2)
            mu = ema(slots.mu, clipped(grad * lax.rsqrt(v)), self.b1)
            return mu, slots._replace(mu=mu, v=v)
        rows, columns = axes
        row, col = factors(square, slots.v_row, slots.v_col, axes, self.b2, leaf)
        direction = clipped(over_factors(grad, row, col, leaf.mean_along(row, rows)))
        mu = ema(slots.mu, direction, self.b1)
        kept = slots._replace(mu=mu, v_row=row.squeeze(columns), v_col=col.squeeze(rows))
        square = abs_sq(direction - mu) + self.eps_instability
        row, col = factors(square, slots.instability_row, slots.instability_col, axes, self.b3, leaf)
        kept = kept._replace(instability_row=row.squeeze(columns), instability_col=col.squeeze(rows))
        return over_factors(mu, row, col, leaf.mean_along(row, rows)), kept


def each_axis(rule: Any, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """One array for each axis of the leaf; for a scalar one scalar."""
    return [(axis,) for axis in range(len(shape))] or [()]


class ScaleBySm3(LeafRule):
    """Divides by the root of a bound on the sum of squares, of which one vector for each axis is kept.

        s        = (1 - b2) g^2 + b2 min(mu_1[i], mu_2[j], ...),   with b2 = 1 g^2 + min(mu_1[i], mu_2[j], ...)
        mu_1[i] <- max(s[i, ...]),   mu_2[j] <- max(s[:, j, ...]),   ...
        u       <- b1 u + (1 - b1) g / sqrt(s + eps);   0 for the latter where s = 0

    The slots are `mu`, an array for each axis, and `nu`, which is u.

    Args:
      b1: decay of the mean of the updates, in [0, 1).
      b2: decay of the sum of squares, in [0, 1]; 1 for a sum without decay.
      eps: added inside the root.

    Raises:
      TypeError: complex leaves.
      ValueError: b2 is more than 1, or a leaf is spread over devices and `on_axes` does not tell how.

    Anil et al. 2019, arXiv:1901.11150, algorithm SM3-II with the rows and columns as its cover, where momentum is left
    open, eps is 0 and b2 is 1. optax: scale_by_sm3, which takes no scalars. torch: none.
    """

    b1: Decay = 0.9
    b2: NonNegative = 1.0
    eps: NonNegative = 1e-8

    real_only = True
    mu = Slot(axes=each_axis, signed=False)
    nu = Slot()

    def check(self):
        if isinstance(self.b2, int | float) and self.b2 > 1:
            raise ValueError(f"scale_by_sm3: b2 must be at most 1; got {self.b2}")

    def update(self, grad, slots, leaf):
        axes = range(max(grad.ndim, 1))
        others = [all_but((axis,), grad.shape) for axis in axes]
        bound = reduce(jnp.minimum, (jnp.expand_dims(mu, other) for mu, other in zip(slots.mu, others, strict=True)))
        total = jnp.where(self.b2 == 1, 1.0, 1 - self.b2) * jnp.square(grad) + self.b2 * bound
        positive = jnp.where(total > 0, total, 1)
        scaled = grad * jnp.where(total > 0, lax.rsqrt(positive + self.eps), 0)
        mu = tuple(leaf.max_along(total, other).squeeze(other) for other in others)
        nu = ema(slots.nu, scaled, self.b1)
        return nu, slots._replace(mu=mu, nu=nu)


scale_by_factored_rms = transform(ScaleByFactoredRms)
scale_by_came = transform(ScaleByCame)
scale_by_sm3 = transform(ScaleBySm3)
