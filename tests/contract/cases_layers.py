"""The rules and optimizers of signs, layers, rows and columns, and noise."""

import warnings

import jax.numpy as jnp
import optax

import gradxform as gx
from tests.contract import references_layers as references
from tests.contract.case import MASK, Case, same, total, warm_up

VALUE = {"value": 0.7}


def precise_decay(step, exponent):
    """Adafactor's decay, which optax takes in float32 even where everything else is float64."""
    return 1 - (step + 1).astype(jnp.result_type(float)) ** -exponent


def optax_factored(factor_from=128):
    """optax's rule with the decay in full precision."""
    return optax.scale_by_factored_rms(min_dim_size_to_factor=factor_from, decay_rate_fn=precise_decay)


def optax_adafactor():
    """optax's adafactor, which cannot be told its decay, as the chain that it is."""
    return optax.chain(
        optax_factored(2),
        optax.clip_by_block_rms(1.0),
        optax.scale_by_learning_rate(0.1, flip_sign=False),
        optax.scale_by_param_block_rms(),
        optax.add_decayed_weights(1e-3),
        optax.scale(-1),
    )


def optax_optimistic_adam(*args, **kwargs):
    """optax's, which warns that it is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return optax.optimistic_adam(*args, **kwargs)


LAYERS_AND_SIGNS = [
    same("scale_by_lion"),
    same("scale_by_lion", 0.8, 0.95, mode="smooth", smooth_beta=2.0, variant="smooth"),
    same("scale_by_lion", mode="refined", variant="refined"),
    # optax lets out the step of the gradient before: its first update is 0.
    Case(
        "scale_by_rprop",
        lambda: gx.scale_by_rprop(0.1),
        reference=references.rprop(0.1, 0.5, 1.2, 1e-6, 50.0),
        real_only=True,
    ),
    same("scale_by_adadelta"),
    same("scale_by_optimistic_gradient"),
    same("scale_by_optimistic_gradient", 0.7, 0.3, variant="two numbers"),
    same("centralize"),
    Case("centralize:axis", lambda: gx.centralize(axis=0), reference=references.centered(0)),
    same("normalize_by_update_norm", 2.0),
    same("apply_every"),
    same("apply_every", 3, variant="three"),
    same("keep_params_nonnegative", real_only=True, needs_params=True),
    # Added as it is, the update of a scalar would double it or leave nothing of it but rounding.
    Case(
        "scale_by_trust_ratio",
        lambda: gx.chain(gx.scale_by_trust_ratio(), gx.scale(-0.1)),
        optax=lambda: optax.chain(optax.scale_by_trust_ratio(), optax.scale(-0.1)),
        needs_params=True,
    ),
    same("scale_by_trust_ratio", 0.5, 0.1, 1e-3, variant="bounded", needs_params=True),
    Case(
        "scale_by_trust_ratio:mask",
        lambda: gx.scale_by_trust_ratio(mask=MASK),
        optax=lambda: optax.masked(optax.scale_by_trust_ratio(), MASK),
        needs_params=True,
    ),
    # Uphill, updates in the size of the parameters would grow without end, and rounding with them.
    *(
        Case(
            name,
            lambda name=name: gx.chain(getattr(gx, name)(0.8), gx.scale(-0.1)),
            optax=lambda name=name: optax.chain(getattr(optax, name)(0.8), optax.scale(-0.1)),
            needs_params=True,
        )
        for name in ("scale_by_param_block_norm", "scale_by_param_block_rms")
    ),
    Case("scale_by_factored_rms", gx.scale_by_factored_rms, optax=optax_factored),
    Case(
        "scale_by_factored_rms:factored",
        lambda: gx.scale_by_factored_rms(min_dim_size_to_factor=2),
        optax=lambda: optax_factored(2),
    ),
    Case(
        "scale_by_factored_rms:least root",
        lambda: gx.scale_by_factored_rms(min_dim_size_to_factor=1, epsilon=0.0, min_rms=0.6),
        reference=references.bounded_factored_rms(0.8, 0.6),
    ),
    # optax takes no scalars.
    Case("scale_by_sm3", gx.scale_by_sm3, reference=references.sm3(0.9, 1.0, 1e-8), real_only=True),
    Case(
        "scale_by_sm3:decay",
        lambda: gx.scale_by_sm3(0.8, 0.9, 1e-6),
        reference=references.sm3(0.8, 0.9, 1e-6),
        real_only=True,
    ),
    # Noise cannot be optax's noise: without it the rest is. tests/rules/test_layers_and_signs.py has the noise itself.
    same("add_noise", 0.0, 0.55, 1),
    same("snapshot", "size", total),
    Case("scale_by_polyak", gx.scale_by_polyak, optax=optax.scale_by_polyak, extra=VALUE),
    Case(
        "scale_by_polyak:bounded",
        lambda: gx.scale_by_polyak(0.6, 0.05, 0.1, "sps+"),
        optax=lambda: optax.scale_by_polyak(0.6, 0.05, 0.1, "sps+"),
        extra=VALUE,
    ),
    same("lion", 0.01, needs_params=True),
    same("lion", warm_up, weight_decay=0.1, mask=MASK, variant="mask", needs_params=True),
    same("sign_sgd", 0.01),
    same("signum", 0.01),
    Case(
        "rprop",
        lambda: gx.chain(gx.rprop(0.1, 0.6, 1.3, 0.05, 0.3), gx.scale(-1.0)),
        reference=references.rprop(0.1, 0.6, 1.3, 0.05, 0.3),
        real_only=True,
    ),
    same("adadelta", 1.0, weight_decay=0.1, needs_params=True),
    same("optimistic_gradient_descent", 0.1),
    Case(
        "optimistic_adam",
        lambda: gx.optimistic_adam(0.1, 0.05, eps_root=1e-8),
        optax=lambda: optax_optimistic_adam(0.1, 0.05, eps_root=1e-8),
    ),
    same("optimistic_adam_v2", warm_up, eps_root=1e-8),
    same("lamb", 0.1, weight_decay=0.1, eps_root=1e-8, needs_params=True),
    same("lars", 0.1, needs_params=True),
    same("lars", warm_up, 0.1, MASK, 0.1, 1e-3, MASK, nesterov=True, variant="mask", needs_params=True),
    same("fromage", 0.1, needs_params=True),
    same("fromage", warm_up, 0.5, variant="schedule", needs_params=True),
    Case(
        "adafactor",
        lambda: gx.adafactor(0.1, 2, weight_decay_rate=1e-3),
        optax=optax_adafactor,
        needs_params=True,
    ),
    Case(
        "adafactor:least root",
        lambda: gx.adafactor(0.1, 1, eps=0.0, min_rms=0.6, weight_decay_rate=0.1 * 0.3),
        reference=references.adafactor(0.1, 0.3, 0.6),
        needs_params=True,
    ),
    Case(
        "sm3",
        lambda: gx.chain(gx.sm3(1.0), gx.scale(-1.0)),
        reference=references.sm3(0.9, 1.0, 1e-8),
        real_only=True,
    ),
    same("noisy_sgd", 0.1, eta=0.0, key=1),
    Case("polyak_sgd", gx.polyak_sgd, optax=optax.polyak_sgd, extra=VALUE),
    # optax divides by scaling, where its formula multiplies.
    Case(
        "polyak_sgd:scaling",
        lambda: gx.polyak_sgd(scaling=0.5),
        reference=references.polyak(0.7, 0.5),
        extra=VALUE,
    ),
]
