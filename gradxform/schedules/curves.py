"""What is left of a transition, and curves that are made of transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp

from gradxform.maths import safe_root

# What is left of a transition, from 1 to 0, by how much of it is over, from 0 to 1.
SHAPES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda over: 1 - over,
    "cosine": lambda over: (1 + jnp.cos(jnp.pi * over)) / 2,
    "1-sqrt": lambda over: 1 - safe_root(over, 2),
    "1-square": lambda over: 1 - over**2,
    "mirror-cosine": lambda over: 2 * (1 - over) - (1 + jnp.cos(jnp.pi * over)) / 2,
}
# Its values are a ratio apart, and not a share of the way from one end to the other.
EXPONENTIAL = "exponential"


def remaining(shape: str, step: Any, begin: Any, steps: Any) -> Any:
    """What is left of a transition; 1 for ever if it has no steps."""
    elapsed = jnp.maximum(step - jnp.maximum(begin, 0), 0)
    # The end is not left to the division, which XLA may make a product: 41 (1 / 41) is less than 1 in float32.
    over = jnp.where(elapsed < steps, elapsed / jnp.where(steps > 0, steps, 1), 1)
    return SHAPES[shape](jnp.where(steps > 0, over, 0))


def between(start: Any, end: Any, left: Any) -> Any:
    """From `start` to `end`, where `left` of the way is left; exact at both."""
    return start * left + end * (1 - left)


def fallen(shape: str, start: Any, end: Any, step: Any, begin: Any, steps: Any) -> Any:
    """From `start` to `end` in so many steps from `begin` on, in a shape of `SHAPES` or by equal ratios."""
    if shape != EXPONENTIAL:
        return between(start, end, remaining(shape, step, begin, steps))
    left = remaining("linear", step, begin, steps)
    # A start of 0 stays there.
    ratio = end / jnp.where(start == 0, 1, start)
    # The end is not left to a power, which may miss it by rounding.
    return jnp.where(left > 0, start * ratio ** (1 - left), end)


def warmed(step: Any, init_value: Any, peak_value: Any, warmup_steps: Any, after: Any) -> Any:
    """A line from `init_value` to `peak_value`, and then what comes after."""
    left = remaining("linear", step, 0, warmup_steps)
    return jnp.where(step < warmup_steps, between(init_value, peak_value, left), after)


def through(step: Any, shape: str, init_value: Any, knots: Iterable[tuple[Any, Any]]) -> Any:
    """The curve from `init_value` at step 0 through knots (step, value), constant after the last."""
    begin, value, curve = 0, init_value, jnp.full_like(step, init_value)
    for end, next_value in knots:
        left = remaining(shape, step - begin, 0, end - begin)
        curve = jnp.where(step >= begin, between(value, next_value, left), curve)
        begin, value = end, next_value
    return jnp.where(step >= begin, value, curve)
