"""Rules that change nothing and report: norms, ratios of norms, clipped steps, and what is not finite."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from gradxform.core import checks
from gradxform.core.declarations import Metric
from gradxform.core.fields import Decay, NonNegative
from gradxform.core.rule import LeafRule, TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias


class RecordNorms(TreeRule):
    """Reports the joint norm of the updates that pass.

        u = g;   norm = |g|   over all leaves, or over the leaves of each group

    First in a chain it is the norm of the gradients, last that of the updates. `record_ratios` has that of the
    parameters.

    Args:
      groups: for each name of a group which leaves are in it: a pytree of bools, a prefix of the parameters' tree, or a
        function of the tree that returns one. None: all leaves are one group.
      ord: the order of the norm, at least 1, or infinity.

    Metrics: `norm`; with groups `norm/name` for each.

    Raises:
      ValueError, TypeError: a mask that does not fit the updates.

    optax: none; monitor and tree.norm. torch: torch.nn.utils.get_total_norm.
    """

    groups: dict[str, Any] | None = None
    ord: float = dataclasses.field(default=2, kw_only=True)

    only_looks = True
    norm = Metric(each="groups")

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, updates, slots, tree):
        return updates, slots._replace(norm=norms(self, tree, updates))


class RecordRatios(TreeRule):
    """Reports how large the updates that pass are, next to the parameters.

        u = g;   ratio = |g| / |p|   over all leaves, or over the leaves of each group;   0 where |g| = 0

    It belongs behind the learning rate, where the updates are what is added to the parameters. A CPU then has to write
    them down to measure them; at the front of a chain a norm is a pass over what is there.

    Args:
      groups: as in `record_norms`.
      ord: the order of the norms, at least 1, or infinity.

    Metrics: `update_norm`, `param_norm` and `ratio`, infinity where parameters are 0 and updates are not; with groups
    `ratio/name` and so on for each.

    Raises:
      ValueError: `update` was called without parameters.
      ValueError, TypeError: a mask that does not fit the updates.

    optax: none; monitor sees no parameters. torch: none.
    """

    groups: dict[str, Any] | None = None
    ord: float = dataclasses.field(default=2, kw_only=True)

    only_looks = True
    update_norm = Metric(each="groups")
    param_norm = Metric(each="groups")
    ratio = Metric(each="groups")

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, updates, slots, tree):
        of_update, of_param = norms(self, tree, updates), norms(self, tree, tree.params)
        ratio = tree.map(ratio_of, of_update, of_param)
        return updates, slots._replace(update_norm=of_update, param_norm=of_param, ratio=ratio)


class RecordLeafNorms(LeafRule):
    """Reports the norm of each leaf of the updates that pass.

        u = g;   norm = |g|   for each leaf

    Args:
      ord: the order of the norm, at least 1, or infinity.

    Metrics: `norm` for each leaf.

    optax: none. torch: none; there a loop over the parameters does so.
    """

    ord: float = 2

    only_looks = True
    norm = Metric()

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, grad, slots, leaf):
        return grad, slots._replace(norm=leaf.norm(grad, self.ord))


class RecordLeafRatios(LeafRule):
    """Reports for each leaf how large the update that passes is, next to the parameter.

        u = g;   ratio = |g| / |p|   for each leaf;   0 where |g| = 0

    Args:
      ord: the order of the norms, at least 1, or infinity.

    Metrics: `ratio` for each leaf, infinity where the parameter is 0 and the update is not.

    Raises:
      ValueError: `update` was called without parameters.

    optax: none. torch: none; there a loop over the parameters does so.
    """

    ord: float = 2

    only_looks = True
    ratio = Metric()

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, grad, slots, leaf):
        ratio = ratio_of(leaf.norm(grad, self.ord), leaf.norm(leaf.param, self.ord))
        return grad, slots._replace(ratio=ratio)


class RecordClipping(TreeRule):
    """Reports how often the joint norm of the updates that pass is over a bound.

        u = g;   clipped = 1 where |g| > max_norm, else 0
        share  = the mean of clipped over all steps so far
        recent = its running mean, debiased: r <- decay r + (1 - decay) clipped

    Before `clip_by_global_norm` of the same bound it is the share of clipped steps, and costs no norm of its own; alone
    it says what a bound would do. A norm of NaN is over every bound.

    Args:
      max_norm: the bound, at least 0.
      decay: how much of `recent` stays from step to step, in [0, 1).
      ord: the order of the norm, at least 1, or infinity.

    Metrics: `clipped`, `share`, `recent`.

    optax: none; monitor with measure_with_ema. torch: none.
    """

    max_norm: NonNegative
    decay: Decay = 0.99
    ord: float = dataclasses.field(default=2, kw_only=True)

    only_looks = True
    clipped = Metric()
    share = Metric()
    recent = Metric()

    def check(self):
        checks.norm_order(self.call_name, self.ord)

    def update(self, updates, slots, tree):
        norm = tree.norm(updates, self.ord)
        clipped = jnp.where(norm <= self.max_norm, jnp.zeros_like(norm), 1)
        # A debiased mean moves by the weight of its newest value, and needs no other memory.
        weight = debias(jnp.asarray(1 - self.decay, norm.dtype), self.decay, tree.step)
        share = slots.share + (clipped - slots.share) / tree.step.astype(norm.dtype)
        recent = slots.recent + (clipped - slots.recent) * weight
        return updates, slots._replace(clipped=clipped, share=share, recent=recent)


class CountNonfinite(TreeRule):
    """Counts the elements of the updates that pass which are NaN or infinite.

        u = g

    Metrics: `count`, how many there are at this step, exact up to 16 million; `steps`, at how many steps so far there
    was one.

    optax: none; apply_if_finite counts steps. torch: none; torch.amp.GradScaler looks for them.
    """

    only_looks = True
    count = Metric()
    steps = Metric(dtype=jnp.int32)

    def update(self, updates, slots, tree):
        # A norm is the cheapest pass over all elements, and mostly taken anyway; where it is finite so are they.
        count = tree.either(
            jnp.isfinite(tree.norm(updates)),
            lambda: tree.sum([]),
            lambda: tree.sum(tree.map(lambda g: ~jnp.isfinite(g), updates)),
        )
        return updates, slots._replace(count=count, steps=jnp.where(count > 0, slots.steps + 1, slots.steps))


def norms(rule, tree, of):
    """The norm of a tree, or of each of a rule's groups of leaves."""
    if rule.groups is None:
        return tree.norm(of, rule.ord)
    return {name: tree.norm_of(mask, of, rule.ord) for name, mask in rule.groups.items()}


def ratio_of(of_update, of_param):
    """|g| / |p|, 0 where |g| = 0, without a 0 / 0 on the way."""
    is_zero = of_update == 0
    return jnp.where(is_zero, 0, of_update / jnp.where(is_zero, 1, of_param))


record_norms = transform(RecordNorms)
record_ratios = transform(RecordRatios)
record_leaf_norms = transform(RecordLeafNorms)
record_leaf_ratios = transform(RecordLeafRatios)
record_clipping = transform(RecordClipping)
count_nonfinite = transform(CountNonfinite)
