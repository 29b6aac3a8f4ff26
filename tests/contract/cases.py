"""The one list of what the contract runs over: a new transform joins by being named in the list of its family."""

from typing import Any

import jax

from tests.contract.case import Case
from tests.contract.cases_adam import ADAM_RELATIVES
from tests.contract.cases_averages import AVERAGES
from tests.contract.cases_classic import CLASSIC
from tests.contract.cases_decay import DECAY
from tests.contract.cases_free import RATE_FREE
from tests.contract.cases_guards import GUARDS
from tests.contract.cases_layers import LAYERS_AND_SIGNS
from tests.contract.cases_matrices import MATRIX_METHODS
from tests.contract.cases_params import PARAMS_KEPT
from tests.contract.cases_preconditioned import PRECONDITIONED
from tests.contract.cases_private import PRIVATE
from tests.contract.cases_since2024 import SINCE_2024
from tests.contract.cases_watching import WATCHING
from tests.contract.cases_wrappers import WRAPPERS

LISTED = [
    *CLASSIC,
    *ADAM_RELATIVES,
    *LAYERS_AND_SIGNS,
    *RATE_FREE,
    *MATRIX_METHODS,
    *PRECONDITIONED,
    *DECAY,
    *PRIVATE,
    *SINCE_2024,
    *WATCHING,
    *WRAPPERS,
    *AVERAGES,
    *GUARDS,
    *PARAMS_KEPT,
]
CASES = [case for case in LISTED if not case.numbers_alone]

# One of each kind, for what is the engine's work and costs much to look at: leaf rules, without slots, with them, with
# a mask and with slots of another shape; tree rules that scale all leaves, that keep trees, that draw random numbers,
# that hold a transform; what takes values, functions, and the gradients of examples.
_BY_NAME = {case.name: case for case in CASES}
KINDS = [
    _BY_NAME[name]
    for name in (
        "scale_by_sign",
        "adam",
        "adamw",
        "scale_by_factored_rms:factored",
        "clip_by_global_norm",
        "prodigy",
        "add_noise",
        "sophia",
        "guard",
        "accumulate",
        "MultiSteps",
        "flatten",
        "mechanize",
        "momo_adam",
        "monitor",
        "dpsgd:momentum",
    )
]

# What a transform may have beside its rule, and still be that rule: each has cases of its own, and the chains among
# `KINDS` have them all.
_BESIDE = ("scale_by_learning_rate", "add_decayed_weights", "scale")


def _rules(case: Case) -> list[Any]:
    """What a case consists of, without rates and decays: each as it is but for its numbers, of which 0 switches off."""
    nodes = [stage.node for stage in case.make().stages if stage.node.call_name not in _BESIDE]
    return [(jax.tree.structure(node), tuple(number == 0 for number in jax.tree.leaves(node))) for node in nodes]


def _distinct() -> list[Case]:
    """The cases without those that are the one rule of an earlier case, with a rate, a decay or both."""
    found, seen = [], set()
    for case in CASES:
        rules = _rules(case)
        if case in KINDS or len(rules) != 1 or rules[0] not in seen:
            found.append(case)
        if len(case.make().stages) == 1:
            seen.update(rules)
    return found


# Those of which more programs are compiled than that of the numbers: another constant and a product teach nothing more.
DISTINCT = _distinct()


def _first_in_rows() -> list[Case]:
    """Of the cases whose derivatives are compared with optax's, the first of each row of rules."""
    found: dict[tuple[str, ...], Case] = {}
    for case in CASES:
        if case.optax and case.smooth:
            names = (stage.node.call_name for stage in case.make().stages)
            found.setdefault(tuple(name for name in names if name not in _BESIDE), case)
    return [*found.values()]


# Of ADOPT, optax's derivatives in forward mode are NaN, from the root of 0 at the first step.
_IN_REVERSE = [*_first_in_rows(), *(_BY_NAME[name] for name in ("scale_by_adopt:nesterov", "adopt"))]


def is_differentiated_forwards(case: Case) -> bool:
    """Whether its derivatives are compared with optax's in forward mode, which costs a fraction of reverse mode.

    In reverse mode are those that the two modes may tell apart, one of each row of rules.
    """
    return bool(case.optax and case.smooth and not (case in _IN_REVERSE and case.has_roots_and_where))
