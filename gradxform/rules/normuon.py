"""NorMuon: Muon whose neurons are normalised by a running mean of their squares."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import jax.numpy as jnp

from gradxform.core.declarations import MatrixSlot, Slot
from gradxform.core.fields import Decay, Dtype, NonNegative, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import newton_schulz_coefficients, orthogonalize
from gradxform.linalg.coefficients import STANDARD
from gradxform.linalg.polar import Preconditioning
from gradxform.maths import abs_sq, ema, length, safe_root

RESCALE = ("norm", "rms", None)


def one_a_column(rule: Any, rows: int, columns: int) -> tuple[int, int]:
    """The shape of what is kept of each neuron, whose weights are a column."""
    return 1, columns


class ScaleByNormuon(MatrixRule):
    """Makes the running mean of the gradient orthogonal, and gives each neuron's weights the same size.

        mu <- beta mu + (1 - beta) g
        o   = orthogonalize(mu),   with nesterov orthogonalize(beta mu + (1 - beta) g)
        nu <- b2 nu + (1 - b2) mean(|o|^2 over the rows)
        n   = o / (sqrt(nu) + eps)
        u   = n |o| / |n|,   with rescale="rms" n 0.2 sqrt(in out) / |n|,   with rescale=None n

    Rows are inputs and columns outputs, so that a neuron's weights are a column and nu has one number for each. Norms
    are Frobenius norms of a matrix. Of a gradient of zeros the update is 0; a NaN makes its own matrix NaN.

    Memory: mu, 4 bytes a parameter, and nu, 4 bytes an output. Work: as `scale_by_muon`.

    Args:
      ns_coeffs, ns_steps, preconditioning, gram: as in `orthogonalize`, whose eps is 1e-7 here.
      beta: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added to the root.
      mu_dtype: what mu is kept in. None: the dtype of computation.
      nesterov: whether to look one step ahead.
      rescale: "norm" for the norm that o had, as the authors' code; "rms" for a root mean square of 0.2, as the paper;
        None for neither.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: another word for rescale or preconditioning, or a leaf that is no matrix, with its path.

    Li et al. 2025, arXiv:2510.05491, algorithm 1: `nesterov=False, rescale="rms"`; without, their code, which
    multiplies by `scale_by_shape()` after it. optax: none. torch: none; github.com/zichongli5/NorMuon, and dion's
    normuon.py, which has eps=1e-8 and sums the gradients in mu, which changes nothing.
    """

    ns_coeffs: Any = STANDARD
    ns_steps: int = 5
    beta: Decay = 0.95
    b2: Decay = 0.95
    eps: NonNegative = 1e-10
    mu_dtype: Dtype | None = None
    nesterov: bool = dataclasses.field(default=True, kw_only=True)
    rescale: str | None = dataclasses.field(default="norm", kw_only=True)
    preconditioning: Preconditioning = dataclasses.field(default="frobenius", kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    gram: bool | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    mu = Slot(dtype="mu_dtype")
    nu = MatrixSlot(shape=one_a_column, signed=False)

    def check(self):
        newton_schulz_coefficients(self.ns_coeffs, self.ns_steps)
        for name, known in (("preconditioning", get_args(Preconditioning)), ("rescale", RESCALE)):
            if getattr(self, name) not in known:
                words = ", ".join(map(repr, known))
                raise ValueError(f"{self.call_name}: {name} must be one of {words}; got {getattr(self, name)!r}")

    def prepare(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.beta)
        return ema(mu, grad, self.beta) if self.nesterov else mu, slots._replace(mu=mu)

    def update(self, grad, slots, matrix):
        update = orthogonalize(grad, self.ns_coeffs, self.ns_steps, self.preconditioning, 1e-7, gram=self.gram)
        nu = ema(slots.nu, jnp.sum(abs_sq(update), axis=-2, keepdims=True) / max(grad.shape[-2], 1), self.b2)
        root = safe_root(nu, 2) + self.eps
        normal = update / jnp.where(root == 0, 1, root)
        if self.rescale is not None:
            before = length(update) if self.rescale == "norm" else 0.2 * math.sqrt(grad.shape[-2] * grad.shape[-1])
            after = length(normal)
            normal = normal * (before / jnp.where(after == 0, 1, after))
        return normal, slots._replace(nu=nu)


scale_by_normuon = transform(ScaleByNormuon)
