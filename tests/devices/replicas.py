"""Parameters that are the same on all devices, and are rounded at random: each device's own, after twenty steps."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import gradxform as gx

STEPS = 20
DATA = np.random.default_rng(7).normal(size=(8, STEPS, 2)).astype(np.float32)


def twenty_steps(data):
    """Parameters and state of a device after steps on its own data, with an axis in front that counts the devices."""
    codecs = {"mu": gx.int4(16, stochastic=True), "nu": gx.int8(16, stochastic=True), "min_size": 64}
    tx = gx.chain(gx.pmean_updates("data"), gx.stochastic_rounding(gx.stored(gx.adamw(0.01), **codecs)))
    params = {"w": jnp.full((128, 16), 0.3, jnp.bfloat16), "v": jnp.full((16, 48), -2.0, jnp.bfloat16)}

    def body(carry, noise):
        params, state = carry
        grads = jax.tree.map(lambda p: (noise[0] * p.astype(noise.dtype) + noise[1]).astype(p.dtype), params)
        return tx.step(grads, state, params), None

    last = jax.lax.scan(body, (params, tx.init(params)), data[0])[0]
    return jax.tree.map(lambda leaf: leaf[None], last)


def of(mesh):
    """A function of the data of eight devices, which returns what each has after twenty steps."""
    # Without types, so that nothing but the numbers makes replicas the same.
    return jax.jit(jax.shard_map(twenty_steps, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False))


def same(tree):
    """That all devices have the same, bit for bit, and that it is no longer what it was."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    for leaf in leaves:
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    assert any(len(np.unique(leaf)) > 16 for leaf in leaves)
