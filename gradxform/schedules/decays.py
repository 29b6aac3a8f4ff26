"""One value for ever, and ways from one value to another."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.schedules.curves import between, remaining
from gradxform.schedules.schedule import from_formula


@from_formula()
def constant_schedule(step, value):
    """One value for ever.

    optax: constant_schedule, which returns the number as it came; here it is an array, as with every schedule.
    """
    return jnp.full_like(step, value)


@from_formula()
def polynomial_schedule(step, init_value, end_value, power, transition_steps, transition_begin=0):
    """From one value to another, along a power of the time that is left.

        end_value + (init_value - end_value) (1 - p)^power,   p = (t - transition_begin) / transition_steps in [0, 1]

    Args:
      init_value, end_value: the values before and after the transition.
      power: 1 for a line; more changes early, less changes late.
      transition_steps: the length of the transition; at 0 or less, init_value stays.
      transition_begin: the step from which on the value changes; less than 0 counts as 0.

    optax: polynomial_schedule. torch: PolynomialLR, which ends at 0.
    """
    return between(init_value, end_value, remaining("linear", step, transition_begin, transition_steps) ** power)


@from_formula()
def linear_schedule(step, init_value, end_value, transition_steps, transition_begin=0):
    """From one value to another, along a line: `polynomial_schedule` with power 1, and otherwise its arguments.

    optax: linear_schedule, which under `jit` may miss end_value by rounding. torch: LinearLR.
    """
    return between(init_value, end_value, remaining("linear", step, transition_begin, transition_steps))


@from_formula(not_negative=["decay_rate"])
def exponential_decay(
    step, init_value, transition_steps, decay_rate, transition_begin=0, staircase: bool = False, end_value=None
):
    """Multiplies by a rate every so many steps, smoothly or in a staircase.

        init_value decay_rate^p,   p = max(t - transition_begin, 0) / transition_steps,   rounded down for a staircase

    Args:
      init_value, transition_begin: as in `polynomial_schedule`.
      transition_steps: the steps in which the value changes by decay_rate; at 0 or less, init_value stays.
      decay_rate: the factor, at least 0; at 0, init_value stays.
      staircase: whether to change at multiples of transition_steps only.
      end_value: where to stop: a lower bound if decay_rate < 1, else an upper bound. None: nowhere.

    optax: exponential_decay; its staircase is a step late under `jit` for transition_steps such as 41, and its smooth
    powers of a negative decay_rate are NaN. torch: ExponentialLR; staircase: StepLR.
    """
    elapsed = jnp.maximum(step - jnp.maximum(transition_begin, 0), 0)
    divisor = jnp.where(transition_steps > 0, transition_steps, 1)
    # Not floor(elapsed / divisor), for the reason that `remaining` gives.
    periods = jnp.floor_divide(elapsed, divisor) if staircase else elapsed / divisor
    value = init_value * jnp.where(decay_rate == 0, 1, decay_rate) ** periods
    if end_value is not None:
        value = jnp.where(decay_rate < 1, jnp.maximum(value, end_value), jnp.minimum(value, end_value))
    return jnp.where((transition_steps > 0) & (decay_rate != 0), value, init_value)


@from_formula(positive=["decay_steps"])
def cosine_decay_schedule(step, init_value, decay_steps, alpha=0.0, exponent=1.0):
    """Falls along half a cosine, to a fraction of the first value, and stays there.

        init_value (alpha + (1 - alpha) c^exponent),   c = (1 + cos(pi min(t / decay_steps, 1))) / 2

    Args:
      init_value: the first value.
      decay_steps: the length of the fall, more than 0.
      alpha: the last value as a fraction of the first.
      exponent: more falls early, less falls late.

    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5. optax: cosine_decay_schedule. torch:
    CosineAnnealingLR, which rises again after T_max.
    """
    return between(init_value, alpha * init_value, remaining("cosine", step, 0, decay_steps) ** exponent)
