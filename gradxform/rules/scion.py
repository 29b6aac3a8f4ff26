"""Scion: the steepest direction in a norm of each layer's own kind."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative, WeightAxes
from gradxform.core.rule import LeafRule, MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import newton_schulz_coefficients, orthogonalize
from gradxform.linalg.coefficients import STANDARD
from gradxform.maths import ema, length

NORMS = ("spectral", "input", "rows", "columns", "sign")


class ScaleByScion(MatrixRule):
    """Takes the running mean of the gradient to where a ball of each matrix's norm is steepest.

        mu <- beta mu + (1 - beta) g
        spectral:  u = radius sqrt(out / in) orthogonalize(mu)              hidden layers
        input:     u = radius max(1, sqrt(out / in)) orthogonalize(mu)      first layers
        rows:      u = radius mu / (rms of each row + eps)                  embeddings, whose rows are tokens
        columns:   u = radius mu / (sqrt(in) |column| + eps)                last layers, neuron by neuron
        sign:      u = radius sign(mu) / in                                 last layers

    Each is minus the minimiser of <mu, .> over the ball of that norm and radius. Of zeros it is 0.

    Memory: mu, 4 bytes a parameter. Work: for the first two as `scale_by_muon`; "sign" needs no whole matrices.

    Args:
      norm: one of those names.
      radius: the ball's.
      beta: decay of the mean, in [0, 1); 1 - momentum in the authors' code.
      ns_coeffs, ns_steps, gram: as in `orthogonalize`, whose eps is 1e-7 here.
      eps: see there.
      mu_dtype: what mu is kept in. None: the dtype of computation.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: another norm, or a leaf that is no matrix, with its path.

    Pethick et al. 2025, arXiv:2502.07529, algorithm 1; with a decoupled weight decay of 1, algorithm 2, whose weights
    stay in the ball. optax: none. torch: none; github.com/LIONS-EPFL/scion, where "spectral" and "input" are Spectral,
    "rows" ColNorm of the transpose, "columns" RowNorm, "sign" Sign.
    """

    norm: str = "spectral"
    radius: NonNegative = 1.0
    beta: Decay = 0.9
    ns_coeffs: Any = STANDARD
    ns_steps: int = 5
    eps: NonNegative = 1e-8
    mu_dtype: Dtype | None = None
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    gram: bool | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot(dtype="mu_dtype")

    def check(self):
        newton_schulz_coefficients(self.ns_coeffs, self.ns_steps)
        if self.norm not in NORMS:
            raise ValueError(f"scale_by_scion: norm must be one of {', '.join(map(repr, NORMS))}; got {self.norm!r}")

    @property
    def takes_matrices(self):
        return self.norm != "sign"

    def prepare(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.beta)
        new = slots._replace(mu=mu)
        if self.norm == "sign":
            return self.radius * jnp.sign(mu) / leaf.of_each(lambda rows, columns: max(rows, 1)), new
        return mu, new

    def update(self, grad, slots, matrix):
        rows, columns = grad.shape[-2:]
        if self.norm == "rows":
            return self.radius * _divided(grad, length(grad, -1) / math.sqrt(max(columns, 1)) + self.eps), slots
        if self.norm == "columns":
            return self.radius * _divided(grad, length(grad, -2) * math.sqrt(rows) + self.eps), slots
        factor = math.sqrt(columns / max(rows, 1))
        direction = orthogonalize(grad, self.ns_coeffs, self.ns_steps, eps=1e-7, gram=self.gram)
        return self.radius * (max(1.0, factor) if self.norm == "input" else factor) * direction, slots


class NormalizeVectors(LeafRule):
    """Divides each vector by its root mean square.

        u = g / (rms(g along the last axis) + eps)

    Vectors of stacked layers, (layers, n), are divided each by its own. Of zeros it is 0.

    Args:
      eps: added to the root.

    Raises:
      ValueError: a leaf is spread over devices, and `on_axes` does not tell how.

    Pethick et al. 2025, arXiv:2502.07529, table 1: biases. optax, torch: none; BiasRMS in github.com/LIONS-EPFL/scion.
    """

    eps: NonNegative = 1e-8

    def update(self, grad, slots, leaf):
        size = max(leaf.shape[-1], 1) if grad.ndim else 1
        norm = leaf.norm_along(grad, -1) if grad.ndim else jnp.abs(grad)
        return _divided(grad, norm / math.sqrt(size) + self.eps), slots


def _divided(x, by):
    return x / jnp.where(by == 0, 1, by)


scale_by_scion = transform(ScaleByScion)
normalize_vectors = transform(NormalizeVectors)
