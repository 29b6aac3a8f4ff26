"""Matrices by a preconditioner of both sides, and all other parameters by adamw."""

from __future__ import annotations

import math
from typing import Literal

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask, Seed, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.beside_adamw import beside_adamw
from gradxform.optimizers.descent import descent
from gradxform.rules.psgd import scale_by_psgd_kron
from gradxform.rules.shampoo import scale_by_kl_shampoo, scale_by_shampoo
from gradxform.rules.soap import scale_by_soap
from gradxform.schedules import exponential_decay

# psgd_jax refreshes with a frequency of exp(-(t - 500) / 1000) from 1 to 3 in 100; this is how many steps lie between.
SELDOMER = exponential_decay(1.0, 1000, math.e, transition_begin=499, end_value=100 / 3)


@hinting
def soap(
    learning_rate: Hyper,
    b1: Hyper = 0.95,
    b2: Hyper = 0.95,
    eps: Hyper = 1e-8,
    precondition_frequency: Hyper = 10,
    max_precond_dim: int = 10000,
    shampoo_beta: Hyper | None = None,
    *,
    debias: bool = True,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper = 0.01,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps: Hyper = 1e-8,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
) -> Transform:
    """SOAP: Adam in the eigenvectors of Shampoo's factors for matrices, and Adam for what is no matrix.

        matrices:  u = -learning_rate (scale_by_soap(g) + weight_decay p)
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. The authors' is 3e-3.
      b1, b2, eps, precondition_frequency, max_precond_dim, shampoo_beta, debias, spread, batched: as in
        `scale_by_soap`.
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: each parameter with two
        axes is one.
      weight_decay, mask, independent, cautious: as in `adamw`, of the matrices.
      adam_b1, adam_b2, adam_eps, adam_weight_decay: as in `adamw`, of the rest.
      adam_learning_rate: the step size of the rest. None: learning_rate.

    Vyas et al. 2024, arXiv:2409.11321, whose code has Adam with b1 and b2 for vectors. optax, torch: none; the authors'
    class SOAP, whose decay comes after the step.
    """
    rule = scale_by_soap(
        b1,
        b2,
        eps,
        precondition_frequency,
        max_precond_dim,
        shampoo_beta,
        debias=debias,
        spread=spread,
        batched=batched,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    matrices = chain(rule, descent(learning_rate, weight_decay, mask, independent, cautious))
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("soap", matrices, weight_dimension_numbers, learning_rate, *adam)


@hinting
def shampoo(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 1.0,
    eps: Hyper = 1e-12,
    precondition_frequency: Hyper = 1,
    block_size: int = 1024,
    exponents: tuple[float, float] = (0.25, 0.25),
    *,
    graft: str = "none",
    graft_b2: Hyper = 0.999,
    graft_eps: Hyper = 1e-8,
    root: Literal["eigh", "newton"] = "eigh",
    debias: bool = True,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps: Hyper = 1e-8,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
) -> Transform:
    """Shampoo: the gradient between inverse roots of its two factors for matrices, and Adam for what is no matrix.

        matrices:  u = -learning_rate (scale_by_shampoo(g) + weight_decay p)
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. With graft="adam" that of Adam.
      b1, b2, eps, precondition_frequency, block_size, exponents, graft, graft_b2, graft_eps, root, debias, spread,
        batched: as in `scale_by_shampoo`.
      weight_dimension_numbers, weight_decay, mask, independent, cautious, adam_b1, adam_b2, adam_eps,
        adam_weight_decay, adam_learning_rate: as in `soap`.

    Raises:
      ValueError: as `scale_by_shampoo`.

    Gupta, Koren & Singer 2018, arXiv:1802.09568; Shi et al. 2023, arXiv:2309.06497, whose defaults these are. optax:
    none. torch: none; facebookresearch/optimizers' DistributedShampoo.
    """
    rule = scale_by_shampoo(
        b1,
        b2,
        eps,
        precondition_frequency,
        block_size,
        exponents,
        graft=graft,
        graft_b2=graft_b2,
        graft_eps=graft_eps,
        root=root,
        debias=debias,
        spread=spread,
        batched=batched,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    matrices = chain(rule, descent(learning_rate, weight_decay, mask, independent, cautious))
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("shampoo", matrices, weight_dimension_numbers, learning_rate, *adam)


@hinting
def kl_shampoo(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.98,
    eps: Hyper = 1e-8,
    precondition_frequency: Hyper = 10,
    init_factor: Hyper = 0.1,
    clamp: Hyper = 4000.0,
    *,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper = 0.01,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps: Hyper = 1e-8,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
) -> Transform:
    """KL-Shampoo: Shampoo whose factors each see what the other leaves, for matrices, and Adam for what is no matrix.

        matrices:  u = -learning_rate (scale_by_kl_shampoo(g) + weight_decay p)
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. Updates are of Adam's size.
      b1, b2, eps, precondition_frequency, init_factor, clamp, spread, batched: as in `scale_by_kl_shampoo`.
      weight_dimension_numbers, weight_decay, mask, independent, cautious, adam_b1, adam_b2, adam_eps,
        adam_weight_decay, adam_learning_rate: as in `soap`.

    Lin et al. 2025, arXiv:2509.03378. optax, torch: none; the authors' class KLOpt, whose decay comes after the step.
    """
    rule = scale_by_kl_shampoo(
        b1,
        b2,
        eps,
        precondition_frequency,
        init_factor,
        clamp,
        spread=spread,
        batched=batched,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    matrices = chain(rule, descent(learning_rate, weight_decay, mask, independent, cautious))
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("kl_shampoo", matrices, weight_dimension_numbers, learning_rate, *adam)


@hinting
def psgd_kron(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    precondition_frequency: Hyper = SELDOMER,
    precond_lr: Hyper = 0.1,
    max_size_triangular: int = 8192,
    max_skew: float | None = None,
    precond_init_scale: float = 1.0,
    max_rms: Hyper | None = 1.1,
    key: Seed = 0,
    *,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: Hyper = 0.9,
    adam_b2: Hyper = 0.999,
    adam_eps: Hyper = 1e-8,
    adam_weight_decay: Hyper = 0.0,
    adam_learning_rate: Hyper | None = None,
) -> Transform:
    """PSGD: the mean of the gradient, made white by two learnt factors, for matrices, and Adam for what is no matrix.

        matrices:  u = -learning_rate (scale_by_psgd_kron(g) + weight_decay p)
        the rest:  as `adamw`

    Args:
      learning_rate: the step size; a number or a schedule. The authors' is 1e-3, or a third of Adam's.
      precondition_frequency: as in `scale_by_psgd_kron`. By default each step until the 500th, and then more and more
        seldom, until 33 steps lie between from the 4000th on.
      b1, precond_lr, max_size_triangular, max_skew, precond_init_scale, max_rms, key, spread, batched: as
        in `scale_by_psgd_kron`.
      weight_dimension_numbers, weight_decay, mask, independent, cautious, adam_b1, adam_b2, adam_eps,
        adam_weight_decay, adam_learning_rate: as in `soap`.

    Raises:
      ValueError: as `scale_by_psgd_kron`.

    Li 2015, arXiv:1512.04202; github.com/evanatyourservice/psgd_jax, kron, which has diagonal factors for vectors.
    optax: none. torch: none; kron_torch, and lixilinx/psgd_torch.
    """
    rule = scale_by_psgd_kron(
        b1,
        precondition_frequency,
        precond_lr,
        max_size_triangular,
        max_skew,
        precond_init_scale,
        max_rms,
        key,
        spread=spread,
        batched=batched,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    matrices = chain(rule, descent(learning_rate, weight_decay, mask, independent, cautious))
    adam = (adam_b1, adam_b2, adam_eps, adam_weight_decay, adam_learning_rate)
    return beside_adamw("psgd_kron", matrices, weight_dimension_numbers, learning_rate, *adam)
