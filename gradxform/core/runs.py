"""What a run of leaf rules is: its rules, what is static of a leaf, and the arrays with which its step begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradxform.core.declarations import Rule
from gradxform.core.noise import Noise
from gradxform.core.placement import Cut


class Target(NamedTuple):
    """For what kernels are made.

    Attributes:
      platform: "tpu", "gpu", or "cpu", where the kernel is a loop.
      is_interpreted: whether JAX's interpreter runs them, on whatever device there is.
    """

    platform: str
    is_interpreted: bool = False


class Shared(NamedTuple):
    """What all leaves of a run share: computed once a step, outside.

    Attributes:
      step: int32 of shape (): the number of this step, from 1 on.
      factor: what a rule before the run multiplies all updates by, of shape (); None for nothing.
      hypers: for each rule, its hyperparameters that are arrays, by name.
      extras: for each rule, the extra arguments that it declares, by name.
    """

    step: jax.Array
    factor: jax.Array | None
    hypers: tuple[dict[str, Any], ...]
    extras: tuple[dict[str, Any], ...]


class Chosen(NamedTuple):
    """What a rule's masks say of a leaf: whether the rule applies to it, and whether it decays."""

    applies: bool
    decays: bool


class Kind(NamedTuple):
    """What is static of a leaf in a run.

    Attributes:
      chosen: for each rule what its masks say of the leaf.
      cut: how it is cut over devices, None where nobody told.
      target: for what a kernel may do the step, if each element is treated alone; None for nothing.
      lands: whether this kernel may add the update to the parameter.
    """

    chosen: tuple[Chosen, ...]
    cut: Cut | None
    target: Target | None
    lands: bool


class OfLeaf(NamedTuple):
    """The arrays of a leaf that a step begins with, or ends with.

    Attributes:
      update: the leaf of the updates.
      records: of each rule its slots and metrics.
      param: before the step the parameter, None if there is none; after it that which landed, None if none did.
      noise: for what is rounded at random; None after the step.
    """

    update: jax.Array
    records: tuple[Any, ...]
    param: Any
    noise: Noise | None

    def noise_of(self, place: int) -> Noise | None:
        """The noise of a rule's slots, by its place in the run."""
        return None if self.noise is None else self.noise.of(place)


class Program:
    """The static part of a run: its rules, and what is static of the leaf.

    Hashed by identity; `program` gives equal runs the same object.
    """

    def __init__(self, rules: tuple[Rule, ...], kind: Kind) -> None:
        self.rules, self.kind = rules, kind
