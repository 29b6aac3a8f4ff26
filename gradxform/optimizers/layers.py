"""Optimizers that scale by layers, and those that keep the squares of gradients by rows and columns."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.chain import chain
from gradxform.core.record import Dtype, Hyper, Mask
from gradxform.core.transform import Transform
from gradxform.rules.adaptive import scale_by_adam
from gradxform.rules.clipping import clip_by_block_rms
from gradxform.rules.decay import add_decayed_weights
from gradxform.rules.factored import scale_by_factored_rms, scale_by_sm3
from gradxform.rules.layerwise import scale_by_param_block_rms, scale_by_trust_ratio
from gradxform.rules.momentum import ema, trace
from gradxform.rules.scaling import scale, scale_by_learning_rate


def lamb(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-6,
    eps_root: Hyper = 0.0,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """LAMB: Adam whose step has the size of each layer, for large batches.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root: as in `scale_by_adam`.
      weight_decay, mask: as in `add_decayed_weights`; the decay is part of what gets the layer's size.

    You et al. 2020, arXiv:1904.00962, algorithm 2, with phi(x) = x. optax: lamb. torch: none.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


def lars(
    learning_rate: Hyper,
    weight_decay: Hyper = 0.0,
    weight_decay_mask: Mask | None = True,
    trust_coefficient: Hyper = 0.001,
    eps: Hyper = 0.0,
    trust_ratio_mask: Mask | None = True,
    momentum: Hyper = 0.9,
    nesterov: bool = False,
) -> Transform:
    """LARS: momentum whose step has the size of each layer, for large batches.

    Args:
      learning_rate: the step size; a number or a schedule.
      weight_decay: added to the gradient, times the parameters.
      weight_decay_mask: as `mask` in `add_decayed_weights`.
      trust_coefficient, eps: as in `scale_by_trust_ratio`.
      trust_ratio_mask: as `mask` in `scale_by_trust_ratio`.
      momentum, nesterov: as `decay` and `nesterov` in `trace`, after the learning rate.

    You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1, which divides by |g| + weight_decay |p| where this
    divides by |g + weight_decay p|. optax: lars. torch: none.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps, mask=trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )


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
      weight_decay_rate: as `weight_decay` in `add_decayed_weights`; not times the learning rate. None: no decay.
      eps: as `epsilon` in `scale_by_factored_rms`.
      weight_decay_mask: as `mask` in `add_decayed_weights`.
      min_rms: as in `scale_by_factored_rms`.

    Shazeer & Stern 2018, arXiv:1804.04235, algorithm 6, without its rate. optax: adafactor. torch:
    torch.optim.Adafactor, whose rate is min(lr, 1 / sqrt(t)), t from 1 on, and whose weight_decay_rate is lr times its
    weight_decay. It has min_dim_size_to_factor 1, eps 0 and, by default, for min_rms the eps of the dtype; it takes no
    complex leaves.
    """
    stages = [
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps, min_rms=min_rms),
        None if clipping_threshold is None else clip_by_block_rms(clipping_threshold),
        None if learning_rate is None else scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_param_block_rms() if multiply_by_parameter_scale else None,
        None if momentum is None else ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        None if weight_decay_rate is None else add_decayed_weights(weight_decay_rate, weight_decay_mask),
        scale(-1.0),
    ]
    return chain(*(stage for stage in stages if stage is not None))


def sm3(learning_rate: Hyper, momentum: Hyper = 0.9) -> Transform:
    """SM3: AdaGrad that keeps one vector for each axis of a leaf, with a running mean of the steps.

    Args:
      learning_rate: the step size; a number or a schedule.
      momentum: decay of the mean, as `b1` in `scale_by_sm3`.

    Anil et al. 2019, arXiv:1901.11150, algorithm SM3-II. optax: sm3, which takes neither scalars nor schedules. torch:
    none.
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
