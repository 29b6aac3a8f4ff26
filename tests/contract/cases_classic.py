"""The rules and optimizers of the core."""

import numpy as np
import optax

import gradxform as gx
from tests.contract import references
from tests.contract.case import MASK, Case, same, warm_up

ADAM = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}


CLASSIC = [
    same("trace", 0.9),
    same("trace", 0.9, nesterov=True, variant="nesterov"),
    Case("trace:dampening", lambda: gx.trace(0.9, dampening=0.3), reference=references.heavy_ball(0.9, 0.3)),
    Case("velocity", lambda: gx.velocity(0.1, 0.9), reference=references.velocity(0.1, 0.9)),
    Case("velocity:nesterov", lambda: gx.velocity(0.1, 0.9, True), reference=references.velocity(0.1, 0.9, True)),
    same("ema", 0.9),
    same("ema", 0.9, debias=False, variant="plain"),
    same("scale_by_adam", eps_root=1e-8),
    same("scale_by_adam", **ADAM, nesterov=True, variant="nesterov"),
    Case("scale_by_nadam", gx.scale_by_nadam, reference=references.nadam(0.9, 0.999, 1e-8, 4e-3)),
    same("scale_by_rms"),
    same("scale_by_rms", eps_in_sqrt=False, bias_correction=True, initial_scale=0.1, variant="corrected"),
    same("scale_by_stddev", eps=1e-4),
    same("scale_by_stddev", eps=1e-4, eps_in_sqrt=False, initial_scale=0.1, bias_correction=True, variant="corrected"),
    same("scale_by_rss"),
    Case(
        "scale_by_rss:eps outside",
        lambda: gx.scale_by_rss(0.0, 1e-8, eps_in_sqrt=False),
        reference=references.adagrad(0.0, 1e-8),
    ),
    same("scale_by_sign"),
    same("scale", -0.3),
    same("scale_by_learning_rate", 0.1),
    same("scale_by_learning_rate", warm_up, flip_sign=False, variant="schedule"),
    same("scale_by_learning_rate", None, variant="none"),
    same("scale_by_schedule", warm_up),
    same("add_decayed_weights", 0.1, needs_params=True),
    same("add_decayed_weights", warm_up, MASK, variant="mask", needs_params=True),
    Case(
        "add_decayed_weights:after the rate, mask",
        lambda: gx.add_decayed_weights(0.1, MASK, flip_sign=True),
        optax=lambda: optax.add_decayed_weights(-0.1, MASK),
        needs_params=True,
    ),
    Case(
        "adamw:independent, mask",
        lambda: gx.adamw(warm_up, weight_decay=0.1, mask=MASK, independent=True, eps_root=1e-8),
        optax=lambda: optax.chain(optax.adam(warm_up, eps_root=1e-8), optax.add_decayed_weights(-0.1, MASK)),
        needs_params=True,
    ),
    same("identity"),
    same("set_to_zero"),
    same("clip", 0.5, real_only=True),
    Case("clip_by_norm", lambda: gx.clip_by_norm(0.5), reference=references.clip_by_leaf_norm(0.5)),
    Case(
        "clip_by_norm:max",
        lambda: gx.clip_by_norm(0.5, ord=np.inf),
        reference=references.clip_by_leaf_norm(0.5, np.inf),
    ),
    same("clip_by_global_norm", 0.5),
    *(
        Case(
            f"clip_by_global_norm:order {ord}",
            lambda ord=ord: gx.clip_by_global_norm(0.5, ord=ord),
            reference=references.clip_by_joint_norm(0.5, ord),
        )
        for ord in (1, 3, np.inf)
    ),
    Case("normalize_by_global_norm", gx.normalize_by_global_norm, reference=references.normalize(1.0)),
    same("clip_by_block_rms", 0.2),
    same("adaptive_grad_clip", 0.1, needs_params=True),
    same("zero_nans"),
    same("sgd", 0.1),
    same("sgd", warm_up, momentum=0.9, variant="momentum"),
    same("sgd", 0.1, momentum=0.9, nesterov=True, variant="nesterov"),
    Case("sgd:live", lambda: gx.live(gx.sgd(0.1, 0.9)), optax=lambda: optax.sgd(0.1, 0.9)),
    same("adam", 0.1, eps_root=1e-8),
    same("adamw", warm_up, weight_decay=0.1, mask=MASK, eps_root=1e-8, needs_params=True),
    same("nadam", 0.1, eps_root=1e-8),
    Case(
        "nadam:torch",
        lambda: gx.chain(gx.nadam(1.0, momentum_decay=4e-3), gx.scale(-1.0)),
        reference=references.nadam(0.9, 0.999, 1e-8, 4e-3),
    ),
    same("nadamw", 0.1, eps_root=1e-8, needs_params=True),
    same("rmsprop", 0.1),
    same("rmsprop", 0.1, centered=True, eps=1e-4, momentum=0.9, nesterov=True, variant="centered"),
    same("adagrad", 0.1),
    Case(
        "chain",
        lambda: gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(warm_up, eps_root=1e-8)),
        optax=lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(warm_up, eps_root=1e-8)),
        needs_params=True,
    ),
    Case(
        "named_chain",
        lambda: gx.named_chain(("clip", gx.clip_by_block_rms(0.3)), ("descend", gx.adam(0.1, eps_root=1e-8))),
        optax=lambda: optax.chain(optax.clip_by_block_rms(0.3), optax.adam(0.1, eps_root=1e-8)),
    ),
]
