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


def borrow(function: Callable[P, Any], docstring: str) -> Callable[P, Transform]:
    """optax's function, making a Transform.

    Args:
      function: optax's.
      docstring: what it says of itself here.
    """
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
    make.__module__, make.__doc__ = __name__, inspect.cleandoc(docstring)
    return make


# Line searches and second order.
lbfgs = borrow(
    optax.lbfgs,
    """L-BFGS: steps by an approximation of the inverse Hessian, as far as a line search goes.

        u = -eta scale_by_lbfgs(g),   eta of the line search

    With the default line search call `update(grads, state, params, value=f, grad=grads, value_fn=loss)`. It is for full
    batches and models of moderate size.

    Args:
      learning_rate: a factor of the step before the line search; a number or a schedule. None: 1.
      memory_size, scale_init_precond: as in `scale_by_lbfgs`.
      linesearch: a transform that finds how far to go, such as `scale_by_backtracking_linesearch`. None: there is none,
        and learning_rate alone says how far.

    Extra arguments of `update`: those of the line search: value, grad and value_fn, the loss as a function of the
    parameters.

    Liu & Nocedal 1989, Mathematical Programming 45. optax: lbfgs, whose arithmetic this is. torch: torch.optim.LBFGS
    with line_search_fn="strong_wolfe", which calls a closure.
    """,
)
scale_by_backtracking_linesearch = borrow(
    optax.scale_by_backtracking_linesearch,
    """Shortens a step until the loss falls by a part of what its slope promises.

        u = eta g,   the first eta of a shrinking row for which
        f(p + eta g) <= (1 + rtol) f(p) + slope_rtol eta <g, grad f(p)> + atol

    What comes in is to be a descent direction, as after `sgd` without momentum. Call
    `update(updates, state, params, value=f, grad=grads, value_fn=loss)`.

    Args:
      max_backtracking_steps: how many times it shortens, at most.
      slope_rtol: the part of the promised decrease that is asked for.
      decrease_factor: the factor of eta from one try to the next, below 1.
      increase_factor: the factor of the last eta with which the next step begins; 1 for the last eta, infinity for
        max_learning_rate.
      max_learning_rate: the largest eta.
      atol, rtol: how much the loss may be above the bound, and how much relative to itself.
      store_grad: whether the state keeps value and gradient at the new parameters, for
        `optax.value_and_grad_from_state`.
      verbose: whether to print what it tries.

    Extra arguments of `update`: value, grad and value_fn; and those of value_fn.

    Armijo 1966; Vaswani et al. 2019, arXiv:1905.09997. optax: scale_by_backtracking_linesearch, whose arithmetic this
    is. torch: none.
    """,
)
scale_by_lbfgs = borrow(
    optax.scale_by_lbfgs,
    """Multiplies by an approximation of the inverse Hessian, made of the last changes of gradient and parameters.

        s_i = p_(i+1) - p_i,   y_i = g_(i+1) - g_i,   rho_i = 1 / <y_i, s_i>   for the last memory_size steps i
        from the last i to the first:   a_i = rho_i <s_i, g>,   g <- g - a_i y_i
        u = gamma g,   gamma = <s_i, y_i> / <y_i, y_i> of the last i
        from the first i to the last:   u <- u + (a_i - rho_i <y_i, u>) s_i

    At the first step gamma is the reciprocal of the norm of g, and at most 1. The sign of g stays: what follows in the
    chain turns it, as in `lbfgs`.

    Args:
      memory_size: how many changes are kept.
      scale_init_precond: whether gamma is as above; False for 1.

    Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5. optax: scale_by_lbfgs, whose arithmetic this
    is. torch: inside torch.optim.LBFGS.
    """,
)
scale_by_zoom_linesearch = borrow(
    optax.scale_by_zoom_linesearch,
    """Finds how far to step, so that the loss falls enough and its slope flattens.

        u = eta g,   with an eta for which
        f(p + eta g) <= f(p) + slope_rtol eta <g, grad f(p)> + tol
        |<g, grad f(p + eta g)>| <= curv_rtol |<g, grad f(p)>| + tol

    Where the loss has changed by less than approx_dec_rtol of itself, the first bound is judged by slopes, as rounding
    hides such changes. Call `update(updates, state, params, value=f, grad=grads, value_fn=loss)`.

    Args:
      max_linesearch_steps: how many values of eta it tries, at most.
      max_learning_rate: the largest eta. None: no bound.
      tol: how far both bounds may be missed.
      increase_factor: the factor of eta while no interval is found that holds a good one.
      slope_rtol: the part of the promised decrease that is asked for.
      curv_rtol: the part of the slope that may be left; infinity asks for the first bound alone.
      approx_dec_rtol: as said above. None: losses alone count.
      stepsize_precision: an interval that is shorter ends the search with an eta that meets the first bound.
      initial_guess_strategy: "one": eta begins with 1, as Newton's methods want; "keep": with that of the last step.
      verbose: whether to print where the search fails.

    Extra arguments of `update`: value, grad and value_fn; and those of value_fn.

    Nocedal & Wright 2006, Numerical Optimization, algorithms 3.5 and 3.6; Hager & Zhang 2006, ACM Transactions on
    Mathematical Software 32(1). optax: scale_by_zoom_linesearch, whose arithmetic this is. torch: inside
    torch.optim.LBFGS, as "strong_wolfe".
    """,
)
