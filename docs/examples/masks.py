"""Which leaves: masks and labels by rule, and the transforms that see some leaves only."""

# %% by_ndim
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
print(gx.by_ndim(at_least=2)(params))
tx = gx.adamw(3e-4, weight_decay=0.1, mask=gx.by_ndim(at_least=2))

# %% by_path
import jax.numpy as jnp

import gradxform as gx

params = {"encoder": {"kernel": jnp.ones((3, 2))}, "decoder": {"kernel": jnp.ones((2, 3))}}
print(gx.by_path("encoder/*")(params))
tx = gx.selective_transform(gx.adam(1e-3), freeze_mask=gx.by_path("encoder/*"))

# %% labels
import jax.numpy as jnp

import gradxform as gx

params = {"embedding": jnp.ones((8, 3)), "w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
labels = gx.labels({"embedding": "adamw", gx.by_ndim(2): "muon"}, default="adamw")
print(labels(params))
tx = gx.partition({"muon": gx.muon(0.02), "adamw": gx.adamw(3e-4)}, labels)

# %% not_biases_or_norms
import jax.numpy as jnp

import gradxform as gx

params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}, "norm": jnp.ones(2)}
print(gx.not_biases_or_norms()(params))
tx = gx.adamw(3e-4, weight_decay=0.1, mask=gx.not_biases_or_norms())

# %% masked
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": 5 * jnp.ones(2)}
tx = gx.masked(gx.clip_by_global_norm(1.0), gx.by_ndim(at_least=2))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)

# %% partition
import jax.numpy as jnp

import gradxform as gx

grads = params = {"encoder": jnp.ones((3, 2)), "head": jnp.ones((2, 3))}
tx = gx.partition({"adam": gx.adam(1e-3), "sgd": gx.sgd(0.1)}, {"encoder": "adam", "head": "sgd"})
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% multi_transform
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.multi_transform({"w": gx.adam(1e-3), "b": gx.sgd(0.1)}, {"w": "w", "b": "b"})
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% selective_transform
import jax.numpy as jnp

import gradxform as gx

grads = params = {"encoder": jnp.ones((3, 2)), "head": jnp.ones((2, 3))}
tx = gx.selective_transform(gx.adam(1e-3), freeze_mask=gx.by_path("encoder"))
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% freeze
import jax.numpy as jnp

import gradxform as gx

grads = params = {"encoder": jnp.ones((3, 2)), "head": jnp.ones((2, 3))}
tx = gx.chain(gx.adamw(1e-3), gx.freeze(gx.by_path("encoder"), until=1000))
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% scale_by_group
import jax.numpy as jnp

import gradxform as gx

grads = params = {"body": jnp.ones((3, 2)), "head": jnp.ones((2, 1))}
factors = gx.scale_by_group({"new": 1.0, "pretrained": 0.1}, {"body": "pretrained", "head": "new"})
tx = gx.chain(gx.adamw(1e-3), factors)
print(tx.step(grads, tx.init(params), params)[0])
