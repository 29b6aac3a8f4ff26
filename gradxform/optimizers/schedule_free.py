"""Schedule-free optimizers."""

from __future__ import annotations

from typing import Any

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.classic import sgd
from gradxform.rules.adaptive import scale_by_rms
from gradxform.rules.decay import add_decayed_weights
from gradxform.rules.scaling import scale_by_learning_rate
from gradxform.rules.schedule_free import schedule_free
from gradxform.schedules import warmup_constant_schedule


@hinting
def schedule_free_sgd(
    learning_rate: Hyper = 1.0,
    warmup_steps: int | None = None,
    b1: Hyper = 0.9,
    weight_decay: Hyper | None = None,
    weight_lr_power: Hyper = 2.0,
    state_dtype: Dtype | None = None,
    *,
    cautious: bool = False,
) -> Transform:
    """Schedule-free gradient descent: see `schedule_free`.

    Args:
      learning_rate: the step size of z; a number, which a warm-up leads to, or without warmup_steps a schedule.
      warmup_steps: over how many steps the rate rises from 0. None: none.
      b1, weight_lr_power, state_dtype: as in `schedule_free`.
      weight_decay: how much of y is added to the gradient. None: none.
      cautious: as in `add_decayed_weights`, of y.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1. optax: contrib.schedule_free_sgd. torch: none; SGDScheduleFree
    of the package schedulefree.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    decay = [] if weight_decay is None else [add_decayed_weights(weight_decay, cautious=cautious)]
    return schedule_free(chain(*decay, sgd(rate)), rate, b1, weight_lr_power, state_dtype)


@hinting
def schedule_free_adamw(
    learning_rate: Hyper = 0.0025,
    warmup_steps: int | None = None,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    weight_lr_power: Hyper = 2.0,
    state_dtype: Dtype | None = None,
    *,
    cautious: bool = False,
) -> Transform:
    """Schedule-free AdamW: see `schedule_free`.

    Args:
      learning_rate: the step size of z; a number, which a warm-up leads to, or without warmup_steps a schedule.
      warmup_steps: over how many steps the rate rises from 0. None: none.
      b1, weight_lr_power, state_dtype: as in `schedule_free`; b1 takes the place of Adam's.
      b2, eps: as in `adam`.
      weight_decay: decay decoupled from the adaptive step, times the rate, of y.
      cautious: as in `add_decayed_weights`, of y.

    Defazio et al. 2024, arXiv:2405.15682, section 4. optax: contrib.schedule_free_adamw. torch: none;
    AdamWScheduleFree of the package schedulefree.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    adamw = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay, cautious=cautious),
        scale_by_learning_rate(rate),
    )
    return schedule_free(adamw, rate, b1, weight_lr_power, state_dtype)


def _warmed_up(learning_rate: Any, warmup_steps: int | None) -> Any:
    return learning_rate if warmup_steps is None else warmup_constant_schedule(0.0, learning_rate, warmup_steps)
