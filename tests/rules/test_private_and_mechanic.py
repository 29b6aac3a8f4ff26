"""Gradients of single examples, clipped and noised, and Mechanic: their papers' boxes in NumPy, and the hard cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

STEPS, BATCH = 5, 6
RNG = np.random.default_rng(0)
FIRST = {"a": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(4)}
# Each example pulls to a place of its own.
PLACES = jax.tree.map(lambda leaf: 3 * RNG.standard_normal((BATCH, *leaf.shape)), FIRST)
X0 = np.concatenate([FIRST["a"].ravel(), FIRST["b"]])
TARGETS = np.concatenate([PLACES["a"].reshape(BATCH, -1), PLACES["b"]], axis=1)


def flat(tree):
    return np.concatenate([np.ravel(tree["a"]), np.ravel(tree["b"])])


def trajectory(tx, gradients, first=None, **extra):
    """The parameters, as one vector, after each of five steps in float64."""

    def step(carry, _):
        tree, state = carry
        updates, state = tx.update(gradients(tree), state, tree, **extra)
        tree = gx.apply_updates(tree, updates)
        return (tree, state), tree

    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        tree = jax.tree.map(jnp.asarray, FIRST if first is None else first)
        _, points = jax.jit(lambda tree: jax.lax.scan(step, (tree, tx.init(tree)), length=STEPS))(tree)
    return np.concatenate([np.reshape(points[name], (STEPS, -1)) for name in ("a", "b")], axis=1)


def of_examples(tree):
    return jax.tree.map(lambda leaf, places: leaf[None] - places, tree, PLACES)


def assert_follow(points, expected):
    # The same operations in another order, in float64; each box moves far more than this.
    np.testing.assert_allclose(points, np.stack(expected), rtol=1e-11)
    assert np.linalg.norm(expected[-1] - X0) > 1e-3


@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_dpsgd_is_algorithm_1_of_abadi_et_al(sigma):
    """Convention: L is the size of the batch. The noise is what the transform makes of gradients of 0."""
    rate, bound = 0.3, 2.5
    tx = gx.dpsgd(rate, bound, sigma, 11)
    noises = np.diff(trajectory(tx, lambda tree: jax.tree.map(jnp.zeros_like, of_examples(tree))), axis=0, prepend=[X0])
    x, points, clipped = X0, [], 0
    for t in range(STEPS):
        g = x - TARGETS
        norms = np.sqrt(np.sum(g**2, axis=1))
        clipped += np.sum(norms > bound)
        g = g / np.maximum(1, norms / bound)[:, None]
        x = x - rate * np.sum(g, axis=0) / BATCH + noises[t]
        points.append(x)
    assert clipped > 0
    assert_follow(trajectory(tx, of_examples), points)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_the_noise_has_the_deviation_of_the_paper_and_is_new_for_each_leaf_and_step(dtype):
    bound, sigma, batch, size = 3.0, 0.5, 10, 20_000
    grads = {name: jnp.zeros((batch, size), dtype) for name in "ab"}
    tx = gx.differentially_private_aggregate(bound, sigma, 5)
    state, draws = tx.init({name: g[0] for name, g in grads.items()}), []
    for _ in range(2):
        updates, state = tx.update(grads, state)
        assert all(leaf.dtype == dtype for leaf in updates.values())
        draws += [np.asarray(leaf.astype(np.promote_types(dtype, np.float32))) for leaf in updates.values()]
    parts = [part for draw in draws for part in ([draw.real, draw.imag] if dtype == "complex64" else [draw])]
    for i, part in enumerate(parts):
        # Four deviations of a mean of 20000, and of their own deviation.
        np.testing.assert_allclose(part.mean(), 0, atol=4 * 0.15 / size**0.5)
        np.testing.assert_allclose(part.std(), 0.15, rtol=4 / (2 * size) ** 0.5)
        for other in parts[:i]:
            assert abs(np.corrcoef(part, other)[0, 1]) < 4 / size**0.5


def test_the_noise_is_told_by_the_key():
    grads = jnp.ones((4, 3))

    def update(*args, **kwargs):
        tx = gx.differentially_private_aggregate(1.0, 1.0, *args, **kwargs)
        return tx.update(grads, tx.init(grads[0]))[0]

    np.testing.assert_array_equal(update(3), update(3))
    np.testing.assert_array_equal(update(3), update(jax.random.key(3)))
    np.testing.assert_array_equal(update(3), update(seed=3))
    np.testing.assert_array_equal(update(), update(0))
    assert not np.any(update(3) == update(4))
    with pytest.raises(ValueError, match="expected one of key and seed, got both"):
        update(3, seed=3)


def test_an_infinite_bound_without_noise_gives_the_mean():
    grads = {"a": jnp.arange(12.0).reshape(4, 3)}
    tx = gx.differentially_private_aggregate(np.inf, 0.0)
    updates, state = tx.update(grads, tx.init({"a": jnp.ones(3)}))
    np.testing.assert_allclose(updates["a"], grads["a"].mean(0), rtol=1e-6)
    assert gx.metrics(state) == {"differentially_private_aggregate.clipped": 0}


@pytest.mark.parametrize(("per_layer", "share"), [(False, 0.75), (True, 0.625)])
def test_the_share_of_clipped_examples_is_reported(per_layer, share):
    # Norms of each leaf alone: 0, 1, 2, 3 and 0, 2, 4, 6, against 1 / sqrt(2) for each; together against 1.
    grads = {"a": jnp.arange(4.0)[:, None], "b": 2 * jnp.arange(4.0)[:, None] * jnp.asarray([[1.0, 0.0]])}
    grads = {**grads, "b": grads["b"].at[1].set(0.5)} if per_layer else grads
    tx = gx.differentially_private_aggregate(1.0, 0.0, per_layer=per_layer)
    _, state = tx.update(grads, tx.init(jax.tree.map(lambda leaf: leaf[0], grads)))
    np.testing.assert_allclose(gx.metrics(state)["differentially_private_aggregate.clipped"], share)


def test_the_chain_goes_on_with_the_shapes_of_the_parameters():
    tx = gx.chain(gx.dpsgd(0.1, 1.0, 0.5, 1), gx.scale_by_adam(), gx.clip_by_global_norm(1.0), optax.scale(-1.0))
    first = jax.tree.map(jnp.float32, FIRST)
    grads = jax.tree.map(jnp.float32, PLACES)
    updates, state = jax.jit(tx.update)(grads, tx.init(first), first)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, first)
    np.testing.assert_allclose(gx.metrics(state)["clip_by_global_norm.norm"], 10**0.5, rtol=1e-4)


def test_it_must_be_the_first():
    match = (
        "differentially_private_aggregate takes per-example gradients, and must be the first of its chain; got it after"
    )
    with pytest.raises(ValueError, match=f"{match} clip"):
        gx.chain(gx.clip(1.0), gx.dpsgd(0.1, 1.0, 0.5, 1))
    with pytest.raises(ValueError, match=f"{match} before"):
        gx.named_chain(("before", optax.identity()), ("private", gx.differentially_private_aggregate(1.0, 0.5)))


@pytest.mark.parametrize("with_params", [True, False])
@pytest.mark.parametrize(
    ("kernel", "match"),
    [
        (
            jnp.ones((4, 3)),
            r"\(batch, 4, 3\) at 'dense/kernel', got \(4, 3\); take them with jax.vmap\(jax.grad\(...\)\)",
        ),
        (jnp.ones((7, 4, 3)), "expected the gradients of 2 examples at 'dense/kernel', as at 'dense/bias', got 7"),
    ],
    ids=["no axis", "another batch"],
)
def test_updates_without_the_axis_of_the_examples(kernel, match, with_params):
    tx, first = gx.dpsgd(0.1, 1.0, 0.5, 1), {"dense": {"bias": jnp.ones(3), "kernel": jnp.ones((4, 3))}}
    grads = {"dense": {"bias": jnp.ones((2, 3)), "kernel": kernel}}
    if not with_params and kernel.ndim == 2:
        match = "expected the gradients of 2 examples at 'dense/kernel', as at 'dense/bias', got 4"
    with pytest.raises(ValueError, match=match):
        tx.update(grads, tx.init(first), first if with_params else None)


def test_a_scalar_and_a_batch_of_none_are_errors():
    tx = gx.dpsgd(0.1, 1.0, 0.5, 1)
    with pytest.raises(ValueError, match=r"expected per-example gradients of shape \(batch,\) at the root, got \(\)"):
        tx.update(jnp.ones(()), tx.init(jnp.ones(())))
    with pytest.raises(ValueError, match=r"expected the gradient of one example at least, got \(0, 3\)"):
        tx.update(jnp.ones((0, 3)), tx.init(jnp.ones(3)))


def test_examples_that_are_spread_over_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tx, first = gx.dpsgd(0.1, 2.0, 0.5, 1), jnp.ones(5)
    grads = jax.random.normal(jax.random.key(0), (16, 5))

    def update(grads):
        return tx.update(grads, tx.init(first), first)[0]

    spread = jax.shard_map(update, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"))
    with pytest.raises(
        ValueError, match=r"all examples on each device, got the root spread over mesh axes \('data',\)"
    ):
        jax.eval_shape(spread, grads)
    # Compiled, as outside of jit each of its operations is a program for eight devices.
    whole = jax.jit(jax.shard_map(update, mesh=mesh, in_specs=jax.P(), out_specs=jax.P()))
    cut = jax.device_put(grads, jax.NamedSharding(mesh, jax.P("data")))
    expected = update(grads)
    for updates in (whole(grads), jax.jit(update)(cut)):
        np.testing.assert_allclose(updates, expected, rtol=1e-5, atol=1e-6)


def test_no_clipped_copies_of_the_gradients_are_made():
    tx = gx.dpsgd(0.1, 1.0, 0.5, 1)
    first = {"a": jnp.ones((64, 64)), "b": jnp.ones((32, 64))}
    grads = jax.tree.map(lambda leaf: jnp.stack([leaf] * 64), first)
    compiled = jax.jit(tx.update).lower(grads, tx.init(first), first).compile()
    # 786432 bytes would be an eighth of the copies; sums, noise and updates are a few times 24576.
    assert compiled.memory_analysis().temp_size_in_bytes < 786432 / 4


LISTS = [[np.array([[0, 0, 0], [0, 3, 4], [4, 0, 3], [3, 4, 0]], dtype)] for dtype in (np.int32, np.float32)]
TREES = [*LISTS, {"a": [np.ones((4, 2, 3), np.float32)], "b": np.arange(4, dtype=np.float32)}]


@pytest.mark.parametrize("bound", [np.inf, 0.0, 1.25, np.float32(2.0), np.float64(0.5)])
@pytest.mark.parametrize("grads", TREES, ids=["integers", "floats", "a tree"])
@pytest.mark.parametrize("name", ["global", "layer", "layer by size"])
def test_the_functions_equal_optax_s(name, grads, bound):
    def both(library):
        if name == "global":
            return library.per_example_global_norm_clip(grads, bound)
        return library.per_example_layer_norm_clip(grads, bound, uniform=name == "layer")

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = both(optax)
    ours = both(gx)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(("value", "dtype"), [(1e20, "float32"), (1e-30, "float32"), (1e3, "float16")])
def test_norms_of_examples_neither_overflow_nor_underflow(value, dtype):
    # The norms are 2 value, and, beside it, 2: each example has a scale of its own.
    grads = [jnp.asarray([[value] * 4, [1.0] * 4], dtype)]
    bound = 2 * value if value < 1 else 2.0
    sums, clipped = gx.per_example_global_norm_clip(grads, bound)
    assert sums[0].dtype == dtype
    # 1e-30 beside 1 shrunk to 1e-30; 1e20 shrunk to 1 beside 1.
    np.testing.assert_allclose(
        sums[0], np.full(4, 2 * value if value < 1 else 2.0), rtol=1e-6 if value != 1e3 else 1e-3
    )
    assert clipped == 1


def test_sums_of_many_examples_in_low_precision():
    # A running sum in bfloat16 stays at 256.
    sums, clipped = gx.per_example_global_norm_clip({"a": jnp.ones((1000, 1), jnp.bfloat16)}, 1.0)
    assert sums["a"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(sums["a"], 1000)
    assert clipped == 0


def test_nan_and_infinity_show():
    for bad in (np.nan, np.inf):
        sums, _ = gx.per_example_global_norm_clip([jnp.asarray([[1.0, 2.0], [bad, 0.0]])], 1.0)
        assert np.isnan(sums[0][0])
    sums, _ = gx.per_example_global_norm_clip([jnp.asarray([[1.0], [np.nan]]), jnp.ones((2, 1))], 1.0)
    assert np.isnan(sums[1][0])


@pytest.mark.parametrize("function", [gx.per_example_global_norm_clip, gx.per_example_layer_norm_clip])
def test_the_functions_say_what_is_wrong(function):
    name = function.__name__
    with pytest.raises(ValueError, match=rf"{name}: expected the gradients of 4 examples at 'b/c', as at 'a', got 3"):
        function({"a": jnp.ones((4, 2)), "b": {"c": jnp.ones((3, 2))}}, 1.0)
    with pytest.raises(
        ValueError, match=rf"{name}: expected per-example gradients of shape \(batch,\) at '1', got \(\)"
    ):
        function([jnp.ones(3), jnp.ones(())], 1.0)
    with pytest.raises(TypeError, match=rf"{name}: expected an array at 'a', got 'relu'"):
        function({"a": "relu"}, 1.0)
    with pytest.raises(ValueError, match=rf"{name}: expected a bound of at least 0, got -1.0"):
        function([jnp.ones((3, 1))], -1.0)


@pytest.mark.parametrize("uniform", [True, False])
def test_bounds_of_layers_are_one_bound_together(uniform):
    grads = {"a": jnp.full((1, 30), 1e3), "b": jnp.full((1, 2, 3), -1e3), "c": jnp.full((1,), 1e3)}
    sums, clipped = gx.per_example_layer_norm_clip(grads, 2.0, uniform)
    np.testing.assert_allclose(optax.tree.norm(sums), 2.0, rtol=1e-6)
    assert jax.tree.leaves(clipped) == [1, 1, 1]


def test_no_leaves_are_no_error():
    assert gx.per_example_global_norm_clip({}, 1.0) == ({}, 0)
    assert gx.per_example_layer_norm_clip([], 1.0) == ([], [])


CURVATURES = {"a": np.array([[1.0, 2.0], [0.5, 1.5], [1.2, 0.1]]), "b": np.array([3.0, 0.7, 1.0, 0.4])}


def downhill(tree):
    """The gradient of a quadratic with its minimum at 1."""
    return jax.tree.map(lambda p, c: c * (p - 1), tree, CURVATURES)


@pytest.mark.parametrize("base", [gx.sgd(0.5), optax.sgd(0.5)], ids=["ours", "optax's"])
def test_mechanize_is_algorithm_1_of_cutkosky_et_al(base):
    """Conventions, which are optax's: h is clipped to the m before, m has eps added, r may be negative, and Delta

    shrinks by S / (S + eps).
    """
    n, s_init, eps, decay, curvatures, points = 4, 1e-2, 1e-6, 0.1, flat(CURVATURES), []
    betas = np.array([0.9, 0.99, 0.999, 0.9999])
    x, delta, r, m, v, s = X0, np.zeros(10), np.zeros(n), np.zeros(n), np.zeros(n), np.full(n, s_init)
    for _ in range(STEPS):
        g = curvatures * (x - 1)
        delta = delta * s.sum() / (s.sum() + eps)
        h = delta @ (g + decay * s.sum() * np.linalg.norm(g) * x / (np.linalg.norm(x) + eps))
        delta = delta - 0.5 * g
        r = betas * r - np.clip(h, -m, m) * s
        m = np.maximum(betas * m, abs(h) + eps)
        v = betas**2 * v + h**2
        s = (s_init / n * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        x = X0 + s.sum() * delta
        points.append(x)
    assert s.sum() > 2 * s_init
    tx = gx.mechanize(base, decay, eps, s_init, n)
    assert_follow(trajectory(tx, downhill), points)
    # Where training begins is told by the first update and not by init.
    zeros = jax.tree.map(jnp.zeros_like, FIRST)
    with jax.enable_x64(True):
        first = jax.tree.map(jnp.asarray, FIRST)
        updates, state = tx.update(downhill(first), tx.init(zeros), first)
    np.testing.assert_allclose(X0 + flat(updates), points[0], rtol=1e-11)
    np.testing.assert_allclose(gx.metrics(state)["mechanize.scale"], s_init, rtol=1e-6)


def test_mechanize_equals_optax_with_its_defaults():
    ours, theirs = (trajectory(library.mechanize(optax.adam(1.0)), downhill) for library in (gx, optax.contrib))
    # optax takes d from the parameters, of which a step is 1e-6.
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=0)
    assert np.all(ours[-1] != ours[0])


def test_mechanize_moves_parameters_in_bfloat16():
    """optax's never do: a step of 1e-6 is lost in the parameters, from which optax takes how far it came."""
    tx, params = gx.mechanize(gx.sgd(1.0)), jnp.linspace(2.0, 3.0, 8).astype(jnp.bfloat16)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(params - 1, state, params)
        return gx.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(100):
        params, state = step(params, state)
    assert state.stages["mechanize"].s.dtype == state.stages["mechanize"].delta.dtype == jnp.float32
    np.testing.assert_allclose(params.astype(np.float32), 1.0, atol=0.1)


def test_mechanize_gives_extra_arguments_to_what_it_wraps():
    tx = gx.mechanize(gx.polyak_sgd())
    tree = jnp.ones(3)
    updates, _ = tx.update(tree, tx.init(tree), tree, value=0.6)
    # Polyak's step is 0.6 / 3, the first scale 1e-6.
    np.testing.assert_allclose(updates, -0.2e-6, rtol=1e-5)
    with pytest.raises(ValueError, match=r"scale_by_polyak needs an extra argument: call update\(.*value=...\)"):
        tx.update(tree, tx.init(tree), tree)


@pytest.mark.parametrize("library", [gx, optax], ids=["ours", "optax's"])
def test_mechanize_of_what_keeps_a_key(library):
    tx, tree = gx.mechanize(library.noisy_sgd(0.1, key=1)), jnp.ones(3)
    with jax.numpy_dtype_promotion("standard"):
        state = tx.init(tree)
        _, after = jax.jit(tx.update)(tree, state, tree)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)


def test_mechanize_prints_with_what_it_wraps():
    assert repr(gx.mechanize(gx.sgd(0.1), num_betas=3)) == (
        "mechanize(\n    base_optimizer=scale_by_learning_rate(learning_rate=0.1),\n"
        "    weight_decay=0.01,\n    eps=1e-08,\n    s_init=1e-06,\n    num_betas=3,\n)"
    )
    assert "base_optimizer=<optax.scale_by_lion>" in repr(gx.mechanize(optax.scale_by_lion()))


def test_mechanize_in_shard_map():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tree = {"cut": jnp.linspace(-2.0, 2.0, 16), "whole": jnp.arange(3.0)}
    tx = gx.mechanize(gx.sgd(0.1), s_init=0.1)

    def steps(tree):
        state, updates = tx.init(tree), None
        for _ in range(3):
            updates, state = tx.update(jax.tree.map(lambda p: p - 1, tree), state, tree)
            tree = gx.apply_updates(tree, updates)
        return updates, gx.metrics(state)

    specs = {"cut": jax.P("data"), "whole": jax.P()}
    spread = jax.shard_map(steps, mesh=mesh, in_specs=(specs,), out_specs=(specs, jax.P()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), jax.jit(spread)(tree), steps(tree))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_betas": 0}, ValueError, "num_betas must be at least 1; got 0"),
        ({"num_betas": 2.0}, TypeError, r"num_betas must be an integer; got 2.0"),
        ({"s_init": 0.0}, ValueError, "s_init must be more than 0; got 0.0"),
        ({"base_optimizer": gx.sgd}, TypeError, "base_optimizer must be a transform; got .*sgd>; call it"),
    ],
)
def test_mechanize_says_what_makes_no_sense(arguments, error, match):
    with pytest.raises(error, match=f"mechanize: {match}"):
        gx.mechanize(**{"base_optimizer": gx.sgd(0.1), **arguments})
