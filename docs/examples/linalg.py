# %% eigenbasis
import jax.numpy as jnp

import gradxform as gx

x = jnp.array([[2.0, 1.0], [1.0, 3.0]])
basis = gx.eigenbasis(x)
print(basis.T @ x @ basis)  # the eigenvalues, the largest first

# %% inverse_root
import jax.numpy as jnp

import gradxform as gx

x = jnp.diag(jnp.array([16.0, 81.0]))
print(gx.inverse_root(x, 4))  # 1/2 and 1/3
print(gx.inverse_root(x, 4, method="newton"))  # the same by products alone

# %% newton_schulz_coefficients
import gradxform as gx

for triple in gx.newton_schulz_coefficients("polar_express", ns_steps=5):
    print(triple)
tx = gx.muon(0.02, ns_coeffs="polar_express", ns_steps=5)

# %% orthogonal_iteration
import jax.numpy as jnp

import gradxform as gx

x, basis = jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.eye(2)
for _ in range(10):
    basis, order = gx.orthogonal_iteration(x, basis)
print(basis.T @ x @ basis)  # nearly the eigenvalues: without a decomposition at each step

# %% orthogonalize
import jax

import gradxform as gx

x = jax.random.normal(jax.random.key(0), (4, 3))
u = gx.orthogonalize(x, "polar_express", ns_steps=8)
print(u.T @ u)  # nearly the identity

# %% spectral_norm
import jax.numpy as jnp

import gradxform as gx

x = jnp.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
print(gx.spectral_norm(x), gx.spectral_norm(jnp.ones((5, 3, 2))))  # one, and one for each of five
