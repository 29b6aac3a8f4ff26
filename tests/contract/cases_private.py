"""What takes gradients of single examples."""

import warnings
from typing import Any

import optax

import gradxform as gx
from tests.contract import references_private
from tests.contract.case import Case, warm_up

BATCH: dict[str, Any] = {"batch": 5}


def optax_dpsgd(*args, **kwargs):
    """optax's, which warns of its own use of seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return optax.contrib.dpsgd(*args, **kwargs)


# Noise cannot be optax's noise: without it the rest is. tests/rules/test_private_and_mechanic.py has the noise itself.
PRIVATE = [
    Case(
        "differentially_private_aggregate",
        lambda: gx.differentially_private_aggregate(2.0, 0.0, 1),
        optax=lambda: optax.contrib.differentially_private_aggregate(2.0, 0.0, 1),
        **BATCH,
    ),
    *(
        Case(
            f"differentially_private_aggregate:{'uniform' if uniform else 'by size'}",
            lambda uniform=uniform: gx.differentially_private_aggregate(2.0, 0.0, 1, per_layer=True, uniform=uniform),
            reference=references_private.clipped_by_layer(2.0, -1.0, uniform),
            **BATCH,
        )
        for uniform in (True, False)
    ),
    Case("dpsgd", lambda: gx.dpsgd(0.1, 2.0, 0.0, 1), optax=lambda: optax_dpsgd(0.1, 2.0, 0.0, 1), **BATCH),
    Case(
        "dpsgd:momentum",
        lambda: gx.dpsgd(warm_up, 0.5, 0.0, 1, 0.9, True),
        optax=lambda: optax_dpsgd(warm_up, 0.5, 0.0, 1, 0.9, True),
        **BATCH,
    ),
    Case(
        "dpsgd:layers",
        lambda: gx.dpsgd(0.1, 1.0, 0.0, 1, per_layer=True),
        reference=references_private.clipped_by_layer(1.0, 0.1, True),
        **BATCH,
    ),
]
