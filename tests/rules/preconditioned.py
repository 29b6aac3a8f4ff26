"""What the tests of preconditioned matrices share: their runs, in float64 unless told otherwise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 10
# Of float64, after ten steps of decompositions of small matrices of numbers of about 1.
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def gradients(shape, steps=STEPS, seed=0):
    """Of sizes that change with the step."""
    rng = np.random.default_rng(seed)
    return np.stack([np.exp(rng.uniform(-2, 1)) * rng.standard_normal(shape) for _ in range(steps)])


def ran(tx, grads, first=None):
    """The updates of all steps, and the last state; `grads` is a tree of gradients stacked over steps."""
    first = jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), grads) if first is None else first
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _run(tx, *jax.tree.map(jnp.asarray, (first, grads))))


# Transforms that are equal share the program.
@partial(jax.jit, static_argnums=0)
def _run(tx, first, grads):
    def step(state, grad):
        updates, state = tx.update(grad, state)
        return state, updates

    state, updates = jax.lax.scan(step, tx.init(first), grads)
    return updates, state


def updates_of(tx, grads):
    """The updates of all steps."""
    return ran(tx, grads)[0]
