# %% cocob
import gradxform as gx

valley = gx.landscapes.quadratic()
run = gx.minimise(valley, valley.start, gx.cocob(), steps=1000)  # no rate to tune
print(run)

# %% dog
import jax.numpy as jnp

import gradxform as gx

tx, start = gx.chain(gx.dog(), gx.average_params(0.99)), jnp.full(4, 100.0)
run = gx.minimise(lambda x: jnp.sum(x**2), start, tx, steps=500)
print(run, run.metrics["scale_by_dog.learning_rate"][-1])  # the rate that it found

# %% dowg
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(lambda x: jnp.sum(x**2), jnp.full(4, 100.0), gx.dowg(), steps=500)
print(run, run.metrics["scale_by_dowg.learning_rate"][-1])  # the rate that it found

# %% dadapt_adamw
import jax.numpy as jnp

import gradxform as gx

rate = gx.cosine_decay_schedule(1.0, 1000)  # the shape of the rate: its size is found
tx = gx.dadapt_adamw(rate, weight_decay=1e-2)
run = gx.minimise(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(4), tx, steps=1000)
print(run.x)

# %% prodigy
import jax.numpy as jnp

import gradxform as gx

rate = gx.cosine_decay_schedule(1.0, 1000)  # the shape of the rate: its size is found
tx = gx.prodigy(rate, betas=(0.9, 0.99), safeguard_warmup=True)
run = gx.minimise(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(4), tx, steps=1000)
print(run.x)

# %% momo
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.momo(learning_rate=10.0, beta=0.9), jnp.array([3.0, 4.0])  # the longest step
value = jnp.sum(params**2) / 2
params, state = tx.step(params, tx.init(params), params, value=value)
print(params, gx.metrics(state))

# %% momo_adam
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.momo_adam(learning_rate=0.1, lower_bound=0.0), jnp.array([3.0, 4.0])
value = jnp.sum(params**2) / 2
params, state = tx.step(params, tx.init(params), params, value=value)
print(params, gx.metrics(state))

# %% mechanize
import jax.numpy as jnp

import gradxform as gx

tx = gx.mechanize(gx.adamw(gx.cosine_decay_schedule(1.0, 500)))  # the shape of the rate alone
run = gx.minimise(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(4), tx, steps=500)
print(run.x, run.metrics["mechanize.scale"][-1])  # its size is found

# %% scale_by_cocob
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.chain(gx.add_decayed_weights(1e-4), gx.scale_by_cocob()), {"w": jnp.ones(3)}
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # downhill already: no learning rate follows

# %% scale_by_distance_over_gradients
import jax.numpy as jnp

import gradxform as gx

tx = gx.scale_by_distance_over_gradients(reps_rel=1e-4, global_scale=-1.0)
params = {"w": jnp.full((3, 2), 10.0), "b": jnp.ones(2)}
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # the first step of each leaf is about 1e-4 of its norm

# %% scale_by_dog
import jax.numpy as jnp

import gradxform as gx

dog = gx.scale_by_dog(init_step="learning_rate", init_value=1e-2)
tx, params = gx.chain(dog, gx.scale_by_learning_rate(1.0)), {"w": jnp.ones(3)}
params, state = tx.step(params, tx.init(params), params)
print(params, gx.metrics(state))

# %% scale_by_dowg
import jax.numpy as jnp

import gradxform as gx

dowg = gx.scale_by_dowg(init_estim_sq_dist=1e-4)
tx, params = gx.chain(dowg, gx.scale_by_learning_rate(1.0)), {"w": jnp.ones(3)}
params, state = tx.step(params, tx.init(params), params)
print(params, gx.metrics(state))
