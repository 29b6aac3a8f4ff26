"""A running optimizer of optax's goes on in ours, as if nothing had happened."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx

MASK = {"kernel": True, "bias": False}
AXES = {"kernel": optax.contrib.MuonDimensionNumbers(), "bias": None}
LABELS = {"kernel": "fast", "bias": "slow"}
# optax takes every integer for a hyperparameter and every function, as a dtype is one, for a schedule.
STATIC = ("min_dim_size_to_factor", "decay_offset", "dtype_momentum")


def contrib(lib):
    """Where a library has what optax has in contrib."""
    return lib if lib is gx else optax.contrib


# Each a function of the library, with arguments that both have: names, so that inject_hyperparams can be around it.
OPTIMIZERS = {
    "adam": ("adam", {"learning_rate": 0.1}),
    "adamw": ("adamw", {"learning_rate": optax.cosine_decay_schedule(0.1, 50), "weight_decay": 0.1}),
    "sgd": ("sgd", {"learning_rate": 0.1, "momentum": 0.9}),
    "rmsprop": ("rmsprop", {"learning_rate": 0.01}),
    "rmsprop centered": ("rmsprop", {"learning_rate": 0.01, "centered": True, "initial_scale": 1.0}),
    "rmsprop momentum": ("rmsprop", {"learning_rate": 0.01, "momentum": 0.9, "bias_correction": True}),
    "lion": ("lion", {"learning_rate": 0.01}),
    "adafactor": ("adafactor", {"learning_rate": 0.1, "min_dim_size_to_factor": 2, "momentum": 0.9}),
}
MORE = {
    "sgd with nesterov and a schedule": lambda lib: lib.sgd(optax.linear_schedule(0.1, 0.0, 40), 0.9, nesterov=True),
    "adamw with a mask": lambda lib: lib.adamw(0.1, weight_decay=0.1, mask=MASK),
    "a schedule of weight decay": lambda lib: lib.chain(
        lib.scale_by_lion(), lib.add_decayed_weights(optax.linear_schedule(0.1, 0.0, 40), MASK), lib.scale(-0.1)
    ),
    "nadam": lambda lib: lib.nadam(0.1),
    "adamax": lambda lib: lib.adamax(0.1),
    "amsgrad": lambda lib: lib.amsgrad(0.1),
    "adabelief": lambda lib: lib.adabelief(0.1),
    "yogi": lambda lib: lib.yogi(0.1),
    "radam": lambda lib: lib.radam(0.1),
    "adagrad": lambda lib: lib.adagrad(0.1),
    "adadelta": lambda lib: lib.adadelta(1.0),
    "rmsprop centered with bias correction": lambda lib: lib.rmsprop(0.01, centered=True, bias_correction=True),
    "signum": lambda lib: lib.signum(0.01),
    "adafactor of nothing factored": lambda lib: lib.adafactor(0.1),
    "zero_nans and add_noise": lambda lib: lib.chain(lib.zero_nans(), lib.add_noise(0.0, 0.5, 1), lib.adam(0.1)),
    "named_chain": lambda lib: lib.named_chain(("clip", lib.clip(1.0)), ("opt", lib.adam(0.1))),
    "chain in chain": lambda lib: lib.chain(lib.chain(lib.clip(1.0), lib.trace(0.5)), lib.chain(lib.adam(0.1))),
    "two Adams": lambda lib: lib.chain(lib.scale_by_adam(0.5), lib.scale_by_adam(0.9), lib.scale(-0.1)),
    "partition": lambda lib: lib.partition({"fast": lib.adam(0.1), "slow": lib.sgd(0.1, 0.9)}, LABELS),
    "multi_transform": lambda lib: lib.multi_transform({"fast": lib.lion(0.1), "slow": lib.set_to_zero()}, LABELS),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adamw(0.1), 3),
    "conditionally_transform": lambda lib: lib.conditionally_transform(lib.adam(0.1), lambda step: step % 3 > 0),
    "conditionally_mask": lambda lib: lib.conditionally_mask(lib.adam(0.1), lambda step: step % 3 > 0),
    "flatten": lambda lib: lib.flatten(lib.adam(0.1)),
    "split_real_and_imaginary": lambda lib: contrib(lib).split_real_and_imaginary(lib.adam(0.1)),
    "muon": lambda lib: contrib(lib).muon(0.1, weight_decay=0.1),
    "muon with axes of one's own": lambda lib: contrib(lib).muon(
        optax.linear_schedule(0.1, 0.0, 40), muon_weight_dimension_numbers=AXES, nesterov=False
    ),
    "scale_by_muon, masked": lambda lib: lib.masked(
        contrib(lib).scale_by_muon(
            weight_dimension_numbers=lambda params: jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), params)
        ),
        MASK,
    ),
    "MultiSteps that skips": lambda lib: lib.MultiSteps(
        lib.adam(0.1), 2, should_skip_update_fn=optax.skip_not_finite, accumulator_dtype=None
    ),
    "a mask within, a rule beside": lambda lib: lib.chain(
        lib.apply_if_finite(lib.masked(lib.adam(0.1), MASK), 3), lib.ema(0.5)
    ),
    "clip and MultiSteps": lambda lib: lib.chain(
        lib.clip(1.0),
        lib.MultiSteps(
            lib.adam(optax.linear_schedule(0.1, 0.0, 40)), 3, accumulator_dtype=None
        ).gradient_transformation(),
    ),
}
# By default optax's MultiSteps gathers float64 in float32.
WRAPPED = {
    "plain": lambda lib, name, arguments: getattr(lib, name)(**arguments),
    "chain with clip": lambda lib, name, arguments: lib.chain(
        lib.clip_by_global_norm(1.0), getattr(lib, name)(**arguments)
    ),
    "masked": lambda lib, name, arguments: lib.masked(getattr(lib, name)(**arguments), MASK),
    "inject_hyperparams": lambda lib, name, arguments: lib.inject_hyperparams(
        getattr(lib, name), STATIC if name == "adafactor" else ()
    )(**arguments),
    "MultiSteps": lambda lib, name, arguments: lib.MultiSteps(
        getattr(lib, name)(**arguments), 2, accumulator_dtype=None
    ),
}
CASES = {
    **{
        f"{name}, {wrapped}": lambda lib, name=name, wrapped=wrapped: WRAPPED[wrapped](lib, *OPTIMIZERS[name])
        for name in OPTIMIZERS
        for wrapped in WRAPPED
    },
    **MORE,
}


def start(dtype=None):
    kernel = jnp.sin(jnp.arange(12.0, dtype=dtype)).reshape(4, 3)
    return {"kernel": kernel, "bias": jnp.cos(jnp.arange(3.0, dtype=dtype))}


def grads_of(params):
    return jax.tree.map(lambda leaf: leaf - jnp.cos(3 * leaf) / 3, params)


# A transform has one program, however often it is run.
@partial(jax.jit, static_argnums=0)
def step(tx, params, state):
    updates, state = tx.update(grads_of(params), state, params)
    return optax.apply_updates(params, updates), state


def run(tx, params, state, steps):
    """Parameters and state after some steps, and the parameters after each."""
    path = []
    # optax's transforms mix dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for _ in range(steps):
            params, state = step(tx, params, state)
            path.append(params)
    return params, state, path


def running(tx, params, steps=11):
    """An odd number of steps, so that MultiSteps is in the middle of its two."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return run(tx, params, tx.init(params), steps)[:2]


def assert_goes_on(theirs, ours, params, state, tolerance=1e-12):
    """The next 20 steps are optax's. Returns the report.

    In float64, relative to the largest parameter: some roundings a step, each 1e-16, and the bias corrections of optax,
    which cancel two digits at b2 = 0.999.
    """
    taken, report = gx.from_optax(state, ours, params)
    fresh = ours.init(params)
    assert jax.tree.structure(taken) == jax.tree.structure(fresh)
    assert jax.tree.map(jnp.result_type, taken) == jax.tree.map(jnp.result_type, fresh)
    _, _, expected = run(theirs, params, state, 20)
    _, _, path = run(ours, params, taken, 20)
    atol = tolerance * max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), path, expected)
    return report


@pytest.mark.parametrize("name", CASES)
def test_the_next_20_steps_are_those_of_optax(name):
    with jax.enable_x64(True):
        theirs, ours = CASES[name](optax), CASES[name](gx)
        params, state = running(theirs, start())
        # Of Adafactor optax takes the decay in float32, whatever the parameters are: 6e-8 in each of 20 steps. Of
        # Muon, which turns small singular values into large ones, optax's own steps from parameters that are off by
        # 1e-15 are off by 4e-10 after 20.
        tolerance = 1e-6 if "adafactor" in name else 1e-9 if "muon" in name else 1e-12
        report = assert_goes_on(theirs, ours, params, state, tolerance)
    assert {name.split("/")[0].split(".")[-1] for name in report.new} <= {"count", "norm", "found_nan", "rng_key"}


# Of values that float32 holds, in which optax takes them: how XLA joins the operations then makes no difference.
EXACT = optax.linear_schedule(0.125, 0.0, 32)
INJECTED = optax.inject_hyperparams(optax.adamw)(learning_rate=0.05, b1=0.8)
SCHEDULED = optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.1, 0.0, 40), momentum=0.8)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (INJECTED, gx.adamw(0.05, 0.8)),
        (INJECTED, gx.live(gx.adamw(0.3), "learning_rate", "b1")),
        (INJECTED, gx.chain(gx.clip(1e6), gx.live(gx.adamw(0.3)))),
        (INJECTED, optax.inject_hyperparams(gx.adamw)(learning_rate=0.3)),
        (SCHEDULED, gx.sgd(optax.linear_schedule(0.1, 0.0, 40), 0.8)),
        (SCHEDULED, gx.live(gx.sgd(optax.linear_schedule(0.1, 0.0, 40), 0.3), "decay")),
        (optax.adamw(0.1), gx.inject_hyperparams(gx.adamw)(0.1)),
        (optax.adam(EXACT), gx.inject_hyperparams(gx.adam)(EXACT)),
        (optax.MultiSteps(optax.adam(0.1), 1), gx.adam(0.1)),
        (optax.adam(0.1), gx.MultiSteps(gx.adam(0.1), 1)),
        (optax.chain(optax.clip(1.0), optax.adam(0.1)), optax.chain(optax.clip(1.0), gx.adam(0.1))),
        (optax.apply_if_finite(optax.lion(0.01), 3), gx.lion(0.01)),
        (optax.lion(0.01), gx.chain(gx.clip(1e6), gx.apply_if_finite(gx.lion(0.01), 3))),
        (optax.adam(0.1), gx.chain(optax.scale_by_adam(), gx.scale_by_learning_rate(0.1))),
        (optax.adam(0.1), gx.chain(optax.adam(0.1))),
    ],
    ids=lambda tx: repr(tx)[:30],
)
def test_wrappers_that_one_side_does_without(theirs, ours):
    with jax.enable_x64(True):
        params, state = running(theirs, start())
        report = assert_goes_on(theirs, ours, params, state)
    assert not any("was" in note for note in report.notes)


def test_bfloat16_becomes_float32():
    params = start(jnp.bfloat16)
    tx = optax.adam(0.1)
    params, state = running(tx, params)
    taken, report = gx.from_optax(state, gx.adam(0.1), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(taken.stages)} == {jnp.dtype("float32")}
    assert report.kept["scale_by_adam.mu/kernel"] == "bfloat16 as float32"
    np.testing.assert_array_equal(taken.stages["scale_by_adam"].nu["bias"], state[0].nu["bias"].astype(jnp.float32))


def test_complex_parameters():
    # optax's adam keeps the mean square of complex gradients in complex numbers, whose imaginary parts are 0.
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jax.lax.complex(leaf, leaf), start())
        params, state = running(optax.adam(0.1), params)
        assert jnp.iscomplexobj(state[0].nu["bias"])
        assert_goes_on(optax.adam(0.1), gx.adam(0.1), params, state)


def test_count_is_that_of_real_steps():
    params = start()
    _, state = running(optax.MultiSteps(optax.adam(0.1), 3), params)
    taken, _ = gx.from_optax(state, gx.MultiSteps(gx.adam(0.1), 3), params)
    assert (taken.gradient_step, taken.mini_step, taken.inner_opt_state.count) == (3, 2, 3)


def test_count_where_optax_has_none():
    params = start()
    _, state = running(optax.sgd(0.1, 0.9), params)
    taken, report = gx.from_optax(state, gx.sgd(0.1, 0.9), params)
    assert taken.count == 0
    assert report.notes == ("count is 0, as optax's state has none there; say count=... if schedules go by it",)
    taken, report = gx.from_optax(state, gx.sgd(0.1, 0.9), params, count=11)
    assert taken.count == 11
    assert report.notes == ()


def test_counts_that_disagree():
    params = start()
    _, state = running(optax.adam(optax.constant_schedule(0.1)), params)
    adam, _ = state
    state = (adam, optax.ScaleByScheduleState(jnp.int32(2)))
    with pytest.raises(ValueError, match=r"disagree \(0/ScaleByAdamState 11, 1/ScaleByScheduleState 2\); say .*count="):
        gx.from_optax(state, gx.adam(0.1), params)
    taken, _ = gx.from_optax(state, gx.adam(0.1), params, count=2)
    assert taken.count == 2


def test_report_tells_of_other_hyperparameters():
    params, state = running(optax.inject_hyperparams(optax.sgd)(0.05, momentum=0.8), start())
    _, report = gx.from_optax(state, gx.live(gx.sgd(0.1, 0.9), "learning_rate"), params)
    assert report.kept["live.scale_by_learning_rate.learning_rate"] == "as it was"
    assert report.notes == ("momentum was 0.8 with optax; in the transform it is 0.9",)
    _, report = gx.from_optax(state, gx.chain(gx.trace(0.8), gx.scale(-0.1)), params)
    assert report.notes == ("learning_rate was 0.05 with optax; the transform has no learning_rate",)


def test_live_hyperparameters_are_those_of_their_group():
    groups = {
        "fast": optax.inject_hyperparams(optax.sgd)(0.05, momentum=0.8),
        "slow": optax.inject_hyperparams(optax.sgd)(0.01, momentum=0.8),
    }
    params, state = running(optax.partition(groups, LABELS), start())
    ours = gx.live(gx.sgd(0.1, 0.8), "learning_rate")
    taken, report = gx.from_optax(state, gx.partition({"fast": ours, "slow": ours}, LABELS), params)
    inner = taken.stages["partition"].inner_states
    rates = {group: inner[group].live["scale_by_learning_rate.learning_rate"] for group in groups}
    assert rates == {"fast": pytest.approx(0.05), "slow": pytest.approx(0.01)}
    assert report.notes == ()


def test_report_tells_of_another_order():
    params, state = running(optax.chain(optax.trace(0.9), optax.adam(0.1)), start())
    _, report = gx.from_optax(state, gx.chain(gx.scale_by_adam(), gx.trace(0.9)), params)
    order = "(scale_by_adam, trace)"
    assert f"optax's state has its parts in another order than the transform {order}" in report.notes


def test_report_tells_of_what_is_left():
    params, state = running(optax.apply_if_finite(optax.adam(0.1), 3), start())
    _, report = gx.from_optax(state, gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1)), params)
    assert report.new == {"clip_by_global_norm.norm": "not in optax's state"}
    assert report.dropped["ApplyIfFiniteState.total_notfinite"] == "the transform does without this wrapper"


ADAMS = optax.chain(optax.adam(0.1), optax.adam(0.1))


@pytest.mark.parametrize(
    ("theirs", "ours", "match"),
    [
        (ADAMS, gx.adam(0.1), r"has 1 for ScaleByAdamState \(scale_by_adam\), optax's state has 2; in it there are Sc"),
        (
            optax.sgd(0.1),
            gx.adam(0.1),
            r"1 for ScaleByAdamState \(scale_by_adam\), optax's state has 0; in it there are",
        ),
        (optax.sgd(0.1), gx.rmsprop(0.1), "1 for ScaleByRmsState or ScaleByRmsWithCountState"),
        (optax.sgd(0.1, 0.9), gx.sgd(0.1), "no rule for optax's TraceState, which keeps trace/bias"),
        (optax.adam(0.1), gx.prodigy(0.1), "knows of no state of optax's for prodigy; it knows ema, lookahead, sam,"),
        (optax.adam(0.1), gx.masked(gx.adam(0.1), MASK), r"has 1 for MaskedState \(masked\), optax's state has 0"),
        (
            optax.masked(optax.adam(0.1), MASK),
            gx.adam(0.1),
            r"has 1 for ScaleByAdamState \(scale_by_adam\), .*MaskedState",
        ),
        (
            optax.masked(optax.adam(0.1), MASK),
            gx.masked(gx.adam(0.1), {"kernel": True, "bias": True}),
            "expected an array at masked.inner_state.scale_by_adam.mu/bias, optax's state has none there",
        ),
        (
            optax.masked(optax.adam(0.1), {"kernel": True, "bias": True}),
            gx.masked(gx.adam(0.1), MASK),
            "array at 'bias', where the transform's masked.inner_state.scale_by_adam.mu has none; is it masked or",
        ),
        (
            optax.partition({"a": optax.adam(0.1)}, "a"),
            gx.partition({"b": gx.adam(0.1)}, "b"),
            r"the transform has parts \['b'\], optax's state \['a'\]",
        ),
        (
            optax.MultiSteps(optax.adam(0.1), 2),
            gx.adam(0.1),
            "MultiSteps has accumulated 1 gradients, which the transform",
        ),
        (
            optax.chain(optax.conditionally_mask(optax.adam(0.1), lambda step: step > 1)),
            gx.chain(gx.adam(0.1)),
            "optax's state has 0; in it there are ConditionallyMaskState",
        ),
        (optax.adam(0.1), optax.chain(gx.adam(0.1), optax.clip(1.0), optax.clip(1.0)), r"has parts \['0', '1', '2'\]"),
    ],
)
def test_what_does_not_go_together_is_an_error(theirs, ours, match):
    params, state = running(theirs, start(), 1)
    with pytest.raises(ValueError, match=match):
        gx.from_optax(state, ours, params)


def test_other_shapes_are_an_error():
    state = optax.adam(0.1).init(start())
    params = {**start(), "kernel": jnp.ones((3, 4))}
    with pytest.raises(
        ValueError, match=r"scale_by_adam.mu/kernel does not fit: shape \(3, 4\), was \(4, 3\) in optax's"
    ):
        gx.from_optax(state, gx.adam(0.1), params)


def test_what_is_no_state_of_optax_is_an_error():
    params = start()
    with pytest.raises(TypeError, match="takes optax's states, got one of gradxform's own; migrate takes that"):
        gx.from_optax(gx.adam(0.1).init(params), gx.adam(0.1), params)
    without_classes = [{"count": jnp.int32(3), "mu": params, "nu": params}, None]
    with pytest.raises(TypeError, match=r"states of optax's classes, got .* among them; restore what was saved with"):
        gx.from_optax(without_classes, gx.adam(0.1), params)


def test_the_mean_of_muon_is_where_scripts_look_for_it():
    params = {"kernel": start()["kernel"]}
    assert gx.scale_by_muon().init(params).mu.keys() == {"kernel"}
    theirs = optax.tree.get(optax.contrib.muon(0.1).init(start()), "mu", filtering=in_muon)
    ours = optax.tree.get(gx.muon(0.1).init(start()), "mu", filtering=in_muon)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)


def in_muon(path, value):
    """Whether a place in a state is that of Muon, and not of its Adam."""
    return any("Muon" in getattr(key, "tuple_name", "") for key in path)
