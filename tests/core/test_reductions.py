"""Sums and inner products over leaves, also those that are spread over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import gradxform as gx


class Measure(gx.TreeRule):
    """Reports an inner product with the parameters and a sum."""

    inner = gx.Metric()
    total = gx.Metric()
    positive = gx.Metric()

    def update(self, updates, slots, tree):
        positive = tree.sum(tree.map(lambda u: u.real > 0, updates))
        total = tree.sum(tree.map(jnp.real, updates))
        return updates, slots._replace(inner=tree.vdot(updates, tree.params), total=total, positive=positive)


def measure(updates, params):
    tx = gx.transform(Measure)()
    return tx.update(updates, tx.init(params), params)[1].stages["measure"]


def test_are_over_all_leaves():
    record = measure(
        {"a": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}, {"a": jnp.array([4.0, 1.0]), "b": jnp.array(2.0)}
    )
    assert (float(record.inner), float(record.total), float(record.positive)) == (8.0, 2.0, 2.0)


def test_are_in_float32_at_least():
    ones = [jnp.ones(1000, jnp.bfloat16)] * 10
    record = measure(ones, ones)
    assert (float(record.inner), float(record.total)) == (10_000.0, 10_000.0)


def test_leaves_of_different_precision_are_taken_in_the_wider():
    with jax.enable_x64(True):
        record = measure([jnp.ones(2), jnp.full(2, 0.1, jnp.float32)], [jnp.full(2, 0.1), jnp.ones(2, jnp.float32)])
        assert record.inner.dtype == jnp.float64
        np.testing.assert_allclose(record.inner, 0.2 + 2 * float(np.float32(0.1)), rtol=1e-15)


def test_of_complex_leaves_the_real_part():
    a, b = np.array([1 + 2j, -1j]), np.array([3 - 1j, 2 + 5j])
    record = measure(jnp.asarray(a, jnp.complex64), jnp.asarray(b, jnp.complex64))
    np.testing.assert_allclose(record.inner, np.vdot(a, b).real, rtol=1e-6)


def test_of_no_leaves_are_zero():
    record = measure({}, {})
    assert (float(record.inner), float(record.total)) == (0.0, 0.0)


@pytest.mark.parametrize(
    "tx",
    [
        gx.transform(Measure)(),
        gx.prodigy(estim_lr0=0.01),
        gx.dadapt_adamw(estim_lr0=0.01),
        gx.dog(),
        gx.momo(),
        gx.momo_adam(),
        gx.scale_by_distance_over_gradients(),
        gx.normalize(),
    ],
    ids=lambda tx: tx.stages[0].name,
)
def test_in_shard_map_are_those_of_the_whole(tx):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rng = np.random.default_rng(0)
    grads, params = (
        {"cut": jnp.asarray(rng.normal(size=16), jnp.float32), "whole": jnp.asarray(rng.normal(size=3), jnp.float32)}
        for _ in range(2)
    )

    def steps(grads, params):
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(grads, state, params, value=1.0)
            params = gx.apply_updates(params, updates)
        return params, gx.metrics(state)

    specs = {"cut": PartitionSpec("data"), "whole": PartitionSpec()}
    spread = jax.shard_map(steps, mesh=mesh, in_specs=(specs, specs), out_specs=(specs, PartitionSpec()))
    expected = steps(grads, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), jax.jit(spread)(grads, params), expected)
