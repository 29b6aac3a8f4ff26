"""program: what XLA made of a function, for whatever device it was compiled."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding
from jax.stages import Compiled, Lowered

from gradxform.reading import hlo, hlo_counts
from gradxform.reading.hlo import Computation, Instruction, Shape
from gradxform.reading.hlo_counts import Counts, Place
from gradxform.reading.hlo_groups import groups_of, mesh_axes
from gradxform.reading.program_report import (
    Argument,
    Array,
    Branch,
    Collective,
    Conditional,
    Copy,
    Loop,
    Program,
    Temporary,
)

_LETTERS = {"f": "float", "s": "int", "u": "uint"}
_NAMES = {"pred": "bool", "bf16": "bfloat16", "c64": "complex64", "c128": "complex128"}


class Given(NamedTuple):
    """An argument: its path, whether it is donated, and the parameter of the program that it is, if it is used."""

    path: str
    donated: bool
    parameter: Instruction | None


def program(step: Callable[..., Any] | Lowered | Compiled, /, *args: Any, **kwargs: Any) -> Program:
    """Compiles a function and says what the program does: bytes, kernels, donation, copies, temporaries, collectives.

        print(gx.program(jax.jit(step, donate_argnums=(0, 1)), params, state, grads))

    Nothing is run. It is compiled for the devices of the arguments: those of arrays, or of the shardings of
    `jax.ShapeDtypeStruct`s, which `jax.experimental.topologies` makes for machines that you do not have too.

    Bytes are counted from the shapes of what each kernel takes and gives: they are what the program asks of the
    device's main memory, and not a measurement. `Program` says how conditionals and loops are counted.

    Args:
      step: a function, as it is or under `jax.jit` with its donated arguments; or what `jax.jit(...).lower(...)` or
        `.compile()` gave.
      *args: what the function is given, as arrays or as `jax.ShapeDtypeStruct`s; nothing where it is lowered already.
      **kwargs: likewise.

    Returns:
      A `Program`: words when it is printed, `to_dict()` for a program.

    Raises:
      TypeError: `step` is neither; arguments for what is lowered already.
      ValueError: the backend does not show its program.

    optax: none. torch: none.
    """
    compiled, names = _compiled(step, args, kwargs)
    text = compiled.as_text()
    if not text:
        raise ValueError("the backend does not show the program that it compiled: compiled.as_text() is empty")
    module = hlo.parse(text)
    shardings = [
        each
        for each in jax.tree.leaves((compiled.input_shardings, compiled.output_shardings))
        if isinstance(each, jax.sharding.Sharding)
    ]
    devices = max((each.device_set for each in shardings), key=len, default=set())
    device = next(iter(devices), None)
    named = next((each for each in shardings if isinstance(each, NamedSharding) and not each.mesh.empty), None)
    reader = _Reader(
        Counts(module, device.platform if device else ""),
        tuple(_arguments(compiled, module.entry.parameters, names)),
        _output_paths(compiled, len(module.entry.results)),
        {} if named is None else dict(named.mesh.shape),
        max(len(devices), 1),
    )
    least, most = reader.counts.cost(module.entry.name)
    memory = compiled.memory_analysis()
    return Program(
        platform=device.platform if device else "",
        device=device.device_kind if device else "",
        devices=max(len(devices), 1),
        bytes=most.bytes,
        least_bytes=least.bytes,
        kernels=most.kernels,
        least_kernels=least.kernels,
        cycles=most.cycles or None,
        temporary_bytes=getattr(memory, "temp_size_in_bytes", None),
        argument_bytes=getattr(memory, "argument_size_in_bytes", None),
        output_bytes=getattr(memory, "output_size_in_bytes", None),
        reused_bytes=getattr(memory, "alias_size_in_bytes", None),
        outputs=len(reader.paths),
        arguments=tuple(reader.arguments()),
        copies=tuple(reader.copies()),
        temporaries=tuple(sorted(reader.temporaries(), key=lambda each: -each.array.bytes)),
        collectives=tuple(reader.collectives()),
        conditionals=tuple(reader.conditionals()),
        loops=tuple(reader.loops()),
    )


def _compiled(step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Compiled, list[str]]:
    """The program, and what the function calls its positional arguments, as far as can be said."""
    step = _unwrapped(step)
    if isinstance(step, Lowered | Compiled):
        if args or kwargs:
            raise TypeError("what is lowered or compiled already has its arguments: call gx.program(step) alone")
        return step.compile() if isinstance(step, Lowered) else step, []
    if not callable(step):
        raise TypeError(f"program takes a function or what jax.jit lowered or compiled, got {type(step).__name__}")
    jitted: Any = step if hasattr(step, "lower") else jax.jit(step)
    with warnings.catch_warnings():
        # The report says it, with the arguments' paths.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        lowered = jitted.lower(*args, **kwargs)
        compiled = _unwrapped(lowered).compile()
    # Equinox gives JAX other arguments than it is given.
    return compiled, _names(step, args, compiled) if isinstance(lowered, Lowered) else []


def _unwrapped(step: Any) -> Any:
    """JAX's own object in what the `jit` of Equinox or of Flax lowered or compiled."""
    inner = (getattr(step, name, None) for name in ("lowered", "compiled"))
    return next((each for each in inner if isinstance(each, Lowered | Compiled)), step)


def _arguments(compiled: Any, parameters: Sequence[Instruction], names: Sequence[str]) -> Iterator[Given]:
    """The arguments. The program has only those that it uses, in their order, and calls them by their paths."""
    given = jax.tree_util.tree_flatten_with_path(compiled.args_info)[0]
    left = list(parameters)
    all_there = len(left) == len(given)
    for keys, info in given:
        first: Any = keys[1]
        if isinstance(first, jax.tree_util.DictKey):
            name, pattern = str(first.key), rf"{first.key}|\w+\['{first.key}'\]"
        else:
            place: int = first.idx
            name = names[place] if names else f"args[{place}]"
            pattern = re.escape(name) if names else r"\w+(\[\d+\])?"
        path = jax.tree_util.keystr(keys[2:])
        its_own = all_there or (left and re.fullmatch(f"({pattern}){re.escape(path)}", left[0].source))
        parameter = left.pop(0) if its_own else None
        yield Given((parameter and parameter.source) or name + path, info.donated, parameter)


def _names(step: Any, args: tuple[Any, ...], compiled: Any) -> list[str]:
    """What the function calls its positional arguments; [] where it cannot be said."""
    # Static arguments are none of the program's, and shift the others.
    if len(compiled.args_info[0]) != len(args):
        return []
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return []
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    rest = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "args")
    return [*names, *(f"{rest}[{i}]" for i in range(len(args) - len(names)))]


def _output_paths(compiled: Any, count: int) -> list[str]:
    paths = jax.tree_util.tree_flatten_with_path(compiled.out_info)[0]
    if len(paths) != count:
        return [f"output {i}" for i in range(count)]
    return [f"output{jax.tree_util.keystr(keys)}" for keys, _ in paths]


def _array(shape: Shape) -> Array:
    letter, width = shape.dtype[:1], shape.dtype[1:]
    plain = _LETTERS[letter] + width if letter in _LETTERS and width.isdigit() else shape.dtype
    return Array(_NAMES.get(shape.dtype, plain), shape.axes, shape.bytes)


def _source(each: Instruction, within: Computation) -> str:
    """Where in the function a value is computed; a copy that XLA has put in has no name of its own."""
    while not each.source and len(each.operands) == 1:
        each = within.by_name[each.operands[0]]
    return each.source or each.name


class _Reader:
    """Reads what the instructions do, the paths of the program's arguments and outputs known."""

    def __init__(
        self, counts: Counts, given: Sequence[Given], paths: Sequence[str], mesh: dict[str, int], devices: int
    ):
        self.counts, self.given, self.paths, self.mesh, self.devices = counts, given, paths, mesh, devices
        self.taken = {argument: output for output, argument in counts.module.aliases.items()}
        self.by_number = {each.parameter.index: each for each in given if each.parameter is not None}
        self.places = list(counts.places())
        self.outputs = hlo_counts.outputs(counts.module.entry)

    def arguments(self) -> Iterator[Argument]:
        """All that the program is given."""
        for each in self.given:
            if each.parameter is None:
                yield Argument(each.path, None, each.donated, None)
            else:
                output = self.taken.get(each.parameter.index)
                array = _array(each.parameter.shapes[0])
                yield Argument(each.path, array, each.donated, None if output is None else self.paths[output])

    def copies(self) -> Iterator[Copy]:
        """What is copied, with the argument that it is and the output that it becomes."""
        for place, each in self._kernels():
            if not self.counts.copies(each):
                continue
            for number, (shape, name) in enumerate(zip(self.counts.results(each), each.operands, strict=False)):
                if self.counts.moved(shape) and self.counts.moved(place.computation.by_name[name].shapes[0]):
                    yield self._copy(place, each, shape, name, number)

    def temporaries(self) -> Iterator[Temporary]:
        """What kernels write that is no output, nor handed on by the branch or the loop in which it is."""
        for place in self.places:
            handed_on = hlo_counts.outputs(place.computation)
            for each in place.computation.instructions:
                if each.opcode != "conditional" and not self.counts.works(each, place.computation):
                    continue
                for number, shape in enumerate(self.counts.results(each)):
                    if self.counts.moved(shape) and not {(each.name, number), (each.name, None)} & handed_on.keys():
                        yield Temporary(_array(shape), _source(each, place.computation))

    def collectives(self) -> Iterator[Collective]:
        """What devices exchange."""
        for place, each in self._kernels():
            if self.counts.collective(each):
                given = sum(s.bytes for name in each.operands for s in place.computation.by_name[name].shapes)
                got = sum(shape.bytes for shape in self.counts.results(each))
                groups = groups_of(each, self.devices)
                axes = mesh_axes(groups, self.mesh)
                kind = self.counts.kind(each)
                yield Collective(kind, max(given, got), groups, axes, each.source, place.conditional)

    def conditionals(self) -> Iterator[Conditional]:
        """What is chosen when the program runs."""
        for each in self._of("conditional"):
            branches = (most for _, most in self.counts.branches(each))
            yield Conditional(each.source, tuple(Branch(most.bytes, most.kernels) for most in branches))

    def loops(self) -> Iterator[Loop]:
        """What runs more than once."""
        for each in self._of("while"):
            yield Loop(each.source, hlo_counts.trips(each))

    def _copy(self, place: Place, each: Instruction, shape: Shape, name: str, number: int) -> Copy:
        origin = place.origins.get(name)
        outputs = self.outputs if place.computation is self.counts.module.entry else {}
        output = outputs.get((each.name, number), outputs.get((each.name, None)))
        argument = self.by_number.get(origin) if isinstance(origin, int) else None
        path = None if output is None else self.paths[output]
        source = argument.path if argument else _source(each, place.computation)
        return Copy(_array(shape), source, path, self._reason(argument, output))

    def _reason(self, argument: Given | None, output: int | None) -> str:
        if argument is None or argument.parameter is None:
            return ""
        taken = self.taken.get(argument.parameter.index)
        if taken is not None and taken != output:
            return f"its memory is used by {self.paths[taken]}"
        return "" if argument.donated else "it is not donated"

    def _kernels(self) -> Iterator[tuple[Place, Instruction]]:
        for place in self.places:
            for each in place.computation.instructions:
                if self.counts.works(each, place.computation):
                    yield place, each

    def _of(self, opcode: str) -> Iterator[Instruction]:
        return (each for place in self.places for each in place.computation.instructions if each.opcode == opcode)
