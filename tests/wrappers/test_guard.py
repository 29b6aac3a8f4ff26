"""guard: bad steps are skipped, by all devices or by none, and the transform within does not see them."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import gradxform as gx

PARAMS = {"w": jnp.array([[1.0, -2.0, 3.0]] * 8), "b": jnp.array([0.5, -0.5])}
GOOD = jax.tree.map(lambda leaf: 0.1 * leaf, PARAMS)
NAMES = {**vars(gx), "inf": np.inf}


def with_value(value, where=(5, 1)):
    """The good gradients with one bad element."""
    return {**GOOD, "w": GOOD["w"].at[where].set(value)}


def times(size):
    return jax.tree.map(lambda leaf: size * leaf, GOOD)


def follow(tx, grads, params=PARAMS, **extra):
    """The updates, states and metrics of each step."""
    update, state, steps = jax.jit(partial(tx.update, **extra)), tx.init(params), []
    for grad in grads:
        # optax mixes dtypes.
        with jax.numpy_dtype_promotion("standard"):
            updates, after = update(grad, state, params)
        assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
        state = after
        steps.append((updates, state, {name.split(".")[1]: float(x) for name, x in gx.metrics(state).items()}))
    return steps


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("inner", [gx.adamw(0.1), optax.adamw(0.1)], ids=["ours", "optax's"])
def test_a_step_that_is_not_finite_is_as_if_it_had_not_been(inner, value):
    steps = follow(gx.guard(inner), [GOOD, with_value(value), times(2.0)])
    without = follow(gx.guard(inner), [GOOD, times(2.0)])
    same(steps[1][0], zeros(GOOD))
    same(steps[1][1].stages["guard"].inner_state, steps[0][1].stages["guard"].inner_state)
    same(steps[2][0], without[1][0])
    same(steps[2][1].stages["guard"].inner_state, without[1][1].stages["guard"].inner_state)


def test_metrics_tell_what_was_done():
    steps = follow(gx.guard(gx.sgd(0.1)), [GOOD, with_value(np.nan), with_value(np.inf), GOOD])
    metrics = [m for *_, m in steps]
    assert [m["skipped"] for m in metrics] == [0, 1, 1, 0]
    assert [m["skips"] for m in metrics] == [0, 1, 2, 2]
    assert [m["skips_in_a_row"] for m in metrics] == [0, 1, 2, 0]
    np.testing.assert_allclose(metrics[0]["norm"], optax.tree.norm(GOOD), rtol=1e-6)
    assert np.isnan(metrics[1]["norm"])
    assert metrics[2]["norm"] == np.inf
    assert metrics[0].keys() == {"norm", "skipped", "skips", "skips_in_a_row"}


def test_max_norm():
    bound = 1.5 * float(optax.tree.norm(GOOD))
    steps = follow(gx.guard(gx.sgd(1.0), max_norm=bound), [GOOD, times(2.0), times(1.4)])
    assert [m["skipped"] for *_, m in steps] == [0, 1, 0]
    # A schedule counts the steps, those that were skipped among them.
    rising = gx.guard(gx.sgd(1.0), max_norm=gx.linear_schedule(bound, 3 * bound, 2))
    assert [m["skipped"] for *_, m in follow(rising, [times(3.5)] * 3)] == [1, 1, 0]


def test_max_deviations_equals_the_formula():
    rng = np.random.default_rng(0)
    sizes = np.exp(0.2 * rng.standard_normal(60))
    sizes[[3, 30, 31, 50]] = 6.0
    sizes[40] = np.nan
    tx = gx.guard(gx.sgd(1.0), max_deviations=3.0, decay=0.9, warm_up=10)
    skipped = [m["skipped"] for *_, m in follow(tx, [times(size) for size in sizes])]
    norm, mean, square, taken, expected = float(optax.tree.norm(GOOD)), 0.0, 0.0, 0, []
    for size in norm * sizes:
        weight = 1 - 0.9**taken if taken else 1.0
        m, s = mean / weight, square / weight
        bad = not np.isfinite(size) or (taken >= 10 and size > m + 3 * np.sqrt(max(s - m * m, 0)))
        expected.append(bad)
        if not bad:
            mean, square, taken = 0.9 * mean + 0.1 * size, 0.9 * square + 0.1 * size**2, taken + 1
    # The first is within the warm-up, and is taken.
    assert not expected[3]
    assert all(expected[i] for i in (30, 31, 40))
    assert skipped == expected


@pytest.mark.parametrize(("when_stuck", "shown"), [("apply", np.nan), ("nan", np.nan), ("skip", 0.0)])
def test_patience(when_stuck, shown):
    bad = with_value(np.nan)
    tx = gx.guard(gx.sgd(1.0, 0.9), patience=2, when_stuck=when_stuck)
    steps = follow(tx, [GOOD, bad, bad, bad, GOOD, bad])
    for i in (1, 2, 5):
        same(steps[i][0], zeros(GOOD))
    np.testing.assert_array_equal(steps[3][0]["w"][5, 1], shown)
    assert np.isnan(steps[3][0]["b"]).all() == (when_stuck == "nan")
    inner = [state.stages["guard"].inner_state for _, state, _ in steps]
    assert [int(state.count) for state in inner] == (
        [1, 1, 1, 2, 3, 3] if when_stuck == "apply" else [1, 1, 1, 1, 2, 2]
    )
    assert [m["skips_in_a_row"] for *_, m in steps] == [0, 1, 2, 3, 0, 1]
    assert [m["skipped"] for *_, m in steps] == [0, 1, 1, when_stuck != "apply", 0, 1]


def test_patience_equals_apply_if_finite():
    bad = with_value(np.nan)
    grads = [GOOD, bad, GOOD, bad, bad, bad, bad, GOOD, times(2.0)]
    ours = follow(gx.guard(gx.adam(0.1), patience=2), grads)
    theirs = optax.apply_if_finite(optax.adam(0.1), 2)
    state = theirs.init(PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        for (updates, *_), grad in zip(ours, grads, strict=True):
            expected, state = theirs.update(grad, state, PARAMS)
            # Optax's bias correction is off by 3e-5.
            jax.tree.map(partial(np.testing.assert_allclose, rtol=5e-5), updates, expected)


def test_patience_of_none_at_all_applies_at_once():
    steps = follow(gx.guard(gx.sgd(1.0), max_norm=0.0, patience=0), [GOOD])
    same(steps[0][0], jax.tree.map(jnp.negative, GOOD))


def test_statistics_hold_only_what_is_finite_and_was_taken():
    tx = gx.guard(gx.sgd(1.0), max_deviations=3.0, warm_up=0, patience=0)
    record = follow(tx, [GOOD, with_value(np.nan), with_value(np.inf)])[-1][1].stages["guard"]
    assert record.taken == 1
    assert np.isfinite(record.mean)
    assert np.isfinite(record.variance)


@pytest.mark.parametrize(
    "make", [lambda: gx.adam(0.1, mu_dtype="bfloat16"), lambda: optax.adam(0.1, mu_dtype="bfloat16")]
)
def test_a_state_in_bfloat16_stays_so_and_what_is_skipped_does_not_round_it(make):
    low = partial(jax.tree.map, lambda leaf: leaf.astype(jnp.bfloat16))
    steps = follow(gx.guard(make()), [low(GOOD), low(with_value(np.nan)), low(GOOD)], low(PARAMS))
    inner = [state.stages["guard"].inner_state for _, state, _ in steps]
    assert jnp.dtype("bfloat16") in {leaf.dtype for leaf in jax.tree.leaves(inner[0])}
    same(inner[0], inner[1])
    assert {leaf.dtype for leaf in jax.tree.leaves(steps[0][0])} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("inner", [gx.chain(optax.add_noise(0.1, 0.5, jax.random.key(0)), gx.add_noise(0.1, 0.5, 1))])
def test_random_keys_do_not_move(inner):
    steps = follow(gx.guard(inner), [GOOD, with_value(np.nan), GOOD])
    without = follow(gx.guard(inner), [GOOD, GOOD])
    same(steps[2][0], without[1][0])


def test_extra_arguments_and_parameters_reach_the_inner():
    tx = gx.guard(gx.polyak_sgd())
    updates, *_ = follow(tx, [GOOD], value=0.6)[0]
    alone = gx.polyak_sgd()
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-6),
        updates,
        alone.update(GOOD, alone.init(PARAMS), PARAMS, value=0.6)[0],
    )
    with pytest.raises(ValueError, match=r"scale_by_polyak needs an extra argument"):
        tx.update(GOOD, tx.init(PARAMS), PARAMS)


def test_parameters_are_needed_only_where_the_inner_needs_them():
    tx = gx.guard(gx.sgd(1.0))
    same(tx.update(GOOD, tx.init(PARAMS))[0], jax.tree.map(jnp.negative, GOOD))
    tx = gx.guard(gx.add_decayed_weights(0.1))
    with pytest.raises(ValueError, match="add_decayed_weights needs the parameters"):
        tx.update(GOOD, tx.init(PARAMS))


def test_hyperparameters_within_live_and_are_read_and_replaced():
    tx = gx.guard(gx.live(gx.sgd(0.1), "learning_rate"), max_norm=100.0)
    state = gx.adjust(tx.init(PARAMS), learning_rate=0.5)
    assert gx.hyperparams(tx, state)["guard.inner.scale_by_learning_rate.learning_rate"] == 0.5
    assert gx.hyperparams(tx, state)["guard.max_norm"] == 100
    update = jax.jit(tx.update)
    updates, state = update(GOOD, state, PARAMS)
    same(updates, times(-0.5))
    updates, state = update(with_value(np.nan), state, PARAMS)
    assert gx.hyperparams(tx, state)["guard.inner.scale_by_learning_rate.learning_rate"] == 0.5
    assert gx.replace(gx.guard(gx.sgd(0.1)), learning_rate=0.2, max_norm=3.0) == gx.guard(gx.sgd(0.2), max_norm=3.0)
    outer = gx.live(gx.guard(gx.sgd(1.0), max_norm=100.0), "max_norm")
    state = gx.adjust(outer.init(PARAMS), max_norm=0.0)
    same(outer.update(GOOD, state, PARAMS)[0], zeros(GOOD))


CALLS = [
    gx.guard(gx.adamw(0.1)),
    gx.guard(
        gx.chain(gx.clip(1.0), gx.adam(gx.cosine_decay_schedule(0.1, 10))), max_norm=3.0, patience=5, when_stuck="nan"
    ),
    gx.guard(gx.accumulate(gx.sgd(0.1), 3), max_deviations=4.0, decay=0.9, warm_up=7),
]


@pytest.mark.parametrize("tx", CALLS, ids=repr)
def test_is_a_value(tx):
    assert eval(repr(tx), NAMES) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert hash(gx.from_json(gx.to_json(tx))) == hash(tx)
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert tx not in [other for other in CALLS if other is not tx]


def test_vmap_and_scan():
    """Under vmap each gradient is judged alone, and both branches are computed."""
    tx = gx.guard(gx.adam(0.1))
    stream = [GOOD, with_value(np.nan), times(2.0)], [GOOD, times(2.0), with_value(np.inf)]
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads) for grads in stream]

    def run(grads):
        def step(state, grad):
            updates, state = tx.update(grad, state, PARAMS)
            return state, updates

        return jax.lax.scan(step, tx.init(PARAMS), grads)

    both = jax.jit(jax.vmap(run))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked))
    for i, grads in enumerate(stream):
        expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(updates for updates, *_ in follow(tx, grads)))
        got = jax.tree.map(lambda leaf, i=i: leaf[i], both[1])
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), got, expected)


SPECS = {"w": P("data"), "b": P()}


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("when_stuck", ["apply", "skip", "nan"])
def test_shard_map(check_vma, when_stuck):
    """One device has the NaN; with check_vma=False nobody needs to be told that it is bad."""
    tx = gx.guard(gx.adam(0.1), patience=1, when_stuck=when_stuck)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    states = gx.state_specs(tx, PARAMS, SPECS, mesh)
    specs = (SPECS, states, SPECS)
    update = jax.shard_map(tx.update, mesh=mesh, in_specs=specs, out_specs=(SPECS, states), check_vma=check_vma)
    state, bad = tx.init(PARAMS), with_value(np.nan)
    for i, (grad, expected) in enumerate(zip([GOOD, bad, bad], follow(tx, [GOOD, bad, bad]), strict=True)):
        updates, state = jax.jit(update)(grad, state, PARAMS)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), updates, expected[0])
        same(state.stages["guard"].inner_state.count, expected[1].stages["guard"].inner_state.count)
        for part in updates["b"].addressable_shards:
            same(part.data, updates["b"])
        assert bool(state.stages["guard"].skipped) == bool(expected[2]["skipped"]), i


def test_pmap_all_devices_skip_where_one_must():
    tx = gx.guard(gx.sgd(1.0))
    everywhere = partial(jax.tree.map, lambda leaf: jnp.stack([leaf] * 8))
    bad = everywhere(GOOD)
    bad["w"] = bad["w"].at[3, 0, 0].set(jnp.nan)
    params = everywhere(PARAMS)
    state = jax.pmap(tx.init, axis_name="data")(params)
    updates, state = jax.pmap(tx.update, axis_name="data")(bad, state, params)
    same(updates, zeros(params))
    same(gx.metrics(state)["guard.skips"], np.ones(8))
    updates, _ = jax.pmap(tx.update, axis_name="data")(everywhere(GOOD), state, params)
    same(updates, jax.tree.map(jnp.negative, everywhere(GOOD)))


def test_in_a_chain_behind_clipping():
    """Clipping spreads a NaN over all leaves; the guard behind it sees one, and skips."""
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.guard(gx.adamw(0.1)))
    steps = follow(tx, [GOOD, with_value(np.nan), times(2.0)])
    without = follow(tx, [GOOD, times(2.0)])
    same(steps[1][0], zeros(GOOD))
    same(steps[2][0], without[1][0])


def test_a_stream_of_complex_gradients():
    params = jnp.array([1.0 + 2.0j, -1.0j])
    tx = gx.guard(gx.sgd(1.0), patience=1, when_stuck="nan")
    steps = follow(tx, [params, params * np.nan, params * np.nan], params)
    same(steps[0][0], -params)
    same(steps[1][0], zeros(params))
    assert np.isnan(steps[2][0]).all()


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"inner": gx.sgd}, TypeError, "guard: inner must be a transform; got <gradxform.*sgd>; call it"),
        ({"patience": -1}, ValueError, "patience must be an integer of at least 0; got -1"),
        ({"patience": 2.5}, ValueError, "patience must be an integer of at least 0; got 2.5"),
        ({"warm_up": None}, ValueError, "warm_up must be an integer of at least 0; got None"),
        ({"warm_up": True}, ValueError, "warm_up must be an integer of at least 0; got True"),
        ({"when_stuck": "stop"}, ValueError, "when_stuck must be one of 'apply', 'skip', 'nan'; got 'stop'"),
        ({"max_norm": -1.0}, ValueError, "max_norm must be at least 0; got -1.0"),
        ({"max_deviations": "3"}, TypeError, "max_deviations must be a real number"),
        ({"decay": 1.0}, ValueError, "decay must be"),
    ],
)
def test_errors(kwargs, error, match):
    with pytest.raises(error, match=match):
        gx.guard(**{"inner": gx.sgd(0.1), **kwargs})


def test_settings_have_names():
    # A number alone could be any of them.
    with pytest.raises(TypeError, match=r"guard\(\) takes inner by position, got 2"):
        gx.guard(gx.sgd(0.1), 3)


def test_the_mean_of_a_few_norms_is_theirs():
    # Norms of 1: their mean is 1 and their deviation 0, however few there were, but for the root of a rounding.
    tx = gx.guard(gx.identity(), max_deviations=0.1, warm_up=2, decay=0.9)
    for norm, is_skipped in ((0.999, False), (1.01, True)):
        state = tx.init(jnp.zeros(1))
        for _ in range(3):
            _, state = tx.update(jnp.ones(1), state)
        _, state = tx.update(jnp.full(1, norm), state)
        assert bool(gx.metrics(state)["guard.skipped"]) == is_skipped
