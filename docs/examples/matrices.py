# %% muon
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((8, 4)), "dense": {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}}
tx = gx.muon(0.02, muon_weight_dimension_numbers=gx.hidden_matrices, adam_learning_rate=3e-4)
params, state = tx.step(params, tx.init(params), params)
print(gx.describe(tx, params))  # the embedding and the bias go to Adam

# %% dion2
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 4))}
tx = gx.dion2(0.01, fraction=0.25, weight_dimension_numbers=gx.hidden_matrices, weight_decay=0.0)
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # one column of four moves

# %% galore
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.ones((256, 128))}
tx = gx.galore(1e-2, rank=8, update_proj_gap=200, scale=0.25)
print(gx.describe(tx, params))  # an eighth of the parameters, where AdamW keeps twice as much

# %% scale_by_galore
import jax.numpy as jnp

import gradxform as gx

galore = gx.scale_by_galore(rank=8, base_optimizer=gx.scale_by_lion())
tx = gx.chain(gx.clip_by_global_norm(1.0), galore, gx.scale_by_learning_rate(1e-4))
print(gx.describe(tx, {"kernel": jnp.ones((256, 128)), "bias": jnp.zeros(128)}))

# %% adamh
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
tx = gx.adamh(0.01, adam_learning_rate=3e-4, weight_dimension_numbers=gx.hidden_matrices)
params, state = tx.step({"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}, tx.init(params), params)
print(params, jnp.linalg.norm(params["kernel"]) ** 2)  # turned, and its norm is what it was

# %% hyperball
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
tx = gx.hyperball(gx.sgd(0.1, momentum=0.9), 0.01, gx.hidden_matrices)
params, state = tx.step({"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}, tx.init(params), params)
print(params, jnp.linalg.norm(params["kernel"]) ** 2)  # turned, and its norm is what it was

# %% normuon
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 3))}
tx = gx.normuon(0.02, weight_dimension_numbers=gx.hidden_matrices, adam_learning_rate=3e-4)
updates, state = tx.update(params, tx.init(params), params)
print((updates["kernel"] ** 2).sum(axis=0))  # each neuron moves as far

# %% scion
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((8, 4)), "dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
tx = gx.scion(2**-12, radius=50.0, head_radius=3000.0)
print(gx.describe(tx, params))  # a norm and a radius for each kind of layer

# %% scale_by_muon
import jax

import gradxform as gx

grads = {"kernel": jax.random.normal(jax.random.key(0), (4, 3))}
tx = gx.chain(gx.scale_by_muon(), gx.scale_by_shape(), gx.scale_by_learning_rate(0.02))
updates, state = tx.update(grads, tx.init(grads))
print(jax.numpy.linalg.svd(updates["kernel"]).S)  # all singular values are near 0.02

# %% scale_by_shape
import jax

import gradxform as gx

grads = {"wide": jax.numpy.ones((2, 8)), "tall": jax.numpy.ones((8, 2))}  # (in, out)
for scale in ("keller", "moonshot", "spectral"):
    tx = gx.scale_by_shape(scale=scale)
    print(scale, jax.tree.map(jax.numpy.max, tx.update(grads, tx.init(grads))[0]))

# %% scale_by_dion2
import jax

import gradxform as gx

dion2, shape = gx.scale_by_dion2(fraction=0.5), gx.scale_by_shape(scale="spectral")
tx, grads = gx.chain(dion2, shape, gx.scale_by_learning_rate(0.01)), jax.numpy.eye(4, 3)
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.momentum)  # what did not move adds up

# %% scale_by_hyperball
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_muon(), gx.scale_by_hyperball(0.01))  # in the place of a learning rate
params, grads = jnp.eye(3), jnp.ones((3, 3))
params, state = tx.step(grads, tx.init(params), params)
print(jnp.linalg.norm(params) ** 2)  # 3, as before

# %% scale_by_normuon
import jax

import gradxform as gx

grads = jax.random.normal(jax.random.key(0), (4, 3))
tx = gx.chain(gx.scale_by_normuon(), gx.scale_by_shape(), gx.scale_by_learning_rate(0.02))
updates, state = tx.update(grads, tx.init(grads))
print((updates**2).sum(axis=0), state.nu.shape)  # three neurons, a number each

# %% qk_clip
import jax.numpy as jnp

import gradxform as gx

params = {"attn": {"query": jnp.ones((8, 2, 4)), "key": jnp.ones((8, 2, 4))}}  # (in, heads, depth)
tx = gx.chain(gx.sgd(1e-3), gx.qk_clip("*/query", "*/key", max_logit=100.0))
params, state = tx.step(params, tx.init(params), params, logits=jnp.array([50.0, 400.0]))
print(params["attn"]["query"][0], gx.metrics(state))  # the second head is clipped

# %% normalize_vectors
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.ema(0.9, debias=False), gx.normalize_vectors(), gx.scale_by_learning_rate(1e-3))
grads = {"bias": jnp.array([3.0, 4.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% scale_by_scion
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_scion("rows", radius=50.0), gx.scale_by_learning_rate(1e-3))
grads = {"embedding": jnp.array([[1.0, 1.0], [0.1, -0.2], [0.0, 0.0]])}  # a row for each token
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% kl_shampoo
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 3)), "bias": jax.numpy.zeros(3)}
tx = gx.kl_shampoo(3e-3, precondition_frequency=10, weight_decay=0.01)
params, state = tx.step(params, tx.init(params), params)
print(gx.describe(tx, params))

# %% psgd_kron
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 3)), "bias": jax.numpy.zeros(3)}
tx = gx.psgd_kron(1e-3, weight_decay=0.01, key=0)
params, state = tx.step(params, tx.init(params), params)
print(params)

# %% shampoo
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 3)), "bias": jax.numpy.zeros(3)}
tx = gx.shampoo(1e-3, b2=0.99, precondition_frequency=10, graft="adam", weight_decay=0.01)
params, state = tx.step(params, tx.init(params), params)
print(params)

# %% soap
import jax

import gradxform as gx

params = {"kernel": jax.random.normal(jax.random.key(0), (4, 3)), "bias": jax.numpy.zeros(3)}
tx = gx.soap(3e-3, precondition_frequency=10, weight_decay=0.01)
params, state = tx.step(params, tx.init(params), params)  # the first step only makes the bases
params, state = tx.step(params, state, params)

# %% scale_by_soap
import jax

import gradxform as gx

tx = gx.chain(gx.scale_by_soap(precondition_frequency=10), gx.scale_by_learning_rate(3e-3))
grads = {"kernel": jax.ShapeDtypeStruct((4096, 16_384), "float32")}
print(gx.describe(tx, grads))  # the longer side is above max_precond_dim, and has no factor

# %% scale_by_psgd_kron
import jax

import gradxform as gx

kron = gx.scale_by_psgd_kron(precondition_frequency=10, max_size_triangular=8192)
tx = gx.chain(kron, gx.scale_by_learning_rate(1e-3))
print(gx.describe(tx, {"kernel": jax.ShapeDtypeStruct((4096, 16_384), "float32")}))

# %% scale_by_kl_shampoo
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_kl_shampoo(b2=0.98), gx.scale_by_learning_rate(3e-3))
state = tx.init({"kernel": jnp.ones((4, 3))})
print(state.stages["scale_by_kl_shampoo"])  # two factors, their bases and eigenvalues

# %% scale_by_shampoo
import jax

import gradxform as gx

grads = jax.random.normal(jax.random.key(0), (3, 4))
tx = gx.chain(gx.scale_by_shampoo(b1=0.0, exponents=(0.5, 0.0)), gx.scale_by_learning_rate(0.1))
updates, state = tx.update(grads, tx.init(grads))
print(jax.numpy.linalg.svd(updates).S)  # the first step: all singular values are the rate

# %% MatrixAxes
import jax.numpy as jnp

import gradxform as gx

params = {"query": jnp.ones((8, 2, 4))}  # (in, heads, depth)
for axes in (gx.MatrixAxes(0, (1, 2)), gx.MatrixAxes(0, 2)):  # of all heads; of each head
    tx = gx.scale_by_shampoo(weight_dimension_numbers=axes)
    print(axes, tx.init(params).right["query"].shape)

# %% hidden_matrices
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((8, 4)), "dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
print(gx.hidden_matrices(params))
tx = gx.muon(0.02, muon_weight_dimension_numbers=gx.hidden_matrices)

# %% labels_by_axes
import jax.numpy as jnp

import gradxform as gx

labels = gx.labels_by_axes(gx.hidden_matrices)
tx = gx.partition({"matrices": gx.muon(0.02), "rest": gx.adamw(3e-4)}, labels)
print(labels({"embed": jnp.ones((8, 4)), "kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}))

# %% layer_kinds
import jax.numpy as jnp

import gradxform as gx

params = {"embed": jnp.ones((8, 4)), "dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
print(gx.layer_kinds(params))
kinds = {"hidden": gx.muon(0.02), "embeddings": gx.adamw(3e-3), "vectors": gx.sgd(1e-2)}
tx = gx.partition({**kinds, "heads": gx.adamw(3e-4)}, gx.layer_kinds)

# %% matrices_and_rest
import jax.numpy as jnp

import gradxform as gx

params = {"router": {"kernel": jnp.ones((8, 4))}, "dense": {"kernel": jnp.ones((4, 4))}}
labels = gx.matrices_and_rest(also=("router",))  # Adam for routers too
tx = gx.partition({"matrices": gx.muon(0.02), "rest": gx.adamw(3e-4)}, labels)
print(labels(params))

# %% matrix_axes
import jax.numpy as jnp

import gradxform as gx

axes = gx.matrix_axes({"*/query/kernel": gx.MatrixAxes(0, (1, 2)), "embed*": None}, gx.MatrixAxes())
print(axes({"attn": {"query": {"kernel": jnp.ones((8, 2, 4))}}, "embed": jnp.ones((9, 8))}))
tx = gx.muon(0.02, muon_weight_dimension_numbers=axes)
