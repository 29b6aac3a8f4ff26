"""accumulate: k micro-steps are one step on the joint batch, and the transform within runs when it is due."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import gradxform as gx

RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32), "b": jnp.asarray(RNG.normal(size=3), jnp.float32)}
NAMES = {**vars(gx), "inf": np.inf}
OPTIMIZERS = {
    "adamw": lambda: gx.adamw(0.1),
    "lamb": lambda: gx.lamb(0.1, weight_decay=0.01),
    "clip and adamw": lambda: gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1)),
    "a schedule": lambda: gx.sgd(gx.linear_schedule(1.0, 0.0, 4), 0.9),
    "optax's": lambda: optax.adamw(0.1),
}
close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6))


def drawn(seed, like=PARAMS):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), like)


def with_value(tree, value):
    return {**tree, "w": tree["w"].at[5, 1].set(value)}


def mean(*trees):
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


def follow(tx, grads, params=PARAMS, **extra):
    """The updates and states of each step, the parameters moving."""
    update, state, steps = jax.jit(partial(tx.update, **extra)), tx.init(params), []
    for grad in grads:
        # optax mixes dtypes.
        with jax.numpy_dtype_promotion("standard"):
            updates, after = update(grad, state, params)
        assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
        params, state = gx.apply_updates(params, updates), after
        steps.append((updates, state, params))
    return steps


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def metric(state, name):
    return gx.metrics(state)[f"accumulate.{name}"]


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_micro_steps_equal_one_step_on_the_joint_batch(name, every):
    def loss(params, batch):
        x, y = batch
        return jnp.mean(jnp.square(x @ params["w"] + params["b"][None] - y))

    rng = np.random.default_rng(every)
    x, y = (jnp.asarray(rng.normal(size=(4, 20, n)), jnp.float32) for n in (8, 3))

    def train(tx, parts):
        params, state, update = PARAMS, tx.init(PARAMS), jax.jit(tx.update)
        for batch in zip(x, y, strict=True):
            for part in zip(*(jnp.split(array, parts) for array in batch), strict=True):
                updates, state = update(jax.grad(loss)(params, part), state, params)
                params = gx.apply_updates(params, updates)
        return params

    make = OPTIMIZERS[name]
    with jax.numpy_dtype_promotion("standard"):
        # The mean of means rounds otherwise than the mean, and Adam's first steps keep little but the sign.
        close(train(gx.accumulate(make(), every), every), train(make(), 1))


def test_a_micro_step_keeps_no_copy_of_the_gradients():
    """One buffer holds the sum while it waits and the update when it is due."""
    params = {"w": jnp.ones((512, 256)), "b": jnp.ones(512)}
    tx = gx.accumulate(gx.adamw(0.1), 8)

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    # The parameters are 526,336 bytes.
    assert compiled.memory_analysis().temp_size_in_bytes < 8192


def test_sum():
    grads = [drawn(k) for k in range(3)]
    steps = follow(gx.accumulate(gx.sgd(1.0), 3, mean=False), grads)
    close(steps[-1][0], jax.tree.map(lambda *leaves: -sum(leaves), *grads))


def test_waits_with_updates_of_zero_and_counts_real_steps():
    tx = gx.accumulate(gx.adam(0.1), 3)
    steps = follow(tx, [drawn(k) for k in range(7)])
    assert [bool(metric(state, "is_due")) for _, state, _ in steps] == [False, False, True, False, False, True, False]
    assert [int(metric(state, "real_steps")) for _, state, _ in steps] == [0, 0, 1, 1, 1, 2, 2]
    assert gx.metrics(steps[0][1]).keys() == {"accumulate.is_due", "accumulate.real_steps"}
    for i in (0, 1, 3, 4, 6):
        same(steps[i][0], zeros(PARAMS))
    inner = [state.stages["accumulate"].inner_state for _, state, _ in steps]
    assert [int(state.count) for state in inner] == [0, 0, 1, 1, 1, 2, 2]
    same(inner[3], inner[4])


def test_a_schedule_of_every_is_in_real_steps():
    every = gx.piecewise_constant_schedule(1.0, {1: 2.0, 3: 1.5})
    steps = follow(gx.accumulate(gx.sgd(1.0), every), [drawn(k) for k in range(12)])
    # One micro-step, then twice two, then threes.
    due = [i for i, (_, state, _) in enumerate(steps) if metric(state, "is_due")]
    lengths = [1, *np.diff(due)]
    assert lengths == [max(int(np.rint(float(every(k)))), 1) for k in range(len(lengths))]
    assert set(lengths) == {1, 2, 3}
    close(steps[due[-1]][0], jax.tree.map(jnp.negative, mean(*(drawn(k) for k in range(due[-2] + 1, due[-1] + 1)))))


@pytest.mark.parametrize(("value", "expected"), [(2.9999998, 3), (3.0000002, 3), (0.0, 1), (-5, 1)])
def test_the_value_of_a_function_is_rounded_and_at_least_1(value, expected):
    steps = follow(gx.accumulate(gx.sgd(1.0), lambda step: value), [drawn(k) for k in range(expected)])
    assert [bool(metric(state, "is_due")) for _, state, _ in steps] == [False] * (expected - 1) + [True]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_leaks_into_no_zero_and_is_gone_after_the_real_step(bad):
    grads = [drawn(0), with_value(drawn(1), bad), drawn(2), drawn(3), drawn(4), drawn(5)]
    steps = follow(gx.accumulate(gx.sgd(1.0), 3), grads)
    for i in (0, 1, 3, 4):
        same(steps[i][0], zeros(PARAMS))
    assert not np.isfinite(steps[2][0]["w"][5, 1])
    same(steps[2][1].stages["accumulate"].gathered, zeros(PARAMS))
    close(steps[5][0], jax.tree.map(jnp.negative, mean(*grads[3:])))


def test_a_guard_within_skips_the_real_step_and_a_guard_around_the_micro_step():
    bad = with_value(drawn(1), np.inf)
    grads = [drawn(0), bad, drawn(2), drawn(3), drawn(4)]
    within = follow(gx.accumulate(gx.guard(gx.sgd(1.0)), 2), grads[:4])
    for i in (0, 1, 2):
        same(within[i][0], zeros(PARAMS))
    close(within[3][0], jax.tree.map(jnp.negative, mean(*grads[2:4])))
    assert int(metric(within[3][1], "real_steps")) == 2
    assert int(within[3][1].stages["accumulate"].inner_state.stages["guard"].skips) == 1

    around = follow(gx.guard(gx.accumulate(gx.sgd(1.0), 2)), grads)
    # The bad micro-step does not count: the real ones are of the first and third, and of the last two.
    close(around[2][0], jax.tree.map(jnp.negative, mean(grads[0], grads[2])))
    close(around[4][0], jax.tree.map(jnp.negative, mean(*grads[3:])))
    assert int(around[4][1].stages["guard"].skips) == 1
    assert int(around[4][1].stages["guard"].inner_state.stages["accumulate"].real_steps) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gathers_low_precision_in_float32(dtype):
    params = jnp.ones(3, dtype)
    small = jnp.full(3, 2.0**-9, dtype)
    # In bfloat16 1 + 2^-9 is 1, however often it is added.
    grads = [params] + [small] * 256
    steps = follow(gx.accumulate(gx.sgd(1.0), 257, mean=False), grads, params)
    assert steps[0][1].stages["accumulate"].gathered.dtype == jnp.float32
    assert steps[-1][0].dtype == jnp.dtype(dtype)
    same(steps[-1][0], jnp.full(3, -1.5, dtype))


@pytest.mark.parametrize(
    "make", [lambda: gx.adam(0.1, mu_dtype="bfloat16"), lambda: optax.adam(0.1, mu_dtype="bfloat16")]
)
def test_a_state_in_bfloat16_stays_so(make):
    low = partial(jax.tree.map, lambda leaf: leaf.astype(jnp.bfloat16))
    steps = follow(gx.accumulate(make(), 2), [low(drawn(k)) for k in range(4)], low(PARAMS))
    inner = [state.stages["accumulate"].inner_state for _, state, _ in steps]
    assert jnp.dtype("bfloat16") in {leaf.dtype for leaf in jax.tree.leaves(inner[0])}
    same(inner[1], inner[2])


def test_complex_gradients():
    params = jnp.array([1.0 + 2.0j, -1.0j])
    steps = follow(gx.accumulate(gx.sgd(1.0), 2), [params, 3 * params], params)
    same(steps[0][0], zeros(params))
    close(steps[1][0], -2 * params)


def test_extra_arguments_are_those_of_the_micro_step_that_is_due():
    tx = gx.accumulate(gx.polyak_sgd(), 2)
    grad, state = jnp.ones(3), tx.init(jnp.ones(3))
    for value in (100.0, 0.6):
        updates, state = tx.update(grad, state, grad, value=value)
    np.testing.assert_allclose(updates, -0.2, rtol=1e-5)


def test_parameters_are_needed_only_where_the_inner_needs_them():
    tx = gx.accumulate(gx.sgd(1.0), 1)
    same(tx.update(PARAMS, tx.init(PARAMS))[0], jax.tree.map(jnp.negative, PARAMS))
    tx = gx.accumulate(gx.add_decayed_weights(0.1), 2)
    with pytest.raises(ValueError, match="add_decayed_weights needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS))


def test_hyperparameters_within_live_and_are_read_and_replaced():
    tx = gx.accumulate(gx.live(gx.sgd(0.1), "learning_rate"), 2)
    state = gx.adjust(tx.init(PARAMS), learning_rate=0.5)
    for _ in range(2):
        updates, state = jax.jit(tx.update)(PARAMS, state, PARAMS)
    close(updates, jax.tree.map(lambda leaf: -0.5 * leaf, PARAMS))
    assert gx.hyperparams(tx, state)["accumulate.inner.scale_by_learning_rate.learning_rate"] == 0.5
    assert gx.replace(gx.accumulate(gx.sgd(0.1), 2), learning_rate=0.2, every=3) == gx.accumulate(gx.sgd(0.2), 3)


CALLS = [
    gx.accumulate(gx.adamw(0.1), 8),
    gx.accumulate(gx.adamw(0.1), 8, mean=False),
    gx.accumulate(gx.guard(gx.sgd(0.1)), gx.piecewise_constant_schedule(1.0, {3: 2.0})),
]


@pytest.mark.parametrize("tx", CALLS, ids=repr)
def test_is_a_value(tx):
    assert eval(repr(tx), NAMES) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    assert hash(gx.from_json(gx.to_json(tx))) == hash(tx)
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert tx not in [other for other in CALLS if other is not tx]


def test_vmap_and_scan():
    """Under vmap the conditional becomes a choice, between branches that are both computed."""
    tx = gx.accumulate(gx.adam(0.1), 2)
    streams = [[drawn(10 * i + k) for k in range(5)] for i in range(2)]
    streams[1][0] = with_value(streams[1][0], np.inf)
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads) for grads in streams]

    def run(grads):
        def step(carry, grad):
            updates, state = tx.update(grad, carry[1], carry[0])
            return (gx.apply_updates(carry[0], updates), state), updates

        return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), grads)[1]

    both = jax.jit(jax.vmap(run))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked))
    for i, grads in enumerate(streams):
        expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(updates for updates, *_ in follow(tx, grads)))
        close(jax.tree.map(lambda leaf, i=i: leaf[i], both), expected)


SPECS = {"w": P("data"), "b": P()}


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(check_vma):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tx = gx.on_axes(gx.accumulate(gx.chain(gx.clip_by_global_norm(0.5), gx.guard(gx.adam(0.1))), 2), SPECS)
    states = gx.state_specs(tx, PARAMS, SPECS, mesh)
    specs = (SPECS, states, SPECS)
    update = jax.jit(
        jax.shard_map(tx.update, mesh=mesh, in_specs=specs, out_specs=(SPECS, states), check_vma=check_vma)
    )
    grads = [drawn(0), drawn(1), drawn(2), with_value(drawn(3), np.nan), drawn(4), drawn(5)]
    state, params = tx.init(PARAMS), PARAMS
    for grad, (expected, *_) in zip(grads, follow(tx, grads), strict=True):
        updates, state = update(grad, state, params)
        params = gx.apply_updates(params, updates)
        close(updates, expected)
    assert int(metric(state, "real_steps")) == 3


def test_reduces_over_devices_only_when_it_is_due():
    """Gradients are gathered on each device, and their mean over devices is taken once for all micro-steps."""
    tx = gx.accumulate(gx.chain(gx.pmean_updates("data"), gx.sgd(1.0)), 2)
    params = jnp.zeros((8, 3))
    grads = jnp.arange(48.0).reshape(2, 8, 3)
    state, update = jax.pmap(tx.init, axis_name="data")(params), jax.pmap(tx.update, axis_name="data")
    first, state = update(grads[0], state, params)
    second, state = update(grads[1], state, params)
    same(first, params)
    close(second, jnp.broadcast_to(-grads.mean(axis=(0, 1)), (8, 3)))


@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        ((gx.sgd, 2), TypeError, "accumulate: inner must be a transform; got <gradxform.*sgd>; call it"),
        ((gx.sgd(0.1),), TypeError, r"^accumulate\(\) missing 1 required positional argument: 'every'"),
        ((gx.sgd(0.1), 0), ValueError, "every must be at least 1; got 0"),
        ((gx.sgd(0.1), 2.0), TypeError, "every must be an integer or a function of the step; got 2.0"),
        ((gx.sgd(0.1), True), TypeError, "every must be an integer or a function of the step; got True"),
        ((gx.sgd(0.1), "8"), TypeError, "every must be an integer or a function of the step; got '8'"),
    ],
)
def test_errors(args, error, match):
    with pytest.raises(error, match=match):
        gx.accumulate(*args)


def test_nothing_is_due_before_the_first_micro_step():
    assert not gx.metrics(gx.accumulate(gx.sgd(0.1), 2).init(jnp.zeros(1)))["accumulate.is_due"]
