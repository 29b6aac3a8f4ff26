"""Many devices; each runs on one as well."""

# %% on_axes
import jax
import jax.numpy as jnp

import gradxform as gx

tx = gx.on_axes(gx.clip_by_global_norm(1.0), {"w": jax.P("data")})
clip = jax.pmap(lambda grads: tx.update(grads, tx.init(grads))[0], axis_name="data")
print(jnp.linalg.norm(clip({"w": jnp.ones((jax.device_count(), 4))})["w"]))

# %% init_sharded
import jax
import jax.numpy as jnp

import gradxform as gx

mesh = jax.make_mesh((jax.device_count(),), ("data",))
params = jax.device_put({"w": jnp.ones((512, 64))}, jax.NamedSharding(mesh, jax.P()))
print(gx.init_sharded(gx.adamw(1e-3), params, zero="data").mu["w"].sharding)

# %% state_shardings
import jax
import jax.numpy as jnp

import gradxform as gx

mesh = jax.make_mesh((jax.device_count(),), ("data",))
params = jax.device_put({"w": jnp.ones((512, 64))}, jax.NamedSharding(mesh, jax.P("data")))
print(gx.state_shardings(gx.adamw(1e-3), params))

# %% state_specs
import jax
import jax.numpy as jnp

import gradxform as gx

mesh = jax.make_mesh((jax.device_count(),), ("data",))
params, specs = {"w": jnp.ones((512, 64)), "b": jnp.zeros(64)}, {"w": jax.P("data"), "b": jax.P()}
print(gx.state_specs(gx.adamw(1e-3), params, specs, mesh))

# %% pmean_updates
import jax
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.pmean_updates("data"), gx.sgd(0.1))
step = jax.pmap(lambda grads: tx.update(grads, tx.init(grads))[0], axis_name="data")
print(step(jnp.arange(jax.device_count(), dtype=float)))  # the same update on all devices

# %% psum_updates
import jax
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.psum_updates("data"), gx.sgd(0.1))
step = jax.pmap(lambda grads: tx.update(grads, tx.init(grads))[0], axis_name="data")
print(step(jnp.ones(jax.device_count())))  # the same update on all devices

# %% zero
import jax
import jax.numpy as jnp

import gradxform as gx

tx = gx.zero(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)), "data")
params = {"w": jnp.ones((jax.device_count(), 512, 64))}
print(jax.pmap(tx.init, axis_name="data")(params).mu["w"].shape)  # each device has a part
