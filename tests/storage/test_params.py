"""Parameters of 16 bits that train as wider ones: where they come to, and the updates that take them there."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core.noise import Noise, salt_of
from gradxform.storage.floats import rounded_at_random

KINDS = {
    "stochastic_rounding": gx.stochastic_rounding,
    "split_weights": gx.split_weights,
    "split_weights of 16 bits": partial(gx.split_weights, bits=16),
    "kahan": gx.kahan,
    "master_weights": gx.master_weights,
}
# What trains as float32 to the last bit.
EXACT = ("split_weights of 16 bits", "master_weights")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_number = np.arange(2**16, dtype=np.uint16)


def random_params(dtype, seed=0):
    rng = np.random.default_rng(seed)
    leaves = {"w": rng.normal(size=(16, 6)), "b": np.zeros(6), "small": 1e-3 * rng.normal(size=50)}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), leaves)


def grads_at(number, params, dtype=jnp.float32):
    """Gradients that do not depend on the parameters, so that two runs get the same."""

    def grad(leaf):
        angles = 1.3 * jnp.arange(leaf.size, dtype=jnp.float32).reshape(leaf.shape) + number
        return jnp.sin(angles).astype(leaf.dtype if jnp.iscomplexobj(leaf) else dtype)

    return jax.tree.map(grad, params)


def stepped(tx, grads, state, params):
    """The parameters and the state by `update` and optax's `apply_updates`."""
    updates, state = tx.update(grads, state, params)
    # optax adds float32 to bfloat16.
    with jax.numpy_dtype_promotion("standard"):
        return optax.apply_updates(params, updates), state


def run(tx, params, steps, *, how=None, grads=grads_at):
    """The parameters and the state after some steps, in one scan."""
    step = tx.step if how is None else partial(how, tx)

    def body(carry, number):
        params, state = carry
        return step(grads(number, params), state, params), None

    return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(steps, dtype=jnp.float32))[0]


def whole(tx, params, state):
    """The parameters as the transform sees them."""
    node, record = tx.stages[-1].node, state.stages[tx.stages[-1].name]
    beside = {name: jax.tree.leaves(getattr(record, name)) for name in record._fields if name != "inner_state"}
    leaves, structure = jax.tree.flatten(params)
    return structure.unflatten(
        node.codec.load(node.codec.together(leaf, {name: column[index] for name, column in beside.items()}))
        for index, leaf in enumerate(leaves)
    )


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def constant(number, params):
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 1e-3, jnp.float32), params)


@pytest.mark.parametrize("how", [None, stepped], ids=["step", "update"])
def test_a_thousand_steps_of_a_thousandth_are_one(how):
    one = jnp.ones((), jnp.bfloat16)

    def moved(make):
        tx = make(gx.sgd(1.0))
        return 1 - whole(tx, *run(tx, one, 1000, how=how, grads=constant))

    def at_random(seed):
        tx = gx.stochastic_rounding(gx.sgd(1.0))
        # A seed that is traced, so that 64 runs are one program.
        tx = tx.with_stages((tx.stages[0]._replace(node=tx.stages[0].node.replace(seed=seed)),))
        return 1 - run(tx, one, 1000, how=how, grads=constant)[0].astype(jnp.float32)

    @jax.jit
    def all_of_them():
        plain = run(gx.sgd(1.0), one, 1000, how=how, grads=constant)[0]
        return plain, {kind: moved(make) for kind, make in KINDS.items()}, jax.vmap(at_random)(jnp.arange(64))

    plain, found, runs = all_of_them()
    assert plain == 1
    for kind in ("split_weights", "kahan", *EXACT):
        # By float32 it is 0.99999, as -1e-3 is not quite a thousandth there.
        np.testing.assert_allclose(found[kind], 1, rtol=1e-3)
    runs = np.float64(runs)
    error = runs.std(ddof=1) / 8
    assert abs(runs.mean() - 1) < min(0.05, 3 * error)
    # Near 1 it moves by 2^-8 with a probability of a quarter: 1000 such moves part by 0.05.
    assert 0.01 < runs.std() < 0.1
    assert found["stochastic_rounding"] == runs[0]


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("compiled", [False, True], ids=["by hand", "under jit"])
def test_it_is_float32_bit_for_bit(kind, compiled):
    tx, plain = (make(gx.adamw(1e-2, weight_decay=0.1)) for make in (KINDS[kind], gx.chain))
    low = random_params(jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), low)
    grads = partial(grads_at, dtype=jnp.bfloat16)
    if compiled:
        ours, expected = (
            jax.jit(partial(run, tx, steps=100, grads=grads))(params=params)
            for tx, params in ((tx, low), (plain, wide))
        )
    else:
        ours, expected = (by_hand(tx, params, 100, grads) for tx, params in ((tx, low), (plain, wide)))
    assert_equal(whole(tx, *ours), expected[0])
    assert_equal(ours[1].stages[tx.stages[0].name].inner_state, expected[1])
    for leaf, exact in zip(jax.tree.leaves(ours[0]), jax.tree.leaves(expected[0]), strict=True):
        # Of two that are as near one may be the other's.
        assert leaf.dtype == jnp.bfloat16
        assert np.mean(leaf == exact.astype(jnp.bfloat16)) > 0.99
    # Most are moved by less than half of a last place of bfloat16 in most steps.
    assert any(np.any(leaf != old) for leaf, old in zip(jax.tree.leaves(ours[0]), jax.tree.leaves(low), strict=True))


def by_hand(tx, params, steps, grads):
    state, grads = tx.init(params), jax.jit(grads)
    for number in range(steps):
        params, state = tx.step(grads(number, params), state, params)
    return params, state


def test_the_others_keep_to_their_last_places():
    """After a hundred steps of adamw, against float32."""
    low = random_params(jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), low)
    tx = gx.adamw(1e-3)

    @jax.jit
    def runs():
        made = {kind: KINDS[kind](tx) for kind in ("split_weights", "kahan", "stochastic_rounding")}
        after = {kind: whole(made[kind], *run(made[kind], low, 100)) for kind in made}
        return after, run(tx, wide, 100)[0]

    found, expected = runs()
    errors = {kind: np.abs(np.float32(leaf["w"]) - expected["w"]) for kind, leaf in found.items()}
    largest = np.abs(expected["w"])
    # 100 roundings of a 2^-16th at random, and of a 2^-17th to the nearest: each may go the same way.
    assert np.all(errors["split_weights"] <= 100 * 2**-16 * largest)
    assert np.all(errors["kahan"] <= 100 * 2**-17 * largest)
    # A random walk of 100 steps of half a last place, which is 2^8 times that of the first.
    assert np.mean(errors["split_weights"]) < np.mean(errors["stochastic_rounding"]) / 20


@every_kind
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
def test_without_an_update_no_number_moves(kind, dtype):
    params = jax.lax.bitcast_convert_type(jnp.asarray(every_number), dtype)
    tx = KINDS[kind](gx.sgd(1.0))
    new, state = jax.jit(tx.step)(jnp.zeros(params.shape, jnp.float32), tx.init(params), params)
    old, new = np.float32(params), np.float32(new)
    # XLA may take what is denormal for 0, as in any other sum.
    normal = ~(np.abs(old) < float(jnp.finfo(jnp.float32).tiny))
    np.testing.assert_array_equal(new[normal], old[normal])
    assert np.all(np.abs(new[~normal]) <= float(jnp.finfo(jnp.float32).tiny))
    np.testing.assert_array_equal(whole(tx, jnp.asarray(new, dtype), state)[normal], old[normal])


def test_what_is_not_finite_shows_and_nothing_finite_becomes_so():
    largest = float(jnp.finfo(jnp.float32).max)
    values = np.asarray([np.nan, np.inf, -np.inf, largest, -largest, 0.0, -0.0, 1e-40, 3.0], np.float32)
    params = jnp.zeros(values.shape, jnp.bfloat16)

    @jax.jit
    def steps(grads):
        made = {kind: make(gx.sgd(1.0)) for kind, make in KINDS.items()}
        return {kind: tx.step(grads, tx.init(params), params) for kind, tx in made.items()}

    for kind, (new, state) in steps(-values).items():
        tx = KINDS[kind](gx.sgd(1.0))
        loaded = np.float32(whole(tx, new, state))
        np.testing.assert_array_equal(np.isnan(np.float32(new)), np.isnan(values), err_msg=kind)
        np.testing.assert_array_equal(new[1:3], values[1:3], err_msg=kind)
        if kind in EXACT:
            # A NaN with other bits than these would have become an infinite number, or 0.
            np.testing.assert_array_equal(loaded[3:7], values[3:7], err_msg=kind)
        elif kind != "kahan":
            # To the nearest bfloat16 the largest number is infinite.
            np.testing.assert_allclose(loaded[3:5], values[3:5], rtol=2**-7, err_msg=kind)
        np.testing.assert_array_equal(np.float32(new[-1]), 3, err_msg=kind)
    odd = jax.lax.bitcast_convert_type(jnp.asarray([0x7F800001, 0x7FFFFFFF, 0xFF800001], jnp.uint32), jnp.float32)
    for bits in (8, 16):
        codec = gx.split_weights(gx.sgd(1.0), bits).stages[0].node.codec
        first = codec.together(params[:3], codec.rest(params[:3]))
        kept = codec.store(odd, first, Noise(salt_of(1)))
        assert np.all(np.isnan(np.float32(kept.parts["param"])))
        assert np.all(np.isnan(codec.load(kept)))


@every_kind
def test_a_parameter_that_somebody_else_sets_to_0_goes_on_from_there(kind):
    tx = KINDS[kind](gx.sgd(1.0))
    params = random_params(jnp.bfloat16)["w"]
    params, state = jax.jit(partial(run, tx, steps=3))(params)
    pruned = whole(tx, jnp.zeros_like(params), state)
    # Kahan's error is no more than half of the last place of what the parameter was.
    np.testing.assert_allclose(pruned, 0, atol=2**-6 if kind == "kahan" else 1e-38)
    assert np.all(np.isfinite(pruned))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
def test_the_mean_of_random_rounding_is_the_number(dtype):
    rng = np.random.default_rng(0)
    largest = float(jnp.finfo(dtype).max)
    few = [1.0, -1.0, 0.0, 1 / 3, -1e-3, 1e-5, 3e-7, largest, 1.0 + 2**-13, 2 - 2**-12, -2.0 + 2**-14]
    values = jnp.asarray([*few, *rng.normal(size=21)], jnp.float32)
    draws = 4096

    @jax.jit
    def drawn():
        uniform = Noise(salt_of(3)).uniform((draws, values.size))
        return rounded_at_random(jnp.broadcast_to(values, uniform.shape), dtype, uniform)

    found = np.float64(drawn())
    np.testing.assert_array_equal(found, np.float64(jnp.asarray(found, jnp.float32).astype(dtype)))
    below, above = found.min(axis=0), found.max(axis=0)
    exact = np.float64(values)
    assert np.all((below <= exact) & (exact <= above))
    error = np.sqrt(np.maximum((above - exact) * (exact - below), 0) / draws)
    # Of 32 means one may be three standard errors off, by chance; five are none.
    assert np.all(np.abs(found.mean(axis=0) - exact) <= 5 * error)
    is_number = exact == np.float64(values.astype(dtype))
    assert np.all((below == above) == is_number)


def test_random_numbers_are_those_of_the_seed_the_step_and_the_leaf():
    params = {"a": jnp.ones(1000, jnp.bfloat16), "b": jnp.ones(1000, jnp.bfloat16)}

    @jax.jit
    def both():
        made = [gx.stochastic_rounding(gx.sgd(1.0), seed) for seed in (0, 0, 1)]
        return [[run(tx, params, steps, grads=constant)[0] for steps in (1, 2)] for tx in made]

    (first, second), again, other = jax.tree.map(np.float32, both())
    assert_equal([first, second], again)
    # A quarter of all moves in a step: as many of what has moved move again.
    for one, another in ((first["a"], first["b"]), (first["a"], other[0]["a"])):
        moved, also = one < 1, another < 1
        assert abs(moved.mean() - 0.256) < 0.05
        assert abs(also[moved].mean() - 0.256) < 0.1
    assert abs((second["a"] < first["a"])[first["a"] < 1].mean() - 0.256) < 0.1


def test_an_update_lands_where_one_can():
    """Over pairs of parameters before and after a step, near each other and not, against all numbers of bfloat16."""
    rng = np.random.default_rng(0)
    old = jnp.asarray(rng.normal(size=4000), jnp.bfloat16)
    moves = rng.normal(size=4000) * 10.0 ** rng.uniform(-4, 0.5, size=4000)
    wanted = (jnp.float32(old) + jnp.asarray(moves, jnp.float32)).astype(jnp.bfloat16)
    gradient = jnp.float32(old) - jnp.float32(wanted)
    tx = gx.stochastic_rounding(gx.sgd(1.0))

    @partial(jax.jit, static_argnums=1)
    def by_update(gradient, dtype):
        # Of the dtype in which they come; the numbers within are those of float32.
        grads, inner = (
            jnp.zeros(old.shape, dtype),
            gx.stateless(lambda updates, params: jax.tree.map(lambda _: -gradient, updates)),
        )
        node = tx.stages[0].node.replace(inner=inner)
        made = tx.with_stages((tx.stages[0]._replace(node=node),))
        updates, _ = made.update(grads, made.init(old), old)
        return updates, made.step(grads, made.init(old), old)[0]

    numbers = np.float32(jax.lax.bitcast_convert_type(jnp.asarray(every_number), jnp.bfloat16))
    numbers = np.sort(numbers[np.isfinite(numbers)])
    for dtype in (jnp.float32, jnp.bfloat16):
        updates, exact = by_update(gradient, dtype)
        assert updates.dtype == dtype
        np.testing.assert_array_equal(exact, wanted)
        for apply in (gx.apply_updates, optax.apply_updates):
            with jax.numpy_dtype_promotion("standard"):
                lands = np.asarray(jax.jit(apply)(old, updates) == wanted)
            if dtype == jnp.float32:
                assert np.all(lands)
                continue
            # Those below and above the difference, of all numbers that there are.
            change = -np.float32(gradient)
            place = np.searchsorted(numbers, change)
            could = np.zeros(lands.shape, bool)
            for each in (place - 1, place):
                there = jnp.asarray(numbers[each], jnp.bfloat16)
                could |= np.asarray(jax.jit(apply)(old, there) == wanted)
            np.testing.assert_array_equal(lands, could)
            # Steps of this kind are much larger than those of training.
            assert 0.8 < lands.mean() < 1
            small = np.abs(change) < np.abs(np.float32(old)) / 2
            assert np.all(lands[small])


def test_of_float16_too_sixteen_bits_are_all_of_float32():
    rng = np.random.default_rng(0)
    values = rng.choice([-1, 1], 4000) * 2.0 ** rng.uniform(-13, 15, 4000)
    # Where the nearest number has another exponent, and where two are as near.
    edges = [2 - 2**-20, 2 - 2**-13, 1 + 2**-11, 1 + 3 * 2**-11, -1 + 2**-12]
    exact = jnp.asarray([*values, *edges], jnp.float32)
    params = jnp.zeros(exact.shape, jnp.float16)

    @jax.jit
    def kept(value):
        found = []
        for bits in (16, 8):
            codec = gx.split_weights(gx.sgd(1.0), bits).stages[0].node.codec
            new = codec.store(value, codec.together(params, codec.rest(params)), Noise(salt_of(1)))
            found.append((new.parts["param"], codec.load(new)))
        return found

    (nearest, whole_), (_, some) = kept(exact)
    np.testing.assert_array_equal(nearest, exact.astype(jnp.float16))
    np.testing.assert_array_equal(whole_, exact)
    # A place of 2^-10, and 2^7 of it, at random: of the one or the other of two.
    np.testing.assert_allclose(some, exact, rtol=2**-17)
    assert np.mean(np.abs(some - exact)) > 0
