"""Muon for matrices, and Adam for all other parameters."""

from __future__ import annotations

from typing import Any

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.linalg.coefficients import STANDARD
from gradxform.linalg.polar import Preconditioning
from gradxform.matrix_labels import labels_by_axes
from gradxform.optimizers.classic import adamw
from gradxform.optimizers.descent import descent, one_mask
from gradxform.rules.muon import scale_by_muon, scale_by_shape
from gradxform.wrappers.route import partition


@hinting
def muon(
    learning_rate: Hyper,
    ns_coeffs: Any = STANDARD,
    ns_steps: int = 5,
    beta: Hyper = 0.95,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps_root: Hyper = 0.0,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
    muon_weight_dimension_numbers: WeightAxes | None = None,
    consistent_rms: Hyper | None = None,
    scale: str = "keller",
    debias: bool = True,
    gram: bool | None = None,
    batched: bool = False,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Muon: momentum whose matrices are made orthogonal, times a factor of their shape; Adam for what is no matrix.

        matrices:  u = -learning_rate (s orthogonalize(mean of g) + weight_decay p),   s as in `scale_by_shape`
        the rest:  as `adamw`

    By optax's default every parameter with two axes is a matrix, embeddings and heads among them. Published recipes
    give these to Adam: `muon_weight_dimension_numbers=gx.hidden_matrices`, or a `partition` by `matrices_and_rest`.

    Args:
      learning_rate: the step size; a number or a schedule.
      ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov, adaptive, preconditioning, debias, gram, batched: as in
        `scale_by_muon`.
      weight_decay, independent, cautious: as in `adamw`, of the matrices.
      mask, weight_decay_mask: two names of which matrices decay; see `add_decayed_weights`.
      adam_b1, adam_b2, adam_eps_root, adam_weight_decay: as in `adamw`, for the rest; eps, mu_dtype and nesterov are
        those above.
      adam_learning_rate: the step size of the rest. None: learning_rate.
      muon_weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: each parameter with
        two axes is one.
      consistent_rms, scale: as in `scale_by_shape`; consistent_rms=0.2 is scale="moonshot".

    Raises:
      ValueError: as `scale_by_muon`, `scale_by_shape`.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982. optax: contrib.muon.
    torch: torch.optim.Muon, for matrices alone.
    """
    axes, decaying = muon_weight_dimension_numbers, one_mask(mask, weight_decay_mask)
    matrices = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=axes,
            debias=debias,
            gram=gram,
            batched=batched,
        ),
        scale_by_shape(axes, consistent_rms, scale=scale),
        descent(learning_rate, weight_decay, decaying, independent, cautious),
    )
    rest = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        b1=adam_b1,
        b2=adam_b2,
        eps=eps,
        eps_root=adam_eps_root,
        mu_dtype=mu_dtype,
        weight_decay=adam_weight_decay,
        nesterov=nesterov,
    )
    return partition({"muon": matrices, "adam": rest}, labels_by_axes(axes, "muon", "adam"))
