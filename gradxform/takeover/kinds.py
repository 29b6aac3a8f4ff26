"""What a part of a state is, ours or optax's: by which class of optax's it is known, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradxform.takeover.takeover import is_pair, is_record, rule_of

# optax's names of wrappers' states with the same fields.
SAME_AS = {"InjectStatefulHyperparamsState": "InjectHyperparamsState"}
# Our rules that wrap a transform, and remember what optax's do, under the same names.
WRAPPERS = {
    "apply_if_finite": "ApplyIfFiniteState",
    "conditionally_mask": "ConditionallyMaskState",
    "conditionally_transform": "ConditionallyTransformState",
    "multi_steps": "MultiStepsState",
}


def is_rule(part: Any) -> bool:
    """Whether this is what a rule of ours remembers that wraps nothing as optax does."""
    return is_record(part) and rule_of(part) not in WRAPPERS


def kind(part: Any) -> str:
    """The name of the class of optax's states that this is, or that stands for it."""
    name = type(part).__name__
    return WRAPPERS.get(rule_of(part), name) if is_record(part) else SAME_AS.get(name, name)


def children(tree: Any) -> dict[str, Any]:
    """The parts of a container by their names."""
    if is_pair(tree):
        return tree._asdict()
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, tuple | list) else ()
    return {str(key): part for key, part in pairs}
