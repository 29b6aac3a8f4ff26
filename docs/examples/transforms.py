# %% chain
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(3e-4))
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
params, state = tx.step(params, tx.init(params), params)  # the gradients of |params|^2 / 2
print(tx, state.stages["clip_by_global_norm"], sep="\n")

# %% named_chain
import jax.numpy as jnp

import gradxform as gx

tx = gx.named_chain(("clip", gx.clip_by_global_norm(1.0)), ("descend", gx.sgd(0.1, momentum=0.9)))
state = tx.init({"w": jnp.ones((3, 2)), "b": jnp.zeros(2)})
print(list(state.stages))  # the names under which a checkpoint has the state
print(gx.hyperparams(tx, state))

# %% with_extra_args_support
import jax.numpy as jnp
import optax

import gradxform as gx

tx = gx.with_extra_args_support(optax.scale(-0.1))
updates, _ = tx.update(jnp.ones(3), tx.init(jnp.ones(3)), value=0.5)  # optax.scale takes no value
print(updates)

# %% apply_updates
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.sgd(0.1), {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
updates, state = tx.update(params, tx.init(params), params)
params = gx.apply_updates(params, updates)
print(params)

# %% eval_params
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.chain(gx.sgd(0.1), gx.average_params(0.9)), {"w": jnp.array([1.0, -2.0])}
params, state = tx.step(params, tx.init(params), params)  # the gradient of |w|^2 / 2 is w
params, state = tx.step(params, state, params)
print(params, gx.eval_params(tx, state, params))

# %% State
import jax.numpy as jnp

import gradxform as gx

state = gx.adamw(3e-4).init({"w": jnp.ones((3, 2)), "b": jnp.zeros(2)})
assert isinstance(state, gx.State)
print(int(state.count), list(state.stages))
print(state.mu["w"].shape, state.stages["scale_by_adam"].nu["b"].dtype)

# %% Transform
import pickle

import gradxform as gx

tx = gx.adamw(3e-4)
assert isinstance(tx, gx.Transform)
assert tx == gx.adamw(3e-4) == pickle.loads(pickle.dumps(tx))
print(tx)
