"""How times are taken: whatever is compared runs in one process, in alternation, after a warm-up, and medians count.

In a round each contestant does a step, in an order that moves on by one from round to round, so that nobody always
follows the same other. A ratio is taken within the rounds, where both have met the same machine, and its median counts.

Two libraries keep threads of their own, which wait for a while for more work, and on a few cores disturb the other's.
So JAX's contestants have blocks of rounds by themselves, and torch's too; between the blocks there is a pause in which
threads fall asleep. A ratio over two libraries is taken over the medians of neighbouring blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from parts.results import Spread, spread

WARM_UP = 2
# Seconds in which the threads of a library that has nothing to do fall asleep: the longest that an OpenMP waits.
PAUSE = 0.2
# Of each library, where two take turns.
BLOCKS = 4


class Contestant(Protocol):
    """What is measured: a call begins a step, and `wait` waits for its end."""

    def __call__(self) -> None:
        """Begins a step."""

    def wait(self) -> None:
        """Waits for the end of what was begun."""


class Step:
    """A compiled step of JAX that goes on from where it was; what it donates it returns, in the same order.

    Args:
      compiled: takes what is carried, and then the gradients.
      carry: what it donates and returns.
      given: the rest of what it takes.
    """

    def __init__(self, compiled: Callable[..., Any], carry: tuple[Any, ...], *given: Any):
        self.compiled, self.carry, self.given = compiled, carry, given

    def __call__(self) -> None:
        """Begins a step."""
        self.carry = self.compiled(*self.carry, *self.given)

    def wait(self) -> None:
        """Waits for it."""
        jax.block_until_ready(self.carry)


class Budget(NamedTuple):
    """How long something may be measured.

    Attributes:
      seconds: of all contestants together, after the warm-up.
      least, most: how many rounds there are whatever they take, and at most.
    """

    seconds: float
    least: int = 5
    most: int = 41


# By library and contestant, a list of seconds for each block.
Samples = dict[str, dict[str, list[list[float]]]]


def measure(libraries: Mapping[str, Mapping[str, Contestant]], budget: Budget, per_call: int = 1) -> Samples:
    """Seconds of each contestant's step.

    Args:
      libraries: the contestants of each library, by name.
      budget: how long it may take.
      per_call: how many steps are begun before the last is waited for. One on a CPU; on an accelerator the way there
        and back is longer than a small step.
    """
    libraries = {name: contestants for name, contestants in libraries.items() if contestants}
    for contestants in libraries.values():
        for contestant in contestants.values():
            for _ in range(WARM_UP):
                _lap(contestant, per_call)
    # Where one library measures alone, its rounds are one block.
    blocks = BLOCKS if len(libraries) > 1 else 1
    taken: Samples = {name: {each: [] for each in contestants} for name, contestants in libraries.items()}
    rounds, turn = 0, 0
    for block in range(blocks):
        for name, contestants in libraries.items():
            if len(libraries) > 1:
                time.sleep(PAUSE)
            for samples in taken[name].values():
                samples.append([])
            if rounds == 0:
                # The first round of all says how many there may be.
                laps = [_lap(contestant, per_call) for contestant in contestants.values()]
                total = per_call * sum(laps) * len(libraries)
                wanted = min(max(budget.seconds / total, budget.least), budget.most)
                rounds = max(round(wanted / blocks), 1)
            names = list(contestants)
            for _ in range(rounds):
                turn += 1
                for each in names[turn % len(names) :] + names[: turn % len(names)]:
                    taken[name][each][block].append(_lap(contestants[each], per_call))
    return taken


def _lap(contestant: Contestant, per_call: int) -> float:
    begin = time.perf_counter()
    for _ in range(per_call):
        contestant()
    contestant.wait()
    return (time.perf_counter() - begin) / per_call


def timing(samples: list[list[float]]) -> Spread:
    """The median of all blocks together, and the quartiles."""
    return spread([each for block in samples for each in block])


def within(first: list[list[float]], second: list[list[float]]) -> Spread:
    """The ratio of two contestants of one library, round by round."""
    pairs = zip(first, second, strict=True)
    return spread([one / other for mine, others in pairs for one, other in zip(mine, others, strict=True)])


def across(first: list[list[float]], second: list[list[float]]) -> Spread:
    """The ratio of two contestants of two libraries, by the medians of neighbouring blocks."""
    pairs = zip(first, second, strict=True)
    return spread([statistics.median(mine) / statistics.median(others) for mine, others in pairs])


def ratios(samples: Samples, ours: str = "ours", left_out: tuple[str, ...] = ()) -> dict[str, Spread]:
    """Of one contestant's time over that of each of the others.

    Args:
      samples: of `measure`.
      ours: the contestant.
      left_out: those that are no rivals.
    """
    (home,) = (name for name, contestants in samples.items() if ours in contestants)
    mine = samples[home][ours]
    return {
        each: (within if name == home else across)(mine, other)
        for name, contestants in samples.items()
        for each, other in contestants.items()
        if each != ours and each not in left_out
    }
