"""Exploring: functions to try, runs that are kept, many values at once."""

# %% landscapes
import jax.numpy as jnp

import gradxform as gx

land = gx.landscapes.rosenbrock
print(land, land(jnp.array(land.start)))
print(gx.minimise(land, land.start, gx.adam(0.1)))

# %% landscapes.Landscape
import gradxform as gx

bowl = gx.landscapes.Landscape(
    "bowl", lambda x1, x2: x1**2 + 9 * x2**2, ((0.0, 0.0),), (2.0, 1.0), ((-3.0, 3.0), (-2.0, 2.0))
)
print(gx.minimise(bowl, bowl.start, gx.sgd(0.1)))

# %% landscapes.quadratic
import gradxform as gx

valley = gx.landscapes.quadratic(condition=100.0)
for rate in (1.9, 2.1):  # from 2 on gradient descent diverges
    print(rate, gx.minimise(valley, valley.start, gx.sgd(rate)))

# %% landscapes.ravine
import gradxform as gx

valley = gx.landscapes.ravine(condition=100.0)
for tx in (gx.sgd(1.0), gx.sgd(1.0, momentum=0.8)):
    print(gx.minimise(valley, valley.start, tx).message)

# %% landscapes.saddle
import gradxform as gx

land = gx.landscapes.saddle
run = gx.minimise(land, land.start, gx.sgd(0.1))
print(run.losses[::10])  # at the saddle, where the loss is 0.25, it stays for a while

# %% landscapes.rosenbrock
import gradxform as gx

land = gx.landscapes.rosenbrock
for tx in (gx.sgd(1e-3), gx.sgd(1e-3, momentum=0.9)):  # along the bent valley momentum helps
    print(gx.minimise(land, land.start, tx).value)

# %% landscapes.beale
import gradxform as gx

land = gx.landscapes.beale
print(land.minima)
print(gx.minimise(land, land.start, gx.adam(0.1)))

# %% landscapes.himmelblau
import jax.numpy as jnp

import gradxform as gx

land = gx.landscapes.himmelblau
for start in ((3.0, 3.0), (-3.0, -3.0)):  # from each it finds another of the four minima
    print(gx.minimise(land, jnp.array(start), gx.sgd(0.01)).x)

# %% landscapes.plateau
import gradxform as gx

land = gx.landscapes.plateau
for tx in (gx.sgd(0.1), gx.normalize_by_update_norm(-0.1)):
    print(gx.minimise(land, land.start, tx, steps=100).losses[::20])

# %% landscapes.rastrigin
import gradxform as gx

land = gx.landscapes.rastrigin
run = gx.minimise(land, land.start, gx.adam(0.1))
print(run.x, run.value)  # a local minimum; the global one is 0, at 0

# %% minimise
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2), gx.sgd(0.1, momentum=0.5))
print(run)
print(run.x, run.losses[:5])

# %% Minimisation
import gradxform as gx

land, tx = gx.landscapes.rosenbrock, gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1))
run: gx.Minimisation = gx.minimise(land, land.start, tx, steps=200)
print(run.reason, run.x, run.path.shape)
print(run.metrics["clip_by_global_norm.norm"][:3])

# %% descend
import gradxform as gx

land = gx.landscapes.rosenbrock
path, losses = gx.descend(land, land.start, gx.adam(0.1), steps=100)
print(path.shape, losses[::25])

# %% Descent
import gradxform as gx

land = gx.landscapes.quadratic(10.0)
run: gx.Descent = gx.descend(land, land.start, gx.sgd(1.0), steps=20)
print(run.path[-1], run.losses[-1])

# %% sweep
import jax.numpy as jnp

import gradxform as gx

land, rates = gx.landscapes.rosenbrock, jnp.logspace(-3, 0, 7)
runs = gx.sweep(gx.adam, {"learning_rate": rates})
losses = runs(lambda tx: gx.descend(land, land.start, tx, 100).losses[-1])
print(losses)

# %% Sweep
import gradxform as gx

runs: gx.Sweep = gx.sweep(gx.sgd, {"learning_rate": [0.01, 0.1], "momentum": [0.0, 0.9]})
losses = runs(lambda tx: gx.descend(lambda x: x**2, 1.0, tx, 10).losses[-1])
print(runs.points)
print(losses)

# %% learning_rate_range_test
import jax.numpy as jnp

import gradxform as gx


def loss(w, x):
    return jnp.mean((x @ w - 1.0) ** 2)


batches = [jnp.ones((8, 3)), 2 * jnp.ones((8, 3))]
print(gx.learning_rate_range_test(loss, jnp.zeros(3), gx.adam, batches).suggestion)

# %% RangeTest
import jax.numpy as jnp

import gradxform as gx

result: gx.RangeTest = gx.learning_rate_range_test(lambda x: jnp.sum(x**2), jnp.ones(3), gx.sgd)
print(result.suggestion, result.diverged_at)
ax = gx.plots.range_test(result)
