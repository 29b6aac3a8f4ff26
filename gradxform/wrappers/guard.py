"""guard: steps with bad gradients are skipped, on all devices or on none."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import Decay, NonNegative
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias, ema

STUCK = ("apply", "skip", "nan")


class Guard(TreeRule):
    """Skips a step whose gradients are not finite, or whose norm is a spike; the transform within does not see it.

        bad = not finite(|g|)  or  |g| > max_norm  or  |g| > m + max_deviations s
        u   = 0 if bad, else the update of the transform

    m and s are the running mean and standard deviation of the norms of the steps that were taken, of which there must
    be `warm_up` before they count. The norm is over all leaves, and what one device finds bad is bad for all.

    Args:
      inner: the transform, ours or optax's, whose state does not move on a skipped step.
      max_norm: the largest norm that is no spike. None: any.
      max_deviations: how many standard deviations above the mean a norm may be. None: any number.
      decay: of the mean and the deviation, in [0, 1).
      warm_up: how many steps are taken before the deviations count.
      patience: how many steps in a row are skipped before `when_stuck` holds. None: any number.
      when_stuck: what is done then, until a good step comes. "apply" takes the steps as they are, so that the state
        goes on and what is not finite shows; "nan" makes every update NaN, so that it shows at once, and the transform
        within stays as it is; "skip" goes on skipping.

    Metrics: `norm`, of the gradients; `skipped`, whether this step was; `skips`, how many were in all;
    `skips_in_a_row`, how many bad steps came one after the other up to this one, taken after all or not.

    Raises:
      TypeError: `inner` is no transform.
      ValueError: a bound below 0, an unknown `when_stuck`, or patience or warm_up below 0.

    optax: apply_if_finite, by which each device decides for itself. torch: the skipped steps of torch.amp.GradScaler.
    """

    inner: GradientTransformation
    max_norm: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    max_deviations: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    decay: Decay = dataclasses.field(default=0.99, kw_only=True)
    warm_up: int = dataclasses.field(default=100, kw_only=True)
    patience: int | None = dataclasses.field(default=None, kw_only=True)
    when_stuck: str = dataclasses.field(default="apply", kw_only=True)

    inner_state = Inner("inner")
    mean = Slot(axes=(), signed=False)
    square = Slot(axes=(), signed=False)
    taken = Slot(axes=(), dtype=jnp.int32)
    norm = Metric()
    skipped = Metric(init=False, dtype=bool)
    skips = Metric(dtype=jnp.int32)
    skips_in_a_row = Metric(dtype=jnp.int32)

    def check(self):
        """Raises TypeError or ValueError for arguments that make no sense."""
        self.check_transform("inner")
        for name, value in (("warm_up", self.warm_up), ("patience", 0 if self.patience is None else self.patience)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"guard: {name} must be an integer of at least 0; got {value!r}")
        if self.when_stuck not in STUCK:
            raise ValueError(f"guard: when_stuck must be one of {', '.join(map(repr, STUCK))}; got {self.when_stuck!r}")

    def update(self, updates, slots, tree):
        """One step, taken or skipped."""
        norm = tree.norm(updates)
        bad = ~jnp.isfinite(norm)
        if self.max_norm is not None:
            bad |= norm > self.max_norm
        if self.max_deviations is not None:
            count = jnp.maximum(slots.taken, 1)
            mean, square = debias(slots.mean, self.decay, count), debias(slots.square, self.decay, count)
            deviation = jnp.sqrt(jnp.maximum(square - mean**2, 0))
            bad |= (slots.taken >= self.warm_up) & (norm > mean + self.max_deviations * deviation)
        bad = tree.on_any_device(bad)
        in_a_row = jnp.where(bad, slots.skips_in_a_row + 1, 0)
        stuck = bad & (in_a_row > self.patience) if self.patience is not None else jnp.zeros_like(bad)
        takes = ~bad | stuck if self.when_stuck == "apply" else ~bad

        def step():
            return tree.inner(self.inner, updates, slots.inner_state)

        def stay():
            nothing = jnp.where(stuck, jnp.nan, 0) if self.when_stuck == "nan" else 0
            return tree.full(updates, nothing), slots.inner_state

        stepped, inner_state = tree.selected(takes, step, stay)
        counted = takes & jnp.isfinite(norm)
        finite = jnp.where(jnp.isfinite(norm), norm, 0)
        return stepped, slots._replace(
            inner_state=inner_state,
            mean=jnp.where(counted, ema(slots.mean, finite, self.decay), slots.mean),
            square=jnp.where(counted, ema(slots.square, finite**2, self.decay), slots.square),
            taken=jnp.where(counted, slots.taken + 1, slots.taken),
            norm=norm,
            skipped=~takes,
            skips=jnp.where(takes, slots.skips, slots.skips + 1),
            skips_in_a_row=in_a_row,
        )


guard = transform(Guard)
