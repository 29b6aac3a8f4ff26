"""What has changed between two runs by more than the noise of both.

Times themselves are not compared: another day, the same machine is a third slower. What is compared are ratios over
optax and torch, which ran beside ours, exponents, and bytes of ours.

A ratio has changed where the quartiles of the two runs do not overlap and the medians are SMALLEST apart or more; an
exponent where the two are further apart than two standard errors of both, and by EXPONENT at least; bytes where they
differ by a hundredth and by 4096.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from parts.results import Fit, Result, Spread

SMALLEST = 0.05
EXPONENT = 0.05
BYTES = (0.01, 4096)


class Change(NamedTuple):
    """A number that has changed.

    Attributes:
      what: which one.
      old, new: what it was and is.
    """

    what: str
    old: float
    new: float

    @property
    def is_worse(self) -> bool:
        """Less is better, of all that is compared."""
        return self.new > self.old


def changes(old: Sequence[Result], new: Sequence[Result]) -> list[Change]:
    """What has changed of that which both runs have measured."""
    before = {result.key: result for result in old}
    found: list[Change] = []
    for result in new:
        if then := before.get(result.key):
            found += _changed(f"{result.key}: ours / ", then.ratios, result.ratios, _ratio)
            found += _changed(f"{result.key}: exponent of ", _ours(then.exponents), _ours(result.exponents), _fit)
            for what in ("temporaries", "state"):
                kept = _own(getattr(then, what)), _own(getattr(result, what))
                found += _changed(f"{result.key}: bytes of {what}, ", *kept, _bytes)
    return found


def _ours(found: dict[str, Fit]) -> dict[str, Fit]:
    return {whose: each for whose, each in found.items() if whose == "ours"}


def _own(found: dict[str, int]) -> dict[str, int]:
    return {whose: each for whose, each in found.items() if whose.startswith("ours")}


def _changed(
    what: str, old: dict[str, Any], new: dict[str, Any], compare: Callable[[Any, Any], tuple[float, float] | None]
) -> Iterable[Change]:
    for whose in old.keys() & new.keys():
        if (pair := compare(old[whose], new[whose])) is not None:
            yield Change(what + whose, *pair)


def _ratio(old: Spread, new: Spread) -> tuple[float, float] | None:
    apart = new.low > old.high or new.high < old.low
    is_large = abs(math.log(new.median / old.median)) > math.log1p(SMALLEST)
    return (old.median, new.median) if apart and is_large else None


def _fit(old: Fit, new: Fit) -> tuple[float, float] | None:
    noise = max(2 * math.hypot(old.error, new.error), EXPONENT)
    return (old.exponent, new.exponent) if abs(new.exponent - old.exponent) > noise else None


def _bytes(old: int, new: int) -> tuple[float, float] | None:
    share, least = BYTES
    return (old, new) if abs(new - old) > max(share * old, least) else None
