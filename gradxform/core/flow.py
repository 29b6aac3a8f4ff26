"""The way of a gradient: flattened once, passed from node to node, and a tree again where it leaves.

    Flow.of(updates, params)  ->  node.advance(flow, record, step)  ->  ...  ->  flow.tree()

A node is whatever may stand in a row: a rule, a route, a transform of optax's, or a kind of one's own. Nobody on the
way asks which it is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gradxform.core import absent, alike, checks
from gradxform.core.keep import decoded
from gradxform.core.placement import Cut, Placement
from gradxform.core.precision import fitting, is_inexact, mixing, real_dtype, wider
from gradxform.core.record import Branch, Record
from gradxform.core.text import show

# What holds nothing.
_PLAIN = (float, int, bool, type(None), str)


class Step(NamedTuple):
    """What a `Node` is given at a step beside the `Flow` of updates.

    Attributes:
      done: int32 of shape (): how many steps were before it; schedules are read there.
      number: int32 of shape (): its own number, from 1 on.
      extra: the extra arguments of `update`, by name.
      placement: the specs of `on_axes`. None: there are none.

    optax: none. torch: none.
    """

    done: jax.Array
    number: jax.Array
    extra: dict[str, Any]
    placement: Placement | None


@dataclasses.dataclass(frozen=True)
class Flow:
    """Updates on their way through the nodes of a transform, as a flat list of leaves.

    Attributes:
      updates: the leaves.
      structure: of the tree that they are the leaves of.
      came: the leaves of the incoming updates, whose dtypes the outgoing ones have.
      params: the leaves of the parameters, in the order of the updates. None: `update` was called without parameters.
      params_structure: of the tree of parameters.
      cuts: for each leaf over which mesh axes it is sharded, by the specs of `on_axes`; None where there are none.
      factor: the number, of shape (), by which all updates are still to be multiplied. None: 1.
      is_rounded: whether the updates leave in the dtypes of the incoming ones; else they are added to the parameters in
        the dtypes of computation.
      lands: whether the next node is the last that changes the updates, so that it may add them to the parameters.
      landed: the leaves of the parameters after the step, where a node has added the updates already; None where not.
      fuses: whether one kernel may do the step of a leaf; None: where plain operations would pass over memory twice.

    optax: none. torch: none.
    """

    updates: list[Any]
    structure: Any
    came: list[Any]
    params: list[Any] | None
    params_structure: Any
    cuts: Sequence[Cut | None]
    factor: jax.Array | None = None
    is_rounded: bool = True
    lands: bool = False
    landed: list[Any] | None = None
    fuses: bool | None = None

    @classmethod
    def of(cls, updates: Any, params: Any = None) -> Flow:
        """The flow of a tree of updates, with the tree of parameters if there is one."""
        leaves, structure = jax.tree.flatten(updates)
        param_leaves, params_structure = (None, None) if params is None else jax.tree.flatten(params)
        if params is not None and params_structure != structure:
            param_leaves, params_structure = jax.tree.flatten(absent.beside(updates, params))
        return cls(leaves, structure, leaves, param_leaves, params_structure, [None] * len(leaves))

    def replace(self, **fields: Any) -> Flow:
        """The flow with other fields."""
        return Flow(**{**vars(self), **fields})

    def whole(self) -> Flow:
        """The flow with nothing left to multiply by."""
        if self.factor is None:
            return self
        updates = alike.each(scaled, [(update, self.factor) for update in self.updates])
        return self.replace(updates=updates, factor=None)

    def tree(self) -> Any:
        """The tree of updates, in the dtypes in which they came."""
        return self.structure.unflatten(map(_cast_like, self.whole().updates, self.came))

    def leaving(self) -> list[Any]:
        """The updates as they are added to the parameters, if no node changes them any more."""
        updates = self.whole().updates
        return list(map(_cast_like, updates, self.came)) if self.is_rounded else updates

    def params_tree(self) -> Any:
        """The tree of parameters, None if there are none."""
        return None if self.params is None else self.params_structure.unflatten(map(decoded, self.params))

    def after(self) -> list[Any]:
        """The leaves of the parameters after the step: as they landed, else those before it and the updates."""
        flow = addable(self.whole())
        landed = [None] * len(flow.updates) if flow.landed is None else flow.landed
        left = [index for index, param in enumerate(landed) if param is None]
        params = flow.params or []
        added_ = stepped([params[index] for index in left], [flow.updates[index] for index in left])
        found = dict(zip(left, added_, strict=True))
        return [found.get(index, param) for index, param in enumerate(landed)]

    def with_tree(self, tree: Any) -> Flow:
        """The flow of what a foreign transform returned; of another structure it leaves as it is."""
        leaves, structure = jax.tree.flatten(tree)
        came = self.came if structure == self.structure else leaves
        cuts = self.cuts if len(leaves) == len(self.cuts) else [None] * len(leaves)
        return self.replace(updates=leaves, structure=structure, came=came, cuts=cuts, factor=None)

    def only(self, indices: Sequence[int], structure: Any) -> Flow:
        """The flow of some of the leaves, with the structure in which they are a tree."""

        def chosen(column: Sequence[Any]) -> list[Any]:
            return [column[index] for index in indices]

        return self.replace(
            updates=chosen(self.updates),
            structure=structure,
            came=chosen(self.came),
            params=None if self.params is None else chosen(self.params),
            landed=None,
            params_structure=None if self.params is None else structure,
            cuts=chosen(self.cuts),
        )


Advance = Callable[[Sequence[Any], Flow, Sequence[Any], Step], tuple[Flow, list[Any]]]


def one_by_one(nodes: Sequence[Any], flow: Flow, records: Sequence[Any], step: Step) -> tuple[Flow, list[Any]]:
    """Nodes in a row, one after the other."""
    new: list[Any] = []
    lands = flow.lands
    for node, record in zip(nodes, records, strict=True):
        flow = flow.replace(lands=lands and all(after.only_looks for after in nodes[len(new) + 1 :]))
        flow, kept = node.advance(flow, record, step)
        new.append(kept)
    return flow.replace(lands=lands), new


class Node(Record):
    """What a transform is a row of: rules, wrappers, optax transforms, and kinds of your own.

    A subclass has `begin`, which makes its record in the state, and `advance`, which does one step. A kind of which
    several in a row are better done together has a function for that too, `advance_all`, of lists of nodes and records.
    Most of what users write is a `LeafRule` or a `TreeRule`, which are nodes with a simpler `update`.

    Flags of the class say what the engine must know of it:

    - `any_dtype`: it takes leaves of integers and bools too. `real_only`: it refuses complex leaves.
    - `per_example`: it stands first in a chain, and its updates have one more axis in front, the examples of a batch.
    - `is_measure`: it returns a measurement, any pytree of arrays, in the place of updates, and stands last.
    - `stands_last`: it sees the updates that are added to the parameters; only nodes of its kind may stand after it.
    - `is_foreign`: it takes and returns updates that the engine has not checked.
    - `only_looks`: it returns the updates unchanged.
    - `keeps_params`: it says by itself what the parameters are after a step; only nodes that only look may stand after
      it.

    optax: none. torch: none.
    """

    any_dtype: ClassVar[bool] = False
    real_only: ClassVar[bool] = False
    per_example: ClassVar[bool] = False
    is_measure: ClassVar[bool] = False
    stands_last: ClassVar[bool] = False
    is_foreign: ClassVar[bool] = False
    only_looks: ClassVar[bool] = False
    keeps_params: ClassVar[bool] = False
    advance_all: ClassVar[Advance] = staticmethod(one_by_one)

    @property
    def live_names(self) -> tuple[str, ...]:
        """The fields whose numbers may live in the state, or follow a schedule: of a rule its hyperparameters."""
        return ()

    @property
    def stage_name(self) -> str:
        """What its record in the state is called, if nobody gives it another name."""
        return self.call_name

    def check_transform(self, name: str, *, may_keep_params: bool = True) -> None:
        """Raises TypeError unless a field holds a transform, ours or optax's.

        ValueError for one that says what the parameters become, unless its updates are added to them as they are.
        """
        value = getattr(self, name)
        if not isinstance(value, optax.GradientTransformation):
            hint = "; call it to make the transform" if callable(value) else ""
            raise TypeError(f"{self.call_name}: {name} must be a transform; got {show(value)}{hint}")
        if not may_keep_params and keeps_params(value):
            name_of_it = ", ".join(stage.name for stage in getattr(value, "stages", ()))
            hint = "" if self.keeps_params else f"; put {self.call_name} within it"
            raise ValueError(
                f"{self.call_name}: {name} must leave it to {self.call_name} what the parameters become; got "
                f"{name_of_it}{hint}"
            )

    def begin(self, params: Flow, step: Step) -> Any:
        """What it remembers before the first step: any pytree of arrays. The updates of the flow are the parameters."""
        raise TypeError(f"{type(self).__name__} has no begin(self, params, step)")

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step: the flow with other updates, and the new record, of the structure, shapes and dtypes of the old."""
        raise TypeError(f"{type(self).__name__} has no advance(self, flow, record, step)")

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by, of those that it trains, which are the updates of the flow: the same."""
        return params


def keeps_params(value: Any) -> bool:
    """Whether a node, a transform or a dict of them says by itself, or holds what says, what the parameters become."""
    if isinstance(value, Node):
        # Asked whenever a transform is made, also out of its leaves: not by `fields`.
        return value.keeps_params or any(
            keeps_params(each) for each in vars(value).values() if type(each) not in _PLAIN
        )
    if isinstance(value, Branch):
        return any(keeps_params(stage.node) for stage in getattr(value, "stages", ()))
    return isinstance(value, dict) and any(map(keeps_params, value.values()))


def through(nodes: Sequence[Any], flow: Flow, records: Sequence[Any], step: Step) -> tuple[Flow, list[Any]]:
    """A flow through a row of nodes, checked where it comes in from outside: at the beginning, and behind a guest."""
    row = list(zip(nodes, records, strict=True))
    new: list[Any] = []
    lands = flow.lands
    for is_foreign, segment in itertools.groupby(row, lambda pair: pair[0].is_foreign):
        pairs = list(segment)
        if not is_foreign:
            flow = admitted([node for node, _ in pairs], flow, step.placement)
        for advance_all, those in itertools.groupby(pairs, lambda pair: pair[0].advance_all):
            some, old = zip(*those, strict=True)
            flow = flow.replace(lands=lands and all(after.only_looks for after in nodes[len(new) + len(some) :]))
            flow, kept = advance_all(some, flow, old, step)
            new += kept
    return flow.replace(lands=lands), new


def admitted(nodes: Sequence[Any], flow: Flow, placement: Placement | None, what: str = "updates") -> Flow:
    """The flow with arrays for leaves with which nodes can compute. Raises for others, naming the leaf's path."""
    demands: dict[str, Any] = {
        "any_dtype": all(node.any_dtype for node in nodes),
        "real_only": next((node.call_name for node in nodes if node.real_only), None),
    }
    first, structure = nodes[0], flow.structure
    updates, params = checks.arrays(what, structure, flow.updates, **demands), flow.params
    if params is not None:
        params = checks.arrays("parameters", flow.params_structure, params, **demands)
        if flow.params_structure != structure:
            trees = structure.unflatten(updates), flow.params_structure.unflatten(params)
            checks.same_structure("updates", *trees, "the parameters")
    if first.per_example and what == "updates":
        checks.examples("updates", structure, updates, params)
        checks.examples_here(first.call_name, structure, updates)
    elif params is not None:
        checks.same_shapes("updates", structure, updates, params, "the parameters")
    if params is not None:
        checks.same_kinds("updates", structure, updates, params, "the parameters")
    cuts = flow.cuts if placement is None else placement.cuts(what, structure.unflatten(updates))
    return flow.replace(updates=updates, params=params, cuts=cuts)


def addable(flow: Flow) -> Flow:
    """The flow with updates that can be added to its parameters. Raises for others, naming the leaf's path."""
    updates = checks.arrays("updates", flow.structure, flow.updates, any_dtype=True, real_only=None)
    params = checks.arrays("parameters", flow.params_structure, flow.params or [], any_dtype=True, real_only=None)
    if flow.params_structure != flow.structure:
        trees = flow.structure.unflatten(updates), flow.params_structure.unflatten(params)
        checks.same_structure("updates", *trees, "the parameters")
    checks.same_shapes("updates", flow.structure, updates, params, "the parameters")
    checks.same_kinds("updates", flow.structure, updates, params, "the parameters")
    checks.whole_numbers("updates", flow.structure, updates, params)
    return flow.replace(updates=updates, params=params)


def times(update: jax.Array, factor: jax.Array | None) -> jax.Array:
    """A leaf in the dtype of computation times a number, None for 1."""
    if factor is None:
        return update
    with mixing(update):
        return update * factor.astype(real_dtype(update.dtype))


@jax.jit
def scaled(update: jax.Array, factor: jax.Array) -> jax.Array:
    """A leaf, taken to the dtype of computation, times a number."""
    return times(fitting(update.dtype)(update), factor)


def stepped(params: list[Any], updates: list[Any]) -> list[jax.Array]:
    """The leaves of the parameters after a step, in their own dtypes."""
    return alike.each(added, list(zip(params, updates, strict=True)))


@jax.jit
def added(param: jax.Array, update: jax.Array) -> jax.Array:
    """A parameter and its update, added in the dtype of computation and rounded once."""
    if not is_inexact(param):
        wide = wider(param.dtype, update.dtype)
        return (param.astype(wide) + update.astype(wide)).astype(param.dtype)
    fit = fitting(param.dtype, update.dtype)
    with mixing(param, update):
        return (fit(param) + fit(update)).astype(param.dtype)


def _cast_like(update: Any, came: Any) -> Any:
    if update is came:
        return update
    dtype = jnp.result_type(came)
    return update if update.dtype == dtype else update.astype(dtype)
