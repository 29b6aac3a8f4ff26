"""What holds a transform, and what joins the gradients of devices."""

import optax

import gradxform as gx
from tests.contract.case import Case, warm_up
from tests.contract.cases_judged import JUDGED


def multi_steps(inner, every, mean=True):
    """optax's accumulation as a pair, which gathers float64 in float64."""
    return optax.MultiSteps(inner, every, mean, accumulator_dtype=None).gradient_transformation()


WRAPPERS = [
    # Without what is not finite it is what it holds.
    Case("guard", lambda: gx.guard(gx.adam(warm_up)), optax=lambda: optax.adam(warm_up)),
    Case(
        "guard:bounds",
        lambda: gx.guard(gx.sgd(0.1, 0.9), max_norm=1e3, max_deviations=1e3, warm_up=2, patience=1, when_stuck="nan"),
        optax=lambda: optax.sgd(0.1, 0.9),
        # The deviation of the first norms is 0, and the root's derivative there infinite.
        smooth=False,
    ),
    Case("accumulate", lambda: gx.accumulate(gx.adam(warm_up), 3), optax=lambda: multi_steps(optax.adam(warm_up), 3)),
    Case("accumulate:one", lambda: gx.accumulate(gx.sgd(0.1, 0.9), 1), optax=lambda: optax.sgd(0.1, 0.9)),
    Case(
        "accumulate:sum",
        lambda: gx.accumulate(gx.sgd(warm_up, 0.9), 3, mean=False),
        optax=lambda: multi_steps(optax.sgd(warm_up, 0.9), 3, mean=False),
    ),
    *JUDGED,
]
