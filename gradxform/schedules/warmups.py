"""A rise, and what comes after it."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.schedules.curves import between, fallen, remaining, warmed
from gradxform.schedules.decays import exponential_decay
from gradxform.schedules.schedule import from_formula


@from_formula()
def warmup_constant_schedule(step, init_value, peak_value, warmup_steps):
    """Rises along a line, and stays.

    Args:
      init_value, peak_value: the values at 0 and from warmup_steps on.
      warmup_steps: the length of the rise; at 0, the value is peak_value from the start.

    Goyal et al. 2017, arXiv:1706.02677. optax: warmup_constant_schedule, which for warmup_steps=0 stays at init_value
    for ever. torch: LinearLR.
    """
    return warmed(step, init_value, peak_value, warmup_steps, peak_value)


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
    return warmed(step, init_value, peak_value, warmup_steps, fallen)


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
    return warmed(step, init_value, peak_value, warmup_steps, decayed)


@from_formula(
    not_negative=["warmup_steps", "stable_steps", "decay_steps"], shape=["shape"], exponential=("shape", "end_value")
)
def warmup_stable_decay(
    step, peak_value, warmup_steps, stable_steps, decay_steps, init_value=0.0, end_value=0.0, shape: str = "1-sqrt"
):
    """Rises along a line, stays, and decays at the end.

        end_value + (peak_value - end_value) d(p),   p = (t - warmup_steps - stable_steps) / decay_steps in [0, 1]

        "linear"         d(p) = 1 - p
        "cosine"         d(p) = (1 + cos(pi p)) / 2
        "mirror-cosine"  d(p) = 2 (1 - p) - (1 + cos(pi p)) / 2
        "1-sqrt"         d(p) = 1 - sqrt(p)
        "1-square"       d(p) = 1 - p^2

    and for "exponential" peak_value (end_value / peak_value)^p.

    Args:
      init_value, peak_value, end_value: the values at 0, between rise and decay, and after it; for "exponential" the
        last is more than 0.
      warmup_steps, stable_steps, decay_steps: the lengths of the phases, at least 0. Without decay, the peak stays.
      shape: of the decay, one of the six above.

    Hu et al. 2024, arXiv:2404.06395, which halves the rate every T steps: "exponential" with an end_value of
    peak_value 0.5^(decay_steps / T). The other shapes: Hägele et al. 2024, arXiv:2405.18392, as `wsd_schedule` of the
    authors' code has them. optax: none. torch: none.
    """
    decayed = fallen(shape, peak_value, end_value, step, warmup_steps + stable_steps, decay_steps)
    return warmed(step, init_value, peak_value, warmup_steps, decayed)
