"""Decays by a power of the step, which go on until somebody decides to end them."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.schedules.curves import fallen, remaining, warmed
from gradxform.schedules.schedule import from_formula


@from_formula(not_negative=["warmup_steps", "rsqrt_steps", "cooldown_steps"], positive=["timescale"])
def rsqrt_schedule(step, peak_value, warmup_steps, rsqrt_steps=0, cooldown_steps=0, timescale=10_000.0, init_value=0.0):
    """Rises along a line, falls by the reciprocal square root of the step, and cools down to 0 at the end.

        peak_value c / sqrt(1 + (t - warmup_steps) / timescale),   from warmup_steps on
        c = min(1, (warmup_steps + rsqrt_steps + cooldown_steps - t) / cooldown_steps)

    Args:
      peak_value, init_value: the values at warmup_steps and at 0.
      warmup_steps, rsqrt_steps, cooldown_steps: the lengths of the phases, at least 0. Without a cooldown it falls
        for ever.
      timescale: after three times as many steps the value is half of the peak.

    Zhai et al. 2022, arXiv:2106.04560, as the code of big_vision has it (`create_learning_rate_schedule`), where
    the end of the cooldown is `total_steps`. optax: none. torch: none.
    """
    falling = peak_value / jnp.sqrt(1 + jnp.maximum(step - warmup_steps, 0) / timescale)
    left = remaining("linear", step, warmup_steps + rsqrt_steps, cooldown_steps)
    return warmed(step, init_value, peak_value, warmup_steps, falling * left)


@from_formula(
    positive=["tokens_per_step"],
    not_negative=["warmup_steps", "power_steps", "decay_steps"],
    not_positive=["exponent"],
    shape=["shape"],
    exponential=("shape", "end_value"),
)
def power_schedule(
    step,
    max_value,
    amplitude,
    exponent,
    warmup_steps,
    power_steps=0,
    decay_steps=0,
    tokens_per_step=1.0,
    init_value=0.0,
    end_value=0.0,
    shape: str = "linear",
):
    """Rises along a line, falls by a power of the tokens that were seen, and decays at the end.

        power(t) = min(max_value, amplitude (tokens_per_step t)^exponent)

        a line from init_value to power(warmup_steps),   then power(t) for power_steps steps,   then as
        `warmup_stable_decay` from power(warmup_steps + power_steps) to end_value

    Args:
      max_value: the largest value; the paper's is 0.02, with the parametrization of muP.
      amplitude, exponent: of the power, the latter at most 0. The paper's are 4 times the sequences in a batch, and
        -0.51.
      warmup_steps, power_steps, decay_steps: the lengths of the phases, at least 0. Without decay the power goes on.
      tokens_per_step: how many tokens a batch has.
      init_value, end_value: the values at 0 and after the decay.
      shape: of the decay, as in `warmup_stable_decay`.

    Shen et al. 2024, arXiv:2408.13359, equations 7 and 8. optax: none. torch: none.
    """

    def power(at):
        tokens = at * tokens_per_step
        # A negative power of no tokens is infinite, and the largest value is left.
        seen = jnp.where(tokens > 0, tokens, 1)
        return jnp.where(tokens > 0, jnp.minimum(amplitude * seen**exponent, max_value), max_value)

    begin = warmup_steps + power_steps
    value = power(jnp.where(decay_steps > 0, jnp.minimum(step, begin), step))
    decayed = fallen(shape, value, end_value, step, begin, decay_steps)
    return warmed(step, init_value, power(warmup_steps), warmup_steps, decayed)
