"""Transforms around a transform: how it sees the leaves, when it runs, and functions as transforms."""

# %% flatten
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": 2 * jnp.ones(2)}
tx = gx.flatten(gx.sgd(0.1, momentum=0.9))
params, state = tx.step(grads, tx.init(params), params)
print(state.trace)  # one vector for all leaves

# %% split_real_and_imaginary
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.array([3.0 + 0.1j, 1.0 - 2.0j])}
tx = gx.split_real_and_imaginary(gx.adam(0.1))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)  # each part has a step of its own

# %% accumulate
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.accumulate(gx.adamw(1e-3), every=4)
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% cautious
import jax.numpy as jnp

import gradxform as gx

tx = gx.cautious(gx.sgd(0.1, momentum=0.9))
updates, state = tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
updates, state = tx.update(jnp.array([1.0, 1.0, -0.1]), state)
print(updates, gx.metrics(state)["cautious.kept"])  # no step where the momentum is out of date

# %% guard
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.guard(gx.adamw(1e-3), max_deviations=5.0, patience=100)
params, state = tx.step({"w": jnp.full((3, 2), jnp.nan), "b": jnp.ones(2)}, tx.init(params), params)
print(params, gx.metrics(state))

# %% apply_if_finite
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.apply_if_finite(gx.adamw(1e-3), max_consecutive_errors=5)
params, state = tx.step({"w": jnp.full((3, 2), jnp.inf), "b": jnp.ones(2)}, tx.init(params), params)
print(params, gx.metrics(state))

# %% conditionally_mask
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.conditionally_mask(gx.sgd(0.1), lambda step: step >= 100)
updates, state = tx.update(grads, tx.init(params), params)
print(updates)  # 0 until step 100

# %% conditionally_transform
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.conditionally_transform(gx.clip_by_global_norm(1.0), lambda step: step < 1000)
updates, state = tx.update(grads, tx.init(params), params)
print(updates)  # clipped in the first 1000 steps only

# %% MultiSteps
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.MultiSteps(gx.adamw(1e-3), every_k_schedule=4)
updates, state = tx.update(grads, tx.init(params), params)
print(state.mini_step, state.gradient_step)

# %% stateless
import jax
import jax.numpy as jnp

import gradxform as gx

halve = gx.stateless(lambda updates, params: jax.tree.map(lambda u: u / 2, updates))
tx = gx.chain(halve, gx.sgd(0.1))
print(tx.update({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}))[0])

# %% stateless_with_tree_map
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": 2 * jnp.ones(2)}
tx = gx.chain(gx.stateless_with_tree_map(lambda g, p: g * jnp.abs(p)), gx.sgd(0.1))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)
