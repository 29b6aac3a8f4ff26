"""What decides at each step whether the transform within runs: apply_if_finite, and conditions of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import GradientTransformation

from gradxform.core import checks
from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import NonNegative
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class ApplyIfFinite(TreeRule):
    """Skips a step whose gradients are not finite, unless too many came in a row; the transform within does not see it.

        n <- 0 if all of g is finite, else n + 1
        u  = the update of the transform if n = 0 or n > max_consecutive_errors, else 0

    What is not finite on one device is not finite for all.

    Args:
      inner: the transform, ours or optax's, whose state does not move on a skipped step.
      max_consecutive_errors: how many steps in a row are skipped before one is taken as it is.

    Metrics: `notfinite_count`, n; `last_finite`, whether the last gradients were finite; `total_notfinite`, how many
    were not in all.

    Raises:
      TypeError: `inner` is no transform.
      ValueError: `max_consecutive_errors` is less than 0.

    optax: apply_if_finite, by which each device decides for itself. torch: the skipped steps of torch.amp.GradScaler.
    """

    inner: GradientTransformation
    max_consecutive_errors: NonNegative

    inner_state = Inner("inner")
    notfinite_count = Metric(dtype=jnp.int32)
    last_finite = Metric(init=True, dtype=bool)
    total_notfinite = Metric(dtype=jnp.int32)

    def check(self):
        """Raises TypeError for what is no transform."""
        self.check_transform("inner")

    def update(self, updates, slots, tree):
        """One step, taken or skipped."""
        bad = tree.any(tree.map(lambda update: ~jnp.isfinite(update), updates))
        in_a_row = jnp.where(bad, optax.safe_increment(slots.notfinite_count), 0)
        most = jnp.asarray(self.max_consecutive_errors)

        def step():
            return tree.inner(self.inner, updates, slots.inner_state)

        def stay():
            return tree.full(updates, 0), slots.inner_state

        stepped, inner_state = tree.selected(~bad | (in_a_row.astype(most.dtype) > most), step, stay)
        return stepped, slots._replace(
            inner_state=inner_state,
            notfinite_count=in_a_row,
            last_finite=~bad,
            total_notfinite=jnp.where(bad, optax.safe_increment(slots.total_notfinite), slots.total_notfinite),
        )


class Conditionally(TreeRule):
    """What the two conditions share: the transform runs at the steps of which a function says so."""

    inner: GradientTransformation
    should_transform_fn: Callable[..., Any]
    forward_extra_args: bool = False

    step = Slot(axes=(), dtype=jnp.int32)
    inner_state = Inner("inner")

    def check(self):
        """Raises TypeError for what is no transform or no function."""
        self.check_transform("inner")
        if not callable(self.should_transform_fn):
            raise TypeError(
                f"{self.call_name}: should_transform_fn must be a function of the step that returns a bool; "
                f"got {self.should_transform_fn!r}"
            )

    def at_rest(self, updates, tree):
        """The updates of a step at which the transform does not run."""
        raise TypeError(f"{type(self).__name__} has no at_rest(self, updates, tree)")

    def update(self, updates, slots, tree):
        """One step, at which the transform runs or rests."""
        extra = tree.all_extra if self.forward_extra_args else {}
        runs = as_bool(f"{self.call_name}: should_transform_fn", self.should_transform_fn(slots.step, **extra))
        if extra:
            # The step is the same on all devices; what else the function sees may not be.
            runs = tree.on_any_device(runs)

        def step():
            return tree.inner(self.inner, updates, slots.inner_state)

        def rest():
            return self.at_rest(updates, tree), slots.inner_state

        stepped, inner_state = tree.either(runs, step, rest)
        return stepped, slots._replace(inner_state=inner_state, step=optax.safe_increment(slots.step))


class ConditionallyTransform(Conditionally):
    """Runs a transform at the steps of which a function says so; at the others the updates pass through as they come.

        u = the update of the transform if should_transform_fn(step), else g

    Args:
      inner: the transform, ours or optax's, whose state moves only when it runs.
      should_transform_fn: (step, **extra) -> bool of shape (), of the number of steps before this one, int32. What it
        says on one device holds for all.
      forward_extra_args: whether it is given the extra arguments of `update`.

    Raises:
      TypeError: `inner` is no transform, or `should_transform_fn` no function.
      ValueError: in `update`, the function returns another shape than ().

    optax: conditionally_transform. torch: none.
    """

    def at_rest(self, updates, tree):
        """The updates as they came."""
        return updates


class ConditionallyMask(Conditionally):
    """Runs a transform at the steps of which a function says so; at the others the updates are 0.

        u = the update of the transform if should_transform_fn(step), else 0

    Args:
      inner: the transform, ours or optax's, whose state moves only when it runs.
      should_transform_fn: (step, **extra) -> bool of shape (), of the number of steps before this one, int32. What it
        says on one device holds for all.
      forward_extra_args: whether it is given the extra arguments of `update`.

    Raises:
      TypeError: `inner` is no transform, or `should_transform_fn` no function.
      ValueError: in `update`, the function returns another shape than ().

    optax: conditionally_mask. torch: none.
    """

    def at_rest(self, updates, tree):
        """Zeros."""
        return tree.full(updates, 0)


def as_bool(what: str, value: Any) -> jax.Array:
    """What a function of the user says, as a bool of shape (). ValueError for another shape."""
    return checks.scalar(what, jnp.asarray(value)).astype(bool)


apply_if_finite = transform(ApplyIfFinite)
conditionally_mask = transform(ConditionallyMask)
conditionally_transform = transform(ConditionallyTransform)
