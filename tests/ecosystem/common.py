"""What the tests with other libraries share: transforms, data, and Orbax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import gradxform as gx

X = jnp.sin(jnp.arange(8.0)).reshape(2, 4)
Y = jnp.cos(jnp.arange(6.0)).reshape(2, 3)

RATE = gx.cosine_decay_schedule(0.1, 20)
TXS = {
    "adamw": gx.adamw(RATE),
    "chain": gx.chain(gx.zero_nans(), gx.clip_by_global_norm(1.0), gx.adamw(RATE)),
    "live": gx.live(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)), "learning_rate", "b1"),
    "masked": gx.masked(gx.sgd(0.1, 0.9), lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)),
    "inject_hyperparams": gx.inject_hyperparams(gx.adamw)(0.1),
    "optax's inject_hyperparams": optax.inject_hyperparams(gx.adamw)(0.1),
    "in an optax chain": optax.chain(optax.clip(1.0), gx.adamw(RATE)),
}
every_tx = pytest.mark.parametrize("tx", TXS.values(), ids=TXS)

# Those whose learning rate lives in the state.
ADJUSTABLE = [name for name in TXS if "live" in name or "inject" in name]
adjustable = pytest.mark.parametrize("tx", [TXS[name] for name in ADJUSTABLE], ids=ADJUSTABLE)


def mean_square(predictions):
    return jnp.mean(jnp.square(predictions - Y))


def by_hand(tx, loss, params, steps):
    """Parameters after each step of a plain loop."""

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return gx.apply_updates(params, updates), state

    state, path = tx.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(params)
    return path


def saved_and_restored(path, tree, template):
    """A tree that went through a file, in the structure of a template, whose arrays are others."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path, template)


def assert_equal(left, right):
    """Trees of one structure, the same to the last bit."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def assert_close(left, right):
    """Trees after a few steps in float32: XLA may fuse two programs otherwise, and Adam's division makes 1e-7 more."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), left, right)


def largest_step(before, after):
    """The largest change of a parameter, by which Adam's learning rate shows."""
    return max(
        float(jnp.max(jnp.abs(a - b))) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    )
