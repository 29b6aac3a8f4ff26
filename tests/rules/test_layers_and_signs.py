"""The papers' algorithm boxes in plain NumPy on a fixed problem, and what the contract cannot ask of single rules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

STEPS = 5
CURVATURES = [np.array([1.0, 3.0, 0.5, 2.0, 0.1, 1.5]).reshape(3, 2), np.array([0.3, 2.0])]


def start():
    """A matrix and a vector, away from the minimum of `loss` at 1."""
    return [np.array([0.5, -1.0, 2.0, 0.3, -0.7, 1.8]).reshape(3, 2), np.array([-0.4, 2.5])]


def loss(params):
    """A quadratic with a curvature for each element."""
    return sum(0.5 * np.sum(c * (p - 1) ** 2) for p, c in zip(params, CURVATURES, strict=True))


def gradients(params):
    return [c * (p - 1) for p, c in zip(params, CURVATURES, strict=True)]


def trajectory(tx, with_value=False):
    """The parameters after each of our steps, in float64."""
    with jax.enable_x64(True):
        params, out = jax.tree.map(jnp.asarray, start()), []
        state = tx.init(params)
        for _ in range(STEPS):
            extra = {"value": loss(params)} if with_value else {}
            updates, state = tx.update(gradients(params), state, params, **extra)
            params = gx.apply_updates(params, updates)
            out.append(params)
        return out


def papers(step):
    """The parameters after each step of a box: step(t, p, g, memory) -> p, one leaf and a memory of its own."""
    params, memories, out = start(), [{}, {}], []
    for t in range(1, STEPS + 1):
        grads = gradients(params)
        params = [step(t, p, g, memory) for p, g, memory in zip(params, grads, memories, strict=True)]
        out.append(params)
    return out


def assert_same(ours, theirs):
    # The same operations in another order, in float64.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), ours, theirs)


def test_sign_sgd_is_algorithm_1_of_bernstein_et_al():
    # The rate is high, so that signs change.
    def step(t, p, g, memory):
        return p - 0.6 * np.sign(g)

    assert_same(trajectory(gx.sign_sgd(0.6)), papers(step))


def test_signum_is_algorithm_2_of_bernstein_et_al():
    # The rate is high, so that signs change, and the decay low, so that those of the means follow.
    rate, beta = 0.6, 0.5

    def step(t, p, g, memory):
        memory["m"] = beta * memory.get("m", 0.0) + (1 - beta) * g
        return p - rate * np.sign(memory["m"])

    assert_same(trajectory(gx.signum(rate, beta)), papers(step))


def test_lion_is_algorithm_2_of_chen_et_al():
    rate, b1, b2, decay = 0.05, 0.9, 0.99, 0.1

    def step(t, p, g, memory):
        m = memory.get("m", np.zeros_like(p))
        c = b1 * m + (1 - b1) * g
        memory["m"] = b2 * m + (1 - b2) * g
        return p - rate * (np.sign(c) + decay * p)

    assert_same(trajectory(gx.lion(rate, b1, b2, weight_decay=decay)), papers(step))


def test_sm3_is_sm3_ii_of_anil_et_al():
    """Convention: no momentum and eps 0, as the box has it; optax adds both."""
    rate = 0.3

    def step(t, p, g, memory):
        mu = memory.setdefault("mu", [np.zeros(size) for size in p.shape])
        nu, largest = np.zeros_like(p), [np.zeros(size) for size in p.shape]
        out = p.copy()
        for j in np.ndindex(p.shape):
            nu[j] = min(mu[axis][j[axis]] for axis in range(p.ndim)) + g[j] ** 2
            out[j] -= rate * g[j] / np.sqrt(nu[j])
            for axis in range(p.ndim):
                largest[axis][j[axis]] = max(largest[axis][j[axis]], nu[j])
        memory["mu"] = largest
        return out

    tx = gx.chain(gx.scale_by_sm3(0.0, 1.0, 0.0), gx.scale(-rate))
    assert_same(trajectory(tx), papers(step))


def test_lamb_is_algorithm_2_of_you_et_al():
    """Convention: phi(x) = x; eps outside the root, after the bias correction."""
    rate, b1, b2, eps, decay = 0.1, 0.9, 0.999, 1e-6, 0.2

    def step(t, p, g, memory):
        memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
        memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g**2
        r = memory["m"] / (1 - b1**t) / (np.sqrt(memory["v"] / (1 - b2**t)) + eps)
        u = r + decay * p
        return p - rate * np.linalg.norm(p) / np.linalg.norm(u) * u

    assert_same(trajectory(gx.lamb(rate, b1, b2, eps, weight_decay=decay)), papers(step))


def test_lars_is_algorithm_1_of_you_gitman_and_ginsburg():
    """Convention: without weight decay; with it the box divides by |g| + decay |p|, optax by |g + decay p|."""
    rate, momentum, trust = 0.5, 0.9, 0.1

    def step(t, p, g, memory):
        local = trust * np.linalg.norm(p) / np.linalg.norm(g)
        memory["v"] = momentum * memory.get("v", 0.0) + rate * local * g
        return p - memory["v"]

    assert_same(trajectory(gx.lars(rate, trust_coefficient=trust, momentum=momentum)), papers(step))


def test_the_trust_ratio_is_equation_6_of_you_gitman_and_ginsburg():
    """Convention: as for LARS."""

    def step(t, p, g, memory):
        return p - 0.2 * np.linalg.norm(p) / np.linalg.norm(g) * g

    assert_same(trajectory(gx.chain(gx.scale_by_trust_ratio(), gx.scale(-0.2))), papers(step))


def test_fromage_is_algorithm_1_of_bernstein_et_al():
    """Convention: norms are above min_norm, which the box does not have."""
    rate = 0.2

    def step(t, p, g, memory):
        return (p - rate * g * np.linalg.norm(p) / np.linalg.norm(g)) / np.sqrt(1 + rate**2)

    assert_same(trajectory(gx.fromage(rate)), papers(step))


def test_optimistic_gradient_descent_is_equation_3_of_daskalakis_et_al():
    """Convention: before the first step the gradient was what it is at the first."""
    rate = 0.2

    def step(t, p, g, memory):
        before = memory.get("g", g)
        memory["g"] = g
        return p - 2 * rate * g + rate * before

    assert_same(trajectory(gx.optimistic_gradient_descent(rate)), papers(step))


@pytest.mark.parametrize("make", [gx.optimistic_adam, gx.optimistic_adam_v2])
def test_optimistic_adam_is_algorithm_1_of_daskalakis_et_al(make):
    """Convention: before the first step the direction, of which the box has 0 / 0, was what it is at the first."""
    rate, b1, b2, eps = 0.1, 0.8, 0.99, 1e-6

    def step(t, p, g, memory):
        memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
        memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g**2
        direction = memory["m"] / (1 - b1**t) / (np.sqrt(memory["v"] / (1 - b2**t)) + eps)
        before = memory.get("direction", direction)
        memory["direction"] = direction
        return p - 2 * rate * direction + rate * before

    assert_same(trajectory(make(rate, b1=b1, b2=b2, eps=eps, nesterov=False)), papers(step))


def test_noisy_sgd_is_equation_1_of_neelakantan_et_al():
    """Convention: the normal numbers are those that noise of variance 1 has from the same key."""
    rate, eta, gamma, key = 0.2, 0.5, 0.55, 7
    with jax.enable_x64(True):
        zeros, unit = jax.tree.map(jnp.zeros_like, start()), gx.add_noise(1.0, 0.0, key)
        state, normal = unit.init(zeros), []
        for _ in range(STEPS):
            updates, state = unit.update(zeros, state)
            normal.append([np.asarray(leaf) for leaf in updates])
    params, expected = start(), []
    for t in range(STEPS):
        deviation = np.sqrt(eta / (1 + t) ** gamma)
        noisy = [g + deviation * n for g, n in zip(gradients(params), normal[t], strict=True)]
        params = [p - rate * g for p, g in zip(params, noisy, strict=True)]
        expected.append(params)
    assert_same(trajectory(gx.noisy_sgd(rate, eta, gamma, key)), expected)


@pytest.mark.parametrize("largest", [10.0, 0.3])
def test_polyak_is_sps_max_of_loizou_et_al(largest):
    """Convention: c = 1, and a scaling of 1/2 is times the step, where optax would take twice the step."""
    params, expected = start(), []
    for _ in range(STEPS):
        grads = gradients(params)
        size = min(loss(params) / sum(np.sum(g**2) for g in grads), largest)
        params = [p - 0.5 * size * g for p, g in zip(params, grads, strict=True)]
        expected.append(params)
    assert_same(trajectory(gx.polyak_sgd(largest, scaling=0.5), with_value=True), expected)


def test_rprop_steps_at_once_and_answers_a_turn_at_once():
    tx = gx.rprop(0.1)
    state, updates = tx.init(jnp.ones(())), []
    # The products of these gradients are below the least float32.
    for grad in (1e-30, 1e-30, -1e-30, -1e-30):
        update, state = tx.update(jnp.asarray(grad), state)
        updates.append(float(update))
    np.testing.assert_allclose(updates, [-0.1, -0.12, 0.0, 0.06], rtol=1e-6)


def test_apply_every_forgets_a_nan_with_its_steps():
    tx = gx.apply_every(2)
    state, updates = tx.init(jnp.ones(())), []
    for grad in (1.0, np.nan, 2.0, 3.0):
        update, state = tx.update(jnp.asarray(grad), state)
        updates.append(float(update))
    np.testing.assert_array_equal(updates, [0.0, np.nan, 0.0, 5.0])


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_apply_every_takes_a_number_of_steps(k):
    with pytest.raises((TypeError, ValueError), match="apply_every: k must be"):
        gx.apply_every(k)


def test_a_mode_or_a_variant_that_is_none_is_an_error():
    with pytest.raises(ValueError, match=r"mode must be one of hard, smooth, refined; got 'soft'"):
        gx.scale_by_lion(mode="soft")
    with pytest.raises(ValueError, match=r"variant must be one of sps, sps\+; got 'sps-'"):
        gx.polyak_sgd(variant="sps-")


def test_polyak_asks_for_the_value_of_the_loss():
    tx = gx.polyak_sgd()
    with pytest.raises(ValueError, match=r"call update\(updates, state, params, value=...\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_smooth_lion_of_complex_numbers_has_no_poles():
    tx = gx.scale_by_lion(mode="smooth", smooth_beta=10.0)
    grads = jnp.asarray([0.5j * np.pi, 0.0, -3.0], jnp.complex64)
    updates, _ = tx.update(grads, tx.init(grads))
    expected = [1j * np.tanh(0.5 * np.pi), 0, -np.tanh(3.0)]
    np.testing.assert_allclose(updates, expected, rtol=1e-5, atol=1e-7)


def test_sm3_and_factored_rms_keep_vectors():
    params = {"matrix": jnp.ones((200, 300)), "vector": jnp.ones(7), "scalar": jnp.ones(())}
    sm3 = gx.scale_by_sm3().init(params).stages["scale_by_sm3"]
    assert jax.tree.map(jnp.shape, sm3.mu) == {"matrix": ((200,), (300,)), "vector": ((7,),), "scalar": ((),)}
    rms = gx.scale_by_factored_rms().init(params).stages["scale_by_factored_rms"]
    assert [leaf.shape for leaf in jax.tree.leaves(rms.v_row)] == [(200,)]
    assert [leaf.shape for leaf in jax.tree.leaves(rms.v_col)] == [(300,)]
    assert [leaf.shape for leaf in jax.tree.leaves(rms.v)] == [(), (7,)]


@pytest.mark.parametrize("shape", [(5,), (4, 6), (6, 4), (3, 3), (2, 5, 4), (5, 2, 4), (4, 4, 4)])
def test_sm3_and_factored_rms_equal_optax_for_leaves_of_any_axes(shape):
    rng = np.random.default_rng(0)
    grads = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(4)]
    for ours, theirs in (
        (gx.scale_by_sm3(), optax.scale_by_sm3()),
        (
            gx.scale_by_factored_rms(min_dim_size_to_factor=3),
            optax.scale_by_factored_rms(min_dim_size_to_factor=3),
        ),
    ):
        with jax.numpy_dtype_promotion("standard"):
            mine, other = ours.init(grads[0]), jax.jit(theirs.init)(grads[0])
            update = jax.jit(theirs.update)
            for grad in grads:
                a, mine = ours.update(grad, mine, grads[0])
                b, other = update(grad, other, grads[0])
                # A few roundings of float32.
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kwargs", [{}, {"momentum": 0.9}, {"multiply_by_parameter_scale": False, "factored": False}])
def test_adafactor_equals_optax_s(kwargs):
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.standard_normal((5, 4)), jnp.float32), "b": jnp.ones(3)}
    ours, theirs = gx.adafactor(0.1, 3, **kwargs), optax.adafactor(0.1, 3, **kwargs)
    mine, other = ours.init(params), theirs.init(params)
    for _ in range(5):
        grads = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape), jnp.float32), params)
        a, mine = ours.update(grads, mine, params)
        with jax.numpy_dtype_promotion("standard"):
            b, other = theirs.update(grads, other, params)
        # A few roundings of float32.
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def test_before_its_offset_the_decay_of_adafactor_waits():
    tx = gx.scale_by_factored_rms(step_offset=3)
    grads = jnp.asarray([1.0, -2.0])
    state = tx.init(grads)
    for scale in (1.0, 5.0, 0.2):
        # The decay is 0: each square forgets those before.
        updates, state = tx.update(scale * grads, state)
        np.testing.assert_allclose(updates, [1.0, -1.0], rtol=1e-6)
    with pytest.raises(ValueError, match="step_offset must be an int, at least 0; got -1"):
        gx.scale_by_factored_rms(step_offset=-1)


def noise(tx, steps, shape=(100, 100), dtype=jnp.float32):
    zeros = {"a": jnp.zeros(shape, dtype), "b": jnp.zeros(shape, dtype)}
    state, out = tx.init(zeros), []
    for _ in range(steps):
        updates, state = tx.update(zeros, state)
        out.append(updates)
    return out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_the_variance_of_noise_is_eta_over_step_to_the_gamma(dtype):
    for t, updates in enumerate(noise(gx.add_noise(0.5, 0.55, 3), 4, dtype=dtype), start=1):
        for leaf in jax.tree.leaves(updates):
            values = np.asarray(leaf).astype(np.complex128)
            # The relative deviation of a variance of 10^4 values is 1.4%; four of them.
            np.testing.assert_allclose(np.mean(np.abs(values) ** 2), 0.5 / t**0.55, rtol=0.057)
            assert abs(values.mean()) < 4 * (0.5 / t**0.55) ** 0.5 / 100
    assert np.asarray(leaf).dtype == jnp.dtype(dtype)


def test_noise_is_told_by_its_key_and_differs_from_leaf_to_leaf_and_step_to_step():
    first, second = noise(gx.add_noise(1.0, 0.5, 7), 2)
    again = noise(gx.add_noise(1.0, 0.5, seed=7), 1)[0]
    other = noise(gx.add_noise(1.0, 0.5, jax.random.key(8)), 1)[0]
    np.testing.assert_array_equal(first["a"], again["a"])
    for different in (first["b"], second["a"], other["a"]):
        assert not np.any(first["a"] == different)
    assert gx.add_noise(1.0, 0.5) == gx.add_noise(1.0, 0.5, 0)
    with pytest.raises(ValueError, match="expected one of key and seed, got both"):
        gx.noisy_sgd(0.1, key=1, seed=1)


def test_a_snapshot_is_found_by_its_name():
    tx = gx.chain(gx.scale(2.0), gx.snapshot("norm", optax.tree.norm), gx.scale(5.0))
    params = jnp.asarray([3.0, 4.0])
    state = tx.init(params)
    assert optax.tree.get(state, "norm") == 5
    updates, state = jax.jit(tx.update)(params, state)
    assert optax.tree.get(state, "norm") == state.stages["snapshot"].measurement["norm"] == 10
    np.testing.assert_array_equal(updates, 10 * params)
    assert gx.metrics(state) == {"snapshot.norm": 10}


def test_norms_of_layers_do_not_overflow():
    params, grads = jnp.full(16, 1e20), jnp.full(16, 1e25)
    tx = gx.scale_by_trust_ratio()
    updates, state = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates, 1e20, rtol=1e-6)
    np.testing.assert_allclose(state.stages["scale_by_trust_ratio"].trust_ratio, 1e-5, rtol=1e-6)


def test_a_layer_or_an_update_of_zeros_stays_with_finite_derivatives():
    tx = gx.chain(gx.scale_by_trust_ratio(), gx.normalize_by_update_norm(eps=0.0))

    def total(grads, params):
        return jnp.sum(tx.update(grads, tx.init(params), params)[0])

    zeros = jnp.zeros(3)
    assert total(zeros, zeros) == 0
    for derivative in jax.grad(total, (0, 1))(zeros, zeros):
        assert np.all(np.isfinite(derivative))


def test_means_and_maxima_along_axes_of_a_leaf_that_is_cut_are_an_error():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("x")
    for tx, match in (
        (gx.centralize(), r"takes means along axes .* spread over mesh axes \('x',\)"),
        (gx.scale_by_sm3(), r"scale_by_sm3 decides by the shape of .* varies over mesh axes \('x',\)"),
    ):

        def step(grads, tx=tx):
            return tx.update(grads, tx.init(grads))[0]

        with pytest.raises(ValueError, match=match):
            jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=spec)(jnp.ones((4, 3)))
