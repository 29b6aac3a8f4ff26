"""Pictures. In a script, `ax.figure.savefig("picture.png")` keeps one, and in a notebook it shows."""

# %% plots
import matplotlib.pyplot as plt

import gradxform as gx

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
gx.plots.schedules(gx.cosine_decay_schedule(3e-4, 1000), 1001, ax=left)
gx.plots.schedules(gx.linear_schedule(3e-4, 0.0, 1000), 1001, ax=right)

# %% plots.schedules
import gradxform as gx

cosine = gx.warmup_cosine_decay_schedule(0.0, 3e-4, warmup_steps=100, decay_steps=1000)
stable = gx.warmup_stable_decay(3e-4, 100, 700, 200)
ax = gx.plots.schedules({"cosine": cosine, "stable": stable}, 1001)

# %% plots.paths
import gradxform as gx

land, methods = gx.landscapes.rosenbrock, {"adam": gx.adam(0.1), "sgd": gx.sgd(1e-3)}
runs = {name: gx.minimise(land, land.start, tx) for name, tx in methods.items()}
ax = gx.plots.paths(land, runs)

# %% plots.losses
import gradxform as gx

land, methods = gx.landscapes.beale, {"adam": gx.adam(0.1), "sgd": gx.sgd(0.01)}
runs = {name: gx.minimise(land, land.start, tx) for name, tx in methods.items()}
ax = gx.plots.losses(runs)

# %% plots.metrics
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1), gx.record_norms())
run = gx.minimise(gx.landscapes.beale, jnp.array([1.0, 1.0]), tx)
figure = gx.plots.metrics(run.metrics, log=["clip_by_global_norm.norm"])

# %% plots.heat_map
import gradxform as gx

rates, momenta = [0.01, 0.03, 0.1, 0.3], [0.0, 0.5, 0.9]
runs = gx.sweep(gx.sgd, {"learning_rate": rates, "momentum": momenta})
losses = runs(lambda tx: gx.descend(lambda x: x**2, 1.0, tx, 30).losses[-1])
ax = gx.plots.heat_map(losses.reshape(4, 3), rates, momenta, xlabel="momentum", log=True)

# %% plots.range_test
import jax.numpy as jnp

import gradxform as gx

result = gx.learning_rate_range_test(lambda x: jnp.sum(x**2), jnp.ones(3), gx.sgd)
ax = gx.plots.range_test(result)
