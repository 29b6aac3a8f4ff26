"""The engine: a transform's init and update, a flow through its row of nodes, and the state that stays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from gradxform.core import checks, placement as placing
from gradxform.core.flow import Flow, Step, admitted, through
from gradxform.core.hyperparameters import as_live, bound, first_live
from gradxform.core.placement import Placement
from gradxform.core.state import State


class Stage(NamedTuple):
    """A rule or a guest, and the name under which the state keeps its record."""

    name: str
    node: Any


Stages = tuple[Stage, ...]


def init(stages: Stages, placement: Placement | None, params: Any) -> State:
    """The state before the first update. Raises for parameters that its rules cannot compute with, naming the path."""
    return begin(stages, placement, Flow.of(params))


def begin(stages: Stages, placement: Placement | None, params: Flow) -> State:
    """The state before the first update, of a flow whose updates are the parameters."""
    placement = placement or placing.current()
    checked = [stage.node for stage in stages if not stage.node.is_foreign]
    if checked:
        params = admitted(checked, params, placement, "parameters")
    count = jnp.zeros((), jnp.int32)
    live = first_live(stages, params.updates)
    step = Step(count, count, {}, placement)
    with placing.told(placement):
        records = {name: node.begin(params, step) for name, node in bound(stages, live)}
    return State(count, records, live)


def update(
    stages: Stages, placement: Placement | None, flow: Flow, state: State, extra: dict[str, Any]
) -> tuple[Any, State]:
    """One step: the updates that leave the last stage, in the dtypes in which they came, and the new state."""
    flow, state = advance(stages, placement, flow, state, extra)
    return flow.tree(), state


def advance(
    stages: Stages, placement: Placement | None, flow: Flow, state: State, extra: dict[str, Any]
) -> tuple[Flow, State]:
    """One step of a flow: through the nodes, with what each remembers."""
    checks.state_of([stage.name for stage in stages], state, State)
    placement = placement or placing.current()
    names, nodes = zip(*bound(stages, state.live), strict=True) if stages else ((), ())
    step = Step(state.count, jnp.asarray(optax.safe_increment(state.count)), extra, placement)
    with placing.told(placement):
        flow, records = through(nodes, flow, [state.stages[name] for name in names], step)
    return flow, State(step.number, dict(zip(names, records, strict=True)), as_live(state.live))
