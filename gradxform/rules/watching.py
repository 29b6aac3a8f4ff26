"""Rules that change nothing and report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradxform.core.rule import Metric, TreeRule
from gradxform.core.transform import transform


class Snapshot(TreeRule):
    """Measures the updates that pass, and keeps the measurement in the state.

        u = g

    The measurement is `state.stages["snapshot"].measurement[measure_name]`; `optax.tree.get(state, measure_name)` finds
    it too. Before the first step it is that of the parameters.

    Args:
      measure_name: what the measurement is called.
      measure: the tree of updates, in the dtype of computation -> any pytree of arrays, of one shape for ever.

    Metrics: `measurement`, a dict of one entry.

    optax: snapshot. torch: none; there hooks do so.
    """

    measure_name: str
    measure: Callable[[Any], Any]

    measurement = Metric(measure="named")

    def named(self, tree):
        """The measurement of a tree under its name."""
        return {self.measure_name: self.measure(tree)}

    def update(self, updates, slots, tree):
        return updates, slots._replace(measurement=self.named(updates))


snapshot = transform(Snapshot)
