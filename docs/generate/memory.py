"""What a transform keeps from step to step: made with its defaults, and measured on the shapes of one matrix."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import gradxform as gx
from docs.generate import symbols

SIDE = 1024
# What stands for arguments without a default; where something else is wanted, nothing is measured.
_BY_NAME: dict[str, Any] = {
    "learning_rate": 1e-3,
    "decay": 0.9,
    "batch_size": 32,
    "every": 4,
    "sync_period": 4,
    "slow_step_size": 0.5,
    "b1": 0.9,
    "l2_norm_clip": 1.0,
    "noise_multiplier": 1.0,
}
_FLOATS = ("Hyper", "Positive", "NonNegative", "float")


class Made(NamedTuple):
    """A transform with its defaults, and what it keeps.

    Attributes:
      transform: what was made.
      is_around: whether it holds another, `adam`, whose slots are counted too.
      dtype: of the parameter.
      slots: bytes a parameter by the name of the slot, of those that are more than a few numbers.
      total: bytes a parameter in all.
    """

    transform: gx.Transform
    is_around: bool
    dtype: str
    slots: dict[str, float]
    total: float


def made(name: str) -> Made | None:
    """A public transform; None for what is none, or has arguments that only its user can tell."""
    function = symbols.object_of(name)
    if not symbols.is_transform_maker(function):
        return None
    arguments = _arguments(function)
    if arguments is None:
        return None
    try:
        transform = function(**arguments)
    except (TypeError, ValueError):
        return None
    if not isinstance(transform, gx.Transform):
        return None
    for dtype in (jnp.float32, jnp.bfloat16):
        try:
            described = gx.describe(transform, {"kernel": jax.ShapeDtypeStruct((SIDE, SIDE), dtype)})
        except (TypeError, ValueError):
            # Some are for parameters of 16 bits alone, and some for more than a matrix.
            continue
        is_around = any(isinstance(value, gx.Transform) for value in arguments.values())
        total = (described.state_bytes or 0) / SIDE**2
        return Made(transform, is_around, jnp.dtype(dtype).name, _slots(described), total)
    return None


def _arguments(function: Any) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        annotation = symbols.annotation_text(parameter.annotation)
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        if parameter.name in _BY_NAME:
            found[parameter.name] = _BY_NAME[parameter.name]
        elif annotation == "GradientTransformation":
            found[parameter.name] = gx.adam(1e-3)
        elif annotation in _FLOATS:
            found[parameter.name] = 1.0
        elif annotation == "Seed":
            found[parameter.name] = 0
        else:
            return None
    return found


def _slots(described: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in described.parts:
        for kept in part.kept:
            if kept.kind in ("slot", "array") and (kept.bytes or 0) >= SIDE**2 // 100:
                found[kept.name] = found.get(kept.name, 0) + kept.bytes / SIDE**2
    return found


def told(kept: Made) -> str:
    """What is kept, in a sentence."""
    what = f"{'around `adam`, ' * kept.is_around}measured on a {kept.dtype} matrix of {SIDE} x {SIDE}"
    if not kept.slots:
        if kept.total * SIDE**2 < SIDE:
            return "No state but a few numbers."
        return f"Less than a hundredth of a byte of state a parameter, {what}."
    listed = ", ".join(f"`{name}` {number(size)}" for name, size in kept.slots.items())
    return f"{number(kept.total)} bytes of state a parameter, {what}: {listed}."


def number(value: float) -> str:
    """A number with as many digits as it needs, two at most behind the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
