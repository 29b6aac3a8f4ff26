"""Momentum in its three forms: the sum with the rate outside, the sum with the rate inside, and the mean."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, Hyper, NonNegative, SumDecay
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import debias, ema as running_mean


class Trace(LeafRule):
    """Heavy-ball momentum: a decaying sum of the gradients, the learning rate outside.

        v <- decay v + (1 - dampening) g,   at the first step v <- g
        u  = v,   with nesterov u = g + decay v

    Args:
      decay: how much of the sum stays from step to step, in [0, 1]; with 1 it is a plain sum.
      nesterov: look ahead by one step.
      accumulator_dtype: what v is kept in. None: the parameter's dtype, float32 at least.
      dampening: how much is taken from each gradient but the first, as torch has it; optax has 0.

    Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013, section 2. optax: trace, without dampening.
    torch: torch.optim.SGD(momentum, dampening, nesterov), which refuses nesterov with dampening.
    """

    decay: SumDecay
    nesterov: bool = False
    accumulator_dtype: Dtype | None = None
    dampening: Hyper = dataclasses.field(default=0.0, kw_only=True)

    trace = Slot(dtype="accumulator_dtype")

    def update(self, grad, slots, leaf):
        kept = jnp.where(leaf.step == 1, 1, 1 - self.dampening)
        trace = self.decay * slots.trace + kept * grad
        return grad + self.decay * trace if self.nesterov else trace, slots._replace(trace=trace)


class Velocity(LeafRule):
    """Momentum with the learning rate inside the velocity; what leaves is the step to add to the parameters.

        v <- decay v - learning_rate g
        u  = v,   with nesterov u = decay v - learning_rate g

    With a constant rate this is `chain(trace(decay, nesterov), scale_by_learning_rate(learning_rate))`. Under a
    schedule the two part: here a step that was taken at a large rate goes on at that rate.

    Args:
      learning_rate: the step size; a number or a schedule.
      decay: how much of the velocity stays from step to step, in [0, 1]; with 1 there is no friction.
      nesterov: look ahead by one step.
      accumulator_dtype: what v is kept in. None: the parameter's dtype, float32 at least.

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", equations 1 to 4.
    optax, torch: none.
    """

    learning_rate: NonNegative
    decay: SumDecay = 0.9
    nesterov: bool = False
    accumulator_dtype: Dtype | None = None

    velocity = Slot(dtype="accumulator_dtype")

    def update(self, grad, slots, leaf):
        step = -self.learning_rate * grad
        velocity = self.decay * slots.velocity + step
        return self.decay * velocity + step if self.nesterov else velocity, slots._replace(velocity=velocity)


class Ema(LeafRule):
    """The running mean of the gradients.

        m <- decay m + (1 - decay) g
        u  = m / (1 - decay^t),   without debias u = m

    Args:
      decay: how much of the mean stays from step to step, in [0, 1).
      debias: undo the pull to 0 of the first steps, t from 1 on.
      accumulator_dtype: what m is kept in. None: the parameter's dtype, float32 at least.

    Kingma & Ba 2015, arXiv:1412.6980, section 3. optax: ema. torch: the first moment of torch.optim.Adam.
    """

    decay: Decay
    debias: bool = True
    accumulator_dtype: Dtype | None = None

    ema = Slot(dtype="accumulator_dtype")

    def update(self, grad, slots, leaf):
        mean = running_mean(slots.ema, grad, self.decay)
        return debias(mean, self.decay, leaf.step) if self.debias else mean, slots._replace(ema=mean)


trace = transform(Trace)
velocity = transform(Velocity)
ema = transform(Ema)
