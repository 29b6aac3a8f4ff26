"""The methods without a learning rate against their papers' boxes, written in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

STEPS = 5
FIRST = {"a": np.array([[1.0, -2.0], [0.5, 4.0]]), "b": np.array([-1.5, 0.25])}
CURVATURE = {"a": np.array([[1.0, 2.0], [0.5, 1.5]]), "b": np.array([3.0, 0.7])}
X0, CURVATURES = (np.concatenate([np.ravel(tree["a"]), tree["b"]]) for tree in (FIRST, CURVATURE))


def loss(x):
    """A quadratic with its minimum, 0.1, at 3."""
    return 0.5 * np.sum(CURVATURES * (x - 3) ** 2) + 0.1


def grad(x):
    return CURVATURES * (x - 3)


def ours(tx, with_value=False, **extra):
    """The parameters, as one vector, after each of five steps of descent."""
    with jax.enable_x64(True):
        tree = jax.tree.map(jnp.asarray, FIRST)
        state, points = tx.init(tree), []
        for _ in range(STEPS):
            grads = jax.tree.map(lambda p, c: c * (p - 3), tree, CURVATURE)
            if with_value:
                extra = {"value": loss(points[-1] if points else X0)}
            updates, state = tx.update(grads, state, tree, **extra)
            tree = gx.apply_updates(tree, updates)
            points.append(np.concatenate([np.ravel(tree["a"]), tree["b"]]))
    return np.stack(points)


def assert_follow(points, expected):
    # The same operations in another order, in float64; each box moves far more than this.
    np.testing.assert_allclose(points, np.stack(expected), rtol=1e-11)
    assert np.linalg.norm(expected[-1] - X0) > 1e-3


def test_dog():
    """Ivgi et al. 2023, algorithm 1, with r_eps = alpha (1 + |x_0|) as in section 4.1; eps as optax has it."""
    alpha, eps = 1e-2, 1e-8
    x, squares, far, points = X0, 0.0, alpha * (1 + np.linalg.norm(X0)), []
    for _ in range(STEPS):
        g = grad(x)
        far = max(far, np.linalg.norm(x - X0))
        squares += g @ g
        x = x - far / np.sqrt(squares + eps) * g
        points.append(x)
    assert_follow(ours(gx.dog(init_step=("heuristic", alpha), eps=eps)), points)


def test_dog_of_each_leaf():
    """The same for each leaf alone, L-DoG. The float32 copy of the first parameters is exact for these."""
    blocks, points, alpha, eps = [slice(0, 4), slice(4, 6)], [], 1e-2, 1e-8
    x, squares = X0.copy(), [0.0, 0.0]
    far = [alpha * (1 + np.linalg.norm(X0[block])) for block in blocks]
    for _ in range(STEPS):
        g, before = grad(x), x.copy()
        for i, block in enumerate(blocks):
            far[i] = max(far[i], np.linalg.norm(before[block] - X0[block]))
            squares[i] += g[block] @ g[block]
            x[block] = before[block] - far[i] / np.sqrt(squares[i] + eps) * g[block]
        points.append(x.copy())
    assert_follow(ours(gx.scale_by_distance_over_gradients(alpha, eps, global_scale=-1.0)), points)


def test_dowg():
    """Khaled et al. 2023, algorithm 1; the paper has no eps."""
    x, weighted, far, points = X0, 0.0, 0.01, []
    for _ in range(STEPS):
        g = grad(x)
        far = max(far, np.sum((x - X0) ** 2))
        weighted += far * (g @ g)
        x = x - far / np.sqrt(weighted) * g
        points.append(x)
    assert_follow(ours(gx.dowg(init_estim_sq_dist=0.01, eps=0.0)), points)


def test_dadapt_adam():
    """Defazio & Mishchenko 2023, D-Adapt Adam.

    Two conventions, which are optax's: gamma_k holds Adam's bias corrections, and r has the norm of the A before the
    step. The weight decay is AdamW's.
    """
    b1, b2, eps, decay, d, points = 0.9, 0.99, 1e-8, 0.1, 0.01, []
    x, m, v, s, r = X0, np.zeros(6), np.zeros(6), np.zeros(6), 0.0
    for k in range(STEPS):
        g, gamma, old = grad(x), np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1)), np.sqrt(v) + eps
        m = b1 * m + (1 - b1) * d * gamma * g
        v = b2 * v + (1 - b2) * g**2
        x = x - m / (np.sqrt(v) + eps) - decay * d * gamma * x
        r = np.sqrt(b2) * r + (1 - np.sqrt(b2)) * d * gamma * np.sum(g * s / old)
        s = np.sqrt(b2) * s + (1 - np.sqrt(b2)) * d * gamma * g
        d = max(d, r / ((1 - np.sqrt(b2)) * np.sum(np.abs(s))))
        points.append(x)
    assert d > 0.01
    assert_follow(ours(gx.dadapt_adamw(betas=(b1, b2), estim_lr0=0.01, weight_decay=decay)), points)


def test_prodigy():
    """Mishchenko & Defazio 2023, algorithm 4.

    Two conventions, which are optax's: gamma_k holds Adam's bias corrections, and eps is times the new d.
    """
    b1, b2, eps, d, points = 0.9, 0.99, 1e-8, 0.01, []
    x, m, v, s, r = X0, np.zeros(6), np.zeros(6), np.zeros(6), 0.0
    for k in range(STEPS):
        g, gamma = grad(x), np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1))
        m = b1 * m + (1 - b1) * d * g
        v = b2 * v + (1 - b2) * d**2 * g**2
        r = np.sqrt(b2) * r + (1 - np.sqrt(b2)) * gamma * d**2 * (g @ (X0 - x))
        s = np.sqrt(b2) * s + (1 - np.sqrt(b2)) * gamma * d**2 * g
        new = max(d, r / np.sum(np.abs(s)))
        x = x - gamma * d * m / (np.sqrt(v) + new * eps)
        d = new
        points.append(x)
    assert d > 0.01
    assert_follow(ours(gx.prodigy(betas=(b1, b2), estim_lr0=0.01)), points)


@pytest.mark.parametrize("rate", [0.05, 10.0])
def test_momo(rate):
    """Schaipp et al. 2024, algorithm 1: both where the rate is the step and where the model is."""
    beta, bound, points = 0.9, 0.1, []
    x, d, f, c = X0, grad(X0), loss(X0), grad(X0) @ X0
    for _ in range(STEPS):
        g = grad(x)
        d = (1 - beta) * g + beta * d
        f = (1 - beta) * loss(x) + beta * f
        c = (1 - beta) * (g @ x) + beta * c
        h = f + d @ x - c
        x = x - min(rate, max(h - bound, 0) / (d @ d)) * d
        points.append(x)
    assert_follow(ours(gx.momo(rate, beta, bound), with_value=True), points)


@pytest.mark.parametrize("rate", [0.05, 10.0])
def test_momo_adam(rate):
    """Schaipp et al. 2024, algorithm 2."""
    b1, b2, eps, bound, points = 0.9, 0.99, 1e-8, 0.1, []
    x, d, v, f, c = X0, np.zeros(6), np.zeros(6), 0.0, 0.0
    for k in range(1, STEPS + 1):
        g = grad(x)
        d = (1 - b1) * g + b1 * d
        v = (1 - b2) * g**2 + b2 * v
        f = (1 - b1) * loss(x) + b1 * f
        c = (1 - b1) * (g @ x) + b1 * c
        scale, rho = eps + np.sqrt(v / (1 - b2**k)), 1 - b1**k
        h = f - c + d @ x
        x = x - min(rate / rho, max(h - rho * bound, 0) / np.sum(d**2 / scale)) * d / scale
        points.append(x)
    assert_follow(ours(gx.momo_adam(rate, b1, b2, eps, bound), with_value=True), points)


def test_cocob():
    """Orabona & Tommasi 2017, algorithm 2, where g is the negative gradient and L begins with 0, ours with 1e-8."""
    alpha, points = 2.0, []
    w, largest, total, reward, theta = X0, np.zeros(6), np.zeros(6), np.zeros(6), np.zeros(6)
    for _ in range(STEPS):
        g = -grad(w)
        largest = np.maximum(largest, np.abs(g))
        total = total + np.abs(g)
        reward = np.maximum(reward + (w - X0) * g, 0)
        theta = theta + g
        w = X0 + theta / (largest * np.maximum(total + largest, alpha * largest)) * (largest + reward)
        points.append(w)
    assert_follow(ours(gx.cocob(alpha=alpha)), points)


def objective(tree):
    """The loss, less its minimum, as a function of the parameters; its Hessian is diagonal."""
    parts = jax.tree.map(lambda p, c: jnp.sum(c * jnp.square(p - 3)) / 2, tree, CURVATURE)
    return sum(jax.tree.leaves(parts))


@pytest.mark.parametrize("estimate", [gx.hutchinson_estimator_diag_hessian(3), None])
def test_sophia(estimate):
    """Liu et al. 2023, algorithm 3, with a diagonal Hessian, of which Hutchinson's estimate is exact.

    Two conventions, which are optax's: m is bias-corrected, and a step divides by the h from before its estimate.
    """
    if estimate is None:
        estimate = optax.contrib.hutchinson_estimator_diag_hessian()
    b1, b2, gamma, eps, decay, rate, points = 0.9, 0.8, 2.0, 1e-2, 0.1, 0.1, []
    x, m, h = X0, np.zeros(6), np.zeros(6)
    for t in range(STEPS):
        m = b1 * m + (1 - b1) * grad(x)
        u = np.clip(m / (1 - b1 ** (t + 1)) / np.maximum(gamma * h, eps), -1, 1)
        if t % 2 == 0:
            h = b2 * h + (1 - b2) * CURVATURES
        x = x - rate * decay * x - rate * u
        points.append(x)
    tx = gx.sophia(rate, b1, b2, eps, decay, gamma=gamma, update_interval=2, hessian_diagonal_fn=estimate)
    with jax.numpy_dtype_promotion("standard"):
        assert_follow(ours(tx, obj_fn=objective), points)


def test_hutchinson_is_right_in_the_mean_and_draws_anew():
    hessian = jnp.array([[2.0, 0.5, -1.0], [0.5, 1.0, 0.3], [-1.0, 0.3, -3.0]])
    tx, x = gx.hutchinson_estimator_diag_hessian(jax.random.key(1)), jnp.ones(3)

    def step(state, _):
        update, state = tx.update(x, state, x, obj_fn=lambda p: p @ hessian @ p / 2)
        return state, update

    _, estimates = jax.lax.scan(step, tx.init(x), length=4000)
    # Each has a variance of the squares beside the diagonal: 1.25 at most, over 4000 steps.
    np.testing.assert_allclose(estimates.mean(0), jnp.diagonal(hessian), atol=4 * (1.25 / 4000) ** 0.5)
    assert len(np.unique(estimates[:, 0])) > 2


def test_sophia_in_shard_map():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tree = {"cut": jnp.linspace(-2.0, 2.0, 16), "whole": jnp.arange(3.0)}
    tx = gx.scale_by_sophia(gamma=1.0, update_interval=2)

    def steps(tree, total):
        def loss(p):
            return total(jnp.sum(p["cut"] ** 4)) + jnp.sum(p["whole"] ** 4)

        state, updates = tx.init(tree), None
        for _ in range(3):
            updates, state = tx.update(jax.grad(loss)(tree), state, tree, obj_fn=loss)
        return updates, gx.metrics(state)

    specs = {"cut": jax.P("data"), "whole": jax.P()}
    spread = jax.shard_map(
        lambda t: steps(t, lambda x: jax.lax.psum(x, "data")), mesh=mesh, in_specs=(specs,), out_specs=(specs, jax.P())
    )
    got, expected = jax.jit(spread)(tree), steps(tree, lambda x: x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)


def test_sophia_prints_its_win_rate_when_asked(capsys):
    tx = gx.scale_by_sophia(verbose=True, print_win_rate_every_n_steps=2)
    tree = jnp.ones(4)
    state = tx.init(tree)
    for _ in range(4):
        _, state = tx.update(tree, state, tree, obj_fn=lambda p: jnp.sum(p**2))
    jax.effects_barrier()
    assert capsys.readouterr().out.count("win rate") == 2


@pytest.mark.parametrize("accumulation_size", [1, 2])
def test_reduce_on_plateau_equals_optax_on_values_that_fall_and_stay(accumulation_size):
    arguments = {"factor": 0.5, "patience": 2, "cooldown": 2, "accumulation_size": accumulation_size, "min_scale": 0.1}
    values = np.concatenate([np.linspace(3, 1, 5), np.ones(20), [0.5], np.full(20, 0.6), [np.nan, 0.7]])

    def scales(tx):
        def step(state, value):
            update, state = tx.update(jnp.ones(()), state, jnp.ones(()), value=value)
            return state, update

        return jax.lax.scan(step, tx.init(jnp.ones(())), jnp.asarray(values, jnp.float32))[1]

    with jax.numpy_dtype_promotion("standard"):
        theirs = scales(optax.contrib.reduce_on_plateau(**arguments))
    np.testing.assert_allclose(scales(gx.reduce_on_plateau(**arguments)), theirs, rtol=1e-6)
    assert len(set(theirs.tolist())) > 2


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gx.reduce_on_plateau(1.0), "reduce_on_plateau: factor must be between 0 and 1; got 1.0"),
        (lambda: gx.reduce_on_plateau(0.0), "reduce_on_plateau: factor must be more than 0; got 0.0"),
        (lambda: gx.reduce_on_plateau(rtol=1.5), "reduce_on_plateau: rtol must be at most 1; got 1.5"),
        (lambda: gx.reduce_on_plateau(rtol=0.0), "reduce_on_plateau: rtol or atol must be more than 0"),
        (lambda: gx.dog(init_step=("guess", 1.0)), "scale_by_dog: init_step must be 'distance', .* got 'guess'"),
        (lambda: gx.prodigy(betas=(0.9, 1.0)), "prodigy: betas must be at least 0 and less than 1; got 1.0"),
    ],
)
def test_what_makes_no_sense_is_an_error_at_construction(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("tx", [gx.momo(), gx.momo_adam(), gx.reduce_on_plateau()], ids=lambda tx: tx.stages[0].name)
def test_a_missing_value_is_an_error(tx):
    with pytest.raises(ValueError, match=r"needs an extra argument: call update\(updates, state, params, value=...\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))


@pytest.mark.parametrize("tx", [gx.dadapt_adamw(), gx.prodigy(), gx.momo(), gx.normalize(), gx.dog()], ids=repr)
def test_a_gradient_of_zero_changes_nothing(tx):
    tree = {"a": jnp.ones(3)}
    updates, state = tx.update({"a": jnp.zeros(3)}, tx.init(tree), tree, value=1.0)
    np.testing.assert_array_equal(updates["a"], 0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


def test_pairs_of_numbers_are_hyperparameters_each():
    tx = gx.prodigy(betas=(lambda step: 0.5 + 0.0 * step, 0.99))
    tree = jnp.ones(3)
    state = tx.init(tree)
    assert gx.hyperparams(tx, state)["prodigy.betas.0"] == 0.5
    expected = gx.prodigy(betas=(0.5, 0.99))
    updates = [t.update(tree, state, tree)[0] for t in (tx, expected)]
    np.testing.assert_allclose(*updates, rtol=1e-5)
