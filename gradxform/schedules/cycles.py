"""One rise and fall, and many."""

from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp

from gradxform.core.fields import Hyper
from gradxform.schedules.curves import between, through
from gradxform.schedules.schedule import REQUIREMENTS, from_formula
from gradxform.schedules.warmups import warmup_cosine_decay_schedule

MODES = ("triangular", "triangular2", "exp_range")
# Stated here: what schedules share does not know of any.
REQUIREMENTS["mode"] = ("'triangular', 'triangular2' or 'exp_range'", lambda x: x in MODES)
REQUIREMENTS["cycles"] = ("one dict or more", lambda x: [warmup_cosine_decay_schedule(**cycle) for cycle in x])


@from_formula(positive=["transition_steps", "div_factor", "final_div_factor"], fractions=("pct_start", "pct_final"))
def linear_onecycle_schedule(
    step, transition_steps, peak_value, pct_start=0.3, pct_final=0.85, div_factor=25.0, final_div_factor=1e4
):
    """One cycle of three lines: up to the peak at pct_start, back to the first value at pct_final, on to the last.

    Args:
      transition_steps: the length of the cycle, more than 0.
      peak_value: the largest value.
      pct_start, pct_final: where rise and fall end, as fractions of transition_steps, the former at most the latter;
        rounded down to a step (in float32 where they are traced).
      div_factor, final_div_factor: peak over first value and first over last value, more than 0.

    Smith & Topin 2017, arXiv:1708.07120. optax: linear_onecycle_schedule, which never rises if the fall has no
    steps. torch: OneCycleLR with three_phase=True, anneal_strategy="linear".
    """
    first, last = peak_value / div_factor, peak_value / div_factor / final_div_factor
    rise, fall = pct_start * transition_steps // 1, pct_final * transition_steps // 1
    return through(step, "linear", first, [(rise, peak_value), (fall, first), (transition_steps, last)])


@from_formula(positive=["transition_steps", "div_factor", "final_div_factor"], fractions=["pct_start"])
def cosine_onecycle_schedule(step, transition_steps, peak_value, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    """One cycle of two half cosines: up to the peak at pct_start, down to the last value.

    Args: as in `linear_onecycle_schedule`.

    Smith & Topin 2017, arXiv:1708.07120. optax: cosine_onecycle_schedule, which never rises if pct_start is 1.
    torch: OneCycleLR, whose peak is a step earlier.
    """
    first, last = peak_value / div_factor, peak_value / div_factor / final_div_factor
    return through(step, "cosine", first, [(pct_start * transition_steps // 1, peak_value), (transition_steps, last)])


@from_formula(cycles=["cosine_kwargs"])
def sgdr_schedule(step, cosine_kwargs: Iterable[dict[str, Hyper]]):
    """Rises and falls in cycles, each a `warmup_cosine_decay_schedule` that begins where the last one ends.

    Args:
      cosine_kwargs: for each cycle, the arguments of `warmup_cosine_decay_schedule` by name; at least one.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: sgdr_schedule. torch: CosineAnnealingWarmRestarts.
    """
    value, begin = jnp.zeros_like(step), 0
    for cycle in cosine_kwargs:
        value = jnp.where(step < begin, value, warmup_cosine_decay_schedule.record.formula(step - begin, **cycle))
        begin = begin + cycle["decay_steps"]
    return value


@from_formula(positive=["rise_steps", "fall_steps", "gamma"], mode=["mode"])
def cyclic_schedule(step, init_value, peak_value, rise_steps, fall_steps=None, mode: str = "triangular", gamma=1.0):
    """Rises and falls along lines, again and again.

        init_value + (peak_value - init_value) h s,   h from 0 to 1 in rise_steps, and back to 0 in fall_steps

        "triangular"   s = 1
        "triangular2"  s = 1 / 2^n,   n the cycles that are over
        "exp_range"    s = gamma^t

    Args:
      init_value, peak_value: the least and the largest value, which from cycle to cycle comes nearer to the first.
      rise_steps, fall_steps: the lengths of rise and fall, more than 0. None for the fall: as that of the rise.
      mode: how the peaks change: "triangular", "triangular2" or "exp_range".
      gamma: for "exp_range", more than 0 and seldom more than 1.

    Smith 2017, arXiv:1506.01186, section 3.1. optax: none. torch: CyclicLR.
    """
    fall_steps = rise_steps if fall_steps is None else fall_steps
    since = jnp.remainder(step, rise_steps + fall_steps)
    height = jnp.where(since < rise_steps, since / rise_steps, 1 - (since - rise_steps) / fall_steps)
    if mode == "triangular2":
        height = height * 0.5 ** jnp.floor_divide(step, rise_steps + fall_steps)
    elif mode == "exp_range":
        height = height * gamma**step
    return between(init_value, peak_value, 1 - height)
