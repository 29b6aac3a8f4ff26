"""Many values of hyperparameters at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.transform import Transform
from gradxform.reading.hyperparameters import replace


class Sweep:
    """Transforms that differ in numbers, run all at once by one `jax.vmap`.

    Args:
      make: makes a transform of numbers by name.
      points: as below.

    Attributes:
      points: the values by name, each an array of as many as there are transforms.

    optax: none. torch: none.
    """

    def __init__(self, make: Callable[..., Transform], points: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Of a factory and values by name, of one length."""
        self._make, self.points = make, dict(points)

    def __len__(self) -> int:
        return len(next(iter(self.points.values())))

    def __getitem__(self, index: int) -> Transform:
        """The transform of one point, with plain numbers."""
        return self._make(**{name: float(values[index]) for name, values in self.points.items()})

    def __iter__(self) -> Iterator[Transform]:
        return (self[index] for index in range(len(self)))

    def __call__(self, train: Callable[[Transform], Any]) -> Any:
        """What `train` returns for every transform, stacked along axis 0: one compilation, one call.

        Args:
          train: transform -> any pytree of arrays, such as a loss, a history or the state; it may not depend on the
            numbers but through the transform.
        """
        points = {name: jnp.asarray(values, jnp.result_type(float)) for name, values in self.points.items()}
        return jax.jit(jax.vmap(lambda point: train(self._make(**point))))(points)

    def __repr__(self) -> str:
        names = ", ".join(f"{name}: {len(np.unique(values))}" for name, values in self.points.items())
        return f"<Sweep of {len(self)} transforms over {names}>"


def sweep(make: Callable[..., Transform] | Transform, grid: Mapping[str, Any]) -> Sweep:
    """All combinations of values of hyperparameters, to be run at once.

        losses = sweep(adam, {"learning_rate": np.logspace(-4, -1, 16)})(train)

    Numbers that are not swept stay Python's own, in Python's precision.

    Args:
      make: a function of hyperparameters by name that returns a transform; or a transform, whose hyperparameters are
        replaced as `replace` does it.
      grid: values by name, each a sequence of real numbers; the last name changes fastest.

    Returns:
      A Sweep, to be called with a function of a transform.

    Raises:
      ValueError: an empty grid, values that are no sequence of finite numbers, or what `make` raises at the first
        point.

    optax: none. torch: none.
    """
    columns = {name: np.asarray(values, np.float64) for name, values in grid.items()}
    if not columns:
        raise ValueError("sweep: expected at least one hyperparameter in the grid")
    for name, values in columns.items():
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"sweep: {name} must be a sequence of finite numbers; got {grid[name]!r}")
    factory = (lambda **point: replace(make, point)) if isinstance(make, Transform) else make
    combinations = np.array(list(itertools.product(*columns.values())))
    swept = Sweep(factory, dict(zip(columns, combinations.T, strict=True)))
    # Each by itself with plain numbers, so that a wrong one is an error here, with its range.
    for tx in swept:
        if not isinstance(tx, Transform):
            raise ValueError(f"sweep: make must return a transform; got {tx!r}")
    return swept
