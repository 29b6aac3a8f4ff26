"""Rules that keep the sign of the gradient and set the size of the step by other means: signs, Lion, Rprop."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, Hyper, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import ema

MODES = ("hard", "smooth", "refined")


class ScaleBySign(LeafRule):
    """The sign of each element.

        u = sign(g),   of a complex element g / |g|;   0 where g = 0

    Bernstein et al. 2018, arXiv:1802.04434, algorithm 1. optax: scale_by_sign. torch: none.
    """

    def update(self, grad, slots, leaf):
        return jnp.sign(grad), slots


class ScaleByLion(LeafRule):
    """The sign of a mean of the gradient and its running mean, which itself runs at another decay.

        c  = b1 mu + (1 - b1) g
        mu <- b2 mu + (1 - b2) g
        u  = sign(c);   with mode "smooth" tanh(smooth_beta c), with "refined" c where |c| < 1, else sign(c)

    Of a complex c, `sign` is c / |c| and "smooth" is tanh(smooth_beta |c|) c / |c|.

    Args:
      b1: how much of the mean is in the update, in [0, 1).
      b2: decay of the mean, in [0, 1).
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      mode: "hard", "smooth" or "refined".
      smooth_beta: how steep "smooth" is.

    Raises:
      ValueError: another mode.

    Chen et al. 2023, arXiv:2302.06675, algorithm 2, without its decay and rate. optax: scale_by_lion, whose "smooth"
    takes the tanh of a complex number, which has poles. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.99
    mu_dtype: Dtype | None = None
    mode: str = dataclasses.field(default="hard", kw_only=True)
    smooth_beta: Hyper = dataclasses.field(default=1.0, kw_only=True)

    mu = Slot(dtype="mu_dtype")

    def check(self):
        if self.mode not in MODES:
            raise ValueError(f"scale_by_lion: mode must be one of {', '.join(MODES)}; got {self.mode!r}")

    def update(self, grad, slots, leaf):
        mean = ema(slots.mu, grad, self.b1)
        if self.mode == "smooth" and jnp.iscomplexobj(mean):
            update = jnp.sign(mean) * jnp.tanh(self.smooth_beta * jnp.abs(mean))
        elif self.mode == "smooth":
            update = jnp.tanh(self.smooth_beta * mean)
        else:
            is_small = jnp.abs(mean) < 1 if self.mode == "refined" else False
            update = jnp.where(is_small, mean, jnp.sign(mean))
        return update, slots._replace(mu=ema(slots.mu, grad, self.b2))


class ScaleByRprop(LeafRule):
    """A step size for each element, which grows while the gradient keeps its sign and shrinks when it turns.

        s  = sign(g) sign(u_before)
        d  <- min(max(d c, min_step_size), max_step_size),   c = eta_plus where s > 0, eta_minus where s < 0
        d  <- d                                              where s = 0
        u  = d sign(g),   0 where s < 0

    Args:
      learning_rate: what d begins with.
      eta_minus: the factor where the gradient turned, in [0, 1).
      eta_plus: the factor where it did not.
      min_step_size: the least d.
      max_step_size: the largest d.

    Raises:
      TypeError: complex leaves, whose sign does not turn but rotate.

    Riedmiller & Braun 1993, without the step back where the gradient turns (Igel & Huesken 2000, Rprop-). optax:
    scale_by_rprop, which lets out the u of the step before, so that its first update is 0 and a turn is answered a step
    late. torch: torch.optim.Rprop, with learning rate 1e-2. It brings d into the bounds where s = 0 too, and so at
    first; takes s of the product of gradients, which underflows; and takes the parts of complex leaves for leaves of
    their own.
    """

    learning_rate: NonNegative
    eta_minus: NonNegative = 0.5
    eta_plus: NonNegative = 1.2
    min_step_size: NonNegative = 1e-6
    max_step_size: NonNegative = 50.0

    real_only = True
    step_sizes = Slot(init="learning_rate", signed=False)
    prev_updates = Slot()

    def update(self, grad, slots, leaf):
        kept = jnp.sign(grad) * jnp.sign(slots.prev_updates)
        changed = slots.step_sizes * jnp.where(kept > 0, self.eta_plus, self.eta_minus)
        sizes = jnp.where(kept == 0, slots.step_sizes, jnp.clip(changed, self.min_step_size, self.max_step_size))
        update = jnp.where(kept < 0, 0, sizes * jnp.sign(grad))
        return update, slots._replace(step_sizes=sizes, prev_updates=update)


scale_by_sign = transform(ScaleBySign)
scale_by_lion = transform(ScaleByLion)
scale_by_rprop = transform(ScaleByRprop)
