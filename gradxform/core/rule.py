"""Rules: what a gradient transformation declares. A rule is maths; the engine does the rest.

A rule's class lists its hyperparameters as annotated fields, what it remembers as slots, what it reports as metrics,
and has one `update`. Everything else that it may ask for comes through the context, `leaf` or `tree`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from gradxform.core import checks, leaves, matrices, trees
from gradxform.core.context import Leaf, Tree
from gradxform.core.declarations import Rule
from gradxform.core.fields import DecayMask, Mask
from gradxform.core.flow import Flow, Step
from gradxform.core.guest import as_node
from gradxform.core.hyperparameters import chosen_by
from gradxform.core.matrix_context import Matrices, MatrixLeaf
from gradxform.core.slots import first_leaf_records, first_tree_record


class LeafRule(Rule):
    """A rule that treats each leaf alone.

    A subclass has annotated fields for its hyperparameters, `Slot` and `Metric` for what it keeps and reports, and one
    `update(self, grad, slots, leaf)`; `transform` makes the public function of it. The engine loops over the leaves,
    reads schedules at the step, applies masks, and computes in float32 at least.

    optax: none; an init and an update by hand. torch: none; a subclass of torch.optim.Optimizer.
    """

    advance_all = staticmethod(leaves.advance_run)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.inners:
            raise TypeError(f"{cls.__name__}: only a TreeRule has a transform within")
        if cls.is_measure or any(declared.measure for declared in (*cls.slots.values(), *cls.metrics.values())):
            raise TypeError(f"{cls.__name__}: only a TreeRule measures")
        if cls.per_example:
            raise TypeError(f"{cls.__name__}: only a TreeRule with an update takes per-example gradients")

    def begin(self, params: Flow, step: Step) -> Any:
        """Slots and metrics before the first step."""
        return first_leaf_records(self, params, chosen_by(self, Mask, params.structure, params.updates))

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: what `evaluated` makes of each leaf."""
        return params if type(self).evaluated is LeafRule.evaluated else leaves.judge(self, params, record, step)

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def update(self, grad: jax.Array, slots: Any, leaf: Leaf) -> tuple[jax.Array, Any]:
        """One step of one leaf.

        Args:
          grad: the incoming update of the leaf, in the dtype of computation.
          slots: the leaf's slots and metrics as a NamedTuple, floating ones in the dtype of computation.
          leaf: the context: step, parameter, extra arguments, reductions.

        Returns:
          The outgoing update, of the same shape, and the new slots.
        """
        raise TypeError(f"{type(self).__name__} has no update(self, grad, slots, leaf)")

    def evaluated(self, param: jax.Array, slots: Any, leaf: Leaf) -> jax.Array:
        """The parameter to judge a run by, where it is not the one that it trains; see `eval_params`.

        Args:
          param: the leaf of the parameters that are trained, in the dtype of computation.
          slots, leaf: as in `update`, after a step; there are no extra arguments.

        Returns:
          An array of the same shape.
        """
        return param


class MatrixRule(Rule):
    """A rule that sees a leaf as whole matrices, stacked, joined or split as `MatrixAxes` say.

    It has `prepare`, `update`, or both. `prepare` is elementwise, so that each device runs it on its own shards.
    `update` then sees whole matrices (..., rows, columns): on many devices each matrix is moved to one device, computed
    once, and its update is moved back. A `Slot` has the shape of the leaf, and `prepare` sees it; a `MatrixSlot` is of
    one matrix, and `update` sees it.

    `transposable` says that `update` of the transposed matrix is the transposed update, so that a matrix and another's
    transpose may be stacked. `batched`, which a rule may declare as a field, says whether on one device too matrices of
    one shape go through `update` in one stack; the numbers are the same.

    optax: none; an init and an update by hand. torch: none; a subclass of torch.optim.Optimizer.
    """

    transposable: ClassVar[bool] = False
    # No annotation, or it would be a field whose place in a signature is before those of the rules that have it.
    batched = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.inners or cls.is_measure or cls.per_example:
            raise TypeError(f"{cls.__name__}: only a TreeRule has a transform within, measures, or takes examples")
        if {Mask, DecayMask} & {*cls.roles.values()}:
            raise TypeError(f"{cls.__name__}: only a LeafRule takes a mask")
        if cls.metrics:
            raise TypeError(f"{cls.__name__}: a MatrixRule has no metrics")

    @property
    def prepares(self) -> bool:
        """Whether it does anything to each element where the leaf lies."""
        return type(self).prepare is not MatrixRule.prepare

    @property
    def takes_matrices(self) -> bool:
        """Whether it needs whole matrices."""
        return type(self).update is not MatrixRule.update

    def begin(self, params: Flow, step: Step) -> Any:
        """Slots before the first step."""
        return matrices.begin(self, params)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step, by `prepare` and `update`."""
        return matrices.advance(self, flow, record, step)

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def prepare(self, grad: jax.Array, slots: Any, leaf: MatrixLeaf) -> tuple[jax.Array, Any]:
        """What becomes of each element of a leaf before its matrices are taken whole.

        Args:
          grad: the incoming update of the leaf, or of the part of it on this device, in the dtype of computation.
          slots: what was declared with `Slot`, as a NamedTuple; None in the place of the others.
          leaf: the context: step, parameter, extra arguments, reductions.

        Returns:
          The leaf that goes on and the new slots.
        """
        return grad, slots

    def update(self, grad: jax.Array, slots: Any, matrix: Matrices) -> tuple[jax.Array, Any]:
        """One step of whole matrices.

        Args:
          grad: what `prepare` returned, (..., rows, columns), in the dtype of computation.
          slots: what was declared with `MatrixSlot`, with the axes in front that `grad` has, and random keys, as a
            NamedTuple; None in the place of the others.
          matrix: the context: step, extra arguments, random numbers, refreshes.

        Returns:
          The outgoing update and the new slots.
        """
        return grad, slots


class TreeRule(Rule):
    """A rule that sees all leaves together, as a list in the order of the tree.

    A subclass has annotated fields for its hyperparameters, `Slot` and `Metric` for what it keeps and reports, and one
    `update(self, updates, slots, tree)`. `tree.norm`, `tree.sum` and the like are those of all leaves on all devices,
    `tree.map` maps over the list, and `tree.whole` makes the tree of it again.

    It may hold transforms as `Inner`. A metric, and a slot with `axes=()`, is one number for the whole tree.

    optax: none; an init and an update by hand. torch: none; a subclass of torch.optim.Optimizer.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Mask in cls.roles.values():
            raise TypeError(f"{cls.__name__}: only a LeafRule takes a mask")

    def begin(self, params: Flow, step: Step) -> Any:
        """Slots and metrics before the first step."""
        return first_tree_record(self, params)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step, by `update`."""
        flow, result, new = trees.call(self, "update", "updates", flow, record, step)
        return trees.onwards(self, flow, result), new

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: what `evaluated` makes of them, and then the transforms within."""
        if type(self).evaluated is not TreeRule.evaluated:
            params = trees.judge(self, params, record, step)
        for name, inner in self.inners.items():
            held, states = getattr(self, inner.field), getattr(record, name)
            for transform, state in trees.within(held, states):
                params = as_node(transform).judge(params, state, step)
        return params

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def update(self, updates: list[jax.Array], slots: Any, tree: Tree) -> tuple[Any, Any]:
        """One step of the whole tree.

        Args:
          updates: the leaves of the incoming updates, in the dtypes of computation; with `per_example` each has one
            more axis in front.
          slots: slots (a list with one for each leaf, a scalar, or a vector) and metrics (scalars) as a NamedTuple.
          tree: the context: step, parameters, extra arguments, reductions.

        Returns:
          The list of outgoing updates and the new slots.
        """
        raise TypeError(f"{type(self).__name__} has no update(self, updates, slots, tree)")

    def evaluated(self, params: list[jax.Array], slots: Any, tree: Tree) -> list[jax.Array]:
        """The parameters to judge a run by, where they are not those that it trains; see `eval_params`.

        Args:
          params: the leaves of the parameters that are trained, in the dtypes of computation.
          slots, tree: as in `update`, after a step; there are no extra arguments.

        Returns:
          The list of leaves, in the same shapes.
        """
        return params


class TreeScaleRule(TreeRule):
    """A tree rule that multiplies all updates by one number.

    In the place of `update` it has `factor(self, updates, slots, tree)`, which returns the number, of shape (), and the
    new slots. The multiplication is left to the rules that follow, so that it costs no pass over memory.

    optax: none; an init and an update by hand. torch: none; a subclass of torch.optim.Optimizer.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.per_example:
            raise TypeError(f"{cls.__name__}: only a TreeRule with an update takes per-example gradients")

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step, by `factor`."""
        flow, factor, new = trees.call(self, "factor", "factor", flow, record, step)
        return flow.replace(factor=checks.scalar(f"{self.call_name}: factor", jnp.asarray(factor))), new

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def factor(self, updates: list[jax.Array], slots: Any, tree: Tree) -> tuple[jax.Array, Any]:
        """The number, an array of shape (), and the new slots; the arguments are those of `TreeRule.update`."""
        raise TypeError(f"{type(self).__name__} has no factor(self, updates, slots, tree)")
