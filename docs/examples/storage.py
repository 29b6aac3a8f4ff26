"""How state and parameters lie in memory between steps."""

# %% stored
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 256)), "b": jnp.zeros(256)}
tx = gx.stored(gx.adamw(3e-4), gx.int8())
print(gx.describe(tx, params))

# %% int8
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 256))}
tx = gx.stored(gx.adamw(3e-4), mu=gx.int8(), nu=gx.int8())
print(tx.init(params).mu["w"])

# %% int4
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 256))}
tx = gx.stored(gx.adamw(3e-4), mu=gx.int4(), nu=gx.int8())
print(tx.init(params).mu["w"])

# %% as_dtype
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 256))}
tx = gx.stored(gx.adamw(3e-4), gx.as_dtype("bfloat16"))
print(tx.init(params).mu["w"])

# %% decoded
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 256))}
state = gx.stored(gx.adamw(3e-4), gx.int8()).init(params)
print(gx.decoded(state).mu["w"].dtype)

# %% kahan
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2), jnp.bfloat16)}
tx = gx.kahan(gx.adamw(3e-4))
params, state = tx.step(grads, tx.init(params), params)
print(params, state.compensation)

# %% master_weights
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2), jnp.bfloat16)}
tx = gx.master_weights(gx.adamw(3e-4))
params, state = tx.step(grads, tx.init(params), params)
print(params, state.master)

# %% split_weights
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2), jnp.bfloat16)}
tx = gx.split_weights(gx.adamw(3e-4), bits=8)
params, state = tx.step(grads, tx.init(params), params)
print(params, state.error)

# %% stochastic_rounding
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((4, 8), jnp.bfloat16)}
tx = gx.stochastic_rounding(gx.adamw(3e-4))
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% offloaded
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((256, 256))}
tx = gx.offloaded(gx.adamw(3e-4))
params, state = tx.step(grads, tx.init(params), params)
print(state.mu["w"].sharding.memory_kind)

# %% adamw_lean
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((256, 256), jnp.bfloat16), "norm": jnp.ones(256)}
tx = gx.adamw_lean(gx.warmup_cosine_decay_schedule(0.0, 3e-4, 1000, 10_000), weight_decay=0.1)
params, state = tx.step(grads, tx.init(params), params)
print(gx.describe(tx, params, state))
