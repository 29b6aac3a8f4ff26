"""Which leaves move, and how far: frozen leaves, and a factor for each group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core.fields import Hyper, Mask, NonNegative
from gradxform.core.route import labelled
from gradxform.core.rule import LeafRule, TreeRule
from gradxform.core.text import show
from gradxform.core.transform import transform


class Freeze(LeafRule):
    """Makes the updates of some leaves 0, so that these stay; and leaves the others as they are.

        u = 0 where the mask is True,   with `until` while t < until,   t from 0 on;   else u = g

    At the end of a chain; what stands before it goes on keeping its means of these leaves, and its norms count them.
    `selective_transform` keeps both free of them. A frozen leaf may be of any dtype.

    Args:
      mask: True for the leaves that stay: a tree of bools, a prefix of the parameters; or a function of them that
        returns one, such as `by_path("encoder/*")`.
      until: the step from which on they are trained, a number or a schedule. None: never.

    Raises:
      TypeError: no mask; in `init` and `update`, a mask that holds something else than bools.
      ValueError: `until` is negative; in `init` and `update`, a mask that is no prefix of the parameters.

    optax: freeze, which has no `until`. torch: requires_grad_(False).
    """

    any_dtype = True

    mask: Mask
    until: NonNegative | None = dataclasses.field(default=None, kw_only=True)

    def check(self):
        """Raises TypeError for no mask."""
        if self.mask is None:
            raise TypeError("freeze: mask must be a tree of bools, or a function that returns one; got None")

    def update(self, grad, slots, leaf):
        if self.until is None:
            return jnp.zeros_like(grad), slots
        until = jnp.asarray(self.until)
        return jnp.where((leaf.step - 1).astype(until.dtype) < until, jnp.zeros_like(grad), grad), slots


class ScaleByGroup(TreeRule):
    """Multiplies the leaves of each label by a factor of their own, as for layer-wise learning rates.

        u = factors[label] g

        gx.chain(gx.adamw(1e-3), gx.scale_by_group({"head": 1.0, "body": 0.1}, gx.labels({"head/*": "head"}, "body")))

    Args:
      factors: the factors by their labels: numbers or schedules.
      labels: a tree of labels, a prefix of the parameters; or a function of them that returns one.

    Raises:
      TypeError: `factors` is no dict of numbers and schedules.
      ValueError: in `init` and `update`, leaves with no label, or with one that has no factor, with their paths.

    optax: none; partition with a scale for each. torch: `lr` of each parameter group.
    """

    factors: Mapping[Any, Hyper]
    labels: Any

    def __post_init__(self) -> None:
        """Keeps a dict of its own."""
        if not isinstance(self.factors, Mapping):
            raise TypeError(f"scale_by_group: factors must be a dict from labels to them; got {show(self.factors)}")
        object.__setattr__(self, "factors", dict(self.factors))
        super().__post_init__()

    def begin(self, params, step):
        """Nothing but a look at the labels."""
        self._labels(params.structure, params.updates)
        return super().begin(params, step)

    def update(self, updates, slots, tree):
        """Each leaf times the factor of its label."""
        labels = self._labels(jax.tree.structure(tree.whole(updates)), updates)
        return [self.factors[label] * update for label, update in zip(labels, updates, strict=True)], slots

    def _labels(self, structure, leaves):
        return labelled(self.call_name, self.labels, structure, leaves, list(self.factors))


freeze = transform(Freeze)
scale_by_group = transform(ScaleByGroup)
