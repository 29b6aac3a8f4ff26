"""accumulate: one step for the gradients of several micro-steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class Accumulate(TreeRule):
    """Gathers the gradients of `every` micro-steps, and takes one step of a transform for all of them.

        a <- a + g
        at each micro-step whose number `every` divides:   u = the update for a / every,   a <- 0;   else u = 0

    So `every` micro-steps with the mean gradients of equal parts of a batch are one step with that of the whole batch.
    The transform runs when it is due and only then, with the parameters and the extra arguments of that micro-step; its
    counter, and the step of its schedules, are real steps. The sum is kept in float32 at least. Inside `shard_map` and
    `pmap` gradients are joined over the devices in front of it, as with `pmean_updates`, so that the sum is the same on
    all.

    Args:
      inner: the transform, ours or optax's.
      every: how many micro-steps, at least 1; or a function of the real step, from 0 on, such as a schedule, whose
        value is rounded, and is 1 where it is less.
      mean: whether the step is for the mean of the gradients; False for their sum.

    Metrics: `is_due`, whether this micro-step was the last of a real one; `real_steps`, how many there were.

    Raises:
      TypeError: `inner` is no transform, or `every` is neither an integer nor a function.
      ValueError: `every` is less than 1.

    optax: MultiSteps, which runs the transform at every micro-step. torch: none; there `step` is called when it is due.
    """

    inner: GradientTransformation
    every: int | Callable[[Any], Any]
    mean: bool = dataclasses.field(default=True, kw_only=True)

    inner_state = Inner("inner")
    gathered = Slot()
    micro_step = Slot(axes=(), dtype=jnp.int32)
    real_steps = Metric(dtype=jnp.int32)
    is_due = Metric(init=False, dtype=bool)

    def check(self):
        """Raises TypeError or ValueError for what is no transform or no number of micro-steps."""
        self.check_transform("inner")
        if callable(self.every):
            return
        if isinstance(self.every, bool) or not isinstance(self.every, int):
            raise TypeError(f"accumulate: every must be an integer or a function of the step; got {self.every!r}")
        if self.every < 1:
            raise ValueError(f"accumulate: every must be at least 1; got {self.every}")

    def update(self, updates, slots, tree):
        """One micro-step."""
        every = jnp.asarray(self.every(slots.real_steps) if callable(self.every) else self.every)
        # A schedule computes in floating point, where 3 may be 2.9999998.
        every = jnp.maximum(jnp.round(every).astype(jnp.int32), 1)
        micro_step = slots.micro_step + 1
        is_due = micro_step >= every
        gathered = tree.map(jnp.add, slots.gathered, updates)

        def step(carry):
            gathered, inner_state = carry
            number = micro_step if self.mean else jnp.ones_like(micro_step)
            whole = tree.map(lambda a: a / number.astype(a.real.dtype), gathered)
            return tree.inner(self.inner, whole, inner_state)

        # One buffer is the update when it is due and the sum while it waits: had each its own, XLA would copy the sum
        # in one branch and write zeros in the other.
        both, inner_state = tree.at_most_once(is_due, step, (gathered, slots.inner_state))
        stepped = tree.map(lambda x: jnp.where(is_due, x, 0), both)
        gathered = tree.map(lambda x: jnp.where(is_due, 0, x), both)
        return stepped, slots._replace(
            inner_state=inner_state,
            gathered=gathered,
            micro_step=jnp.where(is_due, 0, micro_step),
            real_steps=jnp.where(is_due, slots.real_steps + 1, slots.real_steps),
            is_due=is_due,
        )


accumulate = transform(Accumulate)
