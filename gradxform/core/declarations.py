"""What a rule declares beside its hyperparameters: slots, metrics, keys, extra arguments and transforms within."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable
from typing import Any, ClassVar, cast

from gradxform.core.flow import Node
from gradxform.core.short import in_short
from gradxform.core.text import show


@dataclasses.dataclass(frozen=True)
class Slot:
    """An array that a rule keeps from step to step, such as a momentum; in `update` it is `slots.name`.

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
      called: its name in the state, where a hyperparameter has that name already. None: the name it is declared by.
      where: the name of the field or property that says whether the rule has this slot; if not, optax.MaskedNode is in
        the place of each of its arrays. None: it always has.

    optax: none; a field of a state class by hand. torch: none; an entry of the state of torch.optim.Optimizer.
    """

    init: float | str = 0.0
    dtype: Any = None
    axes: tuple[()] | Callable[[Any, tuple[int, ...]], Any] | None = None
    signed: bool = True
    copy: bool = False
    length: str | None = dataclasses.field(default=None, kw_only=True)
    measure: str | None = dataclasses.field(default=None, kw_only=True)
    called: str | None = dataclasses.field(default=None, kw_only=True)
    where: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.length is not None and self.axes != ():
            raise TypeError(f"Slot: length={self.length!r} is for slots that keep no axes of the parameter, axes=()")

    def is_had_by(self, rule: Any) -> bool:
        """Whether a rule has it, by its arguments."""
        return self.where is None or bool(getattr(rule, self.where))

    @property
    def is_tree(self) -> bool:
        """Whether a tree rule has one for each leaf."""
        return self.axes != () and self.measure is None

    @property
    def is_like_param(self) -> bool:
        """Whether it has the parameter's shape for every leaf."""
        return self.axes is None and self.measure is None


@dataclasses.dataclass(frozen=True)
class MatrixSlot(Slot):
    """An array that a MatrixRule keeps for each matrix, and that its `update` sees beside the whole matrix.

    In the state it has the leaf's axes that count matrices in front. Where a leaf is split into matrices of several
    shapes, it is a tuple of arrays, one for each shape.

    Args:
      shape: a function (rule, rows, columns) -> its shape for a matrix of so many rows and columns; None where such a
        matrix has none, and optax.MaskedNode is in its place.
      diagonal: whether `init` is on the diagonal of the last two axes alone, with 0 elsewhere; of a vector everywhere.
      prepared: whether `prepare` sees it, and not `update`. Its shape is then (1, 1): one number for each matrix, as
        `leaf.norms` returns them and `leaf.spread` takes them.
      init, dtype, signed, called, where: as in `Slot`.
      axes, copy, length, measure: of `Slot`, and not for what has a shape of its own.

    optax: none; a field of a state class by hand. torch: none; an entry of the state of torch.optim.Optimizer.
    """

    shape: Callable[[Any, int, int], tuple[int, ...] | None] = dataclasses.field(kw_only=True)
    diagonal: bool = dataclasses.field(default=False, kw_only=True)
    prepared: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def is_tree(self) -> bool:
        """False: only a tree rule has a slot for each leaf in this sense."""
        return False

    @property
    def is_like_param(self) -> bool:
        """False: it has a shape of its own."""
        return False


@dataclasses.dataclass(frozen=True)
class Metric:
    """What a rule reports: a scalar, one a leaf in a LeafRule, one for the whole tree in a TreeRule.

    Args:
      init: its value before the first step.
      dtype: what it is reported in. None: the dtype in which the rule computes norms, which is float32 unless the
        parameters are float64.
      measure: the name of a method or field of a TreeRule, a function of the parameters that returns what is there
        before the first step, in place of `init` and `dtype`: any pytree of arrays.
      named: whether what is measured is a dict whose keys are the names of metrics, in place of this one's.
      each: the name of a field of a TreeRule that holds a dict, or None: a scalar for each of its keys.

    optax: none; a field of a state class by hand. torch: none; an entry of the state of torch.optim.Optimizer.
    """

    init: float = 0.0
    dtype: Any = None
    measure: str | None = None
    named: bool = dataclasses.field(default=False, kw_only=True)
    each: str | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Key:
    """A random key: in `update` a new one at each step, and in a LeafRule another for each leaf.

    The state keeps its data, uint32, once for the whole rule.

    Args:
      seed: the name of the field that holds the seed.

    optax: none; a field of a state class by hand. torch: none; an entry of the state of torch.optim.Optimizer.
    """

    seed: str = "key"


@dataclasses.dataclass(frozen=True)
class Extra:
    """An argument of `update(..., name=value)` that a rule reads as `leaf.extra["name"]`, such as the loss's value.

    Args:
      where: the name of the field or property that says whether the rule asks for it. None: it always does.

    optax: none; arguments of `update` by name. torch: none; the closure of `step`.
    """

    where: str | None = None


@dataclasses.dataclass(frozen=True)
class Inner:
    """The state of a transform, ours or optax's, that a TreeRule holds in a field and calls with `tree.inner`.

    Args:
      field: the name of the field that holds the transform, or a dict with transforms among its values. Of a dict the
        state is one too: that of the transform under `name` is under `name_state`.

    optax: none; a field of a state class by hand. torch: none.
    """

    field: str


class Rule(Node):
    """What leaf rules and tree rules share: the declarations, read from the class body.

    `real_only` refuses complex leaves, `any_dtype` lets integers and the like through. `per_example` is for a TreeRule
    that stands first in its chain: its updates come with one more axis in front, that of the examples of a batch, and
    leave without it. `is_measure` is for a TreeRule whose result is no update but a measurement, any pytree of arrays,
    as `monitor` takes them; it stands last in its chain.
    """

    slots: ClassVar[dict[str, Slot]]
    metrics: ClassVar[dict[str, Metric]]
    keys: ClassVar[dict[str, Key]]
    extras: ClassVar[dict[str, Extra]]
    inners: ClassVar[dict[str, Inner]]
    State: ClassVar[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if taken := [name for name in cls.roles if hasattr(Rule, name) or name in Rule.__annotations__]:
            raise TypeError(f"{cls.__name__}: {', '.join(taken)} has a meaning of its own in every rule")
        declared = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
        cls.slots = {value.called or name: value for name, value in declared.items() if isinstance(value, Slot)}
        cls.metrics = {name: value for name, value in declared.items() if isinstance(value, Metric)}
        cls.keys = {name: value for name, value in declared.items() if isinstance(value, Key)}
        cls.extras = {name: value for name, value in declared.items() if isinstance(value, Extra)}
        cls.inners = {name: value for name, value in declared.items() if isinstance(value, Inner)}
        names = (*cls.slots, *cls.keys, *cls.inners, *cls.metrics)
        cls.State = cast(Any, namedtuple(f"{cls.__name__}State", names))
        # Pickle finds a class by its qualified name: here, beside the rule.
        cls.State.__qualname__, cls.State.__module__ = f"{cls.__qualname__}.State", cls.__module__
        cls.State.metrics, cls.State.inners, cls.State.__repr__ = cls.metrics, tuple(cls.inners), in_short

    def __post_init__(self) -> None:
        """Raises TypeError for many values in the place of one."""
        for name in self.numeric:
            value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
            if isinstance(value, list | tuple | dict) and not (
                self.declared[name].holds_several or isinstance(default, tuple | list)
            ):
                got = f"a dict of {', '.join(map(repr, value))}" if isinstance(value, dict) else show(value)
                raise TypeError(
                    f"{self.call_name}: {name} must be a real number, an array or a function of the step; got {got}; "
                    "to try many values at once, use jax.vmap over the transform"
                )
        super().__post_init__()

    @property
    def live_names(self) -> tuple[str, ...]:
        """Its numeric hyperparameters."""
        return self.numeric
