"""Schedules, and the rules that scale by a number or by a schedule."""

# %% identity
import jax.numpy as jnp

import gradxform as gx

grads = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.identity()
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% scale
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.scale_by_adam(), gx.scale(-1e-3))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)

# %% scale_by_learning_rate
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.scale_by_adam(), gx.scale_by_learning_rate(1e-3))
updates, state = tx.update(grads, tx.init(params), params)
print(updates)

# %% scale_by_schedule
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.scale_by_adam(), gx.scale_by_schedule(gx.linear_schedule(-1e-3, 0.0, 1000)))
updates, state = tx.update(grads, tx.init(params), params)
print(gx.hyperparams(tx, state)["scale_by_schedule.step_size_fn"])

# %% set_to_zero
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.partition({"train": gx.adam(1e-3), "keep": gx.set_to_zero()}, {"w": "train", "b": "keep"})
params, state = tx.step(grads, tx.init(params), params)
print(params)

# %% reduce_on_plateau
import jax.numpy as jnp

import gradxform as gx

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
tx = gx.chain(gx.adam(1e-3), gx.reduce_on_plateau(factor=0.5, patience=5))
params, state = tx.step(grads, tx.init(params), params, value=0.7)  # value is the loss
print(state.scale)  # 0.5 after five losses in a row that are no better

# %% add_schedules
import gradxform as gx

rate = gx.add_schedules([gx.cosine_decay_schedule(2.7e-4, 10_000), 3e-5])
print(gx.schedule_table(rate, 10_001))
print(rate == gx.cosine_decay_schedule(2.7e-4, 10_000) + 3e-5)
tx = gx.adamw(rate)

# %% constant_schedule
import gradxform as gx

rate = gx.constant_schedule(3e-4)
print(rate(0), rate(10_000))
tx = gx.adamw(rate)

# %% cosine_decay_schedule
import gradxform as gx

rate = gx.cosine_decay_schedule(3e-4, decay_steps=10_000, alpha=0.1)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% cosine_onecycle_schedule
import gradxform as gx

rate = gx.cosine_onecycle_schedule(transition_steps=10_000, peak_value=1e-3)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% cyclic_schedule
import gradxform as gx

rate = gx.cyclic_schedule(1e-4, 1e-3, rise_steps=1000, mode="triangular2")
print(gx.schedule_table(rate, range(0, 6001, 500)))
tx = gx.adamw(rate)

# %% exponential_decay
import gradxform as gx

rate = gx.exponential_decay(1e-3, transition_steps=1000, decay_rate=0.5, staircase=True)
print(gx.schedule_table(rate, range(0, 4001, 500)))
tx = gx.adamw(rate)

# %% join_schedules
import gradxform as gx

rise, fall = gx.linear_schedule(0.0, 3e-4, 1000), gx.cosine_decay_schedule(3e-4, 9000)
rate = gx.join_schedules([rise, fall], boundaries=[1000])
print(gx.schedule_table(rate, 10_001))
print(rate == rise.then(fall, at=1000))

# %% linear_onecycle_schedule
import gradxform as gx

rate = gx.linear_onecycle_schedule(transition_steps=10_000, peak_value=1e-3)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% linear_schedule
import gradxform as gx

rate = gx.linear_schedule(3e-4, 0.0, transition_steps=8000, transition_begin=2000)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% multiply_schedules
import gradxform as gx

rate = gx.warmup_cosine_decay_schedule(0.0, 1e-3, 1000, 10_000)
decay = gx.multiply_schedules([rate, 0.1 / 1e-3])  # or rate * (0.1 / 1e-3): 0.1 at the peak
print(gx.schedule_table({"rate": rate, "decay": decay}, 10_001))
tx = gx.adamw(rate, weight_decay=decay)

# %% piecewise_constant_schedule
import gradxform as gx

rate = gx.piecewise_constant_schedule(0.1, {3000: 0.1, 6000: 0.1})
print(gx.schedule_table(rate, 10_001))
tx = gx.sgd(rate, momentum=0.9)

# %% piecewise_interpolate_schedule
import gradxform as gx

rate = gx.piecewise_interpolate_schedule("linear", 1e-5, {1000: 100.0, 10_000: 0.1})
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% polynomial_schedule
import gradxform as gx

rate = gx.polynomial_schedule(3e-4, 0.0, power=2, transition_steps=10_000)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% power_schedule
import gradxform as gx

sequences, tokens = 128, 128 * 4096  # in a batch
phases = {"warmup_steps": 1000, "power_steps": 8000, "decay_steps": 1000}
rate = gx.power_schedule(0.02, 4 * sequences, -0.51, **phases, tokens_per_step=tokens)
print(gx.schedule_table(rate, 10_001))

# %% rsqrt_schedule
import gradxform as gx

rate = gx.rsqrt_schedule(1e-3, warmup_steps=1000, rsqrt_steps=8000, cooldown_steps=1000)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% sgdr_schedule
import gradxform as gx

cycle = {"init_value": 0.0, "peak_value": 3e-4, "warmup_steps": 500}
rate = gx.sgdr_schedule([cycle | {"decay_steps": 2000}, cycle | {"decay_steps": 4000}])
print(gx.schedule_table(rate, range(0, 6001, 500)))
tx = gx.adamw(rate)

# %% warmup_constant_schedule
import gradxform as gx

rate = gx.warmup_constant_schedule(0.0, 3e-4, warmup_steps=1000)
print(gx.schedule_table(rate, range(0, 2001, 250)))
tx = gx.adamw(rate)

# %% warmup_cosine_decay_schedule
import gradxform as gx

rate = gx.warmup_cosine_decay_schedule(0.0, 3e-4, warmup_steps=1000, decay_steps=10_000)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% warmup_exponential_decay_schedule
import gradxform as gx

rate = gx.warmup_exponential_decay_schedule(0.0, 1e-3, 1000, transition_steps=2000, decay_rate=0.5)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% warmup_stable_decay
import gradxform as gx

rate = gx.warmup_stable_decay(1e-3, warmup_steps=500, stable_steps=7500, decay_steps=2000)
print(gx.schedule_table(rate, 10_001))
tx = gx.adamw(rate)

# %% schedule_table
import gradxform as gx

rates = {
    "cosine": gx.warmup_cosine_decay_schedule(0.0, 1e-3, 1000, 10_000),
    "1-sqrt": gx.warmup_stable_decay(1e-3, 1000, 7000, 2000),
}
print(gx.schedule_table(rates, 10_001))

# %% ScheduleTable
import gradxform as gx

rate = gx.cosine_decay_schedule(3e-4, 10_000)
table: gx.ScheduleTable = gx.schedule_table({"rate": rate}, [0, 5000, 10_000])
print(table)
print(table.steps, table.values["rate"])
