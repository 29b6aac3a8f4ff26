"""What our numbers are to be at most. A slow or busy machine is no error: the tables say `ok` or `not`."""

from __future__ import annotations

from parts.results import Limit, Result
from parts.trees import Tree

CLIP_STEP = 0.6
STEP = 1.05
TORCH = 1.5
BUILD = 0.25
# Of the optimizers beside clip and adamw and adamw.
BUILD_OTHERS = 0.6
WAITING = 0.4
EXPONENT = 1.1
BY_HAND = {"clip and adamw": 0.5, "sgd, momentum": 1.0}
# Temporaries that a step may need beyond optax's, as a share of the parameters.
TEMPORARIES = 0.5

CLIP = "clip and adamw"
BESIDE_TORCH = (CLIP, "adamw")
# What keeps fewer bits than what is beside it does more for each of them.
NO_LIMIT = ("adamw in int8",)


def of_chain(result: Result, tree: Tree) -> list[Limit]:
    """Those of a chain's step over a tree."""
    if result.name in NO_LIMIT:
        return []
    found = []
    if result.name != CLIP:
        at_most = WAITING if result.name.endswith("waiting") else STEP
        found.append(Limit("step / optax's", result.ratios["optax"].median, at_most))
    elif tree.is_large:
        found.append(Limit("step / optax's", result.ratios["optax"].median, CLIP_STEP))
    if result.name in BESIDE_TORCH and "torch fused" in result.ratios:
        found.append(Limit("step / torch's fused", result.ratios["torch fused"].median, TORCH))
    return [*found, *_temporaries(result, tree)]


def of_optimizer(result: Result, tree: Tree) -> list[Limit]:
    """Those of an optimizer's step."""
    return [Limit("step / optax's", result.ratios["optax"].median, STEP), *_temporaries(result, tree)]


def _temporaries(result: Result, tree: Tree) -> list[Limit]:
    size = 4 * tree.parameters
    more = (result.temporaries["ours"] - result.temporaries["optax"]) / size
    return [Limit("temporaries beyond optax's / parameters", more, TEMPORARIES)]


def of_build(result: Result) -> list[Limit]:
    """That of tracing and lowering."""
    if result.on != "trace + lower":
        return []
    at_most = BUILD if result.name in BESIDE_TORCH else BUILD_OTHERS
    return [Limit("trace + lower / optax's", result.ratios["optax"].median, at_most)]


def of_hand(result: Result) -> list[Limit]:
    """That of a step by hand."""
    return [Limit("step / optax's", result.ratios["optax"].median, BY_HAND[result.name])]


def of_growth(result: Result) -> list[Limit]:
    """That of the exponent."""
    return [Limit("exponent", result.exponents["ours"].exponent, EXPONENT)]
