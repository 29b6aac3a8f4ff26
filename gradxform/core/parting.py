"""A function of a leaf in two parts: what depends on numbers alone, and what is done to each element.

The function is traced on a block of the leaf. What does not depend on the block, such as a bias correction, is computed
at once, outside of the kernel whose body the rest becomes; nobody has to say which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from gradxform.core.elementwise import ALONE

# Operations with a program of their own, which is looked into.
_CALLS = {"pjit", "jit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"}
# Inside a kernel there are no devices over which a value may vary.
_OF_TYPES = {"pvary", "pcast", "copy", "optimization_barrier"}


class Name(NamedTuple):
    """A block that is computed in the kernel, by its number."""

    number: int


class Operation(NamedTuple):
    """What is done in the kernel: `primitive` of blocks and numbers, which gives new blocks."""

    primitive: Any
    params: dict[str, Any]
    inputs: list[Any]
    outputs: list[Name]


class Parted(NamedTuple):
    """What is left of a function once all that depends on numbers alone is computed.

    Attributes:
      operations: what is done to blocks.
      results: what the function returns: names of blocks, and numbers.
      numbers: those that the operations and the results ask for and that are no constants, in order.
    """

    operations: list[Operation]
    results: list[Any]
    numbers: list[Any]

    def outline(self) -> list[Any]:
        """What is done, without the shapes: alike for blocks of all shapes where nobody asks for them."""

        def seen(each: Any) -> Any:
            return each if isinstance(each, Name) else _constant(each)

        done = [(each.primitive.name, list(map(seen, each.inputs)), each.outputs) for each in self.operations]
        return [*done, list(map(seen, self.results))]

    def within(self, blocks: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """The results, of blocks and of the numbers as they are in the kernel; numbers in the place of numbers."""
        known: dict[int, Any] = dict(enumerate(blocks))
        given = {id(old): new for old, new in zip(self.numbers, numbers, strict=True)}

        def value(each: Any) -> Any:
            return known[each.number] if isinstance(each, Name) else given.get(id(each), each)

        for operation in self.operations:
            inputs = list(map(value, operation.inputs))
            if operation.primitive.name in _OF_TYPES:
                outputs = inputs
            else:
                found = operation.primitive.bind(*inputs, **operation.params)
                outputs = found if operation.primitive.multiple_results else [found]
            known.update({name.number: output for name, output in zip(operation.outputs, outputs, strict=True)})
        return list(map(value, self.results))


class _JoiningError(Exception):
    """The function takes elements together, or asks where they are."""


def parted(function: Callable[..., Any], blocks: Sequence[Any], numbers: Any) -> Parted | None:
    """A function of blocks and numbers, parted; None if it does not treat each element alone.

    Args:
      function: (list of blocks, numbers) -> list of blocks and numbers.
      blocks: their shapes and dtypes, of one shape.
      numbers: a pytree of arrays of shape ().
    """
    closed = jax.make_jaxpr(function)(list(blocks), numbers)
    count = iter(range(len(blocks), 1 << 30))
    operations: list[Operation] = []

    def walk(jaxpr: Any, consts: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        found = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *given), strict=True))

        def value(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else found[atom]

        for eqn in jaxpr.eqns:
            inputs = list(map(value, eqn.invars))
            if eqn.primitive.name in _CALLS:
                inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
                closed = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
                outputs = walk(*closed, inputs)
            elif not any(isinstance(each, Name) for each in inputs) and all(not var.aval.shape for var in eqn.outvars):
                computed = eqn.primitive.bind(*inputs, **eqn.params)
                outputs = list(computed) if eqn.primitive.multiple_results else [computed]
            else:
                _check_alone(eqn, inputs)
                outputs = [Name(next(count)) for _ in eqn.outvars]
                operations.append(Operation(eqn.primitive, eqn.params, inputs, outputs))
            found.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(value, jaxpr.outvars))

    given = [*map(Name, range(len(blocks))), *jax.tree.leaves(numbers)]
    try:
        results = walk(closed.jaxpr, closed.consts, given)
    except _JoiningError:
        return None
    asked = [each for operation in operations for each in operation.inputs]
    arrays = {id(each): each for each in (*asked, *results) if isinstance(each, jax.Array)}
    return Parted(operations, results, list(arrays.values()))


def _check_alone(eqn: Any, inputs: Sequence[Any]) -> None:
    """Raises _JoiningError for an operation that a kernel cannot do to each element."""
    spreads = eqn.primitive.name == "broadcast_in_dim" and not getattr(inputs[0], "shape", ())
    is_alone = eqn.primitive.name in ALONE
    has_parts = any(not isinstance(each, Name) and getattr(each, "shape", ()) for each in inputs)
    if not (spreads and not isinstance(inputs[0], Name)) and (not is_alone or has_parts):
        raise _JoiningError(eqn.primitive.name)


def _constant(value: Any) -> Any:
    """A number of the program's own as it is; of one that is computed, that there is one."""
    return "a number" if isinstance(value, jax.Array) else float(value)
