"""Rules that multiply by a number: the learning rate, a constant, a schedule, one, zero."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.fields import Hyper, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class ScaleByLearningRate(LeafRule):
    """Multiplies by the learning rate and turns the gradient into a step downhill.

        u = -learning_rate g,   with flip_sign=False learning_rate g

    Args:
      learning_rate: the step size; a number or a schedule. None leaves the update as it is, its sign too.
      flip_sign: whether to step downhill.

    optax: scale_by_learning_rate. torch: `lr` of every optimizer.
    """

    learning_rate: NonNegative | None = None
    flip_sign: bool = dataclasses.field(default=True, kw_only=True)

    def update(self, grad, slots, leaf):
        if self.learning_rate is None:
            return grad, slots
        return (-self.learning_rate if self.flip_sign else self.learning_rate) * grad, slots


class Scale(LeafRule):
    """Multiplies by a number.

        u = step_size g

    Args:
      step_size: the number, with its sign.

    optax: scale. torch: none.
    """

    step_size: Hyper

    def update(self, grad, slots, leaf):
        return self.step_size * grad, slots


class ScaleBySchedule(LeafRule):
    """Multiplies by a number that depends on the step.

        u = step_size_fn(t) g,   t from 0 on

    Args:
      step_size_fn: step (an int32 array of shape ()) -> number, with its sign.

    optax: scale_by_schedule. torch: torch.optim.lr_scheduler.LambdaLR.
    """

    step_size_fn: Hyper

    def update(self, grad, slots, leaf):
        return self.step_size_fn * grad, slots


class Identity(LeafRule):
    """Leaves the updates as they are.

        u = g

    optax: identity. torch: none.
    """

    any_dtype = True

    def update(self, grad, slots, leaf):
        return grad, slots


class SetToZero(LeafRule):
    """Makes every update 0, so that the parameters stay; integers too.

        u = 0

    optax: set_to_zero. torch: requires_grad_(False).
    """

    any_dtype = True

    def update(self, grad, slots, leaf):
        return jnp.zeros_like(grad), slots


scale_by_learning_rate = transform(ScaleByLearningRate)
scale = transform(Scale)
scale_by_schedule = transform(ScaleBySchedule)
identity = transform(Identity)
set_to_zero = transform(SetToZero)
