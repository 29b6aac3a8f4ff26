"""Dion2: only the largest slices of a matrix are made orthogonal, and moved; what is left stays for later steps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from gradxform.core.declarations import MatrixSlot
from gradxform.core.fields import NonNegative, SumDecay, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import newton_schulz_coefficients, orthogonalize


def whole(rule: Any, rows: int, columns: int) -> tuple[int, int]:
    """The shape of what is kept of each element of a matrix."""
    return rows, columns


class ScaleByDion2(MatrixRule):
    """Makes the largest rows or columns of the sum of gradients orthogonal, and moves only these.

        momentum <- momentum + g
        K = the slices along the shorter axis (columns of a square matrix) with the largest sums of moduli,
            at least one and at least `fraction` of all
        u[K] = orthogonalize(momentum[K]),   0 elsewhere
        momentum[K] <- decay momentum[K]

    What is not moved is not decayed: it adds up until it is among the largest. With fraction=1 it is Muon without
    Nesterov. Of zeros the update is 0; a NaN is among the largest, and makes all of K NaN.

    Memory: momentum, 4 bytes a parameter, which moves with the matrix where matrices are dealt out to devices. Work: 5
    steps on a part of the matrix: with fraction f, n x m and n <= m, of f n x m.

    Args:
      fraction: the part of the slices that moves, more than 0 and at most 1.
      decay: of the slices that were moved.
      ns_coeffs, ns_steps, gram: as in `orthogonalize`.
      eps: its eps.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: another fraction, or a leaf that is no matrix, with its path.

    Ahn, Amsel & Langford 2025, arXiv:2512.16928, with the selection and the defaults of github.com/microsoft/dion's
    dion2.py, which multiplies by `scale_by_shape(scale="spectral")` after it. On shards it selects on each by itself;
    here always of the whole matrix. optax: none. torch: none.
    """

    fraction: float = 0.25
    decay: SumDecay = 0.95
    ns_coeffs: Any = "polar_express"
    ns_steps: int = 5
    eps: NonNegative = 1e-7
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    gram: bool | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    momentum = MatrixSlot(shape=whole)

    def check(self):
        newton_schulz_coefficients(self.ns_coeffs, self.ns_steps)
        if not isinstance(self.fraction, int | float) or not 0 < self.fraction <= 1:
            raise ValueError(f"scale_by_dion2: fraction must be more than 0 and at most 1; got {self.fraction!r}")

    def update(self, grad, slots, matrix):
        momentum = slots.momentum + grad
        if not grad.size:
            return grad, slots
        by_columns = grad.shape[-1] <= grad.shape[-2]
        slices = momentum.mT if by_columns else momentum
        count = max(1, math.ceil(self.fraction * slices.shape[-2]))
        sizes = jnp.sum(jnp.abs(slices), axis=-1)
        chosen = lax.top_k(sizes, count)[1]
        index = jnp.broadcast_to(chosen[..., None], (*chosen.shape, slices.shape[-1]))
        part = jnp.take_along_axis(slices, index, -2)
        part = orthogonalize(part, self.ns_coeffs, self.ns_steps, eps=self.eps, gram=self.gram)
        update = jnp.put_along_axis(jnp.zeros_like(slices), index, part, -2, inplace=False)
        decays = jnp.full(chosen.shape, self.decay, sizes.dtype)
        decays = jnp.put_along_axis(jnp.ones_like(sizes), chosen, decays, -1, inplace=False)
        slices = decays[..., None] * slices
        update, momentum = (update.mT, slices.mT) if by_columns else (update, slices)
        return update, slots._replace(momentum=momentum)


scale_by_dion2 = transform(ScaleByDion2)
