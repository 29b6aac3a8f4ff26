"""The engine: a transform's init, update and step, a flow through its row of nodes, and the state that stays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from gradxform.core import checks, placement as placing
from gradxform.core.flow import Flow, Step, addable, admitted, through
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


def change(
    stages: Stages, placement: Placement | None, flow: Flow, state: State, extra: dict[str, Any]
) -> tuple[Any, State]:
    """One step: what is to be added to the parameters, in the dtypes of computation, and the new state."""
    _check_step(stages, flow)
    flow, state = advance(stages, placement, flow.replace(is_rounded=False), state, extra)
    return flow.structure.unflatten(addable(flow.whole()).leaving()), state


def land(
    stages: Stages, placement: Placement | None, flow: Flow, state: State, extra: dict[str, Any]
) -> tuple[Any, State]:
    """One step: the parameters after it, in their own dtypes, and the new state."""
    _check_step(stages, flow)
    flow, state = advance(stages, placement, flow.replace(is_rounded=False, lands=True), state, extra)
    return flow.structure.unflatten(flow.after()), state


def _check_step(stages: Stages, flow: Flow) -> None:
    if flow.params is None:
        raise ValueError("step needs the parameters: call step(grads, state, params)")
    if stages and stages[-1].node.is_measure:
        raise TypeError(f"step: {stages[-1].name} returns a measurement, which is no update of parameters; call update")


def evaluated(stages: Stages, placement: Placement | None, flow: Flow, state: State, _: dict[str, Any]) -> Any:
    """The parameters to judge a run by, in the dtypes of those that it trains, which are the updates of the flow."""
    placement = placement or placing.current()
    checked = [stage.node for stage in stages if not stage.node.is_foreign]
    if checked:
        flow = admitted(checked, flow, placement, "parameters")
    return judge(stages, placement, flow, state).tree()


def judge(stages: Stages, placement: Placement | None, params: Flow, state: State) -> Flow:
    """The parameters to judge a run by, which are the updates of the flow: the row is asked from its end."""
    checks.state_of([stage.name for stage in stages], state, State)
    placement = placement or placing.current()
    step = Step(state.count, state.count, {}, placement)
    with placing.told(placement):
        for name, node in reversed(bound(stages, state.live)):
            params = node.judge(params, state.stages[name], step)
    return params


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
