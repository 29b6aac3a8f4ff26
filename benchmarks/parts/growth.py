"""How cost grows with leaves, parameters, rules, devices and chips: an exponent of ours, and one of optax's.

Costs are those of clip and adamw, but for rules. An exponent e is that of a fit of c n^e; what a call costs before the
first leaf or number makes it smaller, a cache that is left on the way larger.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import optax
from measuring import Pair, Shapes

import gradxform as gx
from parts import limits, remote
from parts.alternate import Budget, measure, timing
from parts.build import BOTH, taken
from parts.pairs import CLIP_ADAMW
from parts.results import Result, Spread, fit, spread
from parts.steps import compiled, per_call
from parts.trees import transformer

Curves = dict[str, list[Spread]]
WHOSE = ("ours", "optax")


class Sizes(NamedTuple):
    """At which points costs are measured.

    Attributes:
      leaves: of 64 x 64, for tracing and lowering; `step_leaves` for steps.
      parameters: in one leaf.
      rules: in a chain.
      devices: of the CPU.
      layers: of the transformer over which rules are, and that over which devices are.
      repeats: how often a step is traced and lowered.
    """

    leaves: tuple[int, ...] = (10, 30, 100, 300, 1000)
    step_leaves: tuple[int, ...] = (10, 30, 100, 300, 1000)
    parameters: tuple[int, ...] = (10**4, 10**5, 10**6, 10**7, 10**8)
    rules: tuple[int, ...] = (1, 2, 5, 10, 20)
    devices: tuple[int, ...] = (1, 2, 4, 8)
    layers: tuple[int, int] = (12, 1)
    repeats: int = 3


FULL = Sizes((*Sizes().leaves, 3000), (*Sizes().leaves, 3000), layers=(12, 2), repeats=5)
QUICK = Sizes((1, 2, 4), (1, 2), (10, 100, 1000), (1, 2), (1, 2), (1, 1), 1)


def leaves(sizes: Sizes) -> Result:
    """Tracing and lowering over more and more leaves."""
    return _built("leaves", sizes.leaves, lambda count: (CLIP_ADAMW, [(64, 64)] * count), sizes.repeats)


def leaves_step(sizes: Sizes, budget: Budget) -> Result:
    """A step over more and more leaves."""
    return _run("leaves", sizes.step_leaves, lambda count: [(64, 64)] * count, budget)


def parameters(sizes: Sizes, budget: Budget) -> Result:
    """A step over one leaf of more and more parameters."""
    return _run("parameters", sizes.parameters, lambda count: [(count,)], budget)


def rules(sizes: Sizes) -> Result:
    """Tracing and lowering of more and more rules in a chain: Adam's and clipping in turns."""

    def row(clip: Any, adam: Any, count: int) -> list[Any]:
        return list(itertools.islice(itertools.cycle((clip, adam)), count))

    def pair(count: int) -> Pair:
        return (
            gx.chain(*row(gx.clip_by_global_norm(1.0), gx.scale_by_adam(), count)),
            optax.chain(*row(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), count)),
        )

    shapes = transformer(sizes.layers[0]).shapes
    return _built("rules", sizes.rules, lambda count: (pair(count), shapes), sizes.repeats)


def devices(sizes: Sizes, budget: Budget) -> list[Result]:
    """A step over more and more devices of the CPU, all of which share its cores, in a process of their own.

    "weak" has as many parameters for each device, "strong" as many for all together; leaves are sharded along their
    longest axis. A step takes all devices' time together, so that a perfect exponent is 1 for the one and 0 for the
    other.
    """
    asked = {"counts": sizes.devices, "layers": sizes.layers[1], "budget": budget}
    found = remote.asked("devices", asked, max(sizes.devices))
    return [_grown("devices", kind, sizes.devices, _spreads(curves)) for kind, curves in found.items()]


def chips(sizes: Sizes) -> list[Result]:
    """A step compiled for more and more chips of a TPU v5e, with as many parameters for each: seconds to compile, and
    cycles of a chip, as XLA estimates them. Nothing where `jax[tpu]` is not installed.
    """
    if not has_tpu_compiler():
        return []
    found = remote.asked("chips", {"layers": sizes.layers[1]}, 1)
    counts = found.pop("counts")
    return [_grown("chips", what, counts, _spreads(curves)) for what, curves in found.items()]


def has_tpu_compiler() -> bool:
    """Whether XLA can compile for a TPU here."""
    return find_spec("libtpu") is not None


def _built(name: str, sizes: Sequence[int], make: Callable[[int], tuple[Pair, Shapes]], repeats: int) -> Result:
    curves: Curves = {whose: [] for whose in WHOSE}
    for size in sizes:
        # Once takes seconds there, beside which what disturbs it is small.
        times_of = taken(*make(size), repeats if size <= 1000 else 1, compiles=False)
        for whose, times in zip(WHOSE, times_of, strict=True):
            curves[whose].append(spread(times[BOTH]))
    return _grown(name, BOTH, sizes, curves)


def _run(name: str, sizes: Sequence[int], shapes: Callable[[int], Shapes], budget: Budget) -> Result:
    curves: Curves = {whose: [] for whose in WHOSE}
    for size in sizes:
        steps = {whose: compiled(tx, shapes(size)).step for whose, tx in zip(WHOSE, CLIP_ADAMW, strict=True)}
        for whose, samples in measure({"jax": steps}, budget, per_call())["jax"].items():
            curves[whose].append(timing(samples))
    return _grown(name, "step", sizes, curves)


def _grown(name: str, on: str, sizes: Sequence[int], curves: Curves) -> Result:
    exponents = {whose: fit(sizes, [point.median for point in curve]) for whose, curve in curves.items()}
    result = Result("growth", name, on, sizes=list(sizes), curves=curves, exponents=exponents)
    result.limits = limits.of_growth(result)
    return result


def _spreads(curves: dict[str, Any]) -> Curves:
    return {whose: [Spread(*point) for point in curve] for whose, curve in curves.items()}
