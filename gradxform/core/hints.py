"""What to do instead: hints for arguments that a function does not have, and for what is no transform or no state."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, ParamSpec, TypeVar

import optax

P = ParamSpec("P")
T = TypeVar("T")

# What torch and Keras call it, and ours, of which those that the function has are named.
_ELSEWHERE = {
    "lr": ("learning_rate", "init_value"),
    "lr_schedule": ("learning_rate",),
    "schedule": ("learning_rate", "step_size_fn"),
    "betas": ("b1", "b2", "b3"),
    "beta": ("b1", "decay"),
    "beta1": ("b1",),
    "beta2": ("b2",),
    "beta_1": ("b1",),
    "beta_2": ("b2",),
    "epsilon": ("eps",),
    "alpha": ("decay",),
    "rho": ("decay",),
    "momentum": ("decay", "b1"),
    "wd": ("weight_decay",),
    "decay": ("weight_decay", "momentum"),
    "weight_decay_mask": ("mask",),
    "max_norm": ("max_delta", "clipping", "threshold"),
    "clip_value": ("max_delta",),
    "t_max": ("decay_steps",),
    "gamma": ("decay_rate",),
    "num_steps": ("decay_steps", "transition_steps"),
    "steps": ("every", "decay_steps", "transition_steps"),
}
_SEVERAL = ("betas",)
_NOWHERE = {
    "amsgrad": "it is a transform of its own, amsgrad",
    "foreach": "XLA needs no such choice",
    "fused": "XLA needs no such choice",
    "capturable": "XLA needs no such choice",
    "params": "the parameters go to init(params) and to update(updates, state, params)",
    "maximize": "chain(scale(-1.0), ...) goes uphill",
    "clipnorm": "chain(clip_by_global_norm(...), ...) clips",
    "total_steps": "give the schedule its steps",
}


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """Which of the names that there are may be meant; empty if none is near."""
    there = list(there)
    ours = [each for each in _ELSEWHERE.get(name.lower(), ()) if each in there]
    near = ours or difflib.get_close_matches(name.lower(), there, 3)
    # Of betas both are meant; of what is near one.
    joint = " and " if name in _SEVERAL else " or "
    return f"did you mean {joint.join(near)}?" if near else ""


def make_ours(value: object) -> str:
    """What to do with what is no transform of ours, behind a semicolon; empty if that cannot be said."""
    if isinstance(value, optax.GradientTransformation):
        return "; make it with gradxform's function of that name"
    return "; call it to make the transform" if callable(value) else ""


def make_a_state(state: Any) -> str:
    """What to do with what is no state of ours."""
    if isinstance(state, Mapping) and {"count", "stages"} <= set(state):
        return "Orbax restores it so without a template: give it tx.init(params), or call migrate(state, tx, params)"
    if _is_of_optax(state):
        return "it is optax's: take it over with from_optax(state, tx, params)"
    if hasattr(state, "opt_state"):
        return "pass its opt_state"
    if isinstance(state, tuple) and len(state) == 2 and hasattr(state[1], "stages"):
        return "its second part is one: update returns (updates, state)"
    return "the order is update(updates, state, params)"


def _is_of_optax(state: Any) -> bool:
    # In ours optax.MaskedNode may stand for slots.
    if hasattr(state, "stages"):
        return False
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, tuple | list) else ()
    return type(state).__module__.split(".")[0] == "optax" or any(map(_is_of_optax, parts))


def unknown_argument(call: str, name: str, parameters: Iterable[str]) -> str:
    """The sentence for an argument that a function does not have."""
    there = list(parameters)
    hint = did_you_mean(name, there) or _NOWHERE.get(name, f"it has {', '.join(there) or 'none'}")
    return f"{call}() has no argument {name!r}; {hint}"


def check_arguments(
    call: str, parameters: Mapping[str, inspect.Parameter], positional: Sized, given: Iterable[str]
) -> None:
    """Raises TypeError for an argument that a function does not have, with those that may be meant."""
    kinds = [parameter.kind for parameter in parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        first = [name for name, each in parameters.items() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        if len(positional) > len(first):
            others = [name for name in parameters if name not in first]
            hint = f"; by name it takes {', '.join(others)}" if others else ""
            raise TypeError(f"{call}() takes {', '.join(first) or 'nothing'} by position, got {len(positional)}{hint}")
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    named = [name for name, each in parameters.items() if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    for name in given:
        if name not in parameters:
            raise TypeError(unknown_argument(call, name, named))


def hinting(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose TypeError for an argument that it does not have names those that may be meant."""
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        check_arguments(function.__name__, parameters, args, kwargs)
        return function(*args, **kwargs)

    return call
