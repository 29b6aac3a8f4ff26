"""Rules that shape gradients and updates, and noise."""

# %% apply_every
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.sgd(0.1), gx.apply_every(2))
first, state = tx.update(grads, tx.init(params), params)
print(first["b"], tx.update(grads, state, params)[0]["b"])  # nothing, then both steps at once

# %% centralize
import jax.numpy as jnp

import gradxform as gx

grads = {"w": jnp.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]), "b": jnp.ones(2)}
tx = gx.chain(gx.centralize(axis="inputs"), gx.scale_by_learning_rate(0.1))
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% keep_params_nonnegative
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.array([0.05, 1.0])}
tx = gx.chain(gx.sgd(0.1), gx.keep_params_nonnegative())
params, state = tx.step({"w": jnp.ones(2)}, tx.init(params), params)
print(params)

# %% grokfast
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.grokfast(alpha=0.98, lamb=2.0), gx.adamw(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(params, state.stages["grokfast"].mu)

# %% mars
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.mars(b1=0.95), gx.adamw(3e-3, b1=0.95, b2=0.99))
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% add_noise
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.add_noise(eta=0.01, gamma=0.55, key=0), gx.sgd(0.1))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)
