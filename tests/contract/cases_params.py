"""What keeps parameters of 16 bits in more: of wider ones it is the transform within."""

import optax

import gradxform as gx
from tests.contract.case import Case, warm_up

# The contract's parameters are mostly of float32 and float64, so that they may all be wide. Derivatives are compared
# with a learning rate behind the transform, where nothing may stand.
PARAMS_KEPT = [
    Case(
        "stochastic_rounding",
        lambda: gx.stochastic_rounding(gx.adam(warm_up), 1, strict=False),
        optax=lambda: optax.adam(warm_up),
        needs_params=True,
        smooth=False,
    ),
    Case(
        "split_weights",
        lambda: gx.split_weights(gx.adam(warm_up), 16, strict=False),
        optax=lambda: optax.adam(warm_up),
        needs_params=True,
        smooth=False,
    ),
    Case(
        "kahan",
        lambda: gx.kahan(gx.adam(warm_up), strict=False),
        optax=lambda: optax.adam(warm_up),
        needs_params=True,
        smooth=False,
    ),
    Case(
        "master_weights",
        lambda: gx.master_weights(gx.adam(warm_up), strict=False),
        optax=lambda: optax.adam(warm_up),
        needs_params=True,
        smooth=False,
    ),
    Case(
        "adamw_lean",
        lambda: gx.adamw_lean(warm_up, weight_decay=0.01),
        optax=lambda: optax.adamw(warm_up, weight_decay=0.01),
        needs_params=True,
        smooth=False,
    ),
    # Arrays as small as these stay as they are; tests/storage has large ones.
    Case("stored", lambda: gx.stored(gx.adam(warm_up), gx.int8()), optax=lambda: optax.adam(warm_up), smooth=False),
    Case("offloaded", lambda: gx.offloaded(gx.adam(warm_up)), optax=lambda: optax.adam(warm_up), smooth=False),
]
