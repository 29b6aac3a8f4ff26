"""Parameters of 16 bits among other transforms: within, around, before, and in whatever a transform goes through."""

import gc
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core.calls import _program
from tests.storage.test_params import KINDS, assert_equal, every_kind, grads_at, random_params, run, stepped, whole

LOW = random_params(jnp.bfloat16)
WIDE = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), LOW)
ADAMW = gx.adamw(1e-2, weight_decay=0.1)
LABELS = {"w": "matrix", "b": "rest", "small": "rest"}
split = partial(gx.split_weights, bits=16)

WITHIN = {
    "guard": gx.guard(ADAMW),
    "accumulate": gx.accumulate(ADAMW, 3),
    "partition": gx.partition({"matrix": gx.sgd(0.1, 0.9), "rest": ADAMW}, LABELS),
    "masked": gx.masked(gx.clip_by_global_norm(0.5), gx.by_ndim(2)),
    "flatten": gx.flatten(ADAMW),
    "split_real_and_imaginary": gx.split_real_and_imaginary(ADAMW),
    "schedule_free": gx.schedule_free_adamw(1e-2),
    "average_params": gx.chain(ADAMW, gx.average_params()),
    "muon": gx.muon(1e-2),
    "soap": gx.soap(1e-2),
    "stored": gx.stored(ADAMW, gx.int8(), min_size=1),
    "live": gx.live(ADAMW),
    "optax's": optax.adamw(1e-2, weight_decay=0.1),
}
AROUND = {
    "clip": lambda tx: gx.chain(gx.clip_by_global_norm(0.5), tx),
    "partition": lambda tx: gx.partition({"matrix": tx, "rest": tx}, LABELS),
    "guard": gx.guard,
    "accumulate": lambda tx: gx.accumulate(tx, 3),
    "MultiSteps": lambda tx: gx.MultiSteps(tx, 3),
    "apply_if_finite": lambda tx: gx.apply_if_finite(tx, 3),
    "flatten": gx.flatten,
    "average_params": lambda tx: gx.chain(tx, gx.average_params()),
    "record_norms": lambda tx: gx.chain(tx, gx.record_norms()),
    "stored": lambda tx: gx.stored(tx, gx.int8(), min_size=1),
    "optax's chain": lambda tx: optax.chain(optax.clip_by_global_norm(0.5), tx),
}


def rounded(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def assert_close(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        # The same operations in two programs, in which XLA may contract others: an ulp in each of 12 steps.
        np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=12 * 2**-23, atol=1e-7)


@pytest.mark.parametrize("name", WITHIN)
def test_a_transform_within_trains_wide_parameters(name):
    inner = WITHIN[name]
    # optax's functions mix dtypes.
    with jax.numpy_dtype_promotion("standard"):
        tx, plain = split(inner), gx.chain(inner)

        @jax.jit
        def both():
            ours, theirs = run(tx, LOW, 12), run(plain, WIDE, 12)
            return ours, theirs, gx.eval_params(tx, ours[1], ours[0]), gx.eval_params(plain, theirs[1], theirs[0])

        ours, theirs, judged, expected = both()
    assert_close(whole(tx, *ours), theirs[0])
    for leaf, exact in zip(jax.tree.leaves(judged), jax.tree.leaves(expected), strict=True):
        assert leaf.dtype == jnp.bfloat16
        # Rounded once.
        np.testing.assert_allclose(np.float32(leaf), exact, rtol=2**-8, atol=1e-6)
    within = ours[1].stages["split_weights"].inner_state
    alone = theirs[1].stages[plain.stages[0].name] if name == "optax's" else theirs[1]
    assert jax.tree.structure(within) == jax.tree.structure(alone)
    assert list(map(jnp.result_type, jax.tree.leaves(within))) == list(map(jnp.result_type, jax.tree.leaves(alone)))


def test_lookahead_within_keeps_both_of_its_parameters():
    tx, plain = (make(gx.lookahead(ADAMW, 5, 0.5)) for make in (split, gx.chain))

    def pairs(tx, params):
        return run(tx, optax.LookaheadParams.init_synced(params), 12, grads=lambda n, pair: grads_at(n, pair.fast))

    @jax.jit
    def both():
        ours, theirs = pairs(tx, LOW), pairs(plain, WIDE)
        return ours, theirs, gx.eval_params(tx, ours[1], ours[0]), gx.eval_params(plain, theirs[1], theirs[0])

    ours, theirs, judged, expected = both()
    assert_close(whole(tx, *ours), theirs[0])
    assert_equal(judged, ours[0].slow)
    assert_equal(judged, rounded(expected))


@pytest.mark.parametrize("name", AROUND)
def test_around_it_parameters_are_those_of_float32_rounded(name):
    around = AROUND[name]
    tx, plain = around(split(ADAMW)), around(ADAMW)
    hows = [stepped] if name == "optax's chain" else [None, stepped]

    @jax.jit
    def runs():
        return [run(tx, LOW, 12, how=how)[0] for how in hows], run(plain, WIDE, 12, how=stepped)[0]

    found, expected = runs()
    for params in found:
        assert_equal(params, rounded(expected))


def test_of_two_labels_one_trains_wide_and_the_other_as_it_is():
    tx = gx.partition({"matrix": split(ADAMW), "rest": gx.sgd(0.1)}, LABELS)

    @jax.jit
    def runs():
        return run(tx, LOW, 12)[0], run(ADAMW, WIDE, 12)[0], run(gx.sgd(0.1), LOW, 12)[0]

    ours, wide, plain = runs()
    assert_equal(ours, {**plain, "w": rounded(wide)["w"]})
    masked = gx.masked(split(gx.sgd(0.1)), {"w": True, "b": False, "small": False})
    state = masked.init(LOW)
    assert jax.tree.leaves(state.stages["masked"].inner_state.stages["split_weights"].error)[0].shape == (16, 6)


def test_an_average_behind_it_is_of_the_parameters_as_they_are_rounded():
    tx = gx.chain(split(gx.sgd(1e-3)), gx.average_params(None))
    state, params, seen = tx.init(LOW), LOW, []
    for number in range(3):
        params, state = tx.step(grads_at(number, params), state, params)
        seen.append(np.float32(params["w"]))
    np.testing.assert_allclose(state.stages["average_params"].average["w"], np.mean(seen, axis=0), rtol=1e-6)


def test_leaves_that_it_does_not_keep_go_through():
    params = {**LOW, "norm": jnp.ones(5), "phase": jnp.ones(3, jnp.complex64)}
    exact = {**WIDE, "norm": params["norm"], "phase": params["phase"]}
    both = jax.jit(lambda: (run(split(ADAMW), params, 5), run(ADAMW, exact, 5)))
    ours, theirs = both()
    expected = theirs[0]
    assert_equal(ours[0], {**expected, **rounded({name: expected[name] for name in LOW})})
    assert ours[1].stages["split_weights"].error["norm"] == optax.MaskedNode()
    for kind, make in KINDS.items():
        tx = make(gx.sgd(0.1))
        grads = {"w": jnp.ones((16, 6), jnp.bfloat16), "b": None, "small": None}
        only = {"w": LOW["w"], "b": None, "small": None}
        new, _ = tx.step(grads, tx.init(only), {**LOW, "small": jax.nn.relu})
        assert new["b"] is LOW["b"], kind
        assert new["small"] is jax.nn.relu
        assert np.any(new["w"] != LOW["w"])
    let = gx.split_weights(gx.sgd(0.5), strict=False)
    np.testing.assert_array_equal(let.step(WIDE, let.init(WIDE), WIDE)[0]["w"], WIDE["w"] / 2)


@every_kind
def test_it_is_a_value(kind):
    tx = gx.chain(gx.clip_by_global_norm(1.0), KINDS[kind](gx.adamw(1e-2)))
    assert eval(repr(tx), vars(gx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    state = tx.init(LOW)
    assert_equal(pickle.loads(pickle.dumps((tx, state)))[1], state)
    assert pickle.loads(pickle.dumps(tx)) == tx
    other = gx.replace(tx, learning_rate=0.5)
    (name,) = (key for key in gx.hyperparams(other, state) if key.endswith("learning_rate"))
    assert gx.hyperparams(other, state)[name] == 0.5
    live = gx.live(tx)
    adjusted = gx.adjust(live.init(LOW), learning_rate=0.25)
    assert gx.hyperparams(live, adjusted)[name] == 0.25
    described = gx.describe(tx, LOW)
    assert described.state_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    beside = {
        "stochastic_rounding": 0,
        "split_weights": 1,
        "split_weights of 16 bits": 2,
        "kahan": 2,
        "master_weights": 4,
    }
    elements = sum(leaf.size for leaf in jax.tree.leaves(LOW))
    kept = [
        kept.bytes for part in described.parts for kept in part.kept if kept.name in ("error", "compensation", "master")
    ]
    assert sum(kept) == beside[kind] * elements


@every_kind
def test_its_state_has_one_shape_and_may_be_donated(kind):
    tx = KINDS[kind](gx.adamw(1e-2))
    step = jax.jit(lambda params, state, grads: tx.step(grads, state, params), donate_argnums=(0, 1))
    params = jax.tree.map(jnp.copy, LOW)
    state = tx.init(params)
    shapes = jax.tree.map(jax.typeof, (params, state))
    new = step(params, state, grads_at(1, LOW))
    assert jax.tree.map(jax.typeof, new) == shapes
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((params, state)))
    assert jax.tree.map(jax.typeof, tx.update(LOW, *new[::-1])) == (jax.tree.map(jax.typeof, LOW), shapes[1])


def test_many_rates_at_once_are_those_one_by_one():
    def trained(rate):
        return run(gx.split_weights(gx.adamw(rate)), LOW, 5)

    rates = jnp.asarray([1e-3, 1e-2])
    both = jax.jit(lambda: (jax.vmap(trained)(rates), [trained(rate) for rate in rates]))
    together, apart = both()
    assert_equal(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *apart))


def test_by_hand_it_is_compiled_once_and_nothing_grows():
    params = {"w": jnp.ones((8, 4), jnp.bfloat16)}
    tx = gx.split_weights(gx.adamw(1e-2))
    state, grads = tx.init(params), {"w": jnp.ones((8, 4), jnp.bfloat16)}
    params, state = tx.step(grads, state, params)
    gc.collect()
    programs, arrays = _program.cache_info().currsize, len(jax.live_arrays())
    for number in range(300):
        params, state = gx.split_weights(gx.adamw(1e-2 / (1 + number))).step(grads, state, params)
    gc.collect()
    assert _program.cache_info().currsize == programs
    assert len(jax.live_arrays()) <= arrays


def test_states_go_on_in_one_another():
    tx, kept, other = gx.adamw(1e-2), split(gx.adamw(1e-2)), gx.kahan(gx.adamw(1e-2))
    params, state = run(tx, LOW, 3)
    moved, report = gx.migrate(state, kept, params, names={"split_weights.inner_state.scale_by_adam": "scale_by_adam"})
    within = moved.stages["split_weights"].inner_state
    assert_equal(within.stages["scale_by_adam"], state.stages["scale_by_adam"])
    assert within.count == 3
    assert [name for name in report.new if "error" in name]
    params, state = kept.step(LOW, moved, params)
    moved, _ = gx.migrate(state, other, params, names={"kahan": "split_weights"})
    within = state.stages["split_weights"].inner_state
    assert_equal(moved.stages["kahan"].inner_state.stages, within.stages)
    assert not np.any(moved.stages["kahan"].compensation["w"])


def test_what_does_not_fit_is_an_error_that_says_where():
    sgd = gx.sgd(0.1)
    for make in KINDS.values():
        name = make(sgd).stages[0].name
        with pytest.raises(
            TypeError, match=rf"{name} keeps parameters of bfloat16 or float16; got float32 at 'b', .*strict=False"
        ):
            make(sgd).init(WIDE)
        with pytest.raises(ValueError, match=rf"{name} needs the parameters"):
            make(sgd).update(LOW, make(sgd).init(LOW))
        with pytest.raises(ValueError, match=rf"{name} decides the parameters after the step, .* got scale after it"):
            gx.chain(make(sgd), gx.scale(2.0))
        with pytest.raises(ValueError, match=r"guard decides the parameters .* got scale after it"):
            gx.chain(gx.guard(make(sgd)), gx.scale(2.0))
        with pytest.raises(ValueError, match=r"average_params sees the parameters .* after it"):
            gx.chain(gx.average_params(), make(sgd))
        with pytest.raises(
            ValueError, match=rf"lookahead: fast_optimizer must leave .* got {name}; put lookahead within"
        ):
            gx.lookahead(make(sgd), 5, 0.5)
        with pytest.raises(ValueError, match=rf"kahan: inner must leave it to kahan .* got {name}$"):
            gx.kahan(make(sgd))
        with pytest.raises(TypeError, match=r"inner must be a transform"):
            make(gx.sgd)
        with pytest.raises(TypeError, match=r"strict must be True or False; got 1"):
            make(sgd, strict=1)
    for bits in (4, True, 8.5):
        with pytest.raises(ValueError, match=r"split_weights: bits must be 8 or 16; got"):
            gx.split_weights(sgd, bits)
    with pytest.raises(TypeError, match="seed"):
        gx.stochastic_rounding(sgd, 0.5)
    tx = split(sgd)
    with pytest.raises(ValueError, match=r"split_weights: the parameter at 'w' is float32, which it was not"):
        tx.step(LOW, tx.init(LOW), {**LOW, "w": WIDE["w"]})
    with pytest.raises(
        ValueError, match=r"parameters: expected shape \(3,\) at 'w', as the error of split_weights have"
    ):
        tx.step({"w": LOW["w"]}, tx.init({"w": jnp.ones(3, jnp.bfloat16)}), {"w": LOW["w"]})
    with pytest.raises(ValueError, match=r"a leaf at 'small'"):
        tx.step(LOW, tx.init({"w": LOW["w"], "b": LOW["b"]}), LOW)


def test_adamw_lean_takes_seven_bytes_a_parameter():
    tx = gx.adamw_lean(1e-3)
    params = {"w": jnp.zeros((256, 128), jnp.bfloat16), "norm": jnp.ones(128)}
    new, state = tx.step(params, tx.init(params), params)
    large = {"w": params["w"]}
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(tx.init(large)))
    gradients = parameters = params["w"].nbytes
    assert (kept + gradients + parameters) / params["w"].size < 7.07
    assert new["norm"].dtype == jnp.float32
    assert state.stages["split_weights"].error["norm"] == optax.MaskedNode()
    wider = gx.adamw_lean(1e-3, bits=16, codec=gx.int4(), min_size=1)
    errors = wider.init(large).stages["split_weights"].error
    assert errors["w"].dtype == jnp.int16
