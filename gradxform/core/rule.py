"""Rules: what a gradient transformation declares. A rule is maths; the engine does the rest.

A rule's class lists its hyperparameters as annotated fields, what it remembers as slots, what it reports as metrics,
and has one `update`. Everything else that it may ask for comes through the context, `leaf` or `tree`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import optax

from gradxform.core.text import show

if TYPE_CHECKING:
    from gradxform.core.context import Leaf, Tree


@dataclasses.dataclass(frozen=True)
class Slot:
    """An array that a rule keeps from step to step.

    Args:
      init: the value that fills it at first, or the name of the hyperparameter that holds it.
      dtype: what it is kept in, or the name of the field that holds it. None: the dtype in which the rule computes,
        which is the parameter's, but float32 for bfloat16 and float16.
      axes: which axes of the parameter it keeps. None: all, so that it is like the parameter. `()`: none, a scalar; one
        a leaf in a LeafRule, one for the whole tree in a TreeRule. Or a function (rule, shape) -> axes, -> None where
        the leaf has no such slot (in its place is optax.MaskedNode), or -> a list of axes, for a tuple of arrays.
      length: where axes is `()`, the name of the field that holds how many numbers to keep: a vector in the place of a
        scalar.
      signed: False promises that no value is negative; such a slot is real for complex parameters.
      copy: whether it begins as a copy of the parameter, in place of `init`.
      measure: the name of a method or field of a TreeRule, a function of the parameters that returns what is there
        before the first step, in place of all else: any pytree of arrays.
    """

    init: float | str = 0.0
    dtype: Any = None
    axes: tuple[()] | Callable[[Any, tuple[int, ...]], Any] | None = None
    signed: bool = True
    copy: bool = False
    length: str | None = dataclasses.field(default=None, kw_only=True)
    measure: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Raises TypeError for many values in the place of one."""
        for name in self.numeric:
            value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
            if isinstance(value, list | tuple | dict) and not (
                self.declared[name].holds_several or isinstance(default, tuple | list)
            ):
                got = f"a dict of {', '.join(map(repr, value))}" if isinstance(value, dict) else show(value)
                raise TypeError(
                    f"{self.call_name}: {name} must be a real number, an array or a function of the step; got {got}; to "
                    "try many values at once, use jax.vmap over the transform"
                )
        super().__post_init__()

    def check_transform(self, name: str) -> None:
        """Raises TypeError unless a field holds a transform, ours or optax's."""
        value = getattr(self, name)
        if not isinstance(value, optax.GradientTransformation):
            hint = "; call it to make the transform" if callable(value) else ""
            raise TypeError(f"{self.call_name}: {name} must be a transform; got {show(value)}{hint}")


class LeafRule(Rule):
    """A rule that treats each leaf alone."""

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


class TreeRule(Rule):
    """A rule that sees all leaves together."""

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def update(self, updates: Any, slots: Any, tree: Tree) -> tuple[Any, Any]:
        """One step of the whole tree.

        Args:
          updates: the incoming updates, a pytree like the parameters, in the dtypes of computation; with `per_example`
            each leaf has one more axis in front.
          slots: slots (a tree like the parameters each, a scalar, or a vector) and metrics (scalars) as a NamedTuple.
          tree: the context: step, parameters, extra arguments, reductions.

        Returns:
          The outgoing updates and the new slots.
        """
        raise TypeError(f"{type(self).__name__} has no update(self, updates, slots, tree)")


class TreeScaleRule(TreeRule):
    """A tree rule that multiplies all updates by one number, which XLA then fuses into the rules that follow."""

    if TYPE_CHECKING:
        # What a decorator sees of a subclass, before the type checker has made the dataclass's own __init__.
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def factor(self, updates: Any, slots: Any, tree: Tree) -> tuple[jax.Array, Any]:
        """The number, an array of shape (), and the new slots; the arguments are those of `TreeRule.update`."""
        raise TypeError(f"{type(self).__name__} has no factor(self, updates, slots, tree)")
