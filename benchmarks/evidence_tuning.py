"""How methods are tuned: which settings are tried, by rules that are the same for all methods of a task.

A setting is a learning rate and the value of one other knob. `rates_and_knob` chooses settings one after the other: a
grid of three rates by three values would meet the best rate to within a factor of 2, or be at its edge, and that costs
more than what methods differ by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# The number of settings of a method, whatever the rule.
SETTINGS = 9


class Setting(NamedTuple):
    """What is tuned: a peak learning rate and the value of the knob."""

    rate: float
    knob: float


Found = dict[Setting, float]
Rule = Callable[[float, tuple[float, ...], Callable[[Setting], float]], Found]


def rates_and_knob(centre: float, values: tuple[float, ...], loss: Callable[[Setting], float]) -> Found:
    """Nine settings of a rate and a knob, each with its loss.

    Three rates 4 times apart around the centre; the two halfway (by the logarithm) beside the best of them; the knob's
    other two values with the best rate; and two rates a factor of sqrt(2) beside the best of all.
    """
    found: Found = {}

    def attempt(*settings: Setting) -> Setting:
        found.update({setting: loss(setting) for setting in settings})
        return best(found)

    first, *others = values
    leading = attempt(*(Setting(centre * 4.0**power, first) for power in (0, -1, 1)))
    leading = attempt(*(Setting(leading.rate * factor, first) for factor in (0.5, 2)))
    leading = attempt(*(Setting(leading.rate, value) for value in others))
    attempt(*(Setting(leading.rate * factor, leading.knob) for factor in (0.5**0.5, 2**0.5)))
    return found


def nine_rates(centre: float, values: tuple[float, ...], loss: Callable[[Setting], float]) -> Found:
    """Nine rates, each twice the one before, with the first value of the knob, each with its loss."""
    settings = [Setting(centre * 2.0**power, values[0]) for power in range(-4, 5)]
    return {setting: loss(setting) for setting in settings}


def best(found: Found) -> Setting:
    """The setting of the lowest loss, the first one where several have it."""
    return min(found, key=lambda setting: found[setting])


def at_edge(found: Found) -> bool:
    """Whether a still better learning rate may lie outside of those that were tried."""
    rates = [setting.rate for setting in found]
    return best(found).rate in (min(rates), max(rates))
