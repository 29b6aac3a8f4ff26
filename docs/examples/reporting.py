"""Rules that change nothing and report, and what reads a transform and its state."""

# %% count_nonfinite
import jax.numpy as jnp

import gradxform as gx

grads = {"w": jnp.array([[1.0, jnp.nan], [jnp.inf, 1.0]]), "b": jnp.ones(2)}
tx = gx.chain(gx.count_nonfinite(), gx.zero_nans(), gx.adam(1e-3))
updates, state = tx.update(grads, tx.init(grads))
print(gx.metrics(state)["count_nonfinite.count"])

# %% record_clipping
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.record_clipping(1.0), gx.clip_by_global_norm(1.0), gx.adam(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% record_leaf_norms
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.record_leaf_norms(), gx.adam(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% record_leaf_ratios
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.adam(1e-3), gx.record_leaf_ratios())
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% record_norms
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.record_norms({"weights": gx.by_ndim(2), "biases": gx.by_ndim(1)}), gx.adam(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% record_ratios
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.adam(1e-3), gx.record_ratios())
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state))

# %% measure_with_ema
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
largest = gx.measure_with_ema(lambda grads: jnp.max(jnp.abs(grads["w"])), decay=0.99)
tx = gx.chain(gx.monitor({"largest": largest}), gx.adam(1e-3))
print(gx.metrics(tx.update(grads, tx.init(params), params)[1]))

# %% monitor
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.monitor({"mean of w": lambda grads: jnp.mean(grads["w"])}), gx.adam(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state)["monitor.mean of w"])

# %% record_noise_scale
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.record_noise_scale(batch_size=32), gx.accumulate(gx.adam(1e-3), every=2))
first, state = tx.update(params, tx.init(params), params)
print(gx.metrics(tx.update({"w": jnp.zeros((3, 2)), "b": jnp.ones(2)}, state, params)[1]))

# %% snapshot
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.snapshot("largest of w", lambda grads: jnp.max(grads["w"])), gx.adam(1e-3))
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state)["snapshot.largest of w"])

# %% adjust
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = gx.live(gx.adamw(1e-3), "learning_rate")
state = gx.adjust(tx.init(params), learning_rate=1e-4)
print(gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"])

# %% hyperparams
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = gx.adamw(gx.cosine_decay_schedule(3e-4, 10_000))
print(gx.hyperparams(tx, tx.init(params)))

# %% live
import jax.numpy as jnp

import gradxform as gx

tx = gx.live(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)), "max_norm", "learning_rate")
state = tx.init({"w": jnp.ones((3, 2)), "b": jnp.zeros(2)})
print(tx)
print(state.live)

# %% replace
import gradxform as gx

tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3))
print(gx.replace(tx, learning_rate=3e-4))
print(gx.replace(tx, {"scale_by_adam.b1": 0.95, "max_norm": 0.5}))

# %% InjectStatefulHyperparamsState
import jax.numpy as jnp

import gradxform as gx

tx = gx.inject_hyperparams(gx.adamw)(learning_rate=1e-3)
record = tx.init({"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}).stages["inject_hyperparams"]
print(isinstance(record, gx.InjectStatefulHyperparamsState), record.hyperparams)

# %% inject_hyperparams
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = gx.inject_hyperparams(gx.adamw)(learning_rate=gx.linear_schedule(1e-3, 0.0, 1000), b1=0.9)
state = gx.adjust(tx.init(params), b1=0.8)
print(state.hyperparams["learning_rate"], state.hyperparams["b1"])

# %% inject_stateful_hyperparams
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = gx.inject_stateful_hyperparams(gx.sgd)(learning_rate=0.1, momentum=0.9)
state = gx.adjust(tx.init(params), learning_rate=0.01)
print(state.hyperparams)

# %% describe
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(3e-4, mask=gx.by_ndim(2)))
print(gx.describe(tx, params))

# %% Description
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
found: gx.Description = gx.describe(gx.adamw(3e-4), params)
print(found.state_bytes, [part.path for part in found.parts])
print(found.to_dict()["call"])

# %% metrics
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(3e-4), gx.record_ratios())
params, state = tx.step(grads, tx.init(params), params)
print(gx.metrics(state, host=True))

# %% program
import jax
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.adamw(3e-4), {"w": jnp.ones((256, 256))}
step = jax.jit(lambda params, state, grads: tx.step(grads, state, params), donate_argnums=(0, 1))
print(gx.program(step, params, tx.init(params), params))

# %% Program
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.sgd(0.1), {"w": jnp.ones((256, 256))}
report: gx.Program = gx.program(tx.step, params, tx.init(params), params)
print(report.platform, report.bytes, report.kernels, report.temporary_bytes)
