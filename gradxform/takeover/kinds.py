"""Which of optax's states is which of ours: the kinds of states, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from gradxform.core.state import State
from gradxform.takeover.takeover import Path, is_pair, is_record, is_state, rule_of


class Held(NamedTuple):
    """The rules of ours that remember what a state of optax's holds, and under which names, the same in both."""

    rules: tuple[str, ...]
    slots: tuple[str, ...]


HELD = {
    "ScaleByAdamState": Held(("scale_by_adam", "scale_by_adamax", "scale_by_radam", "scale_by_yogi"), ("mu", "nu")),
    "ScaleByAmsgradState": Held(("scale_by_amsgrad",), ("mu", "nu", "nu_max")),
    "ScaleByBeliefState": Held(("scale_by_belief",), ("mu", "nu")),
    "ScaleByLionState": Held(("scale_by_lion",), ("mu",)),
    "ScaleByRmsState": Held(("scale_by_rms",), ("nu",)),
    "ScaleByRmsWithCountState": Held(("scale_by_rms",), ("nu",)),
    "ScaleByRStdDevState": Held(("scale_by_stddev",), ("mu", "nu")),
    "ScaleByRStdDevWithCountState": Held(("scale_by_stddev",), ("mu", "nu")),
    "ScaleByRssState": Held(("scale_by_rss",), ("sum_of_squares",)),
    "ScaleByAdaDeltaState": Held(("scale_by_adadelta",), ("e_g", "e_x")),
    "MuonState": Held(("scale_by_muon",), ("mu",)),
    "FactoredState": Held(("scale_by_factored_rms",), ("v_row", "v_col", "v")),
    "TraceState": Held(("trace",), ("trace",)),
    "EmaState": Held(("ema",), ("ema",)),
    "ScheduleFreeState": Held(("schedule_free",), ("b1", "weight_sum", "max_lr", "z")),
    "LookaheadState": Held(("lookahead",), ("steps_since_sync",)),
    "SAMState": Held(("sam",), ("steps_since_sync", "cache")),
}
KNOWN = {rule for held in HELD.values() for rule in held.rules}

# optax's wrappers that a chain of ours may do without, and where they keep the state of what they wrap.
REMOVABLE = {
    "InjectHyperparamsState": "inner_state",
    "InjectStatefulHyperparamsState": "inner_state",
    "MultiStepsState": "inner_opt_state",
    "ApplyIfFiniteState": "inner_state",
}
# Those that step whenever they are called, so that what they wrap has the count of what is around them.
IN_STEP = (
    "MaskedState",
    "PartitionState",
    "GaLoreState",
    "InjectHyperparamsState",
    "InjectStatefulHyperparamsState",
)
# What optax keeps and ours need not: a metric, and a random key, of which ours makes other numbers.
NOT_NEEDED = ("ZeroNansState", "AddNoiseState")
# optax's names of wrappers' states with the same fields.
SAME_AS = {"InjectStatefulHyperparamsState": "InjectHyperparamsState"}
# Our rules that wrap a transform, and remember what optax's do, under the same names.
WRAPPERS = {
    "apply_if_finite": "ApplyIfFiniteState",
    "conditionally_mask": "ConditionallyMaskState",
    "conditionally_transform": "ConditionallyTransformState",
    "multi_steps": "MultiStepsState",
}
# optax's arguments whose names are others in our rules.
RENAMED = {"momentum": "trace.decay"}


def unmasked(ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> dict[Any, Any]:
    """The states of optax's partition by their labels, without `masked`, of which optax makes it.

    They are in our order, and those of labels that ours has not are left out where they keep nothing.
    """
    bare = {label: state.inner_state if kind_of(state) == "MaskedState" else state for label, state in theirs.items()}
    others = {label: state for label, state in bare.items() if label not in ours and jax.tree.leaves(state)}
    return {label: bare[label] for label in ours if label in bare} | others


def counted(ours: State, path: Path) -> Iterator[Path]:
    """Where a chain of ours counts, and each in it whose state stands for that of a stage."""
    yield (*path, "count")
    for key, part in ours.stages.items():
        if isinstance(part, State):
            yield from counted(part, (*path, "stages", key))


def accepted(part: Any) -> tuple[str, ...]:
    """The classes of optax's states that a record or a guest's state can be filled from."""
    return (
        tuple(kind for kind, held in HELD.items() if rule_of(part) in held.rules) if is_rule(part) else (kind_of(part),)
    )


def is_missing(part: Any, items: Sequence[Any]) -> bool:
    """Whether this is a wrapper's state that optax did without."""
    return kind_of(part) in REMOVABLE and kind_of(part) not in map(kind_of, items)


def is_rule(part: Any) -> bool:
    """Whether this is what a rule of ours remembers that wraps nothing as optax does."""
    return is_record(part) and rule_of(part) not in WRAPPERS


def own_count(theirs: Any) -> int | None:
    """How many updates a wrapper of optax's has counted that begins with 1."""
    return int(theirs.step_count) - 1 if kind_of(theirs) == "ScheduleFreeState" else None


def dotted(path: Path) -> str:
    """A path as it is written in a report."""
    return ".".join(key for key in path if key != "stages")


def kind_of(part: Any) -> str:
    """What a state is called: optax's name of it, also where it is ours."""
    name = type(part).__name__
    return WRAPPERS.get(rule_of(part), name) if is_record(part) else SAME_AS.get(name, name)


def children(tree: Any) -> dict[str, Any]:
    """The parts of a state, or of a container of states, by their names."""
    if is_pair(tree):
        return tree._asdict()
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, tuple | list) else ()
    return {str(key): part for key, part in pairs}


def has_state(tree: Any) -> bool:
    """Whether a state of ours is in it."""
    return any(map(is_state, jax.tree.leaves(tree, is_leaf=is_state)))
