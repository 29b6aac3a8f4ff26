"""optax's wrappers, and second-order methods, as they are, in transforms that say what they wrap.

Each is optax's function of the same name and takes its arguments, ours or optax's transforms among them; what it makes
is a Transform that prints as the call, compares and hashes by its arguments, and pickles if they do. The arithmetic is
optax's own, with optax's treatment of low precision and of devices.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp
import optax

from gradxform.core.engine import Stage
from gradxform.core.fields import Hyper
from gradxform.core.guest import Guest
from gradxform.core.hints import check_arguments
from gradxform.core.record import Branch
from gradxform.core.registry import register
from gradxform.core.text import show, written_call
from gradxform.core.transform import Transform

P = ParamSpec("P")


class Borrowed(Guest):
    """A call of one of optax's functions, with its arguments by name."""

    function: Callable[..., Any]
    static: dict[str, Any]
    # Arrays are leaves of the transform, or a traced one would leave `jit` and `vmap` inside it.
    arrays: dict[str, Hyper] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Leaves out what is at its default, so that two calls that do the same are equal."""
        parameters = inspect.signature(self.function).parameters
        given = {name: value for name, value in self.arguments.items() if not _is(parameters[name].default, value)}
        arrays = {name: value for name, value in given.items() if _is_float_array(value)}
        object.__setattr__(self, "static", {name: value for name, value in given.items() if name not in arrays})
        object.__setattr__(self, "arrays", arrays)
        super().__post_init__()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, in the order of the call."""
        given = {**self.static, **self.arrays}
        return {name: given[name] for name in inspect.signature(self.function).parameters if name in given}

    def parts(self) -> dict[str, Any]:
        """The arguments by name."""
        return self.arguments

    def with_parts(self, **parts: Any) -> Borrowed:
        """The call with other arguments."""
        return Borrowed(self.function, {**self.arguments, **parts})

    def saved(self) -> tuple[Any, dict[str, Any]]:
        """All arguments, so that optax may change a default; but not a default that is a transform of optax's."""
        bound = inspect.signature(self.function).bind_partial()
        bound.arguments.update(self.arguments)
        bound.apply_defaults()
        told = {
            name: value
            for name, value in bound.arguments.items()
            if name in self.arguments or not isinstance(value, optax.GradientTransformation)
        }
        return self.function, told

    @property
    def pair(self) -> optax.GradientTransformation:
        """What optax's function returns."""
        return self._made

    @functools.cached_property
    def _made(self) -> optax.GradientTransformation:
        signature = inspect.signature(self.function)
        bound = signature.bind_partial()
        bound.arguments.update(self.arguments)
        return self.function(*bound.args, **bound.kwargs)

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """A step of optax's function; what it wraps of ours reduces over all devices by itself."""
        if any(map(_is_branch, jax.tree.leaves(self.arguments, is_leaf=_is_branch))):
            return optax.with_extra_args_support(self.pair).update(updates, state, params, **extra)
        return super().update(updates, state, params, extra)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __repr__(self) -> str:
        signature = inspect.signature(self.function)
        return written_call(self.name, list(_written(signature, self.arguments)))


def _check_transforms(what: str, value: Any) -> None:
    """Raises TypeError for what is no transform, nor a dict or a row of them, where optax asks for one."""
    for each in value.values() if isinstance(value, Mapping) else value if type(value) in (tuple, list) else [value]:
        # optax.MultiSteps is no GradientTransformation, and does as one.
        if each is not None and not hasattr(each, "init"):
            hint = "; call it to make the transform" if callable(each) else ""
            raise TypeError(f"{what} must be a transform; got {show(each)}{hint}")


def _is_float_array(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)


def _is(default: Any, value: Any) -> bool:
    # Text tells 1 from True and from 1.0; of functions and of optax's pairs it does not tell enough.
    is_told = isinstance(default, bool | int | float | str | NoneType) or type(default) is tuple
    return value is default or (is_told and show(value) == show(default))


def _is_branch(value: Any) -> bool:
    return isinstance(value, Branch)


def _written(signature: inspect.Signature, arguments: dict[str, Any]) -> Any:
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from map(show, value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from (f"{key}={show(item)}" for key, item in value.items())
        else:
            yield f"{name}={show(value)}"


def borrow(function: Callable[P, Any]) -> Callable[P, Transform]:
    """optax's function, making a Transform."""
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(**arguments: Any) -> Borrowed:
        for name, parameter in parameters.items():
            if name in arguments and "GradientTransformation" in str(parameter.annotation):
                _check_transforms(f"{function.__name__}: {name}", arguments[name])
        guest = Borrowed(function, arguments)
        # Made at once, so that a wrong argument is an error here and not at the first step.
        _ = guest.pair
        return guest

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Transform:
        check_arguments(function.__name__, parameters, args, kwargs)
        guest = call(**inspect.signature(function).bind(*args, **kwargs).arguments)
        return Transform((Stage(guest.name, guest),))

    register(function, function.__name__, call)

    # By this name pickle finds it.
    make.__module__ = __name__
    return make


# Line searches and second order.
lbfgs = borrow(optax.lbfgs)
scale_by_backtracking_linesearch = borrow(optax.scale_by_backtracking_linesearch)
scale_by_lbfgs = borrow(optax.scale_by_lbfgs)
scale_by_zoom_linesearch = borrow(optax.scale_by_zoom_linesearch)
