"""Optimizers without a learning rate, and what else optax.contrib has that reads the loss."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradxform as gx
from tests.contract import references_free
from tests.contract.case import MASK, Case, warm_up


def contrib(name: str, *args: Any, variant: str = "", **kwargs: Any) -> Case:
    """A case that optax.contrib has under the same name; the fields of the case are among the keywords."""
    fields = {field.name for field in dataclasses.fields(Case)}
    of_case = {key: kwargs.pop(key) for key in list(kwargs) if key in fields}
    make, theirs = getattr(gx, name), getattr(optax.contrib, name)
    return Case(
        f"{name}:{variant}" if variant else name,
        lambda: make(*args, **kwargs),
        optax=lambda: theirs(*args, **kwargs),
        **of_case,
    )


# Roots of 0 at the first step, where optax's derivative is NaN: of |p - p_0| in the distances, of the mean square
# beside sums that begin at 0 in D-Adaptation and Prodigy, and of v in Mechanic.
ROOT_OF_ZERO: dict[str, Any] = {"smooth": False, "needs_params": True}
# Where the bound is estimated, rates are large, so that it stays far from the value: their difference keeps its digits.
VALUE: dict[str, Any] = {"needs_params": True, "extra": {"value": 1.5}}


def objective(tree: Any) -> Any:
    """A loss whose Hessian is diagonal, so that Hutchinson's estimate of it does not depend on the random numbers."""
    return sum((jnp.sum(leaf**4) / 4 for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


# Not smooth: optax's own step has a kink at the threshold, where its first steps are, with h = 0 in the denominator.
OBJECTIVE: dict[str, Any] = {"needs_params": True, "extra": {"obj_fn": objective}}

RATE_FREE = [
    # optax's sums of squares have shape (1,), and so has its update of a scalar: no step can be done with it.
    Case(
        "scale_by_distance_over_gradients",
        gx.scale_by_distance_over_gradients,
        reference=references_free.layerwise_dog(1e-6, 1e-8, 1.0),
        real_only=True,
        needs_params=True,
    ),
    Case(
        "scale_by_distance_over_gradients:scaled",
        lambda: gx.scale_by_distance_over_gradients(1e-3, 1e-4, global_scale=-0.5),
        reference=references_free.layerwise_dog(1e-3, 1e-4, -0.5),
        real_only=True,
        needs_params=True,
    ),
    Case(
        "scale_by_dog",
        lambda: gx.scale_by_dog("heuristic", 1e-3),
        optax=lambda: optax.chain(optax.contrib.dog(1.0, ("heuristic", 1e-3)), optax.scale(-1.0)),
        **ROOT_OF_ZERO,
    ),
    Case(
        "scale_by_dowg",
        lambda: gx.scale_by_dowg(1e-3),
        optax=lambda: optax.chain(optax.contrib.dowg(1.0, 1e-3), optax.scale(-1.0)),
        **ROOT_OF_ZERO,
    ),
    contrib("dog", **ROOT_OF_ZERO),
    contrib("dog", warm_up, ("distance", 0.1), weight_decay=0.1, variant="distance", **ROOT_OF_ZERO),
    contrib("dog", init_step=("learning_rate", 0.1), variant="first rate", **ROOT_OF_ZERO),
    contrib("dowg", **ROOT_OF_ZERO),
    contrib("dowg", 0.5, 0.1, weight_decay=0.1, variant="decay", **ROOT_OF_ZERO),
    contrib("dadapt_adamw", **ROOT_OF_ZERO),
    contrib("dadapt_adamw", warm_up, (0.8, 0.99), estim_lr0=1e-3, weight_decay=0.1, variant="decay", **ROOT_OF_ZERO),
    contrib("prodigy", **ROOT_OF_ZERO),
    contrib(
        "prodigy",
        warm_up,
        (0.8, 0.99),
        0.9,
        estim_lr0=1e-3,
        estim_lr_coef=0.5,
        weight_decay=0.1,
        safeguard_warmup=True,
        variant="safeguard",
        **ROOT_OF_ZERO,
    ),
    contrib("momo", **VALUE),
    contrib("momo", 5.0, 0.8, 0.5, 0.1, True, variant="adapt", needs_params=True, extra={"value": 20.0}),
    contrib("momo_adam", **VALUE),
    contrib(
        "momo_adam", 2.0, 0.8, 0.99, 1e-8, 0.5, 0.01, True, variant="adapt", needs_params=True, extra={"value": 8.0}
    ),
    # optax takes d from the way that the parameters have come, of which in float32 too little is left at a small scale.
    Case(
        "mechanize",
        lambda: gx.mechanize(gx.adam(warm_up), s_init=0.1),
        optax=lambda: optax.contrib.mechanize(optax.adam(warm_up), s_init=0.1),
        **ROOT_OF_ZERO,
    ),
    Case(
        "mechanize:three decays",
        lambda: gx.mechanize(gx.sgd(0.1, 0.9), 0.1, 1e-3, 0.1, 3),
        optax=lambda: optax.contrib.mechanize(optax.sgd(0.1, 0.9), 0.1, 1e-3, 0.1, 3),
        **ROOT_OF_ZERO,
    ),
    contrib("scale_by_cocob", real_only=True, needs_params=True),
    contrib("cocob", real_only=True, needs_params=True),
    contrib("cocob", warm_up, 10.0, 1e-3, 0.1, real_only=True, needs_params=True, variant="decay"),
    contrib("normalize"),
    contrib("reduce_on_plateau", extra={"value": 1.5}),
    contrib("reduce_on_plateau", 0.5, 3, cooldown=2, min_scale=0.1, atol=0.1, extra={"value": 1.5}, variant="cooldown"),
    contrib("hutchinson_estimator_diag_hessian", real_only=True, smooth=False, **OBJECTIVE),
    Case(
        "scale_by_sophia",
        lambda: gx.scale_by_sophia(gamma=1.0, update_interval=3),
        optax=lambda: optax.chain(
            optax.contrib.sophia(1.0, weight_decay=0.0, gamma=1.0, update_interval=3),
            optax.scale(-1.0),
        ),
        real_only=True,
        smooth=False,
        **OBJECTIVE,
    ),
    contrib("sophia", warm_up, real_only=True, smooth=False, **OBJECTIVE),
    contrib(
        "sophia",
        0.1,
        0.8,
        0.9,
        weight_decay_mask=MASK,
        gamma=0.5,
        clip_threshold=None,
        eps=0.1,
        update_interval=4,
        real_only=True,
        smooth=False,
        variant="mask",
        **OBJECTIVE,
    ),
]
