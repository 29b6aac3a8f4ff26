"""A transform in a file, and states that go on in another transform."""

# %% to_json
import gradxform as gx

tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.cosine_decay_schedule(3e-4, 10_000)))
text = gx.to_json(tx)
print(text)
print(gx.from_json(text) == tx)

# %% from_json
import gradxform as gx

text = gx.to_json(gx.adamw(3e-4, mask=gx.by_ndim(at_least=2)))
tx = gx.from_json(text.replace("0.0003", "0.0001"))
print(tx)

# %% to_dict
import gradxform as gx

tx = gx.sgd(0.1, momentum=0.9)
config = gx.to_dict(tx)
print(config)

# %% from_dict
import gradxform as gx

adam = {"call": "scale_by_adam", "b2": 0.95}  # what is left out is as by default
rate = {"call": "scale_by_learning_rate", "learning_rate": 3e-4}
tx = gx.from_dict({"gradxform": 1, "chain": [adam, rate]})
print(tx)

# %% from_optax
import jax.numpy as jnp
import optax

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
state, report = gx.from_optax(optax.adamw(1e-3).init(params), gx.adamw(1e-3), params)
print(report)

# %% from_torch
import jax.numpy as jnp

import gradxform as gx

momenta = {0: {"momentum_buffer": jnp.ones((2, 3))}}  # of a weight (out, in)
saved = {"state": momenta, "param_groups": [{"lr": 0.1, "momentum": 0.9, "params": [0]}]}
names, params = [("w", (1, 0))], {"w": jnp.ones((3, 2))}  # (in, out)
print(gx.from_torch(saved, gx.sgd(0.1, momentum=0.9), params, names, count=100)[1])

# %% migrate
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
old = gx.adamw(1e-3).init(params)
state, report = gx.migrate(old, gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)), params)
print(report)

# %% MigrationReport
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
report: gx.MigrationReport = gx.migrate(gx.adam(1e-3).init(params), gx.lion(1e-4), params)[1]
print(report.kept, report.new, report.dropped, sep="\n")

# %% as_optax
import jax.numpy as jnp

import gradxform.as_optax as optax

grads = params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
updates, state = tx.update(grads, tx.init(params), params)
print(optax.apply_updates(params, updates))
