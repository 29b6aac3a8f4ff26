"""Averages that take part in the training: what they hold, what they are judged by, and their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx

# A square matrix: of a wide one soap rotates what is 0 but for rounding, and takes it for a direction.
RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(4, 4)), jnp.float32), "b": jnp.asarray(RNG.normal(size=4), jnp.float32)}
LABELS = {"w": "matrices", "b": "rest"}
STEPS = 4

# Any transform whose updates are added: of matrices, with a route, of optax's, with both in a row, and one that skips.
BASES = {
    "muon": lambda: gx.muon(0.1),
    "soap": lambda: gx.soap(0.01),
    "partition": lambda: gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.partition({"matrices": gx.muon(0.1), "rest": gx.adamw(0.01, weight_decay=0.1)}, LABELS),
    ),
    "optax": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.01, weight_decay=0.1)),
    "optax's partition": lambda: optax.partition(
        {"matrices": optax.contrib.muon(0.1), "rest": optax.adam(0.1)}, LABELS
    ),
    "a guest in a chain": lambda: gx.chain(optax.scale_by_adam(), gx.add_decayed_weights(0.1), gx.scale(-0.01)),
    "guard": lambda: gx.guard(gx.adam(0.01)),
    "accumulate": lambda: gx.accumulate(gx.sgd(0.1, 0.9), 2),
    "stored": lambda: gx.stored(gx.adamw(0.01), gx.int8(), min_size=0),
}
HOLDERS = {
    "schedule_free": lambda base: gx.schedule_free(base, 0.1, 0.8),
    "schedule_free_plus": lambda base: gx.schedule_free_plus(base, 0.5, 0.8),
    "gpa": lambda base: gx.gpa(base, 0.9, 0.6),
}


def gradient(params):
    return jax.tree.map(jnp.sin, params)


def total(params):
    return sum(jnp.sum(1 - jnp.cos(leaf)) for leaf in jax.tree.leaves(params))


def run(tx, params=PARAMS, steps=STEPS):
    """The parameters after some steps, and those to judge by."""

    @jax.jit
    def stepped(params):
        def body(carry, _):
            params, state = carry
            updates, state = tx.update(gradient(params), state, params, value=total(params))
            return (gx.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(body, (params, tx.init(params)), length=steps)
        return params, gx.eval_params(tx, state, params)

    # optax relies on implicit promotion.
    with jax.numpy_dtype_promotion("standard"):
        return stepped(params)


def by_hand(name, base):
    """The same, with the base on its own, and x and z kept whole."""
    extended = optax.with_extra_args_support(base)

    @jax.jit
    def stepped(params):
        x = y = z = params
        state, weights, largest = base.init(params), 0.0, 0.0
        for number in range(1, STEPS + 1):
            grads, params_of_base = gradient(y), z if name == "gpa" else y
            inner = sum(jnp.vdot(g, a - b) for g, a, b in zip(*map(jax.tree.leaves, (grads, z, x)), strict=True))
            updates, state = extended.update(grads, state, params_of_base, value=total(y))
            scale, c, share = 1.0, 1 / number, 0.8
            if name == "gpa":
                c, share = 1 - 0.9, 0.6
            elif name == "schedule_free_plus":
                norm = sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(grads)) * np.sqrt(np.pi / 2)
                scale = 0.5 * jnp.maximum(total(y) + 0.8 * inner, 0) / norm
                largest = jnp.maximum(largest, scale)
                weights = weights + largest**2
                c = largest**2 / weights
            z = jax.tree.map(lambda a, u, scale=scale: a + scale * u, z, updates)
            x = jax.tree.map(lambda a, b, c=c: a + c * (b - a), x, z)
            y = jax.tree.map(lambda a, b, share=share: share * a + (1 - share) * b, x, z)
        return y, x

    with jax.numpy_dtype_promotion("standard"):
        return stepped(PARAMS)


# How a base is held is the same for all three: one of them holds each, the others one of ours and one of optax's.
HELD = [("schedule_free", base) for base in BASES]
HELD += [(name, base) for name in ("schedule_free_plus", "gpa") for base in ("partition", "optax")]


@pytest.mark.parametrize(("name", "base"), HELD)
def test_any_transform_makes_the_steps(name, base):
    base = BASES[base]()
    for ours, expected in zip(run(HOLDERS[name](base)), by_hand(name, base), strict=True):
        # x comes from y and z by a division by the share; muon iterates on what rounding has changed.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), ours, expected)


@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_no_transform_or_decides_itself_what_parameters_become_is_an_error(name):
    with pytest.raises(TypeError, match=f"{name}: base_optimizer must be a transform; got .*; call it to make"):
        HOLDERS[name](gx.adam)
    with pytest.raises(ValueError, match=f"{name}: base_optimizer must leave it to {name} what the parameters become"):
        HOLDERS[name](gx.split_weights(gx.adam(0.1)))
    tx = HOLDERS[name](gx.sgd(0.1))
    with pytest.raises(ValueError, match=f"{name} needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS), value=1.0)


def test_gpa_without_a_mean_is_its_optimizer():
    params, judged = run(gx.gpa(gx.adamw(0.01), 0.0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), params, judged)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), params, run(gx.adamw(0.01))[0])


@pytest.mark.parametrize("name", HOLDERS)
def test_without_a_gradient_nothing_moves(name):
    tx, zeros = HOLDERS[name](gx.adam(0.1)), jax.tree.map(jnp.zeros_like, PARAMS)
    state = tx.init(PARAMS)
    for _ in range(2):
        updates, state = tx.update(zeros, state, PARAMS, value=0.5)
        # y less what it is made of, in float32.
        jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, 0, atol=1e-6), updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gx.eval_params(tx, state, PARAMS), PARAMS)


def test_where_the_model_of_the_loss_is_below_zero_there_is_no_step():
    tx = gx.schedule_free_plus(gx.sgd(1.0))
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=-1.0)
    assert float(gx.metrics(state)["schedule_free_plus.step_size"]) == 0
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, 0, atol=1e-6), updates)


@pytest.mark.parametrize("name", HOLDERS)
def test_nan_is_not_hidden(name):
    tx = HOLDERS[name](gx.sgd(0.1))
    updates, _ = tx.update({**PARAMS, "b": jnp.full(4, jnp.nan)}, tx.init(PARAMS), PARAMS, value=1.0)
    assert np.isnan(updates["b"]).all()


@pytest.mark.parametrize("name", HOLDERS)
def test_of_bfloat16_parameters_z_is_kept_in_float32(name):
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    tx = HOLDERS[name](gx.sgd(0.1))
    record = tx.init(low).stages[name]
    assert {leaf.dtype for leaf in jax.tree.leaves(record.z)} == {jnp.dtype("float32")}
    params, judged = run(tx, low)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, judged))} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("name", HOLDERS)
def test_complex_parameters_are_two_real_ones(name):
    both = {key: jax.lax.complex(leaf, leaf[::-1]) for key, leaf in PARAMS.items()}
    tx = HOLDERS[name](gx.sgd(0.1))
    updates, _ = tx.update(both, tx.init(both), both, value=1.0)
    # The L1 norm of complex numbers is of their moduli; all else is done to each part alone.
    parts = jax.tree.map(jnp.real, both)
    expected, _ = tx.update(parts, tx.init(parts), parts, value=1.0)
    ratio = 1.0
    if name == "schedule_free_plus":
        moduli, reals = (sum(jnp.sum(jnp.abs(leaf)) for leaf in tree.values()) for tree in (both, parts))
        ratio = reals / moduli
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.real, ratio * b, rtol=1e-4, atol=1e-6), updates, expected)


def test_numbers_out_of_range():
    with pytest.raises(ValueError, match=r"gpa: mu_y must be more than 0 and at most 1; got 1\.5"):
        gx.gpa(gx.sgd(0.1), mu_y=1.5)
    with pytest.raises(ValueError, match=r"gpa: mu_x must be at least 0 and less than 1; got 1\.0"):
        gx.gpa(gx.sgd(0.1), 1.0)
    with pytest.raises(ValueError, match=r"schedule_free_plus: b1 must be more than 0 and at most 1; got 1\.5"):
        gx.schedule_free_plus(gx.sgd(1.0), b1=1.5)
    for wrong in (-1, True, 2.0):
        with pytest.raises(ValueError, match=f"c_warmup must be an integer of at least 0; got {wrong}"):
            gx.schedule_free_plus(gx.sgd(1.0), c_warmup=wrong)
    tx = gx.schedule_free_plus(gx.sgd(1.0))
    with pytest.raises(ValueError, match=r"schedule_free_plus needs an extra argument: call update\(.*value=\.\.\.\)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_they_come_to_the_minimum():
    start = jnp.asarray([1.0, -2.0, 0.5])
    for tx, steps in (
        (gx.gpa(gx.adam(0.1), 0.9), 300),
        (gx.schedule_free_plus(gx.adam(1.0, 0.9, 0.95)), 300),
    ):
        assert float(total(run(tx, start, steps)[1])) < 1e-2 * float(total(start))
