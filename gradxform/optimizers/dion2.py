"""Dion2 for matrices, and Adam for all other parameters."""

from __future__ import annotations

from typing import Any

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.beside_adamw import beside_adamw
from gradxform.optimizers.descent import descent
from gradxform.rules.dion2 import scale_by_dion2
from gradxform.rules.muon import scale_by_shape


@hinting
def dion2(
    learning_rate: Hyper,
    fraction: float = 0.25,
    decay: Hyper = 0.95,
    ns_coeffs: Any = "polar_express",
    ns_steps: int = 5,
    eps: Hyper = 1e-7,
    weight_decay: Hyper = 0.01,
    mask: Mask | None = None,
    *,
    scale: str = "spectral",
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
    """Dion2: Muon that moves only the largest rows or columns of each matrix; Adam for what is no matrix.

        matrices:  u = -learning_rate (s scale_by_dion2(g) + weight_decay p),   s as in `scale_by_shape`
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. The authors' is 0.01.
      fraction, decay, ns_coeffs, ns_steps, eps, gram, batched: as in `scale_by_dion2`.
      scale: as in `scale_by_shape`, of the whole matrix.
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: each parameter with two
        axes is one; published recipes leave embeddings and heads to Adam: `gx.hidden_matrices`.
      weight_decay, mask, independent, cautious: as in `adamw`, of the matrices, also of what of them does not move.
      adam_b1, adam_b2, adam_eps, adam_weight_decay: as in `adamw`, of the rest.
      adam_learning_rate: the step size of the rest. None: learning_rate.

    Raises:
      ValueError: as `scale_by_dion2`, `scale_by_shape`.

    Ahn, Amsel & Langford 2025, arXiv:2512.16928. optax: none. torch: none; the class Dion2 in
    github.com/microsoft/dion.
    """
    axes = weight_dimension_numbers
    rule = scale_by_dion2(
        fraction, decay, ns_coeffs, ns_steps, eps, weight_dimension_numbers=axes, gram=gram, batched=batched
    )
    matrices = chain(
        rule, scale_by_shape(axes, scale=scale), descent(learning_rate, weight_decay, mask, independent, cautious)
    )
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("dion2", matrices, axes, learning_rate, *adam)
