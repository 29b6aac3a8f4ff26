"""The values of schedules: as arrays for pictures, and as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.html import html_table
from gradxform.reading.rendering import text_table

# Of all steps so many are shown, unless a table is told which: the first, the last and nine between them.
_SHOWN = 11


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduleTable:
    """Values of schedules; it prints as a table, in notebooks too.

    Attributes:
      steps: the steps that are shown, of shape (rows,).
      values: by label, the values at these steps, of shape (rows,).

    optax: none. torch: none.
    """

    steps: np.ndarray[Any, Any]
    values: dict[str, np.ndarray[Any, Any]]

    def __repr__(self) -> str:
        return text_table(self._columns, self._rows, range(len(self._columns)))

    def _repr_html_(self) -> str:
        return html_table(self._columns, self._rows, range(len(self._columns)))

    @property
    def _columns(self) -> list[str]:
        return ["step", *self.values]

    @property
    def _rows(self) -> list[list[list[str]]]:
        numbers = zip(*self.values.values(), strict=True)
        return [
            [[str(step)], *([f"{number:.6g}"] for number in row)] for step, row in zip(self.steps, numbers, strict=True)
        ]


def schedule_table(schedules: Any, steps: int | Sequence[int]) -> ScheduleTable:
    """The values of schedules at some steps, as a table for a terminal or a notebook.

        print(schedule_table({"WSD": warmup_stable_decay(1e-3, 100, 800, 100), "constant": 1e-3}, 1001))

    Args:
      schedules: by label, schedules, any functions of the step, or numbers; or one of these alone.
      steps: how many there are, from 0 on, of which eleven are shown; or those that are to be shown.

    Raises:
      ValueError: no steps, or no schedules.

    optax: none. torch: none.
    """
    named = by_label(schedules)
    which = np.arange(steps) if isinstance(steps, int) else np.asarray(steps)
    if which.ndim != 1 or not which.size or not named:
        raise ValueError("schedule_table: expected a schedule and a step at least")
    if isinstance(steps, int) and steps > _SHOWN:
        which = np.append(np.arange(_SHOWN - 1) * steps // (_SHOWN - 1), steps - 1)
    return ScheduleTable(which, {label: values_at(schedule, which) for label, schedule in named.items()})


def by_label(schedules: Any) -> Mapping[str, Any]:
    """Schedules by label; one that is alone has the label `value`."""
    return schedules if isinstance(schedules, Mapping) else {"value": schedules}


def values_at(schedule: Any, steps: Any) -> np.ndarray[Any, Any]:
    """The values at each of some steps, in float64, of a schedule, another function of the step or a number."""
    if not callable(schedule):
        return np.full(len(steps), schedule, np.float64)
    try:
        return np.asarray(jax.vmap(lambda step: jnp.asarray(schedule(step), float))(jnp.asarray(steps)), np.float64)
    except TypeError:
        # A function of the user's that asks for a plain number, as in `if step < 10`.
        return np.asarray([schedule(int(step)) for step in steps], np.float64)
