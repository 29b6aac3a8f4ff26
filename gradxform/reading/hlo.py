"""The text of a compiled program, as `compiled.as_text()` gives it, as instructions.

XLA's HLO text has one computation after the other, the last of which is the entry, and one instruction a line:

    %name = shape opcode(%operand, ...), attribute=..., metadata={op_name="..."}, backend_config={...}

A shape is `f32[8,128]{1,0:T(8,128)S(1)}`: the dtype, the axes, and behind them how the array lies in memory; or a
tuple of such. What stands behind the operands is kept as text and read where it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterator

# The bits of an element; what is not here (a token, an opaque value) takes no memory.
_BITS = {"pred": 8, "c64": 64, "c128": 128, "bf16": 16}
_WIDTH = re.compile(r"[suf](\d+)")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_NAME = re.compile(r"%([\w.\-]+)")
_ALIAS = re.compile(r"\{([\d, ]*)\}: \((\d+), \{[\d, ]*\}, \w+-alias\)")
_QUOTED = r'="((?:[^"\\]|\\.)*)"'


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array's dtype, its axes, and in which memory of the device it is: 0 is the main one."""

    dtype: str
    axes: tuple[int, ...]
    space: int = 0

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.axes)

    @property
    def bytes(self) -> int:
        """What these take, without padding."""
        width = _WIDTH.match(self.dtype)
        bits = _BITS.get(self.dtype, int(width[1]) if width else 0)
        return -(-self.elements * bits // 8)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a computation.

    Attributes:
      name: as the others call it.
      opcode: "fusion", "copy", "all-reduce-start", ...
      shapes: of the result; those of a tuple, in their order, also of tuples in it.
      operands: the names of what it takes.
      rest: what stands behind the operands; in a parameter or a constant, with what stands in the parentheses.
      parts: where the result is a tuple, the range of `shapes` that each of its elements has.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    rest: str
    parts: tuple[range, ...] = ()

    def text(self, key: str) -> str:
        """The attribute `key="..."`; "" where there is none."""
        found = re.search(key + _QUOTED, self.rest)
        return re.sub(r"\\(.)", r"\1", found[1]) if found else ""

    def number(self, key: str) -> int | None:
        """The attribute `key=3`, or `"key":"3"` of the backend's."""
        found = re.search(rf'\b{key}(?:=|":\{{"n":"|":"?)(-?\d+)', self.rest)
        return int(found[1]) if found else None

    def called(self, *keys: str) -> tuple[str, ...]:
        """The computations that it calls under any of the attributes."""
        names: list[str] = []
        for key in keys:
            found = re.search(rf"\b{key}=(\{{[^{{}}]*\}}|%[\w.\-]+)", self.rest)
            names += _NAME.findall(found[1]) if found else []
        return tuple(names)

    @property
    def source(self) -> str:
        """Where it comes from in the traced function, by JAX's names."""
        return self.text("op_name")

    @property
    def index(self) -> int:
        """Of a parameter, which; of a get-tuple-element, of which element."""
        if self.opcode == "parameter":
            return int(self.rest[: self.rest.index(")")])
        return self.number("index") or 0


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions in the order in which they run, and which of them is the result."""

    name: str
    instructions: tuple[Instruction, ...]
    root: str

    @functools.cached_property
    def by_name(self) -> dict[str, Instruction]:
        """The instructions by their names."""
        return {each.name: each for each in self.instructions}

    @functools.cached_property
    def parameters(self) -> tuple[Instruction, ...]:
        """What it is given, in the order of its arguments."""
        return tuple(sorted((i for i in self.instructions if i.opcode == "parameter"), key=lambda each: each.index))

    @property
    def results(self) -> tuple[str, ...]:
        """What it returns: the elements of its tuple, or its only value."""
        root = self.by_name[self.root]
        return root.operands if root.opcode == "tuple" else (root.name,)

    @functools.cached_property
    def users(self) -> dict[str, tuple[Instruction, ...]]:
        """Which instructions take what."""
        users: dict[str, list[Instruction]] = {}
        for each in self.instructions:
            for operand in dict.fromkeys(each.operands):
                users.setdefault(operand, []).append(each)
        return {name: tuple(each) for name, each in users.items()}


@dataclasses.dataclass(frozen=True)
class Module:
    """A program.

    Attributes:
      computations: by name.
      entry: the one that runs.
      aliases: for each output that takes an argument's memory, the number of the output and that of the argument.
    """

    computations: dict[str, Computation]
    entry: Computation
    aliases: dict[int, int]


def parse(text: str) -> Module:
    """Reads the text of a compiled program.

    Raises:
      ValueError: if there is no entry computation in it.
    """
    computations: dict[str, Computation] = {}
    entry = None
    lines = iter(text.splitlines())
    header = next((line for line in lines if line.startswith("HloModule")), "")
    for line in lines:
        if line.endswith("{") and " -> " in line and not line[0].isspace():
            name = line.removeprefix("ENTRY ").split(" ", 1)[0].removeprefix("%")
            computations[name] = _computation(name, itertools.takewhile(lambda each: each.rstrip() != "}", lines))
            entry = computations[name] if line.startswith("ENTRY ") else entry
    if entry is None:
        raise ValueError("the text is not that of a compiled program: it has no line that begins with ENTRY")
    aliases = {int(out.split(",")[0] or 0): int(argument) for out, argument in _ALIAS.findall(header)}
    return Module(computations, entry, aliases)


def _computation(name: str, lines: Iterator[str]) -> Computation:
    instructions, root = [], ""
    for line in lines:
        left, equals, right = line.strip().partition(" = ")
        if not equals:
            continue
        own = left.removeprefix("ROOT ").removeprefix("%")
        root = own if left.startswith("ROOT ") else root
        instructions.append(_instruction(own, right))
    return Computation(name, tuple(instructions), root or instructions[-1].name)


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shapes = tuple(map(_shape, _ARRAY.findall(text[:end])))
    parts = tuple(_parts(text[1 : end - 1])) if text.startswith("(") else ()
    opcode, _, rest = text[end:].strip().partition("(")
    if opcode in ("parameter", "constant"):
        return Instruction(name, opcode, shapes, (), rest, parts)
    close = _closing("(" + rest, 0) - 1
    operands = tuple(_NAME.findall(rest[:close]))
    return Instruction(name, opcode, shapes, operands, rest[close + 1 :], parts)


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for found in re.finditer(r"[()]", text[start:]):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return start + found.start()
    return len(text)


def _shape(found: tuple[str, str, str]) -> Shape:
    dtype, axes, layout = found
    space = _SPACE.search(layout)
    return Shape(dtype, tuple(int(axis.strip("<=")) for axis in axes.split(",") if axis), int(space[1]) if space else 0)


def _parts(inside: str) -> Iterator[range]:
    """For each element of a tuple, which of its arrays, counted through, are in it."""
    begin = count = depth = 0
    for found in re.finditer(rf"{_ARRAY.pattern}|[(),]", inside):
        if found[0] in "()":
            depth += 1 if found[0] == "(" else -1
        elif found[0] != ",":
            count += 1
        elif not depth:
            yield range(begin, count)
            begin = count
    yield range(begin, count)
