"""Transform: optax's pair of pure functions that is also a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import jax
import optax

from gradxform.core import checks, engine
from gradxform.core.calls import Calls
from gradxform.core.engine import Stage, Stages
from gradxform.core.flow import Flow, Node, Step, keeps_params
from gradxform.core.html import html_table, scrolling, text_lines
from gradxform.core.placement import Placement
from gradxform.core.record import Branch, Factory, P, factory
from gradxform.core.rule import LeafRule, MatrixRule, TreeRule, TreeScaleRule
from gradxform.core.state import State
from gradxform.core.text import show, written_call
from gradxform.core.types import Params, Updates

T = TypeVar("T", bound="Transform")


class Transform(Branch, optax.GradientTransformationExtraArgs):
    """A row of rules as a pair `init(params)`, `update(updates, state, params=None, **extra)`.

    It prints as the call that makes it; two made alike are equal and hash alike; it pickles; and it is a pytree of its
    numeric hyperparameters, so that it may be an argument of `jax.jit` (a new number does not retrace) and of
    `jax.vmap` (many values of a hyperparameter at once).

    Attributes:
      init: params -> state.
      update: (updates, state, params=None, **extra) -> (updates, state).
      stages: the rules, each with the name of its record in the state.
      placement: what `on_axes` told of where the parameters lie. None: nothing.

    optax: GradientTransformationExtraArgs. torch: torch.optim.Optimizer, which holds the parameters.
    """

    stages: Stages

    placement: Placement | None

    _calls: Calls

    if TYPE_CHECKING:
        # The pair's two functions, of which optax says that any state may come. `update` takes any too, since scripts
        # call theirs `optax.OptState`.
        def init(self, params: Params) -> State:  # pyright: ignore[reportIncompatibleVariableOverride]: as said above
            """The state before the first update."""
            ...

        def update(  # pyright: ignore[reportIncompatibleVariableOverride]: as said above
            self, updates: Updates, state: Any, params: Params | None = None, **extra: Any
        ) -> tuple[Updates, State]:
            """One step: the updates, and the new state."""
            ...

    def __new__(cls, stages: Stages, placement: Placement | None = None) -> Self:
        """The transform of a row of stages, and of what is told of where the parameters lie.

        ValueError if a stage must be the first or the last and is not.
        """
        for index, stage in enumerate(stages):
            if stage.node.per_example:
                checks.first_of_chain(stage.node.call_name, [before.name for before in stages[:index]])
            if stage.node.is_measure:
                checks.last_of_chain(stage.node.call_name, [after.name for after in stages[index + 1 :]])
            if stage.node.stands_last:
                after = [after.name for after in stages[index + 1 :] if not after.node.stands_last]
                checks.nothing_after(stage.node.call_name, "sees", after)
            if index + 1 < len(stages) and keeps_params(stage.node):
                after = [after.name for after in stages[index + 1 :] if not after.node.only_looks]
                checks.nothing_after(stage.node.call_name, "decides", after)
        calls = Calls(stages, placement)
        self = tuple.__new__(cls, (calls.init, calls.update))
        self.stages, self.placement, self._calls = stages, placement, calls
        return self

    def step(self, grads: Updates, state: Any, params: Params, **extra: Any) -> tuple[Params, State]:
        """One step of the parameters: `update` and `apply_updates` in one.

        The update is added in the precision of computation, float32 at least, and each parameter is rounded once, to
        its own dtype; in float32 it is bit for bit what `update` and `apply_updates` give.

        Args:
          grads: a pytree of the structure and shapes of the parameters. A parameter whose gradient is None stays as it
            is, whatever it is.
          state: the state.
          params: the parameters.
          **extra: the extra arguments of `update`.

        Returns:
          The new parameters, in the shapes and dtypes of the old, and the new state.

        Raises:
          ValueError, TypeError: as `update` and `apply_updates`; and for a fraction that is to be added to an integer,
            and a transform that returns a measurement.

        optax: update and apply_updates. torch: torch.optim.Optimizer.step.
        """
        return self._calls.step(grads, state, params, **extra)

    def begin(self, params: Flow, step: Step) -> State:
        """The state before the first step, as of a node of a row."""
        return engine.begin(self.stages, self.placement or step.placement, params)

    def advance(self, flow: Flow, record: State, step: Step) -> tuple[Flow, State]:
        """One step of a flow, as of a node of a row, with this transform's own count of steps."""
        return engine.advance(self.stages, self.placement or step.placement, flow, record, step.extra)

    def judge(self, params: Flow, record: State, step: Step) -> Flow:
        """The parameters to judge a run by, as of a node of a row."""
        return engine.judge(self.stages, self.placement or step.placement, params, record)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _register(cls)

    def with_stages(self, stages: Stages) -> Self:
        """The transform with other stages in the place of its own."""
        return _made(type(self), stages, self.placement)

    # A pair with another function in it is no row of rules any more, so it may not stay a Transform.
    def _replace(self, **parts: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]: as said above
        """A plain optax pair with another `init` or `update`."""
        return optax.GradientTransformationExtraArgs(**{"init": self.init, "update": self.update, **parts})

    def __repr__(self) -> str:
        if self.placement is None:
            return self._chain()
        return written_call("on_axes", [self._chain(), show(self.placement.specs)])

    def _chain(self) -> str:
        default = name_stages([(None, stage.node) for stage in self.stages])
        if self.stages == default:
            calls = [repr(stage.node) for stage in self.stages]
            return calls[0] if len(calls) == 1 else written_call("chain", calls)
        return written_call("named_chain", [f"({stage.name!r}, {stage.node!r})" for stage in self.stages])

    def _repr_html_(self) -> str:
        """A table in a notebook: the stages, by the names of their records in the state."""
        rows = [([stage.name], text_lines(repr(stage.node))) for stage in self.stages]
        told = "" if self.placement is None else f" on_axes {show(self.placement.specs)}"
        return scrolling(f"Transform{told}", html_table(("stage", "call"), rows))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and (self.stages, self.placement) == (other.stages, other.placement)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.stages)

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.stages, self.placement)


def name_stages(nodes: list[tuple[str | None, Any]]) -> Stages:
    """Stages with names of their own: the given name, or the rule's; the second of a name becomes name_2."""
    taken: set[str] = set()
    stages = []
    for given, node in nodes:
        default = node.stage_name
        base = name = given or default
        if re.fullmatch(rf"{default}_\d+", name):
            # A number from another chain; here the name is numbered anew.
            base = default
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        stages.append(Stage(name, node))
    return tuple(stages)


def transform(rule: Callable[P, Node]) -> Factory[P, Transform]:
    """The public function of a rule: takes the rule's hyperparameters and returns a Transform.

    Use it on a rule's class, by call or as a decorator. The function has the class's docstring and signature, and its
    name in snake case; the class itself is its attribute `record`.

        @gx.transform
        class ScaleByHalf(gx.LeafRule):
            def update(self, grad, slots, leaf):
                return grad / 2, slots

    mypy leaves out what a decorator of a class returns; with it, write `scale_by_half = gx.transform(ScaleByHalf)`.

    Args:
      rule: the class, a subclass of LeafRule, TreeRule, TreeScaleRule, MatrixRule or Node.

    Raises:
      TypeError: not a subclass of LeafRule, TreeRule, MatrixRule or Node, or one without an `update`, or `advance`, of
        its own.

    optax: none; a GradientTransformation of two functions. torch: none; a subclass of torch.optim.Optimizer.
    """
    kinds: dict[type[Node], tuple[str, ...]] = {
        TreeScaleRule: ("factor",),
        TreeRule: ("update",),
        LeafRule: ("update",),
        MatrixRule: ("prepare", "update"),
        Node: ("advance",),
    }
    given: Any = rule
    kind = next((kind for kind in kinds if isinstance(given, type) and issubclass(given, kind)), None)
    if kind is None or all(getattr(given, method) is getattr(kind, method) for method in kinds[kind]):
        wanted = "of LeafRule, TreeRule, TreeScaleRule, MatrixRule or Node"
        wanted = f"with a method {' or '.join(kinds[kind])}" if kind else wanted
        raise TypeError(f"transform takes a subclass {wanted}; got {rule!r}")
    return factory(rule, lambda record: Transform(name_stages([(None, record)])), Transform)


_Static = tuple[tuple[str, ...], Placement | None]


def _flatten(tx: Transform) -> tuple[tuple[Any, ...], _Static]:
    return tuple(stage.node for stage in tx.stages), (tuple(stage.name for stage in tx.stages), tx.placement)


def _flatten_with_keys(tx: Transform) -> tuple[list[tuple[Any, Any]], _Static]:
    nodes, (names, placement) = _flatten(tx)
    keyed = [(jax.tree_util.DictKey(name), node) for name, node in zip(names, nodes, strict=True)]
    return keyed, (names, placement)


def _made(cls: type[T], stages: Stages, placement: Placement | None) -> T:
    """A transform of a class whose own arguments may be others."""
    return Transform.__new__(cls, stages, placement)


def _register(cls: type[Transform]) -> None:
    def unflatten(static: _Static, nodes: Any) -> Transform:
        names, placement = static
        return _made(cls, tuple(map(Stage, names, nodes)), placement)

    jax.tree_util.register_pytree_with_keys(cls, _flatten_with_keys, unflatten, _flatten)


_register(Transform)
