"""Branches and norms in the forms that they have on each backend, run on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

import gradxform as gx
from gradxform.core import branches, reductions

BACKENDS = ["cpu", "cuda", "default"]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    """Has XLA compile for the CPU what another backend would be given."""

    def chosen(*args, default, **others):
        return others.get(request.param, default)(*args)

    with pytest.MonkeyPatch.context() as patch:
        jax.clear_caches()
        patch.setattr(lax, "platform_dependent", chosen)
        yield request.param
    jax.clear_caches()


def norm(*leaves):
    return reductions.norm(leaves, [()] * len(leaves))


compiled_norm = jax.jit(norm)


@jax.jit
def derivatives(leaf, direction, scaled):
    """Of the norm in reverse and along a direction, in reverse at 0, and the second ones at another leaf."""
    along = jax.jvp(norm, (leaf,), (direction,))[1]
    return jax.grad(norm)(leaf), along, jax.grad(norm)(jnp.zeros(2)), jax.hessian(norm)(scaled)


@jax.jit
def of_rows(rows):
    return reductions.example_norms([rows]), reductions.norm_along(rows, -1, ())[:, 0], jax.vmap(norm)(rows)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1.0, "float32", 4.0),
        (1e20, "float32", 4e20),
        (1e-30, "float32", 4e-30),
        (1e3, "float16", 4e3),
        (2.0**-24, "float16", 2.0**-22),
        (1e38, "bfloat16", np.inf),
        (3 + 4j, "complex64", 20.0),
        (0.0, "float32", 0.0),
        (np.inf, "float32", np.inf),
        (np.nan, "float32", np.nan),
    ],
)
def test_a_norm_is_right_near_the_ends_of_the_range(backend, value, dtype, expected):
    leaf = np.full((4, 2), value, jnp.dtype(dtype))
    found = compiled_norm(leaf, leaf)
    # float16 and bfloat16 hold the value to 1e-3.
    np.testing.assert_allclose(found, expected, rtol=2e-3 if "16" in dtype else 1e-6)
    assert found.dtype == jnp.float32


def test_norms_of_two_precisions_have_the_range_of_the_wider(backend):
    with jax.enable_x64(True):
        narrow = np.full(3, 1e30, np.float32)
        for wide, expected, rtol in ((1e200, 3**0.5 * 1e200, 1e-12), (1.0, 3**0.5 * 1e30, 1e-6)):
            np.testing.assert_allclose(compiled_norm(narrow, np.full(3, wide)), expected, rtol=rtol)


@pytest.mark.parametrize("size", [1.0, 1e20, 1e-30])
def test_derivatives_of_a_norm_are_those_of_units(backend, size):
    leaf = np.array([3.0, -4.0], np.float32)
    first, along, at_zero, second = derivatives(leaf * np.float32(size), np.array([1.0, 0.0], np.float32), leaf)
    unit = np.array([0.6, -0.8])
    np.testing.assert_allclose(first, unit, rtol=1e-6)
    np.testing.assert_allclose(along, 0.6, rtol=1e-6)
    np.testing.assert_array_equal(at_zero, [0, 0])
    np.testing.assert_allclose(second, (np.eye(2) - np.outer(unit, unit)) / 5, atol=1e-6)


def test_norms_of_examples_and_along_axes_each_have_the_whole_range(backend):
    rows = np.array([[3.0, 4.0], [1e20, 0.0], [0.0, 1e-30], [0.0, 0.0]], np.float32)
    expected = [5.0, 1e20, 1e-30, 0.0]
    for found in of_rows(rows):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_norm_over_devices_is_that_of_the_whole(backend):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    for size in (1.0, 1e20):
        x = jnp.arange(16.0) * jnp.float32(size)
        part = jax.shard_map(lambda x: reductions.norm([x], [("data",)]), mesh=mesh, in_specs=P("data"), out_specs=P())
        np.testing.assert_allclose(jax.jit(part)(x), np.linalg.norm(np.asarray(x, np.float64)), rtol=1e-6)


def doubled(carry):
    return jax.tree.map(lambda x: 2 * x, carry)


@pytest.mark.parametrize("pred", [True, False])
def test_at_most_once_is_the_function_or_nothing(backend, pred):
    carry = {"a": jnp.arange(3.0), "count": jnp.int32(2)}
    expected = doubled(carry) if pred else carry
    run = jax.jit(lambda pred, carry: branches.at_most_once(pred, doubled, carry))
    for found in (run(pred, carry), branches.at_most_once(jnp.bool_(pred), doubled, carry)):
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    both = jax.vmap(run, in_axes=(0, None))(jnp.array([pred, not pred]), carry)
    np.testing.assert_array_equal(both["a"][0], expected["a"])


@pytest.mark.parametrize("pred", [True, False])
@pytest.mark.parametrize("how", ["selected", "at_most_once"])
def test_derivatives_go_through_a_branch_and_what_it_closes_over(backend, pred, how):
    def loss(x, y, pred):
        if how == "selected":
            # The root of what is not taken has no derivative at 0.
            value = branches.selected(pred, lambda: x * y, lambda: jnp.sqrt(x - x) + y)
        else:
            value = branches.at_most_once(pred, lambda x: x * y, x)
        return jnp.sum(value)

    x, y = jnp.array([2.0, 3.0]), jnp.array([5.0, 7.0])
    # Either branch alone, by hand.
    expected = {
        ("selected", True): (y, x),
        ("at_most_once", True): (y, x),
        ("at_most_once", False): (jnp.ones(2), jnp.zeros(2)),
    }
    if (how, pred) not in expected:
        np.testing.assert_allclose(jax.jit(loss)(x, y, pred), jnp.sum(y))
        return
    found = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, y, pred)
    jax.tree.map(np.testing.assert_allclose, found, expected[how, pred])


def test_guard_and_accumulate_have_the_same_numbers_on_each_backend(backend):
    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)}
    grads = [{"w": params["w"] * k} for k in (1.0, 2.0, jnp.nan, 3.0)]
    inner = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1))

    def run(tx, steps):
        step, state, updates = jax.jit(tx.update), tx.init(params), None
        for g in steps:
            updates, state = step(g, state, params)
        return updates["w"], state

    guarded, state = run(gx.guard(inner), grads)
    good, _ = run(inner, [grads[0], grads[1], grads[3]])
    # Another program adds in another order.
    np.testing.assert_allclose(guarded, good, rtol=1e-5)
    assert int(gx.metrics(state)["guard.skips"]) == 1
    due, state = run(gx.accumulate(inner, 2), [grads[0], grads[1]])
    mean, _ = run(inner, [{"w": 1.5 * params["w"]}])
    np.testing.assert_allclose(due, mean, rtol=1e-5)
    waiting, state = run(gx.accumulate(inner, 2), grads[:1])
    np.testing.assert_array_equal(waiting, np.zeros((2, 3)))
