"""What `program` returns: a compiled program in numbers, in words and as a plain dict."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

_Item = TypeVar("_Item")

# How many of a kind are named in the words; `to_dict` has all.
_NAMED = 4
# Arrays between kernels below this are not worth a line.
_LARGE = 1 << 20
_WIDTH = 110


@dataclasses.dataclass(frozen=True)
class Array:
    """An array as one device has it.

    Attributes:
      dtype: by its name in JAX.
      shape: of the device's shard, where it is sharded.
      bytes: without padding.
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Argument:
    """An array that the program is given.

    Attributes:
      path: where it is among the arguments.
      array: its shape and dtype; None if the program does not use it, so that it is not even passed.
      donated: whether its memory may be used again.
      output: the path of the output that uses it again; None where none does.
    """

    path: str
    array: Array | None
    donated: bool
    output: str | None


@dataclasses.dataclass(frozen=True)
class Copy:
    """An array that is copied within the main memory of the device.

    Attributes:
      array: what is copied.
      source: the path of the argument that it is, or else where in the function it was computed.
      output: the path of the output that the copy is; None where it is none.
      reason: why, as far as it shows.
    """

    array: Array
    source: str
    output: str | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Temporary:
    """An array that one kernel writes to the main memory and others read.

    Attributes:
      array: its shape and dtype.
      source: where in the function it is computed.
    """

    array: Array
    source: str


@dataclasses.dataclass(frozen=True)
class Collective:
    """An exchange among devices.

    Attributes:
      kind: "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", ...
      bytes: what a device gives or what it gets, whichever is more.
      groups: the devices that exchange, by their numbers in the mesh; () where the program does not say.
      axes: the mesh axes over which they exchange; () where they are not those of the arguments' mesh.
      source: where in the function it comes from.
      conditional: whether it is in a branch of a conditional.
    """

    kind: str
    bytes: int
    groups: tuple[tuple[int, ...], ...]
    axes: tuple[str, ...]
    source: str
    conditional: bool


@dataclasses.dataclass(frozen=True)
class Branch:
    """One way through a conditional: the bytes that it moves, and its kernels, at most."""

    bytes: int
    kernels: int


@dataclasses.dataclass(frozen=True)
class Conditional:
    """A choice that the device makes when the program runs.

    Attributes:
      source: where in the function it comes from.
      branches: what each costs; of `lax.cond`, that of False first.
    """

    source: str
    branches: tuple[Branch, ...]


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop on the device.

    Attributes:
      source: where in the function it comes from.
      trips: how often it runs; None where XLA does not know, and it is counted as running once or, in the least, not.
    """

    source: str
    trips: int | None


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program, as one device runs it.

    It prints in words, and `to_dict` makes plain numbers and strings of it.

    Attributes:
      platform: "cpu", "gpu" or "tpu"; "" where the program does not say.
      device: the kind of device.
      devices: how many run it together.
      bytes: what kernels read from and write to the main memory, by the shapes of their operands and results; of each
        conditional the branch that moves most, of each loop that runs an unknown number of times one run.
      least_bytes: the same with the branch that moves least, and without such loops.
      kernels: how often the device is given work: fusions, calls of libraries, copies, collectives; on the way that
        `bytes` counts.
      least_kernels: on the way that `least_bytes` counts.
      cycles: what the compiler estimates for the kernels, on the way of `bytes`; None where it does not tell.
      temporary_bytes: the memory that the program needs beside its arguments and outputs, on a TPU also that on the
        chip; None where not told.
      argument_bytes, output_bytes, reused_bytes: the memory of its arguments, of its outputs, and of those outputs that
        use a donated argument's; None where not told.
      arguments: all that it is given, in order.
      outputs: how many arrays it returns.
      copies: what it copies.
      temporaries: arrays between kernels, the largest first. They are not all there at the same time.
      collectives, conditionals, loops: what there is of them.

    optax: none. torch: none.
    """

    platform: str
    device: str
    devices: int
    bytes: int
    least_bytes: int
    kernels: int
    least_kernels: int
    cycles: int | None
    temporary_bytes: int | None
    argument_bytes: int | None
    output_bytes: int | None
    reused_bytes: int | None
    arguments: tuple[Argument, ...]
    outputs: int
    copies: tuple[Copy, ...]
    temporaries: tuple[Temporary, ...]
    collectives: tuple[Collective, ...]
    conditionals: tuple[Conditional, ...]
    loops: tuple[Loop, ...]

    @property
    def donated(self) -> tuple[Argument, ...]:
        """The arguments that are donated and used."""
        return tuple(each for each in self.arguments if each.donated and each.array is not None)

    @property
    def wasted(self) -> tuple[Argument, ...]:
        """The arguments that are donated and used, and whose memory no output takes."""
        return tuple(each for each in self.donated if each.output is None and each.array is not None)

    @property
    def kept(self) -> tuple[Argument, ...]:
        """The arguments that are used and not donated, so that they stay beside the outputs."""
        return tuple(each for each in self.arguments if not each.donated and each.array is not None)

    def to_dict(self) -> dict[str, Any]:
        """Dicts, lists, numbers, strings and None, which `json.dumps` takes."""
        return _plain(self)

    def __repr__(self) -> str:
        lines = (
            textwrap.fill(line, _WIDTH, subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False)
            for line in _lines(self)
        )
        return "\n".join(lines)


def size(count: float | None) -> str:
    """A number of bytes for people, in thousands."""
    if count is None:
        return "not told"
    for unit in ("bytes", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _lines(program: Program) -> Iterator[str]:
    many = f"{program.devices} x " if program.devices > 1 else ""
    yield f"program for {many}{program.device or program.platform or 'a device'}" + (
        ", numbers for one of them" if many else ""
    )
    moved = f"{size(program.bytes)} by {_count(program.kernels, 'kernel')}"
    if program.least_bytes != program.bytes:
        moved += f"; at least {size(program.least_bytes)} by {program.least_kernels}, by the cheapest branches"
    yield _row("moved", moved + ("" if program.cycles is None else f"; {program.cycles:,} cycles"))
    given = f"arguments {size(program.argument_bytes)}, outputs {size(program.output_bytes)}"
    yield _row("memory", f"{given}, {size(program.reused_bytes)} of them reused; {_temporaries(program)}")
    yield from _donation(program)
    yield _row("copied", _listed(program.copies, lambda each: each.array.bytes, _copy))
    if program.devices > 1 or program.collectives:
        yield _row("collectives", _collectives(program.collectives))
    for each in program.conditionals:
        ways = ", or ".join(f"{size(branch.bytes)} by {branch.kernels}" for branch in each.branches)
        yield _row("conditional", f"{each.source or 'unnamed'}: {ways}")
    for loop in program.loops:
        trips = "runs an unknown number of times, counted as one" if loop.trips is None else _count(loop.trips, "time")
        yield _row("loop", f"{loop.source or 'unnamed'}: {trips}")


def _row(name: str, text: str) -> str:
    return f"  {name:<12}{text}"


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _temporaries(program: Program) -> str:
    chip = " with those on the chip" if program.platform == "tpu" and program.temporary_bytes else ""
    text = f"temporaries {size(program.temporary_bytes)}{chip}"
    large = [each for each in program.temporaries if each.array.bytes >= _LARGE]
    if not large or program.temporary_bytes is None or program.temporary_bytes < _LARGE:
        return text
    return f"{text}, among them {_named(large, lambda each: f'{each.array} of {each.source}')}"


def _donation(program: Program) -> Iterator[str]:
    donated, wasted = program.donated, program.wasted
    if donated:
        reused = len(donated) - len(wasted)
        yield _row("donated", f"{_count(len(donated), 'array')}: {'all' if not wasted else reused} of them reused")
    if wasted:
        yield _row("not reused", _listed(wasted, _bytes, lambda each: f"{each.path} ({each.array})"))
    if unused := [each.path for each in program.arguments if each.array is None]:
        yield _row("not used", _named(unused, str))
    if program.kept:
        groups: dict[str, list[Argument]] = {}
        for each in program.kept:
            groups.setdefault(_top(each.path), []).append(each)
        yield _row("not donated", "; ".join(_group(name, each) for name, each in groups.items()))


def _group(name: str, members: Sequence[Argument]) -> str:
    if len(members) == 1:
        return f"{members[0].path} ({size(_bytes(members[0]))})"
    return f"{name} ({_count(len(members), 'array')}, {size(sum(map(_bytes, members)))})"


def _top(path: str) -> str:
    ends = [i for i, letter in enumerate(path) if letter in ".["]
    return path[: ends[0]] if ends else path


def _bytes(argument: Argument) -> int:
    return argument.array.bytes if argument.array else 0


def _copy(copy: Copy) -> str:
    to = f" to {copy.output}" if copy.output else ""
    return f"{copy.array} {copy.source}{to}" + (f" ({copy.reason})" if copy.reason else "")


def _collectives(collectives: Sequence[Collective]) -> str:
    groups: dict[tuple[Any, ...], list[Collective]] = {}
    for each in collectives:
        together = each.axes or (len(each.groups[0]) if each.groups else 0)
        groups.setdefault((each.kind, together, each.conditional), []).append(each)
    said = []
    for (kind, together, conditional), members in groups.items():
        over = f" over {', '.join(together)}" if isinstance(together, tuple) else f" among {together}" * bool(together)
        where = " in a branch" if conditional else ""
        said.append(f"{len(members)} {kind}{over}{where}, {size(sum(each.bytes for each in members))}")
    return "; ".join(said) or "none"


def _listed(items: Sequence[_Item], weight: Callable[[_Item], int], name: Callable[[_Item], str]) -> str:
    if not items:
        return "nothing"
    ordered = sorted(items, key=weight, reverse=True)
    return f"{_count(len(items), 'array')}, {size(sum(map(weight, items)))}: {_named(ordered, name)}"


def _named(items: Iterable[_Item], name: Callable[[_Item], str]) -> str:
    names = [name(each) for each in items]
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
