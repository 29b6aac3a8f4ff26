"""record_noise_scale: the estimates of McCandlish et al. 2018, from steps and from devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

NAMES = ("noise_scale", "noise", "signal")
SHAPES = {"w": (8, 3), "b": (4,)}


def drawn(seed, *front):
    """Gradients that have a mean and a noise, in float32."""
    rng = np.random.default_rng(seed)
    return {name: np.float32(0.5 + rng.normal(size=(*front, *shape))) for name, shape in SHAPES.items()}


@partial(jax.jit, static_argnums=0)
def recorded(tx, grads):
    """The metrics after each step."""

    def step(state, grad):
        updates, state = tx.update(grad, state, grad)
        return state, (gx.metrics(state), updates)

    metrics, updates = jax.lax.scan(step, tx.init(jax.tree.map(lambda leaf: leaf[0], grads)), grads)[1]
    return [metrics[f"record_noise_scale.{name}"] for name in NAMES], updates


def by_the_formula(grads, batch, decay):
    """Appendix A.1, of gradients (groups, n, ...): the quotient of the debiased means, and these, after each group."""
    flat = np.concatenate([np.float64(leaf).reshape(*leaf.shape[:2], -1) for leaf in grads.values()], axis=2)
    n = flat.shape[1]
    small, big = np.mean(np.sum(flat**2, axis=2), axis=1), np.sum(np.mean(flat, axis=1) ** 2, axis=1)
    noise = (small - big) / (1 / batch - 1 / (n * batch))
    signal = (n * batch * big - batch * small) / (n * batch - batch)
    out = []
    for t in range(1, len(flat) + 1):
        weights = decay ** np.arange(t)[::-1]
        means = [np.average(each[:t], weights=weights) for each in (noise, signal)]
        out.append([means[0] / means[1] if means[1] > 0 else np.inf, *means])
    return np.transpose(out)


@pytest.mark.parametrize("every", [2, 3])
def test_equals_the_formula_over_groups_of_steps(every):
    grads = drawn(0, 12)
    found, updates = recorded(gx.record_noise_scale(16, every=every, decay=0.8), grads)
    jax.tree.map(np.testing.assert_array_equal, updates, grads)
    groups = {name: leaf.reshape(12 // every, every, *leaf.shape[1:]) for name, leaf in grads.items()}
    expected = by_the_formula(groups, 16, 0.8)
    for ours, theirs in zip(found, expected, strict=True):
        # Before the first group there is none; between two the last one stays. Differences of sums in float32.
        stays = np.repeat(np.concatenate([[0], theirs]), every)[1 : 12 + 1]
        np.testing.assert_allclose(ours, stays, rtol=1e-4)


def test_finds_the_noise_that_is_there():
    rng = np.random.default_rng(0)
    mean, deviation, batch, steps = rng.normal(size=50), 3.0, 4, 6000
    grads = np.float32(mean + deviation / np.sqrt(batch) * rng.normal(size=(steps, 50)))
    (scale, noise, signal), _ = recorded(gx.record_noise_scale(batch, decay=0.999), grads)
    trace, square = 50 * deviation**2, np.sum(mean**2)
    # Of a thousand pairs of 50 numbers: the noise within a percent, the signal, a difference, within 5.
    np.testing.assert_allclose(noise[-1], trace, rtol=0.03)
    np.testing.assert_allclose(signal[-1], square, rtol=0.1)
    np.testing.assert_allclose(scale[-1], trace / square, rtol=0.1)


def test_gradients_without_noise_or_without_signal():
    same = {name: np.repeat(leaf[None], 4, 0) for name, leaf in drawn(1).items()}
    (scale, noise, signal), _ = recorded(gx.record_noise_scale(8), same)
    # A difference of sums of float32.
    np.testing.assert_allclose(noise[-1], 0, atol=1e-4 * signal[-1])
    np.testing.assert_allclose(scale[-1], 0, atol=1e-4)
    signs = np.array([1, -1, 1, -1], np.float32)
    opposite = {name: np.einsum("s...,s->s...", leaf, signs) for name, leaf in same.items()}
    (scale, _, signal), _ = recorded(gx.record_noise_scale(8), opposite)
    assert signal[-1] < 0
    assert scale[-1] == np.inf
    (scale, noise, signal), _ = recorded(gx.record_noise_scale(8), {name: 0 * leaf for name, leaf in same.items()})
    assert scale[-1] == noise[-1] == signal[-1] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_group_with_what_is_not_finite_is_left_out(value):
    grads = drawn(2, 8)
    bad = {name: leaf.copy() for name, leaf in grads.items()}
    bad["b"][3, 0] = value
    found, _ = recorded(gx.record_noise_scale(16, decay=0.5), bad)
    without, _ = recorded(gx.record_noise_scale(16, decay=0.5), {n: np.delete(g, [2, 3], 0) for n, g in grads.items()})
    for ours, theirs in zip(found, without, strict=True):
        np.testing.assert_array_equal(ours[3], ours[1])
        np.testing.assert_allclose(ours[4:], theirs[2:], rtol=1e-6)


def test_before_accumulate_it_sees_the_micro_steps_of_a_real_step():
    grads = drawn(3, 8)
    tx = gx.chain(gx.record_noise_scale(16, every=4), gx.accumulate(gx.sgd(1.0), 4))
    found, updates = recorded(tx, grads)
    groups = {name: leaf.reshape(2, 4, *leaf.shape[1:]) for name, leaf in grads.items()}
    np.testing.assert_allclose([each[-1] for each in found], by_the_formula(groups, 16, 0.99)[:, -1], rtol=1e-4)
    np.testing.assert_allclose(updates["b"][3], -grads["b"][:4].mean(0), rtol=1e-6)


# Eight devices, each with a gradient of its own at each of four steps.
OF_DEVICES = drawn(4, 4, 8)


def over_devices(tx, mapped):
    """The metrics after the last step, of a chain that takes the mean of the gradients behind."""

    def run(grads):
        grads = mapped(grads)
        first = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:]), grads)

        def step(state, grad):
            return tx.update(grad, state)[::-1]

        return gx.metrics(jax.lax.scan(step, tx.init(first), grads)[0])

    return run


@pytest.mark.parametrize("way", ["with types", "without types", "pmap"])
@pytest.mark.parametrize("every", [1, 2])
def test_equals_the_formula_over_devices(way, every):
    tx = gx.chain(
        gx.record_noise_scale(16, every=every, axis_name="data", decay=0.8), gx.pmean_updates("data"), gx.sgd(0.1)
    )
    if way == "pmap":
        run = jax.pmap(over_devices(tx, lambda grads: grads), axis_name="data", in_axes=1)
        found = run(OF_DEVICES)
        jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, np.repeat(leaf[:1], 8)), found)
        found = jax.tree.map(lambda leaf: leaf[0], found)
    else:
        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        own = over_devices(tx, partial(jax.tree.map, lambda leaf: leaf[:, 0]))
        found = jax.jit(
            jax.shard_map(own, mesh=mesh, in_specs=P(None, "data"), out_specs=P(), check_vma=way == "with types")
        )(OF_DEVICES)
    groups = {name: leaf.reshape(4 // every, every * 8, *leaf.shape[2:]) for name, leaf in OF_DEVICES.items()}
    expected = by_the_formula(groups, 16, 0.8)[:, -1]
    np.testing.assert_allclose([found[f"record_noise_scale.{name}"] for name in NAMES], expected, rtol=1e-4)


def test_devices_need_no_memory_and_steps_need_the_size_of_the_parameters():
    like = drawn(5)
    kept = [gx.record_noise_scale(8, axis_name="data", every=every).init(like) for every in (1, 2)]
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(state.stages)) for state in kept]
    assert sizes == [6, 6 + 28]


def test_errors():
    with pytest.raises(ValueError, match="record_noise_scale: every must be at least 2, or axis_name must name"):
        gx.record_noise_scale(8, every=1)
    with pytest.raises(ValueError, match="record_noise_scale: every must be an integer of at least 1; got 0"):
        gx.record_noise_scale(8, every=0, axis_name="data")
    with pytest.raises(ValueError, match="record_noise_scale: batch_size must be more than 0; got 0"):
        gx.record_noise_scale(0)
    tx, like = gx.record_noise_scale(8, every=1, axis_name="data"), drawn(5)
    with pytest.raises(ValueError, match="record_noise_scale: there is no mapped axis 'data' here"):
        tx.update(like, tx.init(like))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    joined = jax.shard_map(lambda g: tx.update(g, tx.init(g))[0], mesh=mesh, in_specs=P(), out_specs=P())
    with pytest.raises(ValueError, match="expected gradients of each device along 'data', got one that is the same"):
        jax.eval_shape(joined, like)
