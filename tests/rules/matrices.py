"""What the tests of matrix rules share: gradients, and runs in float64 unless told otherwise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 10
# Of float64, after ten steps of Newton-Schulz, which multiplies the rounding of small singular values by up to 3.4^5.
CLOSE = {"rtol": 1e-8, "atol": 1e-9}


def gradients(shape, steps=STEPS, seed=0):
    """Of sizes that change with the step, stacked over steps."""
    rng = np.random.default_rng(seed)
    return np.stack([np.exp(rng.uniform(-2, 1)) * rng.standard_normal(shape) for _ in range(steps)])


def ran(tx, grads, first=None, x64=True):
    """The updates of all steps, the last parameters, to which they are added, and the last state."""
    first = jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), grads) if first is None else first
    with jax.enable_x64(x64):
        return jax.tree.map(np.asarray, _run(tx, *jax.tree.map(jnp.asarray, (first, grads))))


# Transforms that are equal share the program.
@partial(jax.jit, static_argnums=0)
def _run(tx, first, grads):
    def step(carry, grad):
        params, state = carry
        updates, state = tx.update(grad, state, params)
        params = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates)
        return (params, state), updates

    carry, updates = jax.lax.scan(step, (first, tx.init(first)), grads)
    return updates, *carry


def updates_of(tx, grads, first=None):
    """The updates of all steps."""
    return ran(tx, grads, first)[0]
