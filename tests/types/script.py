"""A script that was written for optax, with one import changed: checked by pyright and mypy, never run.

A line with a slip says which error it must have; both checkers report such a comment where none comes.
"""

from typing import Any, NamedTuple, assert_type

import jax
import jax.numpy as jnp

import gradxform as gx
import gradxform.as_optax as optax
import gradxform.as_optax.contrib
import gradxform.as_optax.tree_utils as otu
from gradxform.as_optax import adam, losses, schedules
from gradxform.as_optax.losses import l2_loss
from gradxform.as_optax.transforms import freeze

assert_type(adam(1e-3), gx.Transform)
assert_type(optax.contrib.prodigy(), gx.Transform)
assert_type(gradxform.as_optax.contrib.dog(), gx.Transform)
assert_type(optax.transforms.trace(0.9), gx.Transform)
assert_type(freeze(True), gx.Transform)
assert_type(schedules.linear_schedule(1.0, 0.0, 10)(3), jax.Array)

tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedules.cosine_decay_schedule(1e-3, 100)))
either: optax.GradientTransformation = optax.MultiSteps(tx, every_k_schedule=4).gradient_transformation()


class TrainState(NamedTuple):
    params: optax.Params
    opt_state: optax.OptState


def loss(params: Any, batch: jax.Array) -> jax.Array:
    logits = batch @ params["w"]
    labels = jnp.zeros(len(batch), jnp.int32)
    return jnp.mean(losses.softmax_cross_entropy_with_integer_labels(logits, labels)) + jnp.mean(l2_loss(logits))


def step(state: TrainState, batch: jax.Array) -> TrainState:
    grads = jax.grad(loss)(state.params, batch)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    return TrainState(optax.apply_updates(state.params, updates), opt_state)


params = {"w": jnp.ones((3, 2))}
state = TrainState(params, tx.init(params))
state = step(state, jnp.ones((4, 3)))
otu.tree_get(state.opt_state, "count")
optax.projections.projection_simplex(jnp.ones(3))
optax.tree.norm(params)
optax.global_norm(params)
optax.incremental_update(params, params, 0.1)

# Slips.
optax.sgd("0.1")  # type: ignore[arg-type]
optax.adamw(0.1, b3=0.9)  # type: ignore[call-arg]
optax.adamm(0.1)  # type: ignore[attr-defined]
optax.chain(optax.adam)  # type: ignore[arg-type]
optax.contrib.prodigy("1.0")  # type: ignore[arg-type]
optax.contrib.adam(0.1)  # type: ignore[attr-defined]
optax.losses.l3_loss(1.0)  # type: ignore[attr-defined]
