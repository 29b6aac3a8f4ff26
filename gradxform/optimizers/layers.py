"""Optimizers that scale by layers, and those that keep the squares of gradients by rows and columns."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import decayed, descent, one_mask
from gradxform.rules.adaptive import scale_by_adam
from gradxform.rules.clipping import clip_by_block_rms
from gradxform.rules.decay import add_decayed_weights
from gradxform.rules.factored import scale_by_came, scale_by_factored_rms, scale_by_sm3
from gradxform.rules.layerwise import scale_by_param_block_rms, scale_by_trust_ratio
from gradxform.rules.momentum import ema, trace
from gradxform.rules.scaling import scale, scale_by_learning_rate


@hinting
def lamb(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-6,
    eps_root: Hyper = 0.0,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """LAMB: Adam whose step has the size of each layer, for large batches.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root: as in `scale_by_adam`.
      weight_decay, mask, cautious: as in `add_decayed_weights`; the decay is part of what gets the layer's size.
      independent: decay by weight_decay p alone, after the learning rate.

    You et al. 2020, arXiv:1904.00962, algorithm 2, with phi(x) = x. optax: lamb. torch: none.
    """
    descend = chain(scale_by_trust_ratio(), scale_by_learning_rate(learning_rate))
    return chain(scale_by_adam(b1, b2, eps, eps_root), decayed(descend, weight_decay, mask, independent, cautious))


@hinting
def lars(
    learning_rate: Hyper,
    weight_decay: Hyper = 0.0,
    weight_decay_mask: Mask | None = True,
    trust_coefficient: Hyper = 0.001,
    eps: Hyper = 0.0,
    trust_ratio_mask: Mask | None = True,
    momentum: Hyper = 0.9,
    nesterov: bool = False,
    *,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """LARS: momentum whose step has the size of each layer, for large batches.

    Args:
      learning_rate: the step size; a number or a schedule.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else.
      weight_decay_mask: optax's name for mask. True: everywhere.
      trust_coefficient, eps: as in `scale_by_trust_ratio`.
      trust_ratio_mask: as `mask` in `scale_by_trust_ratio`.
      momentum, nesterov: as `decay` and `nesterov` in `trace`, after the learning rate.
      independent: decay by weight_decay p alone, after all else.

    You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1, which divides by |g| + weight_decay |p| where this
    divides by |g + weight_decay p|. optax: lars. torch: none.
    """
    descend = chain(
        scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps, mask=trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )
    chosen = one_mask(mask, None if weight_decay_mask is True else weight_decay_mask)
    return decayed(descend, weight_decay, chosen, independent, cautious)


@hinting
def adafactor(
    learning_rate: Hyper | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Hyper = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Hyper | None = 1.0,
    momentum: Hyper | None = None,
    dtype_momentum: Dtype = jnp.float32,
    weight_decay_rate: Hyper | None = None,
    eps: Hyper = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
    *,
    min_rms: Hyper | None = None,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adafactor: the gradient over a factored root mean square, clipped, in the size of each leaf.

    Args:
      learning_rate: the relative step size; a number or a schedule. None: 1.
      min_dim_size_to_factor, decay_rate, factored: as in `scale_by_factored_rms`.
      decay_offset: as `step_offset` in `scale_by_factored_rms`.
      multiply_by_parameter_scale: whether to multiply by `scale_by_param_block_rms`.
      clipping_threshold: as `threshold` in `clip_by_block_rms`. None: no clipping.
      momentum: decay of a running mean of the steps, as in `ema` without debias. None: no mean.
      dtype_momentum: what the mean is kept in.
      weight_decay_rate: optax's decay, not times the learning rate: weight_decay with independent. None: no decay.
      eps: as `epsilon` in `scale_by_factored_rms`.
      weight_decay_mask: optax's name for mask.
      min_rms, weight_dimension_numbers: as in `scale_by_factored_rms`; clipping and the size are of whole leaves.
      weight_decay, mask, independent, cautious: as in `adamw`; with it the learning rate comes after the mean. None:
        no decay.

    Raises:
      ValueError: weight_decay together with weight_decay_rate.

    Shazeer & Stern 2018, arXiv:1804.04235, algorithm 6, without its rate. optax: adafactor. torch:
    torch.optim.Adafactor, whose rate is min(lr, 1 / sqrt(t)), t from 1 on, and whose weight_decay_rate is lr times its
    weight_decay. It has min_dim_size_to_factor 1, eps 0 and, by default, for min_rms the eps of the dtype; it takes no
    complex leaves.
    """
    if weight_decay is not None and weight_decay_rate is not None:
        raise ValueError("adafactor: expected one of weight_decay and weight_decay_rate, got both")
    chosen = one_mask(mask, weight_decay_mask)
    scaled = [
        scale_by_factored_rms(
            factored,
            decay_rate,
            decay_offset,
            min_dim_size_to_factor,
            eps,
            min_rms=min_rms,
            weight_dimension_numbers=weight_dimension_numbers,
        ),
        *([] if clipping_threshold is None else [clip_by_block_rms(clipping_threshold)]),
    ]
    rate = [] if learning_rate is None else [scale_by_learning_rate(learning_rate, flip_sign=False)]
    sized = [
        *([scale_by_param_block_rms()] if multiply_by_parameter_scale else []),
        *([] if momentum is None else [ema(momentum, debias=False, accumulator_dtype=dtype_momentum)]),
    ]
    if weight_decay_rate is not None:
        return chain(
            *scaled, *rate, *sized, add_decayed_weights(weight_decay_rate, chosen, cautious=cautious), scale(-1.0)
        )
    if weight_decay is not None:
        rate_or_one = 1.0 if learning_rate is None else learning_rate
        return chain(*scaled, *sized, descent(rate_or_one, weight_decay, chosen, independent, cautious))
    return chain(*scaled, *rate, *sized, decayed(scale(-1.0), None, chosen, independent, cautious))


@hinting
def came(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    b3: Hyper = 0.9999,
    eps: Hyper = 1e-30,
    eps_instability: Hyper = 1e-16,
    clipping_threshold: Hyper = 1.0,
    mu_dtype: Dtype | None = None,
    *,
    weight_dimension_numbers: WeightAxes | None = None,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """CAME: Adafactor with momentum that goes on less where the steps are far from it.

    Args:
      learning_rate: the step size; a number or a schedule. The authors' is 0.5 to 0.9 of AdamW's.
      b1, b2, b3, eps, eps_instability, clipping_threshold, mu_dtype: as in `scale_by_came`.
      weight_dimension_numbers: as in `scale_by_factored_rms`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Luo et al. 2023, arXiv:2307.02047, algorithm 2. optax: none. torch: none.
    """
    return chain(
        scale_by_came(
            b1,
            b2,
            b3,
            eps,
            eps_instability,
            clipping_threshold,
            mu_dtype,
            weight_dimension_numbers=weight_dimension_numbers,
        ),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def sm3(
    learning_rate: Hyper,
    momentum: Hyper = 0.9,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """SM3: AdaGrad that keeps one vector for each axis of a leaf, with a running mean of the steps.

    Args:
      learning_rate: the step size; a number or a schedule.
      momentum: decay of the mean, as `b1` in `scale_by_sm3`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Anil et al. 2019, arXiv:1901.11150, algorithm SM3-II. optax: sm3, which takes neither scalars nor schedules. torch:
    none.
    """
    return chain(scale_by_sm3(momentum), descent(learning_rate, weight_decay, mask, independent, cautious))
