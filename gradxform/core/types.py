"""What type checkers are told of values that users pass and get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

from gradxform.core.record import Live

Params: TypeAlias = Any
"""A pytree of arrays, of whatever kind: no type can say which classes are registered as pytrees."""

Updates: TypeAlias = Any
"""A pytree like the parameters."""

Scalar: TypeAlias = "float | jax.Array | np.ndarray[Any, Any] | np.number[Any]"
"""A number, or an array of shape ()."""

ScalarOrSchedule: TypeAlias = "float | jax.Array | np.ndarray[Any, Any] | np.number[Any] | Callable[[Any], Any] | Live"
"""A number, an array of shape (), a function of the step, or a number that lives in the state."""


class GradientTransformation(Protocol):
    """A transform, ours or optax's: said by its parts, since to mypy all that is optax's may be anything."""

    @property
    def init(self) -> Callable[..., Any]:
        """params -> state."""
        ...

    @property
    def update(self) -> Callable[..., Any]:
        """(updates, state, params) -> (updates, state)."""
        ...

    # It is a tuple of the two; optax.MultiSteps, which has them too, is none.
    def __len__(self) -> int: ...
