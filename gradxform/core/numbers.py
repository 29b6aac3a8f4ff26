"""Python's numbers as arguments of a compiled program: another number is another call of it, and no other program."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Number:
    """A Python number in two parts whose sum it is, so that 1 - b2 keeps the digits that float32 has no room for.

    A rule computes with it as with an array of shape (). As a constant of the program 1 - 0.999 would be taken in
    Python's precision; from float32(0.999) alone it is off by 1e-5.

    Attributes:
      high: the number, rounded to float32; an array of shape ().
      low: what that leaves out, in the dtype of `high`.
    """

    def __init__(self, high: Any, low: Any) -> None:
        self.high, self.low = high, low

    @classmethod
    def of(cls, value: float) -> Number:
        """The parts of a Python number, which JAX takes in float32, or in float64 where that is enabled."""
        high = np.float64(np.float32(value))
        # Infinity leaves nothing out, and infinity less itself is NaN.
        return cls(high, np.float64(value - high if np.isfinite(high) else 0.0))

    @property
    def value(self) -> jax.Array:
        """The number as an array of shape ()."""
        return jnp.asarray(self.high) + jnp.asarray(self.low)

    def __jax_array__(self) -> jax.Array:
        return self.value

    def __rsub__(self, other: Any) -> Any:
        return (other - jnp.asarray(self.high)) - jnp.asarray(self.low)

    def __neg__(self) -> Number:
        return Number(-self.high, -self.low)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.value, name)


def _as_array(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *others: operation(self.value, *others)


def _reflected(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: operation(other, self.value)


# Operators are looked up in the class, past __getattr__.
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _as_array(getattr(operator, _name)))
for _name in ("add", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Number, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _name, _operation in {"abs": abs, "bool": bool, "float": float, "int": int, "index": operator.index}.items():
    setattr(Number, f"__{_name}__", _as_array(_operation))


def _flatten_with_keys(number: Number) -> tuple[list[tuple[Any, Any]], None]:
    return [(jax.tree_util.SequenceKey(i), part) for i, part in enumerate((number.high, number.low))], None


def _unflatten(_: None, parts: Any) -> Number:
    return Number(*parts)


jax.tree_util.register_pytree_with_keys(Number, _flatten_with_keys, _unflatten)
