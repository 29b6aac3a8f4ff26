"""Muon: momentum whose matrices are made orthogonal; and factors by the shape of a matrix."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import newton_schulz_coefficients, orthogonalize
from gradxform.linalg.coefficients import STANDARD
from gradxform.linalg.polar import Preconditioning
from gradxform.maths import corrected_mean, ema


class ScaleByMuon(MatrixRule):
    """Makes the running mean of the gradient orthogonal, matrix by matrix.

        mu <- beta mu + (1 - beta) g
        m   = debias(mu, beta),   with nesterov beta debias'(mu, beta) + (1 - beta) debias(g, beta), as in `nadam`
        u   = orthogonalize(m),   with adaptive <m, u> u

    Without debias m is mu, with nesterov beta mu + (1 - beta) g, as in the reference; without nesterov that is the same
    update. A leaf is a matrix (in, out) unless told otherwise; each matrix of a stack is made orthogonal by itself.

    Memory: mu, 4 bytes a parameter. Work: 5 steps of 2 n m (2 n + m) operations for an n x m matrix, n <= m, or less
    (see `orthogonalize`). On many devices whole matrices are dealt out: each moves there and back, and is computed
    once; see docs/how-it-works.md.

    Args:
      ns_coeffs, ns_steps, eps, preconditioning, gram: as in `orthogonalize`.
      beta: decay of the mean, in [0, 1).
      mu_dtype: what mu is kept in. None: the dtype of computation.
      nesterov: whether to look one step ahead.
      adaptive: whether to multiply by the inner product of m and u, the dual norm of m.
      weight_dimension_numbers: which axes of each leaf are rows and columns: `MatrixAxes` or optax's
        MuonDimensionNumbers, a prefix of the tree with these, or a function of the tree. None: each leaf has two axes.
      debias: whether the mean is corrected for its pull to 0.
      batched: whether matrices of one shape are stacked on one device too; the numbers are the same.

    Raises:
      ValueError: a leaf that is no matrix, with its path and what to do.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon, whose mean is not debiased; Bernstein & Newhouse 2024,
    arXiv:2409.20325 (adaptive). optax: contrib.scale_by_muon, which needs weight_dimension_numbers for a tree, takes
    <m, u> over all matrices of a leaf, and keeps ns_coeffs in its state. torch: torch.optim.Muon.
    """

    ns_coeffs: Any = STANDARD
    ns_steps: int = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: Dtype | None = None
    nesterov: bool = dataclasses.field(default=True, kw_only=True)
    adaptive: bool = dataclasses.field(default=False, kw_only=True)
    preconditioning: Preconditioning = dataclasses.field(default="frobenius", kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)
    debias: bool = dataclasses.field(default=True, kw_only=True)
    gram: bool | None = dataclasses.field(default=None, kw_only=True)

    transposable = True
    mu = Slot(dtype="mu_dtype")

    def check(self):
        newton_schulz_coefficients(self.ns_coeffs, self.ns_steps)
        if self.preconditioning not in get_args(Preconditioning):
            known = ", ".join(map(repr, get_args(Preconditioning)))
            raise ValueError(f"scale_by_muon: preconditioning must be one of {known}; got {self.preconditioning!r}")

    def prepare(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.beta)
        if self.debias:
            mean = corrected_mean(mu, grad, self.beta, leaf.step, self.nesterov)
        else:
            mean = ema(mu, grad, self.beta) if self.nesterov else mu
        return mean, slots._replace(mu=mu)

    def update(self, grad, slots, matrix):
        update = orthogonalize(grad, self.ns_coeffs, self.ns_steps, self.preconditioning, self.eps, gram=self.gram)
        if self.adaptive:
            update = jnp.sum(grad.conj() * update, axis=(-2, -1), keepdims=True) * update
        return update, slots


# What an orthogonal matrix of so many rows (inputs) and columns (outputs) is multiplied by.
SHAPE_SCALES = {
    "keller": lambda rows, columns: math.sqrt(max(1, columns / max(rows, 1))),
    "moonshot": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
    "spectral": lambda rows, columns: math.sqrt(columns / max(rows, 1)),
}


class ScaleByShape(MatrixRule):
    """Multiplies by a factor of each matrix's shape, so that one learning rate fits all.

        keller:    u = g sqrt(max(1, out / in))
        moonshot:  u = g 0.2 sqrt(max(in, out)),   so that an orthogonal g has a root mean square of 0.2, as Adam's
        spectral:  u = g sqrt(out / in),           so that an orthogonal g has norm 1 from RMS to RMS
        consistent_rms c:  u = g c sqrt(max(in, out))

    Args:
      weight_dimension_numbers: as in `scale_by_muon`.
      consistent_rms: the factor c, in the place of `scale`. None: as `scale` says.
      scale: "keller", "moonshot" or "spectral".

    Raises:
      ValueError: another name, or a leaf that is no matrix, with its path.

    Jordan et al. 2024 (keller); Liu et al. 2025, arXiv:2502.16982, section 2.2 (moonshot, consistent_rms); Bernstein &
    Newhouse 2024, arXiv:2410.21265 (spectral). optax: inside contrib.muon, which has keller and consistent_rms.
    torch: torch.optim.Muon's adjust_lr_fn: "original" is keller for weights (out, in), "match_rms_adamw" moonshot.
    """

    weight_dimension_numbers: WeightAxes | None = None
    consistent_rms: NonNegative | None = None
    scale: str = dataclasses.field(default="keller", kw_only=True)

    def check(self):
        if self.scale not in SHAPE_SCALES:
            known = ", ".join(map(repr, SHAPE_SCALES))
            raise ValueError(f"scale_by_shape: scale must be one of {known}; got {self.scale!r}")

    def prepare(self, grad, slots, leaf):
        if self.consistent_rms is not None:
            return self.consistent_rms * leaf.of_each(lambda rows, columns: math.sqrt(max(rows, columns))) * grad, slots
        return leaf.of_each(SHAPE_SCALES[self.scale]) * grad, slots


scale_by_muon = transform(ScaleByMuon)
scale_by_shape = transform(ScaleByShape)
