# %% adagc
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.chain(gx.adagc(warm_up=1), gx.adamw(3e-4)), {"w": jnp.ones(2), "b": jnp.ones(2)}
_, state = tx.update(params, tx.init(params), params)
_, state = tx.update({"w": jnp.full(2, 100.0), "b": params["b"] / 10}, state, params)
print(gx.metrics(state))  # one leaf of two

# %% autoclip
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.chain(gx.autoclip(percentile=10.0, window=100), gx.adam(1e-3)), {"w": jnp.ones(2)}
_, state = tx.update(params, tx.init(params))
_, state = tx.update({"w": jnp.full(2, 100.0)}, state)
print(gx.metrics(state))  # to a norm near the smaller of the two

# %% zclip
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.chain(gx.zclip(warm_up=2), gx.adamw(3e-4)), {"w": jnp.ones(2)}
_, state = tx.update(params, tx.init(params), params)
_, state = tx.update({"w": jnp.array([1.0, 1.5])}, state, params)
print(gx.metrics(tx.update({"w": jnp.full(2, 100.0)}, state, params)[1]))

# %% adaptive_grad_clip
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.adaptive_grad_clip(0.01), {"w": jnp.array([[3.0, 30.0], [4.0, 40.0]])}
updates, state = tx.update({"w": jnp.ones((2, 2))}, tx.init(params), params)
print(updates)  # to a hundredth of the norm of each column

# %% clip
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.chain(gx.clip(1.0), gx.sgd(0.1)), {"w": jnp.array([0.5, -20.0, jnp.inf])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% clip_by_block_rms
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.clip_by_block_rms(1.0), {"w": jnp.array([3.0, 4.0]), "b": jnp.array([0.3, 0.4])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% clip_by_global_norm
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(0.1))
params = {"w": jnp.full((3, 2), 10.0), "b": jnp.ones(2)}
params, state = tx.step(params, tx.init(params), params)
print(gx.metrics(state))  # the norm before clipping

# %% clip_by_norm
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.clip_by_norm(1.0), {"w": jnp.array([3.0, 4.0]), "b": jnp.array([0.3, 0.4])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)  # each leaf by itself: one is over the bound

# %% normalize
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.chain(gx.normalize(), gx.sgd(0.05)), {"w": jnp.array([300.0, 400.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)  # of length 0.05, whatever the gradient is

# %% normalize_by_global_norm
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.normalize_by_global_norm(), gx.trace(0.9), gx.scale_by_learning_rate(0.05))
grads = {"w": jnp.array([300.0, 400.0]), "b": jnp.zeros(2)}
updates, state = tx.update(grads, tx.init(grads))
print(updates, gx.metrics(state))

# %% normalize_by_update_norm
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_adam(), gx.normalize_by_update_norm(scale_factor=0.1), gx.scale(-1.0))
grads = {"w": jnp.array([300.0, 400.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)  # together of length 0.1

# %% zero_nans
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.chain(gx.zero_nans(), gx.sgd(0.1)), {"w": jnp.array([1.0, jnp.nan])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, gx.metrics(state))

# %% add_decay_toward_first
import jax.numpy as jnp

import gradxform as gx

decay = gx.add_decay_toward_first(0.1)  # fine-tuning: back to the weights that it began with
tx, params = gx.chain(gx.scale_by_adam(), decay, gx.scale_by_learning_rate(1e-3)), jnp.ones(2)
_, state = tx.update(jnp.zeros(2), tx.init(params), params)
print(tx.update(jnp.zeros(2), state, params + 1.0)[0])

# %% add_decayed_weights
import jax.numpy as jnp

import gradxform as gx

decay = gx.add_decayed_weights(0.1, mask=gx.not_biases_or_norms())  # behind Adam: decoupled
tx = gx.chain(gx.scale_by_adam(), decay, gx.scale_by_learning_rate(1e-3))
params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
print(tx.update(params, tx.init(params), params)[0])

# %% descend_with_corrected_decay
import jax.numpy as jnp

import gradxform as gx

rate = gx.cosine_decay_schedule(1e-3, 10_000)
descend = gx.descend_with_corrected_decay(rate, max_learning_rate=1e-3, weight_decay=0.1)
tx, params = gx.chain(gx.scale_by_adam(), descend), {"w": jnp.ones((3, 2))}
print(tx.step(params, tx.init(params), params)[0])
