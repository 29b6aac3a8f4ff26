"""NorMuon for matrices, and Adam for all other parameters."""

from __future__ import annotations

from typing import Any

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.linalg.coefficients import STANDARD
from gradxform.optimizers.beside_adamw import beside_adamw
from gradxform.optimizers.descent import descent
from gradxform.rules.muon import scale_by_shape
from gradxform.rules.normuon import scale_by_normuon


@hinting
def normuon(
    learning_rate: Hyper,
    ns_coeffs: Any = STANDARD,
    ns_steps: int = 5,
    beta: Hyper = 0.95,
    b2: Hyper = 0.95,
    eps: Hyper = 1e-10,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
    rescale: str = "norm",
    scale: str = "keller",
    preconditioning: Any = "frobenius",
    weight_dimension_numbers: WeightAxes | None = None,
    gram: bool | None = None,
    batched: bool = False,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps: Hyper = 1e-8,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
) -> Transform:
    """NorMuon: Muon whose neurons all move by as much, times a factor of shape; Adam for what is no matrix.

        matrices:  u = -learning_rate (s scale_by_normuon(g) + weight_decay p),   s as in `scale_by_shape`
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. The authors' is 0.02.
      ns_coeffs, ns_steps, beta, b2, eps, mu_dtype, nesterov, preconditioning, gram, batched: as in `scale_by_normuon`.
      rescale: "norm" or "rms" as in `scale_by_normuon`; with "rms" s is 1.
      scale: as in `scale_by_shape`.
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: each parameter with two
        axes is one; published recipes leave embeddings and heads to Adam: `gx.hidden_matrices`.
      weight_decay, mask, independent, cautious: as in `adamw`, of the matrices.
      adam_b1, adam_b2, adam_eps, adam_weight_decay: as in `adamw`, of the rest.
      adam_learning_rate: the step size of the rest. None: learning_rate.

    Raises:
      ValueError: as `scale_by_normuon`, `scale_by_shape`.

    Li et al. 2025, arXiv:2510.05491: by default as in their code; their algorithm 1 is `nesterov=False,
    rescale="rms"`. optax: none. torch: none; the authors' class NorMuon, and dion's, with `scale="spectral"`.
    """
    axes = weight_dimension_numbers
    rule = scale_by_normuon(
        ns_coeffs,
        ns_steps,
        beta,
        b2,
        eps,
        mu_dtype,
        nesterov=nesterov,
        rescale=rescale,
        preconditioning=preconditioning,
        weight_dimension_numbers=axes,
        gram=gram,
        batched=batched,
    )
    by_shape = [] if rescale == "rms" else [scale_by_shape(axes, scale=scale)]
    matrices = chain(rule, *by_shape, descent(learning_rate, weight_decay, mask, independent, cautious))
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("normuon", matrices, axes, learning_rate, *adam)
