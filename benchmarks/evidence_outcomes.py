"""What came of the runs of `evidence.py`, from what is kept alone: means, errors, a test against adamw, and ranks."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from evidence_methods import BASELINE, METHODS
from evidence_runs import Run, as_run
from evidence_tuning import Found, Setting, best
from scipy import stats

LEVEL = 0.05


class Outcome(NamedTuple):
    """What came of a method.

    Attributes:
      found: the last loss of each setting; infinite where it was not finite.
      runs: with the best setting, by seed.
      knob: the name of what was tuned beside the rate.
      state: bytes a parameter.
    """

    found: Found
    runs: dict[int, Run]
    knob: str
    state: float

    @property
    def last(self) -> dict[int, float]:
        """The last loss of each seed."""
        return {seed: run.losses[-1] for seed, run in self.runs.items()}

    @property
    def mean(self) -> float:
        """Of the last losses; infinite where one is not finite."""
        return statistics.mean(self.last.values())


class Compared(NamedTuple):
    """The last losses of a method beside adamw's, seed by seed.

    Attributes:
      difference, error: the mean of the differences, and its standard error.
      p: of the one-sided test, that the mean would be this low by chance.
    """

    difference: float
    error: float
    p: float


def outcomes(content: dict[str, Any]) -> dict[str, Outcome]:
    """What came of each method whose runs are all done, by what a task's file says."""
    made = {}
    for name in METHODS:
        if about := content["methods"].get(name):
            runs = [each for each in content["runs"] if each["method"] == name]
            found = {Setting(each["rate"], each["knob"]): as_run(each).losses[-1] for each in runs if each["tuning"]}
            tested = {
                each["seed"]: as_run(each)
                for each in runs
                if not each["tuning"] and Setting(each["rate"], each["knob"]) == best(found)
            }
            made[name] = Outcome(found, tested, about["knob"], about["state"])
    return made


def compared(method: Outcome, baseline: Outcome) -> Compared | None:
    """A method beside another, by those seeds that both have; None where a loss is not finite.

    The test is Student's, paired by seed, as a seed's parameters and batches are the same for both: p is small where
    the method's losses are lower.
    """
    ours, theirs = method.last, baseline.last
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not all(map(math.isfinite, differences)):
        return None
    mean, error = mean_and_error(differences)
    return Compared(mean, error, float(stats.t.cdf(mean / error, len(differences) - 1)))


def lower(ps: dict[str, float], level: float = LEVEL) -> set[str]:
    """Those of several tests which hold together: with this level for an error in any of them (Holm 1979).

    The smallest p is to be below level / n, the next one below level / (n - 1), and so on until one is not.
    """
    order = sorted(ps, key=lambda name: ps[name])
    passing = itertools.takewhile(lambda at: ps[at[1]] < level / (len(order) - at[0]), enumerate(order))
    return {name for _, name in passing}


def winners(found: dict[str, Outcome]) -> set[str]:
    """The methods of a task whose losses are lower than adamw's by the test."""
    tests = {name: compared(each, found[BASELINE]) for name, each in found.items() if name != BASELINE}
    return lower({name: each.p for name, each in tests.items() if each})


def ranks(found: dict[str, Outcome]) -> dict[str, int]:
    """The place of each method by the mean of its last losses, the lowest first."""
    return {name: place for place, name in enumerate(sorted(found, key=lambda name: found[name].mean), 1)}


def agreement(one: dict[str, int], other: dict[str, int]) -> float:
    """The correlation of two orders of the same methods (Kendall's tau): 1 where they are the same, 0 by chance."""
    pairs = itertools.combinations([name for name in one if name in other], 2)
    return statistics.mean(math.copysign(1, (one[a] - one[b]) * (other[a] - other[b])) for a, b in pairs)


def mean_and_error(values: Iterable[float]) -> tuple[float, float]:
    """The mean, and its standard error."""
    values = list(values)
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


def steps_to(target: float, losses: Sequence[float], every: int) -> float | None:
    """The step at which a curve of losses first comes down to the target, between two by a line."""
    for index, (before, after) in enumerate(itertools.pairwise(losses), 1):
        if after <= target:
            return every * (index + (before - target) / (before - after))
    return None
