"""guard(max_loss_deviations=...): spikes of the loss are skipped too, by all devices or by none."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import gradxform as gx

PARAMS = {"w": jnp.arange(1.0, 9.0), "b": jnp.array([0.5, -0.5])}
GRADS = jax.tree.map(lambda leaf: 0.1 * leaf, PARAMS)


@partial(jax.jit, static_argnums=0)
def follow(tx, values, grads=GRADS):
    """The metrics, the record and the updates of each step, in which the gradient is the same and the loss is not."""

    def step(state, value):
        updates, state = tx.update(grads, state, PARAMS, value=value)
        return state, (gx.metrics(state), state.stages["guard"], updates)

    return jax.lax.scan(step, tx.init(PARAMS), values)[1]


def skipped(tx, values):
    return np.asarray(follow(tx, jnp.asarray(values, jnp.float32))[0]["guard.skipped"]).tolist()


def by_the_formula(losses, deviations, decay, warm_up):
    """Which steps are skipped: mean and variance of those that were taken, each with its weight, in float64."""
    taken, out = [], []
    for loss in losses:
        weights = decay ** np.arange(len(taken))[::-1]
        bad = not np.isfinite(loss)
        if len(taken) >= warm_up:
            mean = np.average(taken, weights=weights)
            bad |= loss > mean + deviations * np.sqrt(np.average((taken - mean) ** 2, weights=weights))
        out.append(bool(bad))
        if not bad:
            taken.append(loss)
    return out


@pytest.mark.parametrize("mean", [0.0, -3.0, 1000.0])
def test_equals_the_formula(mean):
    rng = np.random.default_rng(0)
    losses = mean + 0.05 * rng.standard_normal(60)
    losses[[3, 30, 31, 50]] += 1.0
    losses[40], losses[41] = np.nan, np.inf
    # Numbers of float32, beside 1000 of which a spread of 0.05 has four digits.
    losses = np.float64(np.float32(losses))
    tx = gx.guard(gx.sgd(1.0), max_loss_deviations=4.0, decay=0.9, warm_up=10)
    expected = by_the_formula(losses, 4.0, 0.9, 10)
    assert [i for i, bad in enumerate(expected) if bad] == [30, 31, 40, 41, 50]
    assert skipped(tx, losses) == expected


def test_a_skipped_step_is_as_if_it_had_not_been():
    tx = gx.guard(gx.adam(0.1), max_loss_deviations=3.0, warm_up=2)
    metrics, record, updates = follow(tx, jnp.array([1.0, 1.1, 9.0, 1.0, 0.9]))
    assert metrics["guard.skips"].tolist() == [0, 0, 1, 1, 1]
    assert record.inner_state.count.tolist() == [1, 2, 2, 3, 4]
    assert record.taken.tolist() == [1, 2, 2, 3, 4]
    assert not updates["w"][2].any()
    for leaf in (record.mean, record.variance, record.loss_mean, record.loss_variance):
        assert leaf[1] == leaf[2]
    _, _, without = follow(tx, jnp.array([1.0, 1.1, 1.0, 0.9, 1.0]))
    np.testing.assert_array_equal(updates["w"][3:], without["w"][2:4])


def test_a_fall_of_the_loss_is_no_spike_and_no_deviations_are_a_bound_too():
    # The first loss is known after one step, whatever the warm-up: nothing is above a mean of nothing.
    tx = gx.guard(gx.sgd(1.0), max_loss_deviations=0.0, warm_up=0)
    assert skipped(tx, [2.0, 1.0, 1.9, 1.0, -5.0]) == [False, False, True, False, False]


def test_patience_ends_a_run_of_spikes():
    tx = gx.guard(gx.sgd(1.0), max_loss_deviations=3.0, warm_up=2, patience=2)
    assert skipped(tx, [1.0, 1.1, 9.0, 9.0, 9.0, 9.0]) == [False, False, True, True, False, False]


def test_norms_and_losses_are_watched_together():
    tx = gx.guard(gx.sgd(1.0), max_norm=1.0, max_loss_deviations=3.0, warm_up=1)
    # The norm is above 1 always, and a loss that is none is bad as well.
    assert skipped(tx, [1.0, np.nan]) == [True, True]


def test_the_loss_is_asked_for_only_where_it_is_watched():
    watching, plain = gx.guard(gx.sgd(1.0), max_loss_deviations=0.0), gx.guard(gx.sgd(1.0))
    with pytest.raises(ValueError, match=r"guard needs an extra argument: call update\(.*value=\.\.\.\)"):
        watching.update(GRADS, watching.init(PARAMS), PARAMS)
    with pytest.raises(
        ValueError, match=r"guard: value: expected a number or an array of shape \(\), got shape \(3,\)"
    ):
        watching.update(GRADS, watching.init(PARAMS), PARAMS, value=jnp.ones(3))
    updates, state = plain.update(GRADS, plain.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["w"], -GRADS["w"])
    record = state.stages["guard"]
    assert jax.tree.leaves((record.loss_mean, record.loss_variance)) == []
    assert repr(plain) == "guard(inner=scale_by_learning_rate(learning_rate=1.0), decay=0.99)"
    assert "loss_mean" in str(gx.describe(watching, PARAMS))
    assert "loss_mean" not in str(gx.describe(plain, PARAMS))


def test_how_many_deviations_may_be_an_argument_of_a_compiled_step():
    @jax.jit
    def steps(tx):
        def step(state, value):
            return tx.update(GRADS, state, PARAMS, value=value)[::-1]

        return gx.metrics(jax.lax.scan(step, tx.init(PARAMS), jnp.array([1.0, 2.0, 1.0, 2.2]))[0])["guard.skipped"]

    assert [bool(steps(gx.guard(gx.sgd(1.0), max_loss_deviations=d, warm_up=2))) for d in (1.0, 3.0)] == [True, False]
    assert steps._cache_size() == 1


def test_values_of_other_kinds_and_what_is_within_reads_them_too():
    tx = gx.guard(gx.polyak_sgd(max_learning_rate=10.0), max_loss_deviations=3.0)
    for value in (2, 2.0, np.float64(2.0), jnp.bfloat16(2.0)):
        updates, state = jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS, value=value)
        assert state.stages["guard"].loss_mean == 2
        assert state.stages["guard"].loss_mean.dtype == jnp.float32
        assert updates["w"].any()


SPECS = {"w": P("data"), "b": P()}
# Of one device the third loss is so large that the mean is a spike, and the fourth NaN; of another the last one is
# large, in a mean that is none.
LOSSES = np.tile(np.array([[1.0, 1.1, 0.9, 1.0, 1.0, 1.0]], np.float32).T, 8)
LOSSES[2, 5], LOSSES[3, 0], LOSSES[5, 7] = 30.0, np.nan, 1.3


TX = gx.guard(gx.adam(0.1), max_loss_deviations=3.0, warm_up=2)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_all_devices_skip_or_none(check_vma):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    states = gx.state_specs(TX, PARAMS, SPECS, mesh)

    def step(params, grads, state, value):
        return TX.update(grads, state, params, value=value[0])

    run = jax.jit(
        jax.shard_map(
            step, mesh=mesh, in_specs=(SPECS, SPECS, states, P("data")), out_specs=(SPECS, states), check_vma=check_vma
        )
    )
    state, seen = TX.init(PARAMS), []
    for losses in LOSSES:
        updates, state = run(PARAMS, GRADS, state, losses)
        seen.append(bool(state.stages["guard"].skipped))
        # Each device has its own copy of what is not cut, and its own part of what is.
        parts = [np.asarray(part.data) for leaf in updates.values() for part in leaf.addressable_shards]
        assert all((not part.any()) == seen[-1] for part in parts)
        counts = [int(part.data) for part in state.stages["guard"].inner_state.count.addressable_shards]
        assert len(set(counts)) == 1
    expected, record, _ = follow(TX, jnp.mean(LOSSES, axis=1))
    assert seen == expected["guard.skipped"].tolist() == [False, False, True, True, False, False]
    np.testing.assert_allclose(state.stages["guard"].loss_mean, record.loss_mean[-1], rtol=1e-6)


def test_pmap_all_devices_skip_or_none():
    everywhere = partial(jax.tree.map, lambda leaf: jnp.stack([leaf] * 8))
    run = jax.pmap(lambda grads, state, value: TX.update(grads, state, value=value), axis_name="data")
    state, seen = everywhere(TX.init(PARAMS)), []
    for losses in LOSSES:
        _, state = run(everywhere(GRADS), state, losses)
        seen.append(np.asarray(state.stages["guard"].skipped).tolist())
    assert seen == [[bad] * 8 for bad in (False, False, True, True, False, False)]
