"""Functions of two variables to try methods on, with their minima, at each of which they are 0.

optax: none. torch: none.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Landscape:
    """A function of x = (x1, x2) that is 0 at its global minima and more elsewhere.

    Attributes:
      name: what it is called.
      function: of x1 and x2.
      minima: the global minima.
      start: where to begin.
      bounds: the lowest and the highest x1 and x2 of a picture.
    """

    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array] = dataclasses.field(repr=False)
    minima: tuple[Pair, ...]
    start: Pair
    bounds: tuple[Pair, Pair]

    def __call__(self, x: Any) -> jax.Array:
        """Its value at x of shape (2,), or at many points at once of shape (2, ...). ValueError for another shape."""
        if not hasattr(x, "shape") or x.shape[:1] != (2,):
            got = f"an array of shape {tuple(x.shape)}" if hasattr(x, "shape") else f"a {type(x).__name__}"
            raise ValueError(f"{self.name} takes an array of shape (2,), as jnp.array({list(self.start)}); got {got}")
        return self.function(x[0], x[1])


@functools.cache
def quadratic(condition: float = 100.0) -> Landscape:
    """A valley along an axis, with the given ratio of its two curvatures.

        f = (x1^2 / condition + x2^2) / 2

    Gradient descent converges for rates less than 2, and takes as many steps as the condition number is large.

    Args:
      condition: the ratio of the larger curvature to the smaller.

    Raises:
      ValueError: the condition number is less than 1.
    """
    _check_condition("quadratic", condition)
    wide = math.sqrt(condition)
    return Landscape(
        f"quadratic({condition:g})",
        lambda x1, x2: (x1**2 / condition + x2**2) / 2,
        ((0.0, 0.0),),
        (-0.9 * wide, 0.8),
        ((-wide, wide), (-1.2, 1.2)),
    )


@functools.cache
def ravine(condition: float = 100.0) -> Landscape:
    """The valley of `quadratic` at 45 degrees to the axes, where a rate for each coordinate is of no help.

        f = ((x1 + x2)^2 / condition + (x1 - x2)^2) / 4

    Args:
      condition: as in `quadratic`.

    Raises:
      ValueError: the condition number is less than 1.
    """
    _check_condition("ravine", condition)
    return Landscape(
        f"ravine({condition:g})",
        lambda x1, x2: ((x1 + x2) ** 2 / condition + (x1 - x2) ** 2) / 4,
        ((0.0, 0.0),),
        (-4.5, -3.0),
        ((-5.0, 2.0), (-5.0, 2.0)),
    )


def _check_condition(name: str, condition: float) -> None:
    if not condition >= 1:
        raise ValueError(f"{name}: the condition number must be at least 1; got {condition}")


saddle = Landscape(
    "saddle",
    lambda x1, x2: x1**2 / 2 + (x2**2 - 1) ** 2 / 4,
    ((0.0, 1.0), (0.0, -1.0)),
    (-1.4, 1e-3),
    ((-1.6, 1.6), (-1.6, 1.6)),
)
"""A saddle point at 0 between two minima; the start is beside the ridge.

    f = x1^2 / 2 + (x2^2 - 1)^2 / 4
"""

rosenbrock = Landscape(
    "rosenbrock",
    lambda x1, x2: (1 - x1) ** 2 + 100 * (x2 - x1**2) ** 2,
    ((1.0, 1.0),),
    (-1.2, 1.0),
    ((-1.8, 1.8), (-0.8, 2.4)),
)
"""A bent valley.

    f = (1 - x1)^2 + 100 (x2 - x1^2)^2

Rosenbrock 1960, with its start.
"""

beale = Landscape(
    "beale",
    lambda x1, x2: (1.5 - x1 + x1 * x2) ** 2 + (2.25 - x1 + x1 * x2**2) ** 2 + (2.625 - x1 + x1 * x2**3) ** 2,
    ((3.0, 0.5),),
    (1.0, 1.0),
    ((-0.5, 4.5), (-1.5, 1.6)),
)
"""Flat far and wide, steep at the corners.

    f = sum_k (c_k - x1 (1 - x2^k))^2,   k = 1, 2, 3,   c_k = 1.5, 2.25, 2.625

Beale 1958.
"""

himmelblau = Landscape(
    "himmelblau",
    lambda x1, x2: (x1**2 + x2 - 11) ** 2 + (x1 + x2**2 - 7) ** 2,
    (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    ),
    (0.0, -0.5),
    ((-5.5, 5.5), (-5.5, 5.5)),
)
"""Four minima, all global.

    f = (x1^2 + x2 - 11)^2 + (x1 + x2^2 - 7)^2

Himmelblau 1972.
"""

plateau = Landscape(
    "plateau",
    lambda x1, x2: 1 - jnp.exp(-(x1**2 / 2 + x2**2)),
    ((0.0, 0.0),),
    (-2.4, 1.2),
    ((-3.0, 3.0), (-2.0, 2.0)),
)
"""A hole in a plain on which the gradient is all but 0.

    f = 1 - exp(-x1^2 / 2 - x2^2)
"""

rastrigin = Landscape(
    "rastrigin",
    lambda x1, x2: 20 + x1**2 + x2**2 - 10 * (jnp.cos(2 * jnp.pi * x1) + jnp.cos(2 * jnp.pi * x2)),
    ((0.0, 0.0),),
    (-2.3, 1.7),
    ((-3.2, 3.2), (-3.2, 3.2)),
)
"""A local minimum near each pair of integers.

    f = 20 + sum_i (x_i^2 - 10 cos(2 pi x_i))

Rastrigin 1974.
"""
