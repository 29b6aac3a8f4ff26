"""Adam's relatives that differ in the numerator, and dual averaging."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import decayed, descent
from gradxform.rules.dual_averaging import scale_by_madgrad
from gradxform.rules.momentum_mixtures import scale_by_adan, scale_by_ademamix, scale_by_simplified_ademamix


@hinting
def adan(
    learning_rate: Hyper,
    b1: Hyper = 0.98,
    b2: Hyper = 0.92,
    b3: Hyper = 0.99,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    difference_weight: Hyper | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adan: Adam with Nesterov's look-ahead from the change of the gradient.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, b3, eps, eps_root, difference_weight: as in `scale_by_adan`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Xie et al. 2022, arXiv:2208.06677, algorithm 1, which decays by dividing the parameters by 1 + learning_rate
    weight_decay. optax: adan, which looks ahead by 1 - b2 where the paper has b2; difference_weight=0.08 gives its
    numbers. torch: none.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root, difference_weight=difference_weight),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def ademamix(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    b3: Hyper = 0.9999,
    alpha: Hyper = 5.0,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdEMAMix: Adam with a second, slower running mean of the gradient beside the first.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, b3, alpha, eps, eps_root, mu_dtype: as in `scale_by_ademamix`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137, algorithm 1. optax: contrib.ademamix. torch: none.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def simplified_ademamix(
    learning_rate: Hyper,
    b1: Hyper = 0.99,
    b2: Hyper = 0.95,
    alpha: Hyper = 0.0,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdEMAMix with one mean: the decaying sum of the gradients, and the gradient itself beside it.

    Args:
      learning_rate: the step size; a number or a schedule. Smaller than Adam's by about 1 - b1.
      b1, b2, alpha, eps, eps_root: as in `scale_by_simplified_ademamix`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Morwani et al. 2025, arXiv:2502.02431. optax: contrib.simplified_ademamix. torch: none.
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def madgrad(
    learning_rate: Hyper,
    momentum: Hyper = 0.9,
    weight_decay: Hyper = 0.0,
    eps: Hyper = 1e-6,
    *,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """MADGRAD: dual averaging with a cube root and momentum.

    Args:
      learning_rate: the step size; a number or a schedule.
      momentum, eps: as in `scale_by_madgrad`.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else: an L2 penalty.
      independent: decay by weight_decay p alone, after all else.

    Defazio & Jelassi 2021, arXiv:2101.11075, algorithm 1. optax: contrib.madgrad. torch: none.
    """
    return decayed(scale_by_madgrad(learning_rate, momentum, eps), weight_decay, mask, independent, cautious)
