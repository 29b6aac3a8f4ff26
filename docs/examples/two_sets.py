# %% average_params
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.sgd(0.1), gx.average_params(decay=None, start=2))  # the mean from step 2 on
params = {"w": jnp.array([1.0, -2.0])}
params, state = tx.step(params, tx.init(params), params)
print(gx.metrics(state), gx.eval_params(tx, state, params))

# %% lookahead
import jax.numpy as jnp
import optax

import gradxform as gx

tx = gx.lookahead(gx.sgd(0.1), sync_period=5, slow_step_size=0.5)
params = optax.LookaheadParams.init_synced({"w": jnp.ones(2)})
params, state = tx.step(params.fast, tx.init(params), params)  # the gradients at the fast ones

# %% sam
import jax.numpy as jnp

import gradxform as gx

tx = gx.sam(gx.sgd(0.1), gx.chain(gx.normalize(), gx.sgd(0.05)))
params = {"w": jnp.array([3.0, 4.0])}
params, state = tx.step(params, tx.init(params), params)
print(params, gx.eval_params(tx, state, params))  # moved against the loss; the step comes next

# %% gpa
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.gpa(gx.adamw(1e-3), mu_x=0.9967, mu_y=0.7), {"w": jnp.ones((3, 2))}
params, state = tx.step(params, tx.init(params), params)
print(params["w"][0], gx.eval_params(tx, state, params)["w"][0])

# %% schedule_free
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.schedule_free(gx.rmsprop(1e-2), learning_rate=1e-2), {"w": jnp.ones(2)}
params, state = tx.step(params, tx.init(params), params)
params, state = tx.step(params, state, params)
print(params, gx.eval_params(tx, state, params))  # trained; to be evaluated

# %% schedule_free_eval_params
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.schedule_free_sgd(0.1), {"w": jnp.ones(2)}
params, state = tx.step(params, tx.init(params), params)
params, state = tx.step(params, state, params)
print(params, gx.schedule_free_eval_params(state, params))

# %% schedule_free_plus
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.schedule_free_plus(gx.adam(1.0, 0.9, 0.95)), jnp.array([3.0, 4.0])
value = jnp.sum(params**2) / 2
params, state = tx.step(params, tx.init(params), params, value=value)
print(params, gx.metrics(state))

# %% schedule_free_adamw
import gradxform as gx

valley = gx.landscapes.quadratic(10.0)
tx = gx.schedule_free_adamw(0.3, warmup_steps=10)  # a warm-up and no decay
run = gx.minimise(valley, valley.start, tx, steps=500)
print(run)

# %% schedule_free_sgd
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.schedule_free_sgd(1.0, warmup_steps=100, weight_decay=1e-4), {"w": jnp.ones(2)}
params, state = tx.step(params, tx.init(params), params)
print(gx.describe(tx, params, state))
