"""Clipping by what gradients were, StableAdamW's clipping of updates, and guards against spikes."""

import optax

import gradxform as gx
from tests.contract import references_guards as references
from tests.contract.case import Case
from tests.contract.cases_watching import unchanged

LOSS = {"value": 1.5}

GUARDS = [
    Case("zclip", lambda: gx.zclip(1.0, 0.9, 5), reference=references.zclip(1.0, 0.9, 5, 1e-6)),
    Case("zclip:defaults", gx.zclip, reference=references.zclip(2.5, 0.97, 25, 1e-6), numbers_alone=True),
    Case("autoclip", lambda: gx.autoclip(30.0, 7), reference=references.autoclip(30.0, 7)),
    Case("autoclip:defaults", gx.autoclip, reference=references.autoclip(10.0, 1000), numbers_alone=True),
    Case("adagc", lambda: gx.adagc(1.5, 0.9, 3), reference=references.adagc(1.5, 0.9, 3, 1.0)),
    Case(
        "adagc:longer warm-up",
        lambda: gx.adagc(warm_up=20, max_norm=0.5),
        reference=references.adagc(1.04, 0.99, 20, 0.5),
        numbers_alone=True,
    ),
    Case(
        "scale_by_adam:clipped",
        lambda: gx.scale_by_adam(0.8, 0.95, 1e-3, clipping_threshold=1.0),
        reference=references.stable_adam(0.8, 0.95, 1e-3, 1.0),
    ),
    Case(
        "adamw:clipped",
        lambda: gx.adamw(0.01, b2=0.9, weight_decay=0.1, clipping_threshold=0.5),
        reference=references.stable_adamw(0.01, 0.1, 0.9, 0.9, 1e-8, 0.5),
        needs_params=True,
    ),
    Case(
        "guard:loss",
        lambda: gx.guard(gx.sgd(0.1, 0.9), max_loss_deviations=3.0, warm_up=2),
        optax=lambda: optax.sgd(0.1, 0.9),
        smooth=False,
        extra=LOSS,
    ),
    Case("record_noise_scale", lambda: gx.record_noise_scale(8.0, every=3), reference=unchanged),
]
