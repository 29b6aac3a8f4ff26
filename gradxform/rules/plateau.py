"""A learning rate that falls when the loss stops falling."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Extra, Slot
from gradxform.core.fields import NonNegative, Positive
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class ReduceOnPlateau(TreeRule):
    """Scales by a number that is reduced when a value has not improved for a while.

        value better than best: value < (1 - rtol) best - atol
        u = scale g,   scale <- max(factor scale, min_scale) after `patience` values in a row that were not better

    Args:
      factor: what the scale is multiplied by, between 0 and 1.
      patience: after how many values in a row without improvement.
      rtol: how much better a value must be, relative to the best; at most 1.
      atol: how much better a value must be.
      cooldown: for how many values after a reduction none is counted.
      accumulation_size: how many values are averaged to one.
      min_scale: what the scale does not fall below.

    Extra arguments of `update`: value, what shall improve, a number or an array of shape ().

    Raises:
      ValueError: a factor not between 0 and 1, rtol above 1, or rtol and atol both 0; or `update` was called without
        value.

    optax: contrib.reduce_on_plateau. torch: torch.optim.lr_scheduler.ReduceLROnPlateau, which is called once an epoch,
    waits for one value more, and adds no atol to rtol.
    """

    factor: Positive = 0.1
    patience: int = 10
    rtol: NonNegative = 1e-4
    atol: NonNegative = 0.0
    cooldown: int = 0
    accumulation_size: int = 1
    min_scale: NonNegative = 0.0

    scale = Slot(init=1.0, axes=(), signed=False)
    best_value = Slot(init=float("inf"), axes=())
    plateau_count = Slot(dtype=jnp.int32, axes=())
    cooldown_count = Slot(dtype=jnp.int32, axes=())
    count = Slot(dtype=jnp.int32, axes=())
    avg_value = Slot(axes=())
    value = Extra()

    def check(self):
        if isinstance(self.factor, float | int) and not self.factor < 1:
            raise ValueError(f"{self.call_name}: factor must be between 0 and 1; got {self.factor!r}")
        if isinstance(self.rtol, float | int) and not self.rtol <= 1:
            raise ValueError(f"{self.call_name}: rtol must be at most 1; got {self.rtol!r}")
        if all(isinstance(tolerance, float | int) and tolerance == 0 for tolerance in (self.rtol, self.atol)):
            raise ValueError(f"{self.call_name}: rtol or atol must be more than 0")

    def update(self, updates, slots, tree):
        count = slots.count + 1
        # The mean of the values so far.
        mean = slots.avg_value + (tree.extra["value"] - slots.avg_value) / count.astype(slots.avg_value.dtype)
        is_due, is_cooling = count == self.accumulation_size, slots.cooldown_count > 0
        is_better = mean < (1 - self.rtol) * slots.best_value - self.atol
        waited = jnp.where(is_better, 0, slots.plateau_count + 1)
        is_stuck = (waited == self.patience) & ~is_cooling
        decided = slots._replace(
            scale=jnp.where(
                is_cooling, slots.scale, jnp.maximum(jnp.where(is_stuck, self.factor, 1) * slots.scale, self.min_scale)
            ),
            best_value=jnp.where(is_better, mean, slots.best_value),
            plateau_count=jnp.where(is_stuck | is_cooling, 0, waited),
            cooldown_count=jnp.where(is_cooling, slots.cooldown_count - 1, jnp.where(is_stuck, self.cooldown, 0)),
            count=jnp.zeros_like(count),
            avg_value=jnp.zeros_like(mean),
        )
        new = tree.map(lambda a, b: jnp.where(is_due, a, b), decided, slots._replace(count=count, avg_value=mean))
        return tree.map(lambda u: new.scale * u, updates), new


reduce_on_plateau = transform(ReduceOnPlateau)
