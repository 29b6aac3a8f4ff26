"""Averages of the parameters over a run."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core.declarations import Metric, Slot
from gradxform.core.fields import SumDecay, check_count
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class AverageParams(TreeRule):
    """Keeps an average of the parameters, to evaluate with: exponential, uniform, or of the end of a run.

        p = the parameters after the step, as they are rounded
        m <- d m + (1 - d) p,   w <- d w + (1 - d)   at the steps t >= start for which `every` divides t - start
        u = g

    d is `decay`; with decay=None it is 1 - 1/n for the n-th of these steps, which makes m their mean. `eval_params`
    gives m / w, in the parameters' dtype, and before the first of these steps the parameters as they are. It stands
    last in a chain, where the updates are those that are added to the parameters; m is kept in float32 at least.

    Args:
      decay: how much of the average stays, in [0, 1], such as 0.999; a schedule if it changes. None: each of the
        parameters counts the same.
      start: the first step that counts, from 1 on.
      every: how many steps there are from one that counts to the next.
      debias: whether m begins at 0, and w undoes the pull to it, so that the first parameters weigh as others do;
        without, it begins with the first parameters that count.

    Metrics: `averaged`, how many parameters were taken in.

    Raises:
      ValueError: `start` below 0, `every` below 1, anything after it in a chain, or `update` was called without
        parameters.

    Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4); with decay=None and a start Izmailov et al. 2018,
    arXiv:1803.05407. optax: ema of the parameters, by hand. torch: torch.optim.swa_utils.AveragedModel, with
    get_ema_multi_avg_fn (debias=False) or as it is (decay=None).
    """

    decay: SumDecay | None = 0.999
    start: int = 0
    every: int = 1
    debias: bool = True

    average = Slot()
    weight = Slot(axes=(), signed=False)
    averaged = Metric(dtype=jnp.int32)
    stands_last = True
    only_looks = True

    def check(self):
        for name, least in (("start", 0), ("every", 1)):
            value = getattr(self, name)
            check_count(f"{self.call_name}: {name}", value, least)

    def update(self, updates, slots, tree):
        counts = (tree.step >= self.start) & ((tree.step - self.start) % self.every == 0)
        averaged = jnp.where(counts, slots.averaged + 1, slots.averaged)
        share = 1 / jnp.maximum(averaged, 1).astype(slots.weight.dtype) if self.decay is None else 1 - self.decay
        if not self.debias:
            share = jnp.where(averaged == 1, 1, share)

        def taken_in(mean, value):
            return jnp.where(counts, mean + share * (value - mean), mean)

        average = tree.map(taken_in, slots.average, tree.stepped(updates))
        weight = taken_in(slots.weight, jnp.ones_like(slots.weight))
        return updates, slots._replace(average=average, weight=weight, averaged=averaged)

    def evaluated(self, params, slots, tree):
        is_there = slots.weight > 0
        weight = jnp.where(is_there, slots.weight, 1)
        return tree.map(lambda param, mean: jnp.where(is_there, mean / weight, param), params, slots.average)


average_params = transform(AverageParams)
