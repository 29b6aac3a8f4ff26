"""Values from boundary to boundary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from gradxform.schedules.curves import through
from gradxform.schedules.schedule import from_formula


def _knots(value: Any, boundaries_and_scales: dict[int, Any] | None) -> Iterable[tuple[float, Any]]:
    """The boundaries in order, and the value from each of them on."""
    for boundary, scale in sorted((boundaries_and_scales or {}).items()):
        value = value * scale
        yield float(boundary), value


@from_formula(mapping=["boundaries_and_scales"], not_negative=["boundaries_and_scales"])
def piecewise_constant_schedule(step, init_value, boundaries_and_scales=None):
    """Multiplies by a scale at each boundary: init_value times every scale whose boundary <= t.

    Args:
      init_value: the first value.
      boundaries_and_scales: {step: scale}, scales of at least 0. None: the value stays.

    optax: piecewise_constant_schedule. torch: MultiStepLR, with one scale for all.
    """
    value = jnp.full_like(step, init_value)
    for boundary, scaled in _knots(init_value, boundaries_and_scales):
        value = jnp.where(step < boundary, value, scaled)
    return value


@from_formula(curve=["interpolate_type"], mapping=["boundaries_and_scales"], not_negative=["boundaries_and_scales"])
def piecewise_interpolate_schedule(step, interpolate_type: str, init_value, boundaries_and_scales=None):
    """Takes the values of `piecewise_constant_schedule` at 0 and at each boundary, and interpolates in between.

    Args:
      interpolate_type: "linear" or "cosine".
      init_value, boundaries_and_scales: as in `piecewise_constant_schedule`.

    optax: piecewise_interpolate_schedule. torch: none.
    """
    return through(step, interpolate_type, init_value, _knots(init_value, boundaries_and_scales))
