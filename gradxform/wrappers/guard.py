"""guard: steps with bad gradients are skipped, on all devices or on none."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core import checks
from gradxform.core.declarations import Extra, Inner, Metric, Slot
from gradxform.core.fields import Decay, NonNegative, check_count
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias

STUCK = ("apply", "skip", "nan")


class Guard(TreeRule):
    """Skips a step whose gradients are not finite, or whose norm or loss is a spike.

        bad = not finite(|g|)  or  |g| > max_norm  or  |g| > m + max_deviations s
              or, with max_loss_deviations,  not finite(f)  or  f > m_f + max_loss_deviations s_f
        u   = 0 if bad, else the update of the transform, which does not see a bad step

    m and s are the running mean and standard deviation of the norms of the steps that were taken, m_f and s_f those of
    their losses f; there must be `warm_up` such steps, and one at least, before they count. The norm is over all
    leaves, a loss that differs by device is averaged over the devices of a map, and what one device finds bad is bad
    for all.

    Args:
      inner: the transform, ours or optax's, whose state does not move on a skipped step.
      max_norm: the largest norm that is no spike. None: any.
      max_deviations: how many standard deviations above the mean a norm may be. None: any number.
      max_loss_deviations: how many standard deviations above the mean a loss may be. None: losses are not asked for.
      decay: of the means and the deviations, in [0, 1).
      warm_up: how many steps are taken before the deviations count.
      patience: how many steps in a row are skipped before `when_stuck` holds. None: any number.
      when_stuck: what is done then, until a good step comes. "apply" takes the steps as they are, so that the state
        goes on and what is not finite shows; "nan" makes every update NaN, so that it shows at once, and the transform
        within stays as it is; "skip" goes on skipping.

    Extra arguments of `update`: with max_loss_deviations value, the loss of the step, a number or an array of shape ().

    Metrics: `norm`, of the gradients; `skipped`, whether this step was; `skips`, how many were in all;
    `skips_in_a_row`, how many steps in a row up to this one were bad, those included that `when_stuck` let pass.

    Raises:
      TypeError: `inner` is no transform.
      ValueError: a bound below 0, an unknown `when_stuck`, or patience or warm_up below 0; `update` was called without
        value where losses are asked for.

    optax: apply_if_finite, by which each device decides for itself. torch: the skipped steps of torch.amp.GradScaler.
    """

    inner: GradientTransformation
    max_norm: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    max_deviations: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    max_loss_deviations: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    decay: Decay = dataclasses.field(default=0.99, kw_only=True)
    warm_up: int = dataclasses.field(default=100, kw_only=True)
    patience: int | None = dataclasses.field(default=None, kw_only=True)
    when_stuck: str = dataclasses.field(default="apply", kw_only=True)

    inner_state = Inner("inner")
    mean = Slot(axes=(), signed=False)
    variance = Slot(axes=(), signed=False)
    loss_mean = Slot(axes=(), where="watches_loss")
    loss_variance = Slot(axes=(), signed=False, where="watches_loss")
    taken = Slot(axes=(), dtype=jnp.int32)
    norm = Metric()
    skipped = Metric(init=False, dtype=bool)
    skips = Metric(dtype=jnp.int32)
    skips_in_a_row = Metric(dtype=jnp.int32)
    value = Extra(where="watches_loss")

    @property
    def watches_loss(self):
        """Whether losses are asked for."""
        return self.max_loss_deviations is not None

    def check(self):
        """Raises TypeError or ValueError for arguments that make no sense."""
        self.check_transform("inner")
        check_count("guard: warm_up", self.warm_up)
        if self.patience is not None:
            check_count("guard: patience", self.patience)
        if self.when_stuck not in STUCK:
            raise ValueError(f"guard: when_stuck must be one of {', '.join(map(repr, STUCK))}; got {self.when_stuck!r}")

    def update(self, updates, slots, tree):
        """One step, taken or skipped."""
        norm = tree.norm(updates)
        is_finite, bad = jnp.isfinite(norm), jnp.zeros((), bool)
        knows = slots.taken >= max(self.warm_up, 1)
        if self.max_norm is not None:
            bad |= norm > self.max_norm
        if self.max_deviations is not None:
            bad |= knows & (norm > slots.mean + self.max_deviations * jnp.sqrt(slots.variance))
        loss = None
        if self.max_loss_deviations is not None:
            value = checks.scalar("guard: value", jnp.asarray(tree.extra["value"]))
            loss = tree.mean_of_devices(value.astype(norm.dtype))
            is_finite &= jnp.isfinite(loss)
            bad |= knows & (loss > slots.loss_mean + self.max_loss_deviations * jnp.sqrt(slots.loss_variance))
        bad |= ~is_finite
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
        counted = takes & is_finite
        taken = jnp.where(counted, slots.taken + 1, slots.taken)
        # A debiased mean moves by the weight of its newest value, of the first one by all of it.
        weight = debias(jnp.asarray(1 - self.decay, norm.dtype), self.decay, slots.taken + 1)
        weight = jnp.where(slots.taken == 0, 1, weight)

        def moved(mean, variance, value):
            change = value - mean
            return (
                jnp.where(counted, mean + weight * change, mean),
                jnp.where(counted, (1 - weight) * (variance + weight * change**2), variance),
            )

        if loss is not None:
            loss_mean, loss_variance = moved(slots.loss_mean, slots.loss_variance, loss)
            slots = slots._replace(loss_mean=loss_mean, loss_variance=loss_variance)
        mean, variance = moved(slots.mean, slots.variance, norm)
        return stepped, slots._replace(
            inner_state=inner_state,
            mean=mean,
            variance=variance,
            taken=taken,
            norm=norm,
            skipped=~takes,
            skips=jnp.where(takes, slots.skips, slots.skips + 1),
            skips_in_a_row=in_a_row,
        )


guard = transform(Guard)
