"""What is judged by other parameters than those that it trains."""

import jax
import optax
import optax.contrib

import gradxform as gx
from tests.contract.case import Case


def gradient(params, number):
    """A gradient at any parameters, another for each number."""
    return jax.tree.map(lambda leaf: leaf / (number + 2), params)


JUDGED = [
    # They change nothing, and nothing may stand after them, as it does where derivatives are taken.
    *(
        Case(f"average_params{variant}", make, optax=optax.identity, needs_params=True, smooth=False)
        for variant, make in {
            "": lambda: gx.average_params(0.9),
            ":mean of the end": lambda: gx.average_params(decay=None, start=2, every=2),
            ":biased": lambda: gx.average_params(debias=False),
        }.items()
    ),
    Case(
        "schedule_free",
        lambda: gx.schedule_free(gx.sgd(0.1), 0.1, 0.8, 1.5),
        optax=lambda: optax.contrib.schedule_free(optax.sgd(0.1), 0.1, 0.8, 1.5),
        needs_params=True,
    ),
    Case(
        "schedule_free_sgd",
        lambda: gx.schedule_free_sgd(0.1, weight_decay=0.1),
        optax=lambda: optax.contrib.schedule_free_sgd(0.1, weight_decay=0.1),
        needs_params=True,
    ),
    Case(
        "schedule_free_adamw",
        lambda: gx.schedule_free_adamw(0.01, weight_decay=0.1),
        optax=lambda: optax.contrib.schedule_free_adamw(0.01, weight_decay=0.1),
        needs_params=True,
    ),
    Case(
        "sam",
        lambda: gx.sam(gx.adam(0.01), gx.sgd(0.1, 0.9), 3),
        optax=lambda: optax.contrib.sam(optax.adam(0.01), optax.sgd(0.1, 0.9), 3),
        needs_params=True,
    ),
    Case(
        "sam:going on",
        lambda: gx.sam(gx.sgd(0.01, 0.9), gx.sgd(0.1, 0.9), reset_state=False),
        optax=lambda: optax.contrib.sam(optax.sgd(0.01, 0.9), optax.sgd(0.1, 0.9), reset_state=False),
        needs_params=True,
    ),
    Case(
        "sam:opaque",
        lambda: gx.sam(gx.adam(0.01), gx.sgd(0.1, 0.9), 3, opaque_mode=True),
        optax=lambda: optax.contrib.sam(optax.adam(0.01), optax.sgd(0.1, 0.9), 3, opaque_mode=True),
        needs_params=True,
        extra={"grad_fn": gradient},
    ),
]
