"""What was measured, in a form that a JSON file keeps.

The file is an object of

    format     1
    machine    what was measured, and where: versions, device, cores
    settings   whether it was a full run, how many seconds it took, and each part
    bandwidth  bytes a second by "copy" and by "scaled add", of the whole run
    trees      what the trees are, by the names by which results have them
    results    a list, one object for each thing that was measured, as `Result` says

Times are in seconds, sizes in bytes, ratios ours over the other's.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
from kept import write as write_json

FORMAT = 1


class Spread(NamedTuple):
    """A number that was measured more than once.

    Attributes:
      median: the median.
      low, high: the first and the third quartile.
      samples: how often it was measured.
    """

    median: float
    low: float
    high: float
    samples: int


class Fit(NamedTuple):
    """An exponent e in a fit of c n^e, and its standard error, which is 0 where two points leave none."""

    exponent: float
    error: float


class Limit(NamedTuple):
    """What a number of ours is to be at most, and what it is."""

    what: str
    value: float
    at_most: float

    @property
    def ok(self) -> bool:
        """Whether it is."""
        return self.value <= self.at_most


@dataclasses.dataclass
class Result:
    """One thing that was measured.

    Attributes:
      part: which part of the benchmark it is from.
      name: of the chain, the optimizer, or what grows.
      on: over which tree it was measured, or which stage of it.
      times: seconds of a step, or of what else is measured, by whose it is: "ours", "ours, step" for that by `tx.step`,
        "optax", "torch fused", "torch foreach".
      ratios: of ours over each of the others', measured close to each other in time.
      compile: seconds to compile, once, by whose.
      temporaries, state: bytes, by whose.
      floor: seconds that the bytes take that must move, by whose; see `parts.floor`.
      sizes: where cost grows, how large each point is; then `curves` has the times at these.
      curves: by whose.
      exponents: of the curves.
      limits: what the numbers are to be at most.
    """

    part: str
    name: str
    on: str = ""
    times: dict[str, Spread] = dataclasses.field(default_factory=dict)
    ratios: dict[str, Spread] = dataclasses.field(default_factory=dict)
    compile: dict[str, float] = dataclasses.field(default_factory=dict)
    temporaries: dict[str, int] = dataclasses.field(default_factory=dict)
    state: dict[str, int] = dataclasses.field(default_factory=dict)
    floor: dict[str, float] = dataclasses.field(default_factory=dict)
    sizes: list[int] = dataclasses.field(default_factory=list)
    curves: dict[str, list[Spread]] = dataclasses.field(default_factory=dict)
    exponents: dict[str, Fit] = dataclasses.field(default_factory=dict)
    limits: list[Limit] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> str:
        """By which two runs find the same thing."""
        return " / ".join(filter(None, (self.part, self.name, self.on)))

    def as_json(self) -> dict[str, Any]:
        """Without what is empty; a named tuple is an object."""
        fields = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value not in ("", {}, [])}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        extra = {"ok": value.ok} if isinstance(value, Limit) else {}
        return {**value._asdict(), **extra}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def from_json(kept: dict[str, Any]) -> Result:
    """What `Result.as_json` wrote. What it does not know, it leaves out."""
    limits = [Limit(each["what"], each["value"], each["at_most"]) for each in kept.get("limits", [])]
    result = Result(kept["part"], kept["name"], kept.get("on", ""), limits=limits)
    for name in ("compile", "temporaries", "state", "floor", "sizes"):
        setattr(result, name, kept.get(name, getattr(result, name)))
    for name in ("times", "ratios"):
        setattr(result, name, {whose: Spread(**each) for whose, each in kept.get(name, {}).items()})
    curves = kept.get("curves", {})
    result.curves = {whose: [Spread(**each) for each in curve] for whose, curve in curves.items()}
    result.exponents = {whose: Fit(**each) for whose, each in kept.get("exponents", {}).items()}
    return result


def spread(samples: Sequence[float]) -> Spread:
    """The median and the quartiles of some numbers."""
    low, middle, high = (
        statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else 3 * list(samples)
    )
    return Spread(middle, low, high, len(samples))


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Fit:
    """The exponent by which costs grow: least squares in the logarithms of both.

    Raises:
      ValueError: fewer than two sizes, or sizes that are all the same.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"an exponent takes two sizes at least; got {list(sizes)}")
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    exponent, constant = statistics.linear_regression(x, y)
    middle = statistics.fmean(x)
    left = sum((each - constant - exponent * size) ** 2 for size, each in zip(x, y, strict=True))
    around = sum((size - middle) ** 2 for size in x)
    return Fit(exponent, math.sqrt(left / (len(x) - 2) / around) if len(x) > 2 else 0.0)


def machine() -> dict[str, Any]:
    """What was measured, and where."""
    packages = {}
    for package in ("jax", "jaxlib", "optax", "gradxform", "torch", "numpy"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **packages,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
    }


def _processor() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a run into a file, whole or not at all."""
    plain = {
        **content,
        "bandwidth": _plain(content["bandwidth"]),
        "results": [result.as_json() for result in content["results"]],
    }
    write_json(path, plain)


def read(path: Path) -> dict[str, Any]:
    """A run that `write` wrote.

    Raises:
      ValueError: the file is none, or of another format.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of make bench, or one of another format than {FORMAT}")
    bandwidth = {name: Spread(**each) for name, each in content["bandwidth"].items()}
    return {**content, "bandwidth": bandwidth, "results": [from_json(result) for result in content["results"]]}
