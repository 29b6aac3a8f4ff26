"""Which weights are matrices, and which of their axes are rows and columns."""

# %% MatrixAxes
import jax.numpy as jnp

import gradxform as gx

axes = gx.MatrixAxes(split_columns=3)  # queries, keys and values in one kernel, a matrix each
tx = gx.chain(gx.scale_by_muon(weight_dimension_numbers=axes), gx.scale_by_learning_rate(0.02))
params = {"qkv": jnp.ones((8, 24))}
print(tx.step(params, tx.init(params), params)[0]["qkv"].shape)

# %% matrix_axes
import jax.numpy as jnp

import gradxform as gx

params = {"query": {"kernel": jnp.ones((8, 2, 4))}, "mlp": {"kernel": jnp.ones((8, 32))}}
axes = gx.matrix_axes({"query/kernel": gx.MatrixAxes(0, (1, 2))}, default=gx.MatrixAxes())
print(axes(params))
tx = gx.chain(gx.scale_by_muon(weight_dimension_numbers=axes), gx.scale_by_learning_rate(0.02))

# %% hidden_matrices
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((16, 8)), "mlp": {"kernel": jnp.ones((8, 32)), "bias": jnp.zeros(32)}}
print(gx.hidden_matrices(params))
tx = gx.muon(0.02, muon_weight_dimension_numbers=gx.hidden_matrices, adam_learning_rate=3e-4)

# %% labels_by_axes
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
labels = gx.labels_by_axes(gx.hidden_matrices, matrices="muon", rest="adamw")
print(labels(params))
tx = gx.partition({"muon": gx.muon(0.02), "adamw": gx.adamw(3e-4)}, labels)

# %% layer_kinds
import jax.numpy as jnp

import gradxform as gx

params = {name: jnp.ones((8, 8)) for name in ("embed", "mlp", "head")} | {"norm": jnp.ones(8)}
print(gx.layer_kinds(params))
kinds = {"hidden": gx.muon(0.02), "embeddings": gx.adam(3e-3), "heads": gx.adam(3e-4)}
tx = gx.partition(kinds | {"vectors": gx.adam(3e-4)}, gx.layer_kinds)

# %% matrices_and_rest
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((16, 8)), "mlp": jnp.ones((8, 32)), "norm": jnp.ones(8)}
print(gx.matrices_and_rest(params))
tx = gx.partition({"matrices": gx.muon(0.02), "rest": gx.adamw(3e-4)}, gx.matrices_and_rest)
