"""Optimizers that use second derivatives of the loss."""

from __future__ import annotations

from optax import GradientTransformation

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import descent, one_mask
from gradxform.rules.curvature import HUTCHINSON, scale_by_sophia


@hinting
def sophia(
    learning_rate: Hyper,
    b1: Hyper = 0.965,
    b2: Hyper = 0.99,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: Hyper = 0.01,
    clip_threshold: Hyper | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: GradientTransformation = HUTCHINSON,
    mu_dtype: Dtype | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
    *,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Sophia: the running mean of the gradient over that of the Hessian's diagonal, clipped, with decoupled decay.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype, verbose: as in
        `scale_by_sophia`.
      weight_decay, mask, independent, cautious: as in `adamw`.
      weight_decay_mask: optax's name for mask.
      print_win_rate_every_n_steps: as in `scale_by_sophia`.

    Extra arguments of `update`: those of hessian_diagonal_fn, such as obj_fn, the loss as a function of the parameters.

    Liu et al. 2023, arXiv:2305.14342, algorithm 3. optax: contrib.sophia. torch: none.
    """
    return chain(
        scale_by_sophia(
            b1,
            b2,
            eps,
            gamma,
            clip_threshold,
            update_interval,
            hessian_diagonal_fn,
            mu_dtype,
            verbose,
            print_win_rate_every_n_steps,
        ),
        descent(learning_rate, weight_decay, one_mask(mask, weight_decay_mask), independent, cautious),
    )
