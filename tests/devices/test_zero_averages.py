"""zero, and int8, around what holds an optimizer and is judged by its average: over devices as on one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import gradxform as gx
from tests.devices.test_zero import NOISE, PARAMS, mesh

HOLDERS = {
    "gpa": gx.gpa(gx.adamw(0.01), 0.9),
    "schedule_free": gx.schedule_free(gx.sgd(0.1), 0.1),
    "average_params": gx.chain(gx.adamw(0.01), gx.average_params(0.9)),
    "schedule_free_plus": gx.schedule_free_plus(gx.adam(1.0, 0.9, 0.95), weight_decay=0.5, mask=gx.by_ndim(2)),
}
STEPS = 5


def stepped(tx, params, noise):
    """The parameters after some steps, and the state."""
    state = tx.init(params)
    for number in range(STEPS):
        grads = jax.tree.map(lambda p, n, number=number: n[number] + 0.3 * p, params, noise)
        updates, state = tx.update(grads, state, params, value=30.0)
        params = gx.apply_updates(params, updates)
    return params, state


def judged(tx, params, noise):
    """What a run is judged by whose value of the loss is that of the mean of all devices, a constant here."""
    params, state = stepped(tx, params, noise)
    return gx.eval_params(tx, state, params)


@pytest.mark.parametrize("name", HOLDERS)
def test_zero_is_judged_as_the_transform_on_mean_gradients(name):
    """In the map, where each device has a part of the state, and outside of it, where the state is whole."""
    tx = HOLDERS[name]
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=1), NOISE)
    expected = jax.jit(partial(judged, tx))(PARAMS, mean)

    divided = gx.zero(tx, "data", min_size=0)
    specs = (P(), P(), gx.state_specs(divided, PARAMS, P(), mesh()))

    def mapped(params, noise):
        params, state = stepped(divided, params, jax.tree.map(lambda leaf: leaf[:, 0], noise))
        return gx.eval_params(divided, state, params), params, state

    run = jax.shard_map(mapped, mesh=mesh(), in_specs=(P(), P(None, "data")), out_specs=specs)
    found, params, state = jax.jit(run)(PARAMS, NOISE)
    # Sums over devices round in another order, and x is a difference of y and z over the share.
    for ours in (found, gx.eval_params(divided, state, params)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), ours, expected)


@pytest.mark.parametrize("name", ["gpa", "schedule_free_plus"])
def test_in_eight_bits_it_goes_the_same_way(name):
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=1), NOISE)
    kept = gx.stored(HOLDERS[name], gx.int8(), z=gx.as_dtype("float32"), min_size=0)
    exact, found = (jax.jit(partial(judged, tx))(PARAMS, mean) for tx in (HOLDERS[name], kept))
    way, apart = (
        np.concatenate([np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, pair), strict=True)])
        for pair in ((exact, PARAMS), (found, exact))
    )
    # Moments of eight bits are within a hundredth or two, and so is what they make of the way.
    assert 0 < np.linalg.norm(apart) < 0.05 * np.linalg.norm(way)
