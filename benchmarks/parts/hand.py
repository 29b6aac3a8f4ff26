"""A step that is called by hand, outside of `jit`: `update` and `apply_updates`, over leaves of 16 x 16."""

from __future__ import annotations

from typing import Any

import jax
import optax

import gradxform as gx
from parts import limits, pairs
from parts.alternate import Budget, measure, ratios, timing
from parts.results import Result
from parts.trees import arrays, trees

LEAVES = (4, 50, 500)
CHAINS = ("clip and adamw", "sgd, momentum")


class _ByHand:
    """A step of which every call is seen by Python."""

    def __init__(self, tx: optax.GradientTransformation, leaves: int):
        self.update = tx.update
        self.apply = gx.apply_updates if isinstance(tx, gx.Transform) else optax.apply_updates
        self.params, self.grads = arrays([(16, 16)] * leaves)
        self.state: Any = tx.init(self.params)

    def __call__(self) -> None:
        """Begins a step."""
        updates, self.state = self.update(self.grads, self.state, self.params)
        self.params = self.apply(self.params, updates)

    def wait(self) -> None:
        """Waits for it."""
        jax.block_until_ready((self.params, self.state))


def by_hand(name: str, leaves: int, budget: Budget) -> Result:
    """Measures a chain, ours beside optax's."""
    pair = pairs.CHAINS[name].make(trees(quick=True)["one"])
    contestants = {whose: _ByHand(tx, leaves) for whose, tx in zip(("ours", "optax"), pair, strict=True)}
    samples = measure({"jax": contestants}, budget)
    times = {whose: timing(taken) for whose, taken in samples["jax"].items()}
    result = Result("hand", name, f"{leaves} leaves", times=times, ratios=ratios(samples))
    result.limits = limits.of_hand(result)
    return result
