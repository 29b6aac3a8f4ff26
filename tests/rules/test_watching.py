"""Rules that report: what they report is right, has one shape for ever, and costs nothing where it is not read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import gradxform as gx
from tests.contract.case import MASK, at, gradients, params

RECORDS = [
    gx.monitor({"size": optax.tree.norm, "mean": gx.measure_with_ema(optax.tree.norm, 0.9)}),
    gx.record_norms(),
    gx.record_norms(ord=1),
    gx.record_ratios({"weights": gx.not_biases_or_norms(), "all": True}),
    gx.record_leaf_norms(),
    gx.record_leaf_ratios(),
    gx.record_clipping(0.5),
    gx.count_nonfinite(),
    gx.record_noise_scale(8),
]
every_record = pytest.mark.parametrize("rule", RECORDS, ids=repr)


def reported(tx, grads, first=None, steps=1):
    """The metrics after steps, the gradients of which come one after the other."""
    state = tx.init(grads if first is None else first)
    for _ in range(steps):
        _, state = jax.jit(tx.update)(grads, state, first)
    return gx.metrics(state)


def compiled(tx, with_state):
    """The program of a step that returns the parameters, and the state if asked."""

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        params = gx.apply_updates(params, updates)
        return (params, state) if with_state else params

    shapes = jax.eval_shape(params)
    return jax.jit(step).lower(shapes, jax.eval_shape(tx.init, shapes), shapes).compile()


@functools.cache
def floating_operations(tx, with_state):
    return compiled(tx, with_state).cost_analysis()["flops"]


@every_record
@pytest.mark.parametrize("at_the_end", [False, True], ids=["first", "last"])
def test_what_is_not_read_is_not_computed(rule, at_the_end):
    base = gx.adamw(0.1)
    watched = gx.chain(base, rule) if at_the_end else gx.chain(rule, base)
    assert floating_operations(watched, with_state=False) == floating_operations(base, with_state=False)
    # And where the state is returned, what is reported is there, and is what costs.
    assert floating_operations(watched, with_state=True) > floating_operations(base, with_state=True)


def test_the_program_without_the_state_has_no_reduction():
    tx = gx.chain(*RECORDS, gx.adamw(0.1))
    assert " reduce(" in compiled(tx, with_state=True).as_text()
    assert " reduce(" not in compiled(tx, with_state=False).as_text()


def test_a_bound_that_is_recorded_before_clipping_costs_no_norm_of_its_own():
    clip = gx.clip_by_global_norm(0.5)
    alone, watched = (compiled(tx, True).as_text() for tx in (clip, gx.chain(gx.record_clipping(0.5), clip)))
    assert watched.count(" reduce(") == alone.count(" reduce(") > 0


def test_norms_of_all_leaves_and_of_groups():
    tree = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(9, 1.0)}
    assert reported(gx.record_norms(), tree) == {"record_norms.norm": 5}
    assert reported(gx.record_norms(ord=1), tree) == {"record_norms.norm": 17}
    groups = {"kernels": {"kernel": True, "bias": False}, "biases": lambda tree: {"kernel": False, "bias": True}}
    assert reported(gx.record_norms(groups), tree) == {"record_norms.norm/kernels": 4, "record_norms.norm/biases": 3}
    assert reported(gx.record_leaf_norms(), tree) == {
        "record_leaf_norms.norm/kernel": 4,
        "record_leaf_norms.norm/bias": 3,
    }


def test_ratios_of_updates_to_parameters():
    first = {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.zeros(9), "other": jnp.zeros(2)}
    grads = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.ones(9), "other": jnp.zeros(2)}
    found = reported(gx.record_leaf_ratios(), grads, first)
    assert found == {
        "record_leaf_ratios.ratio/kernel": 0.5,
        "record_leaf_ratios.ratio/bias": np.inf,
        "record_leaf_ratios.ratio/other": 0,
    }
    found = reported(gx.record_ratios(), grads, first)
    assert found == {
        "record_ratios.update_norm": 5,
        "record_ratios.param_norm": 8,
        "record_ratios.ratio": 0.625,
    }


def test_norms_of_low_precision_neither_stick_nor_overflow():
    # In bfloat16 a sum sticks at 256 times what is added: there are more elements than that, and more leaves.
    tree = [jnp.ones(272, jnp.bfloat16)] * 272
    assert reported(gx.record_norms(), tree) == {"record_norms.norm": 272}
    large = jnp.full(16, 1e20)
    np.testing.assert_allclose(reported(gx.record_ratios(), large, large)["record_ratios.update_norm"], 4e20, rtol=1e-6)


def test_the_share_of_clipped_steps():
    tx = gx.chain(gx.record_clipping(1.0, decay=0.5), gx.clip_by_global_norm(1.0))
    sizes = [2.0, 0.5, 1.0, 3.0, jnp.nan]
    state, clipped, shares, recent = tx.init(jnp.ones(1)), [], [], []
    for size in sizes:
        _, state = tx.update(jnp.full(1, size), state)
        found = gx.metrics(state)
        clipped.append(float(found["record_clipping.clipped"]))
        shares.append(float(found["record_clipping.share"]))
        recent.append(float(found["record_clipping.recent"]))
    assert clipped == [1, 0, 0, 1, 1]
    np.testing.assert_allclose(shares, [1, 1 / 2, 1 / 3, 2 / 4, 3 / 5], rtol=1e-6)
    # The debiased mean, written out.
    means = [sum(c * 0.5 ** (t - i) for i, c in enumerate(clipped[: t + 1])) for t in range(5)]
    norms = [sum(0.5 ** (t - i) for i in range(t + 1)) for t in range(5)]
    np.testing.assert_allclose(recent, np.divide(means, norms), rtol=1e-6)


def test_a_bound_may_follow_a_schedule():
    tx = gx.record_clipping(gx.piecewise_constant_schedule(1.0, {1: 10.0}))
    state = tx.init(jnp.ones(1))
    for expected in (1, 0.5):
        _, state = tx.update(jnp.full(1, 2.0), state)
        assert gx.metrics(state)["record_clipping.share"] == expected


def test_what_is_not_finite_is_counted():
    tx = gx.count_nonfinite()
    state = tx.init({"a": jnp.ones(4), "b": jnp.ones((2, 2))})
    seen = []
    for wrong in ([jnp.nan, jnp.inf, -jnp.inf], [], [jnp.inf]):
        leaf = jnp.ones(4).at[: len(wrong)].set(jnp.asarray(wrong))
        _, state = jax.jit(tx.update)({"a": leaf, "b": jnp.full((2, 2), jnp.nan if wrong else 1e30)}, state)
        seen.append((int(gx.metrics(state)["count_nonfinite.count"]), int(gx.metrics(state)["count_nonfinite.steps"])))
    assert seen == [(7, 1), (0, 1), (5, 2)]
    # Finite numbers whose norm is not, and those of half precision.
    assert reported(tx, jnp.full(4, 3e38)) == {"count_nonfinite.count": 0, "count_nonfinite.steps": 0}
    assert reported(tx, jnp.full(4, jnp.inf, jnp.float16))["count_nonfinite.count"] == 4


@pytest.mark.parametrize(
    "rule", [gx.record_norms(), gx.record_clipping(1.0), gx.count_nonfinite(), gx.record_leaf_norms()], ids=repr
)
def test_reports_in_shard_map_are_of_the_whole(rule):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cut, whole = PartitionSpec("data"), PartitionSpec()
    grads = {"cut": jnp.arange(16.0).at[3].set(jnp.inf), "whole": jnp.ones(3)}
    specs = {"cut": cut, "whole": whole}
    update = jax.shard_map(rule.update, mesh=mesh, in_specs=(specs, whole), out_specs=(specs, whole))
    _, state = jax.jit(update)(grads, rule.init(grads))
    assert gx.metrics(state) == reported(rule, grads)


def test_monitor_is_optax_s_after_the_first_step():
    first, grads = params(), gradients(5)
    measures = {
        "size": optax.tree.norm,
        "largest": lambda tree: jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf)), tree),
    }
    ours = gx.chain(gx.scale(2.0), gx.monitor({**measures, "mean": gx.measure_with_ema(optax.tree.norm, 0.9)}))
    theirs = optax.chain(
        optax.scale(2.0), optax.monitor({**measures, "mean": optax.measure_with_ema(optax.tree.norm, 0.9)})
    )
    state, other = ours.init(first), theirs.init(first)
    for step in range(5):
        _, state = jax.jit(ours.update)(at(step, grads), state)
        with jax.numpy_dtype_promotion("standard"):
            _, other = theirs.update(at(step, grads), other)
        for name in ("size", "largest", "mean"):
            got, expected = optax.tree.get(state, name), optax.tree.get(other, name)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)
    assert sorted(gx.metrics(state)) == [
        "monitor.largest/dense/bias",
        "monitor.largest/dense/kernel",
        "monitor.largest/scale",
        "monitor.mean",
        "monitor.size",
    ]


def test_our_measure_stands_in_optax_s_monitor_and_optax_s_in_ours():
    tree = jnp.asarray([3.0, 4.0], jnp.bfloat16)
    ours = optax.monitor({"mean": gx.measure_with_ema(optax.tree.norm, 0.5)})
    _, state = ours.update(tree, ours.init(tree))
    # The tree and what is measured are one array each, and the mean is in float32 all the same.
    assert optax.tree.get(state, "mean").dtype == jnp.float32
    theirs = gx.monitor({"mean": optax.measure_with_ema(optax.tree.norm, 0.5)})
    with jax.numpy_dtype_promotion("standard"):
        _, other = theirs.update(tree, theirs.init(tree))
    assert optax.tree.get(other, "mean") == optax.tree.get(state, "mean") == 5


def test_optax_s_measure_whose_state_changes_its_dtype_is_an_error():
    tx = gx.monitor({"share": optax.measure_with_ema(lambda tree: optax.tree.norm(tree) > 1, 0.5)})
    with jax.numpy_dtype_promotion("standard"):
        state = tx.init(jnp.ones(3))
        with pytest.raises(TypeError, match="measure_states began with bool and became float32 in a step"):
            tx.update(jnp.ones(3), state)


@pytest.mark.parametrize("debias", [True, False])
def test_the_mean_of_a_bool(debias):
    tx = gx.monitor({"share": gx.measure_with_ema(lambda tree: optax.tree.norm(tree) > 1, 0.9, debias)})
    state = tx.init(jnp.ones(1))
    mean = 0.0
    for step, size in enumerate([2.0, 0.5, 2.0, 2.0], start=1):
        _, state = tx.update(jnp.full(1, size), state)
        mean = 0.9 * mean + 0.1 * (size > 1)
        expected = mean / (1 - 0.9**step) if debias else mean
        np.testing.assert_allclose(gx.metrics(state)["monitor.share"], expected, rtol=1e-6)


def test_the_mean_of_a_bfloat16_measurement_does_not_stick():
    tx = gx.monitor({"mean": gx.measure_with_ema(lambda tree: tree.astype(jnp.bfloat16)[0], 0.999, debias=False)})
    one = jnp.ones(1, jnp.bfloat16)
    state, _ = jax.lax.scan(lambda s, _: (tx.update(one, s)[1], None), tx.init(one), length=3000)
    # 1 - 0.999^3000, with 3000 roundings of float32.
    np.testing.assert_allclose(gx.metrics(state)["monitor.mean"], 1 - 0.999**3000, rtol=1e-4)


def test_the_mean_is_kept_in_the_dtype_that_was_asked():
    def measure(tree):
        return {"a": tree.astype(jnp.complex64), "b": 3}

    tx = gx.measure_with_ema(measure, 0.9)
    assert jax.tree.map(lambda x: x.dtype.name, tx.init(jnp.ones(2)).stages["measure_with_ema"].accumulator) == {
        "a": "complex64",
        "b": "float32",
    }
    with pytest.raises(TypeError, match=r"measure_with_ema: expected a complex accumulator_dtype.*got float32"):
        gx.measure_with_ema(measure, 0.9, accumulator_dtype="float32").init(jnp.ones(2))
    kept = gx.measure_with_ema(lambda tree: tree[0], 0.9, accumulator_dtype="bfloat16")
    _, state = kept.update(jnp.ones(2), kept.init(jnp.ones(2)))
    assert state.stages["measure_with_ema"].accumulator.dtype == jnp.bfloat16


def test_a_mean_s_decay_is_a_hyperparameter_like_any_other():
    tx = gx.live(gx.monitor({"b": gx.measure_with_ema(jnp.sum, 0.5), "a": gx.measure_with_ema(jnp.max, 0.9)}))
    state = tx.init(jnp.ones(2))
    assert {name: round(float(value), 6) for name, value in gx.hyperparams(tx, state).items()} == {
        "monitor.measures.b.measure_with_ema.decay": 0.5,
        "monitor.measures.a.measure_with_ema.decay": 0.9,
    }
    state = gx.adjust(state, {"b_state.measure_with_ema.decay": 0.25})
    assert gx.hyperparams(tx, state)["monitor.measures.b.measure_with_ema.decay"] == 0.25


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: gx.monitor({"a": 3}), TypeError, "monitor: a must be a function or a transform; got 3"),
        (lambda: gx.monitor({3: jnp.sum}), TypeError, "monitor: expected strings as names of measures; got 3"),
        (
            lambda: gx.chain(gx.measure_with_ema(jnp.sum, 0.9), gx.scale(1.0)),
            ValueError,
            "measure_with_ema returns a measurement .* must be the last of its chain.*got scale after it",
        ),
        (lambda: gx.monitor(jnp.mean), TypeError, "monitor: measures must be a dict of functions by name"),
        (lambda: gx.record_norms(ord=0.5), ValueError, "record_norms: ord must be at least 1"),
        (lambda: gx.record_clipping(-1.0), ValueError, "record_clipping: max_norm must be at least 0"),
        (
            lambda: gx.record_norms({"a": {"w": 1}}).update({"w": jnp.ones(2)}, gx.record_norms({"a": True}).init({})),
            TypeError,
            "record_norms: expected True or False in the mask at 'w', got 1",
        ),
    ],
)
def test_wrong_arguments_are_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_mask_of_the_contract_s_tree_names_a_group():
    first = params()
    found = reported(gx.record_norms({"kernels": MASK}), first)
    np.testing.assert_allclose(found["record_norms.norm/kernels"], optax.tree.norm(first["dense"]["kernel"]), rtol=1e-6)
