"""A rise, and what comes after it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from gradxform.schedules.curves import between, remaining
from gradxform.schedules.decays import exponential_decay
from gradxform.schedules.schedule import from_formula


def _warm(step: Any, init_value: Any, peak_value: Any, warmup_steps: Any, after: Any) -> Any:
    """A line from `init_value` to `peak_value`, and then what comes after."""
    left = remaining("linear", step, 0, warmup_steps)
    return jnp.where(step < warmup_steps, between(init_value, peak_value, left), after)


@from_formula()
def warmup_constant_schedule(step, init_value, peak_value, warmup_steps):
    """Rises along a line, and stays.

    Args:
      init_value, peak_value: the values at 0 and from warmup_steps on.
      warmup_steps: the length of the rise; at 0, the value is peak_value from the start.

    Goyal et al. 2017, arXiv:1706.02677. optax: warmup_constant_schedule, which for warmup_steps=0 stays at init_value
    for ever. torch: LinearLR.
    """
    return _warm(step, init_value, peak_value, warmup_steps, peak_value)


@from_formula(increasing=("warmup_steps", "decay_steps"))
def warmup_cosine_decay_schedule(step, init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0):
    """Rises along a line, and falls as `cosine_decay_schedule` does.

    Args:
      init_value, peak_value, end_value: the values at 0, at warmup_steps and from decay_steps on; after a peak of 0, 0.
      warmup_steps, decay_steps: the length of the rise, and of rise and fall together, which is more.
      exponent: as in `cosine_decay_schedule`.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: warmup_cosine_decay_schedule. torch: SequentialLR.
    """
    left = remaining("cosine", step, warmup_steps, decay_steps - warmup_steps) ** exponent
    fallen = between(peak_value, jnp.where(peak_value == 0, 0, end_value), left)
    return _warm(step, init_value, peak_value, warmup_steps, fallen)


@from_formula(not_negative=["decay_rate"])
def warmup_exponential_decay_schedule(
    step,
    init_value,
    peak_value,
    warmup_steps,
    transition_steps,
    decay_rate,
    transition_begin=0,
    staircase: bool = False,
    end_value=None,
):
    """Rises along a line from init_value to peak_value, and goes on from there with `exponential_decay`.

    Args:
      init_value, peak_value, warmup_steps: as in `warmup_constant_schedule`.
      transition_steps, decay_rate, transition_begin, staircase, end_value: as in `exponential_decay`.

    optax: warmup_exponential_decay_schedule. torch: SequentialLR.
    """
    since, decay = step - warmup_steps, exponential_decay.record.formula
    decayed = decay(since, peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _warm(step, init_value, peak_value, warmup_steps, decayed)


@from_formula(not_negative=["warmup_steps", "stable_steps", "decay_steps"], shape=["shape"])
def warmup_stable_decay(
    step, peak_value, warmup_steps, stable_steps, decay_steps, init_value=0.0, end_value=0.0, shape: str = "1-sqrt"
):
    """Rises along a line, stays, and decays at the end.

        end_value + (peak_value - end_value) d(p),   p = (t - warmup_steps - stable_steps) / decay_steps in [0, 1]
        d(p) = 1 - p for "linear",   (1 + cos(pi p)) / 2 for "cosine",   1 - sqrt(p) for "1-sqrt"

    Args:
      init_value, peak_value, end_value: the values at 0, between rise and decay, and after it.
      warmup_steps, stable_steps, decay_steps: the lengths of the phases, at least 0. Without decay, the peak stays.
      shape: of the decay: "linear", "cosine" or "1-sqrt".

    Hu et al. 2024, arXiv:2404.06395; "1-sqrt": Hägele et al. 2024, arXiv:2405.18392. optax: none. torch: none.
    """
    decayed = between(peak_value, end_value, remaining(shape, step, warmup_steps + stable_steps, decay_steps))
    return _warm(step, init_value, peak_value, warmup_steps, decayed)
