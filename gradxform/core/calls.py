"""Calls of a transform: within a trace they are part of it; by hand they are one compiled program.

By hand, operation by operation, a step would hand each of its operations to XLA alone, and compile anew whatever holds
a branch or a number of its own. So a call that nothing traces is compiled as a whole, once for the structure of the
transform and the shapes that come, with the transform's numbers as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial, wraps
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.core import Tracer

from gradxform.core import absent, engine, placement as placing
from gradxform.core.engine import Stage, Stages
from gradxform.core.flow import Flow, keeps_params, stepped
from gradxform.core.guest import Guest
from gradxform.core.numbers import Number
from gradxform.core.placement import Placement
from gradxform.core.record import Branch, Record
from gradxform.core.state import State

# What can be an argument of a compiled program.
_ARRAYS = (jax.Array, np.ndarray, np.generic, float, int, complex)

Names = tuple[str, ...]
Constants = tuple[float | None, ...]
Function = Callable[..., Any]


class Calls:
    """The functions of a transform: `init`, `update` and `step`."""

    def __init__(self, stages: Stages, placement: Placement | None) -> None:
        self.stages, self.placement = stages, placement

    def init(self, params: Any) -> State:
        """The state before the first update."""
        return engine.init(self.stages, self.placement, params)

    def update(self, updates: Any, state: State, params: Any = None, **extra: Any) -> tuple[Any, State]:
        """One step: the updates that leave the last stage, and the new state."""
        return self._called(engine.update, Flow.of(updates, params), state, extra)

    def step(self, grads: Any, state: State, params: Any, **extra: Any) -> tuple[Any, State]:
        """One step: the parameters after it, and the new state. Those whose gradient is None stay as they are."""
        flow = Flow.of(grads, params)
        is_within = self._is_within(flow, state, extra)
        if self._parts.lands or is_within:
            new, state = self._called(engine.land, flow, state, extra, is_within)
            return absent.joined(grads, new, params), state
        old = flow.params_tree()
        # By hand two programs: in one, XLA would round otherwise than in `update` and `apply_updates`.
        change, state = self._called(engine.change, flow, state, extra, is_within)
        return absent.joined(grads, _added(old, change), params), state

    def evaluated(self, params: Any, state: State) -> Any:
        """The parameters to judge a run by."""
        return self._called(engine.evaluated, Flow.of(params), state, {})

    def _called(
        self, function: Function, flow: Flow, state: State, extra: dict[str, Any], is_within: bool | None = None
    ) -> Any:
        """A function of the engine, of this transform; `is_within` where it is known already."""
        parts, held = self._parts, [*flow.updates, *(flow.params or ())]
        as_it_is = partial(function, self.stages, self.placement, flow, state, extra)
        if self._is_within(flow, state, extra) if is_within is None else is_within:
            return as_it_is()
        rest = jax.tree.leaves((state, extra))
        if parts.is_ours and all(isinstance(leaf, _ARRAYS) for leaf in (*held, *rest)):
            placement = self.placement or placing.current()
            compiled = _program(function, parts.names, parts.structure, parts.constants, placement)
            program = partial(compiled, parts.numbers, flow.structure.unflatten(flow.updates), flow.params_tree())
            return _tried(partial(program, state, extra), as_it_is)
        stages = _whole(parts.names, parts.structure, parts.constants, parts.numbers)
        return _tried(partial(function, stages, self.placement, flow, state, extra), as_it_is)

    def _is_within(self, flow: Flow, state: State, extra: dict[str, Any]) -> bool:
        """Whether a call is within a trace."""
        held = [*flow.updates, *(flow.params or ()), *self._parts.numbers, getattr(state, "count", None)]
        # The state is asked last, so that it is not flattened for this where the rest tells.
        return _is_traced(held) or _is_traced(jax.tree.leaves((state, extra)))

    @cached_property
    def _parts(self) -> _Parts:
        leaves, structure = jax.tree.flatten([stage.node for stage in self.stages])
        # 0 is mostly there to switch something off, which is another program.
        constants = tuple(leaf if isinstance(leaf, float | int) and leaf == 0 else None for leaf in leaves)
        varying = [leaf for leaf, constant in zip(leaves, constants, strict=True) if constant is None]
        numbers = [Number.of(leaf) if isinstance(leaf, float) else leaf for leaf in varying]
        names = tuple(stage.name for stage in self.stages)
        is_ours = all(_is_ours(stage.node) for stage in self.stages)
        return _Parts(
            names, structure, constants, numbers, is_ours, any(keeps_params(stage.node) for stage in self.stages)
        )


def compiled_by_hand(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays alone, compiled once for the shapes that come where it is called by hand."""
    program = jax.jit(function)

    @wraps(function)
    def call(*args: Any) -> Any:
        leaves = jax.tree.leaves(args)
        if _is_traced(leaves) or not all(isinstance(leaf, _ARRAYS) for leaf in leaves):
            return function(*args)
        return _tried(partial(program, *args), partial(function, *args))

    return call


@compiled_by_hand
def _added(params: Any, change: Any) -> Any:
    leaves, structure = jax.tree.flatten(params)
    return structure.unflatten(stepped(leaves, jax.tree.leaves(change)))


class _Parts(NamedTuple):
    """What a transform is made of.

    Attributes:
      names: those of the stages.
      structure: the stages without their numbers, hashable.
      constants: for each number its value if that is part of the program, else None.
      numbers: the others.
      is_ours: whether there is no transform of another library among the stages, of whose functions nobody knows
        whether they are the same as yesterday's.
      lands: whether anything in it says by itself what the parameters are after a step.
    """

    names: Names
    structure: Any
    constants: Constants
    numbers: list[Any]
    is_ours: bool
    lands: bool


def _tried(compiled: Callable[[], Any], as_it_is: Callable[[], Any]) -> Any:
    """A call, or where it fails the same without tracing.

    There whoever asks for the value of a number or of an array has it, and an error comes without a compiler's remarks.
    """
    failed = None
    try:
        return compiled()
    except jax.errors.ConcretizationTypeError:
        pass
    except (TypeError, ValueError) as error:
        failed = error
    result = as_it_is()
    if failed is not None:
        # What is wrong in a branch that is not taken yet.
        raise failed
    return result


# Kept are those that were called last: their keys hold functions of users, which may be made anew for each call.
@lru_cache(maxsize=128)
def _program(
    function: Function, names: Names, structure: Any, constants: Constants, placement: Placement | None
) -> Callable[..., Any]:
    def step(numbers: list[Any], updates: Any, params: Any, state: State, extra: dict[str, Any]) -> Any:
        stages = _whole(names, structure, constants, numbers)
        return function(stages, placement, Flow.of(updates, params), state, extra)

    return jax.jit(step)


def _is_traced(leaves: Sequence[Any]) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in leaves)


def _whole(names: Names, structure: Any, constants: Constants, numbers: list[Any]) -> Stages:
    varying = iter(numbers)
    nodes = structure.unflatten(next(varying) if constant is None else constant for constant in constants)
    return tuple(map(Stage, names, nodes))


def _is_ours(value: Any) -> bool:
    if isinstance(value, Guest):
        return False
    if isinstance(value, optax.GradientTransformation):
        return isinstance(value, Branch) and all(_is_ours(stage.node) for stage in getattr(value, "stages", ()))
    if isinstance(value, Record):
        return all(map(_is_ours, value.fields().values()))
    return all(map(_is_ours, value.values())) if isinstance(value, dict) else True
