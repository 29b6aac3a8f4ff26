# %% offloaded
import jax

import gradxform as gx

tx = gx.offloaded(gx.stored(gx.adamw(3e-4), gx.int8()))
state = tx.init({"w": jax.numpy.ones((1024, 512))})
print([array.sharding.memory_kind for array in jax.tree.leaves(state.mu)])

# %% decoded
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.linspace(-1.0, 1.0, 8192)}
tx = gx.stored(gx.adam(1e-3), gx.int8())
_, state = tx.update(params, tx.init(params))
print(state.mu["w"], gx.decoded(state).mu["w"][:3])

# %% stored
import jax.numpy as jnp

import gradxform as gx

tx = gx.stored(gx.adamw(3e-4), mu=gx.int4(), nu=gx.int8(), where=gx.by_ndim(at_least=2))
params = {"w": jnp.ones((256, 512)), "b": jnp.ones(8192)}
print(gx.describe(tx, params))

# %% int4
import jax.numpy as jnp

import gradxform as gx

tx = gx.stored(gx.lion(1e-4), gx.int4())
print(gx.describe(tx, {"w": jnp.ones((256, 512))}))  # half a byte a parameter, and the scales

# %% int8
import jax.numpy as jnp

import gradxform as gx

tx = gx.stored(gx.adamw(3e-4), gx.int8(block=128))
print(gx.describe(tx, {"w": jnp.ones((256, 512))}))  # 2.06 bytes a parameter in the place of 8

# %% as_dtype
import jax.numpy as jnp

import gradxform as gx

tx = gx.stored(gx.adamw(3e-4), gx.as_dtype("bfloat16"))  # rounded at random
params = {"w": jnp.ones((256, 512))}
params, state = tx.step(params, tx.init(params), params)
print(state.nu["w"])

# %% kahan
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.kahan(gx.sgd(1e-3)), {"w": jnp.ones(2, jnp.bfloat16)}
params, state = tx.step(params, tx.init(params), params)
print(params, state.compensation)  # the step is lost in bfloat16, and kept beside it

# %% master_weights
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.master_weights(gx.adamw(3e-4)), {"w": jnp.ones(2, jnp.bfloat16)}
params, state = tx.step(params, tx.init(params), params)
print(params, state.master)  # the parameters are the rounded copy

# %% split_weights
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.split_weights(gx.adamw(3e-4), bits=16), {"w": jnp.ones(2, jnp.bfloat16)}
params, state = tx.step(params, tx.init(params), params)
print(params, state.error)  # the bits that bfloat16 lacks: together they are float32

# %% stochastic_rounding
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.stochastic_rounding(gx.sgd(1e-3)), {"w": jnp.ones(1000, jnp.bfloat16)}
params, state = tx.step(params, tx.init(params), params)
print(jnp.mean(params["w"], dtype=float))  # 0.999 on average: a few of them moved
