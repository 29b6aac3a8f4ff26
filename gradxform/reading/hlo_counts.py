"""What the instructions of a compiled program do: bytes, kernels and cycles; copies, collectives, temporaries.

How it is counted. An instruction that runs on the device is a kernel, unless all that it takes and gives are single
numbers and it is neither a fusion nor a call. A kernel moves its distinct operands and its results, by their shapes and
without padding; of an array of which it takes or replaces a slice, the slice. Tuples, bitcasts and the other names for
what is there already move nothing. What a TPU has in its on-chip memory, whose spaces are other than 0, is not moved,
and what an asynchronous instruction moves is counted where it starts. Of a conditional one branch is counted, the one
that moves most or, in the least that the program moves, the one that moves least; of a loop its body, as many times as
XLA knows it to run; if XLA does not know, once or, in the least, not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gradxform.reading.hlo import Computation, Instruction, Module, Shape

# No work of the device: other names for arrays, the ends of what was started, and what the compiler leaves for itself.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "partition-id",
    "replica-id",
}
_FREE_CALLS = {"ConcatBitcast", "AllocateBuffer", "Sharding", "AssumeGatherIndicesInBound"}
_RENAMES = {"bitcast", "copy", "copy-start", "copy-done", "opt-barrier", "reshape"}
_SLICES = {"slice", "dynamic-slice", "gather"}
_COLLECTIVES = {
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
}
_HOST = 5


class Path(NamedTuple):
    """What one way through a program costs. They are compared by their bytes first."""

    bytes: int = 0
    kernels: int = 0
    cycles: int = 0

    def plus(self, other: Path, times: int = 1) -> Path:
        """The other behind this one."""
        return Path(*(a + b * times for a, b in zip(self, other, strict=True)))


class Place(NamedTuple):
    """A computation where it runs.

    Attributes:
      computation: the instructions.
      origins: the arguments of the program that values are, by the values' names: the number of an argument, for a
        tuple those of its elements, and None for what was computed.
      conditional: whether it runs in some calls of the program only.
    """

    computation: Computation
    origins: dict[str, Any]
    conditional: bool


class Counts:
    """Counts a program for a platform: "tpu", "gpu" (or "cuda", "rocm") or "cpu"."""

    def __init__(self, module: Module, platform: str):
        self.module = module
        self.on_chip = platform == "tpu"
        self._costs: dict[str, tuple[Path, Path]] = {}

    def moved(self, shape: Shape) -> int:
        """The bytes of an array that is in the device's main memory, and 0 for another."""
        chip = shape.space not in (0, _HOST) and self.on_chip
        return 0 if chip else shape.bytes

    def cost(self, name: str) -> tuple[Path, Path]:
        """The least and the most that a computation costs."""
        if name not in self._costs:
            least = most = Path()
            for each in self.module.computations[name].instructions:
                cheap, dear = self._cost_of(each, self.module.computations[name])
                least, most = least.plus(cheap), most.plus(dear)
            self._costs[name] = least, most
        return self._costs[name]

    def branches(self, conditional: Instruction) -> list[tuple[Path, Path]]:
        """The least and the most that each branch costs."""
        return [self.cost(name) for name in branch_names(conditional)]

    def places(self) -> Iterator[Place]:
        """The entry, and the computations that it and they call."""
        entry = self.module.entry
        yield from self._places(entry, list(range(len(entry.parameters))), False)

    def kind(self, instruction: Instruction) -> str:
        """The opcode, of what is started or wrapped the opcode of what is done."""
        called = instruction.called("calls")
        if instruction.opcode == "async-start" and called:
            inner = self.module.computations[called[0]]
            return self.kind(inner.by_name[inner.root])
        return instruction.opcode.removesuffix("-start")

    def collective(self, instruction: Instruction) -> bool:
        """Whether devices exchange something here."""
        return not instruction.opcode.endswith(("-done", "-update")) and self.kind(instruction) in _COLLECTIVES

    def results(self, instruction: Instruction) -> tuple[Shape, ...]:
        """The arrays that it gives; of what it starts, those that will be there in the end."""
        parts = instruction.parts
        if instruction.opcode == "copy-start":
            return tuple(instruction.shapes[i] for i in parts[0])
        if instruction.opcode.endswith("-start") and self.kind(instruction) != "all-reduce" and len(parts) > 1:
            return tuple(instruction.shapes[i] for i in parts[1])
        return instruction.shapes

    def copies(self, instruction: Instruction) -> bool:
        """Whether it only copies, within the main memory."""
        called = instruction.called("calls")
        if instruction.opcode == "fusion" and called:
            opcodes = {each.opcode for each in self.module.computations[called[0]].instructions}
            return "copy" in opcodes and opcodes <= {"parameter", "copy", "bitcast", "tuple"}
        return self.kind(instruction) == "copy" and not instruction.opcode.endswith("-done")

    def works(self, instruction: Instruction, within: Computation) -> bool:
        """Whether it is work for the device: a kernel, or an asynchronous copy to or from memory on the chip."""
        opcode = instruction.opcode
        if opcode in _FREE or opcode.endswith(("-done", "-update")) or opcode in ("call", "conditional", "while"):
            return False
        if opcode == "custom-call" and instruction.text("custom_call_target") in _FREE_CALLS:
            return False
        if opcode in ("fusion", "custom-call") or self.collective(instruction):
            return True
        arrays = [*instruction.shapes, *(s for name in instruction.operands for s in within.by_name[name].shapes)]
        return any(shape.axes for shape in arrays)

    def _cost_of(self, each: Instruction, within: Computation) -> tuple[Path, Path]:
        if each.opcode == "conditional":
            costs = self.branches(each)
            return min(cost[0] for cost in costs), max(cost[1] for cost in costs)
        if each.opcode == "while":
            times = trips(each)
            condition, body = (self.cost(name) for name in each.called("condition", "body"))
            least = condition[0].plus(body[0], 0 if times is None else times)
            return least, condition[1].plus(body[1], 1 if times is None else times)
        if each.opcode == "call":
            return self.cost(each.called("to_apply")[0])
        cycles = each.number("estimated_cycles") or 0
        path = Path(cycles=cycles)
        if self.works(each, within):
            # An asynchronous copy is made beside the kernels.
            beside = self.kind(each) in ("copy", "slice") and each.opcode.endswith("-start")
            path = Path(self._bytes(each, within), 0 if beside else 1, cycles)
        return path, path

    def _bytes(self, each: Instruction, within: Computation) -> int:
        given = [within.by_name[name].shapes for name in dict.fromkeys(each.operands)]
        read = [sum(map(self.moved, shapes)) for shapes in given]
        written = sum(map(self.moved, self.results(each)))
        kind = self.kind(each)
        if kind in _SLICES:
            sliced = sum(shape.bytes for shape in self.results(each))
            return min(read[0], sliced) + sum(read[1:]) + written
        if kind == "dynamic-update-slice":
            return sum(read[1:]) + min(written, sum(shape.bytes for shape in given[1]))
        if kind == "scatter":
            return sum(read[1:]) + min(written, 2 * sum(shape.bytes for shape in given[-1]))
        if kind == "fusion":
            inner = self.module.computations[each.called("calls")[0]]
            whole = [within.by_name[name].shapes for name in each.operands]
            taken = zip(each.operands, whole, inner.parameters, strict=True)
            reads = {name: min(sum(map(self.moved, shapes)), _taken(of, inner)) for name, shapes, of in taken}
            return sum(reads.values()) + min(written, _replaced(inner))
        return sum(read) + written

    def _places(self, computation: Computation, given: list[Any], conditional: bool) -> Iterator[Place]:
        origins: dict[str, Any] = {}
        yield Place(computation, origins, conditional)
        for each in computation.instructions:
            of = [origins.get(name) for name in each.operands]
            if each.opcode == "parameter":
                origins[each.name] = given[each.index] if each.index < len(given) else None
            elif each.opcode == "tuple":
                origins[each.name] = tuple(of)
            elif each.opcode == "get-tuple-element":
                origins[each.name] = of[0][each.index] if isinstance(of[0], tuple) else None
            elif each.opcode in _RENAMES:
                origins[each.name] = of[0]
            elif each.opcode == "conditional":
                for name, argument in zip(branch_names(each), of[1:], strict=True):
                    yield from self._places(self.module.computations[name], [argument], True)
            elif each.opcode == "while":
                for name in each.called("body"):
                    yield from self._places(self.module.computations[name], [None], conditional)
            elif each.opcode == "call":
                yield from self._places(self.module.computations[each.called("to_apply")[0]], of, conditional)


def branch_names(conditional: Instruction) -> tuple[str, ...]:
    """The computations of which one runs."""
    return conditional.called("branch_computations", "true_computation", "false_computation")


def trips(loop: Instruction) -> int | None:
    """How often a loop runs, where XLA knows it."""
    return loop.number("known_trip_count")


def outputs(computation: Computation) -> dict[tuple[str, int | None], int]:
    """Which values are the result, or the elements of it: a value and, in a tuple, which element of it."""
    found: dict[tuple[str, int | None], int] = {}
    for number, name in enumerate(computation.results):
        each, index = computation.by_name[name], None
        while each.opcode in ("bitcast", "get-tuple-element", "copy-done", "opt-barrier"):
            index = each.index if each.opcode == "get-tuple-element" else index
            each = computation.by_name[each.operands[0]]
        found[each.name, index] = number
    return found


def _taken(parameter: Instruction, inner: Computation) -> int:
    """How many bytes of what it is given a fusion takes at most."""
    users = inner.users.get(parameter.name, ())
    taken = 0
    for user in users:
        first = user.operands[0] == parameter.name and parameter.name not in user.operands[1:]
        if first and user.opcode in _SLICES:
            taken += sum(shape.bytes for shape in user.shapes)
        elif not (first and user.opcode == "dynamic-update-slice"):
            return sum(shape.bytes for shape in parameter.shapes)
    return taken


def _replaced(inner: Computation) -> int:
    """How many bytes of its results a fusion writes at most: of an array updated in place, the update."""
    written = 0
    for name in inner.results:
        each = inner.by_name[name]
        while each.opcode == "bitcast":
            each = inner.by_name[each.operands[0]]
        in_place = each.opcode == "dynamic-update-slice"
        written += sum(shape.bytes for shape in (inner.by_name[each.operands[1]] if in_place else each).shapes)
    return written
