# %% dpsgd
import jax

import gradxform as gx

tx = gx.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=0)  # keep the seed a secret
params, batch = jax.numpy.zeros(3), jax.numpy.ones((8, 3))
grads = jax.vmap(jax.grad(lambda w, x: w @ x), (None, 0))(params, batch)  # one for each example
params, state = tx.step(grads, tx.init(params), params)

# %% differentially_private_aggregate
import jax.numpy as jnp

import gradxform as gx

private = gx.differentially_private_aggregate(1.0, noise_multiplier=1.1, key=0)  # a secret key
tx, params = gx.chain(private, gx.adam(1e-3)), {"w": jnp.zeros(3)}
params, state = tx.step({"w": jnp.ones((8, 3))}, tx.init(params), params)  # eight examples
print(gx.metrics(state))  # the share of them that was clipped

# %% per_example_global_norm_clip
import jax.numpy as jnp

import gradxform as gx

grads = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]])}  # of two examples
sums, clipped = gx.per_example_global_norm_clip(grads, l2_norm_clip=1.0)
print(sums, clipped)

# %% per_example_layer_norm_clip
import jax.numpy as jnp

import gradxform as gx

grads = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]]), "b": jnp.array([[0.0], [2.0]])}
sums, clipped = gx.per_example_layer_norm_clip(grads, 1.0)  # 1 / sqrt(2) for each leaf
print(sums, clipped)
