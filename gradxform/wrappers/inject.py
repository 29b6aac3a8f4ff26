"""inject_hyperparams: any factory's hyperparameters in the state."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradxform.core import checks
from gradxform.core.annotations import names_at
from gradxform.core.engine import Stage
from gradxform.core.fields import Dtype, Hyper, is_numeric, role_of
from gradxform.core.guest import Guest, step
from gradxform.core.hints import check_arguments
from gradxform.core.hyperparameters import as_live
from gradxform.core.precision import real_dtype
from gradxform.core.record import Function, Record
from gradxform.core.registry import register
from gradxform.core.text import show, written_call
from gradxform.core.transform import Transform


class InjectStatefulHyperparamsState(NamedTuple):
    """The state of a transform whose hyperparameters live in it, with the fields of optax's.

    Attributes:
      count: int32 of shape (): how many updates were done.
      hyperparams: arrays of shape () by the arguments' names. A new value in the dict, or `gx.adjust`, changes one.
      hyperparams_states: the names of those that follow a schedule, which writes over what is put in their places; with
        the schedule's own state where it is one of optax's `StatefulSchedule`, else with `()`.
      inner_state: the state of the transform that is made of them.

    optax: InjectStatefulHyperparamsState. torch: the param_groups of torch.optim.Optimizer.
    """

    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]: optax's name; nobody counts in a state
    hyperparams: dict[str, jax.Array]
    hyperparams_states: dict[str, Any]
    inner_state: Any


class InjectHyperparams(Guest):
    """A call of a factory whose numbers and schedules live in the state."""

    function: Callable[..., Any]
    static: dict[str, Any]
    numbers: Hyper
    dtype: Dtype | None = None

    @property
    def name(self) -> str:
        """What it is called in a chain."""
        return "inject_hyperparams"

    def parts(self) -> dict[str, Any]:
        """The arguments of the factory by name."""
        return {**self.static, **self.numbers}

    def with_parts(self, **parts: Any) -> InjectHyperparams:
        """The call with other arguments."""
        return injected(self.function, {**self.parts(), **parts}, set(self.static), self.dtype)

    @property
    def schedules(self) -> dict[str, Any]:
        """The hyperparameters that are functions of the step."""
        return {name: value for name, value in self.numbers.items() if callable(value)}

    @property
    def stateful(self) -> dict[str, Any]:
        """Those of the schedules that keep a state of their own, and may read the extra arguments of `update`."""
        functions = {name: value.function for name, value in self.schedules.items() if isinstance(value, Function)}
        return {name: f for name, f in functions.items() if isinstance(f, optax.schedules.StatefulSchedule)}

    def init(self, params: Any) -> InjectStatefulHyperparamsState:
        """The first values, and the state of the transform that they make."""
        dtype = self.dtype or real_dtype(*(leaf.dtype for leaf in jax.tree.leaves(params) if hasattr(leaf, "dtype")))
        states = {**dict.fromkeys(self.schedules, ()), **{name: f.init() for name, f in self.stateful.items()}}
        first = {**self.numbers, **self._scheduled(0, states, {})}
        values = {
            name: jnp.array(checks.scalar(name, checks.number(name, x)), dtype, copy=True) for name, x in first.items()
        }
        return InjectStatefulHyperparamsState(jnp.zeros((), jnp.int32), values, states, self._made(values).init(params))

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """One step of the transform that the values make."""
        if sorted(state.hyperparams) != sorted(self.numbers):
            raise ValueError(
                f"inject_hyperparams: expected hyperparameters {sorted(self.numbers)} in the state, "
                f"got {sorted(state.hyperparams)}"
            )
        values = self.hyperparams(state, extra)
        states = {name: f.update(state.hyperparams_states[name], **extra) for name, f in self.stateful.items()}
        updates, inner_state = step(self.name, self._made(values), updates, state.inner_state, params, extra)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, InjectStatefulHyperparamsState(
            count, values, {**state.hyperparams_states, **states}, inner_state
        )

    def hyperparams(self, state: Any, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """The values in the next update, which is to have these extra arguments; schedules at the state's count."""
        live = as_live(state.hyperparams)
        scheduled = self._scheduled(state.count, state.hyperparams_states, extra or {})
        return {**live, **{name: jnp.asarray(value, live[name].dtype) for name, value in scheduled.items()}}

    def _scheduled(self, count: Any, states: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        stateful = self.stateful
        values = {name: schedule(count) for name, schedule in self.schedules.items() if name not in stateful}
        # As for functions of the step: optax's mix integers with floats, which must not fail where promotion is strict.
        with jax.numpy_dtype_promotion("standard"):
            return {**values, **{name: f(states[name], **extra) for name, f in stateful.items()}}

    def _made(self, values: dict[str, Any]) -> Any:
        return self.function(**self.static, **values)

    def __repr__(self) -> str:
        function = self.function
        name = function.__name__ if _is_ours(function) else show(function)
        return written_call(
            f"inject_hyperparams({name})", [f"{name}={show(value)}" for name, value in self.parts().items()]
        )


def _from_file(function: Callable[..., Any], static: Any, numbers: Any, dtype: Any = None) -> InjectHyperparams:
    """The guest that a file tells of, which chooses what is called with which arguments."""
    if not _is_ours(function) and getattr(function, "__module__", "").split(".")[0] != optax.__name__:
        raise ValueError(f"inject_hyperparams: from a file only factories of gradxform and optax; got {show(function)}")
    return InjectHyperparams(function, static, numbers, dtype)


register(InjectHyperparams, InjectHyperparams.call_name, _from_file)


def inject_hyperparams(
    inner_factory: Callable[..., optax.GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Dtype | None = None,
) -> Callable[..., Transform]:
    """Makes a factory's numbers and schedules live in the state, where they can be read and changed.

        tx = inject_hyperparams(adamw)(learning_rate=schedule, b1=0.9)
        state.hyperparams["b1"] = 0.8  # or: state = adjust(state, b1=0.8)

    Each step makes the transform anew of the state's values, so any factory will do, of ours, of optax or your own. A
    chain of ours needs it not: `live` does so for the hyperparameters of a transform that is there.

    The factory's annotations say which arguments are hyperparameters. Of our factories these are numbers and schedules,
    whether given as floats or as integers, and never masks, dtypes and flags. Of other factories they are floats,
    arrays, and functions where the annotation allows a float or there is none. A schedule may have a state of its own:
    an object with `init()`, `update(state, **extra)` and a call `(state, **extra)`, as optax's `StatefulSchedule`.

    Args:
      inner_factory: what makes a transform of its arguments.
      static_args: names of arguments that are no hyperparameters, whatever they look like.
      hyperparam_dtype: what they are kept in. None: float32, or float64 if parameters are.

    Returns:
      A factory of the same arguments, whose transform's state has `hyperparams`.

    Raises:
      TypeError: no function; an argument that the factory has not.
      ValueError: in `update`, a name in `state.hyperparams` that no hyperparameter has.

    optax: inject_hyperparams, which keeps them in the parameters' dtype, makes arrays of integers, takes every function
    for a schedule and every name for one of its own. torch: `param_groups`.
    """
    if not callable(inner_factory):
        raise TypeError(
            f"inject_hyperparams takes a function that makes a transform, such as adamw; got {show(inner_factory)}"
        )
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    name = getattr(inner_factory, "__name__", "the factory")
    if unknown := sorted(static - set(signature.parameters)):
        raise ValueError(f"inject_hyperparams: static_args has {', '.join(unknown)}, which the factory has not")

    @functools.wraps(inner_factory)
    def make(*args: Any, **kwargs: Any) -> Transform:
        check_arguments(name, signature.parameters, args, kwargs)
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        guest = injected(inner_factory, by_name(signature, call.arguments), static, hyperparam_dtype)
        # Made once at once, so that a wrong argument is an error here and not at the first step.
        inner_factory(*call.args, **call.kwargs)
        return Transform((Stage(guest.name, guest),))

    # Pickle finds a function by its name, which here is that of the factory.
    del make.__wrapped__
    return make


def inject_stateful_hyperparams(
    inner_factory: Callable[..., optax.GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Dtype | None = None,
) -> Callable[..., Transform]:
    """`inject_hyperparams` under the older of optax's names for it: both take schedules with a state of their own.

    Args:
      inner_factory, static_args, hyperparam_dtype: as `inject_hyperparams` has them.

    Returns:
      What `inject_hyperparams` returns.

    Raises:
      TypeError, ValueError: as `inject_hyperparams`.

    optax: inject_stateful_hyperparams, which is deprecated there. torch: `param_groups`.
    """
    return inject_hyperparams(inner_factory, static_args, hyperparam_dtype)


def by_name(signature: inspect.Signature, arguments: dict[str, Any]) -> dict[str, Any]:
    """Bound arguments by name, those of `**kwargs` among them. Raises TypeError for positional ones without a name."""
    named: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL or kind is inspect.Parameter.POSITIONAL_ONLY:
            if value:
                raise TypeError(f"inject_hyperparams takes factories whose arguments have names; {name} has none")
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def injected(
    function: Callable[..., Any], arguments: dict[str, Any], static: set[str], dtype: Dtype | None
) -> InjectHyperparams:
    """The guest of a call, its arguments parted in those that live in the state and the others."""
    told, names = inspect.signature(function).parameters, names_at(function)
    # Ours say of each argument what it is; where others say nothing, it is to be guessed.
    record: Any = getattr(function, "record", None)
    says_all = record is not None or _is_ours(inspect.unwrap(function))

    def is_hyperparameter(name: str, value: Any) -> bool:
        if name in static or value is None or isinstance(value, bool | tuple | list | dict | str):
            return False
        annotation = told[name].annotation if name in told else inspect.Parameter.empty
        role = role_of(annotation, names) if record is None else record.roles[name]
        return is_numeric(role) if says_all or role is not None else _looks_like_one(annotation, value)

    numbers = {name: value for name, value in arguments.items() if is_hyperparameter(name, value)}
    rest = {name: value for name, value in arguments.items() if name not in numbers}
    return InjectHyperparams(function, rest, numbers, dtype)


def _looks_like_one(annotation: Any, value: Any) -> bool:
    """Whether an argument of a factory that knows nothing of hyperparameters is one."""
    says_nothing = annotation is inspect.Parameter.empty
    takes_floats = annotation is float or float in get_args(annotation) or "float" in str(annotation).split("[")[0]
    if isinstance(value, Record):
        return True
    if callable(value):
        return says_nothing or takes_floats
    if isinstance(value, int):
        # What takes bools too, as ArrayLike does, says nothing of integers: they may be counts.
        return takes_floats and bool not in get_args(annotation)
    return isinstance(value, float) or (
        isinstance(value, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(value.dtype, jnp.floating)
    )


def _is_ours(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", "").split(".")[0] == __name__.split(".")[0]
