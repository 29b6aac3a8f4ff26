"""minimise: the path is that of a plain loop, and how it ended is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st

import gradxform as gx
from gradxform.explore import minimise as module

START = jnp.array([-1.2, 1.0])


def bowl(x):
    return jnp.sum(x**2) / 2


def by_hand(fun, x, tx, steps):
    """The path of optax's transform, step by step."""
    state, path = tx.init(x), [x]
    for _ in range(steps):
        # optax's schedules mix integers and floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(jax.grad(fun)(x), state, x)
        x = optax.apply_updates(x, updates)
        path.append(x)
    return np.stack(path)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gx.sgd(1e-3), optax.sgd(1e-3)),
        (gx.sgd(1e-3, 0.9, nesterov=True), optax.sgd(1e-3, 0.9, nesterov=True)),
        (gx.adam(gx.cosine_decay_schedule(0.1, 40)), optax.adam(optax.cosine_decay_schedule(0.1, 40))),
        (optax.rmsprop(0.01), optax.rmsprop(0.01)),
    ],
    ids=["sgd", "nesterov", "adam", "optax's rmsprop"],
)
def test_goes_the_way_of_a_plain_loop(ours, theirs):
    run = gx.minimise(gx.landscapes.rosenbrock, START, ours, 40, tol=0)
    expected = by_hand(gx.landscapes.rosenbrock, START, theirs, 40)
    # Rosenbrock's valley magnifies the rounding of forty steps.
    np.testing.assert_allclose(run.path, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(run.x, run.path[-1])
    np.testing.assert_allclose(run.losses, [gx.landscapes.rosenbrock(x) for x in run.path], rtol=1e-5)
    norms = [np.linalg.norm(jax.grad(gx.landscapes.rosenbrock)(jnp.array(x))) for x in run.path]
    np.testing.assert_allclose(run.grad_norms, norms, rtol=1e-3)
    assert (run.steps, run.reason, run.value) == (40, "step limit", run.losses[-1])
    # START, as the landscape has it: a pair of numbers.
    again = gx.descend(gx.landscapes.rosenbrock, gx.landscapes.rosenbrock.start, ours, 40)
    np.testing.assert_allclose(again.path, run.path, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(again.losses, run.losses, rtol=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 1.9), st.floats(-10, 10).filter(lambda x: abs(x) > 0.1))
def test_stops_at_the_first_gradient_within_the_tolerance(rate, start):
    """Of the bowl x^2 / 2 the gradient after k steps is x (1 - rate)^k."""
    run = gx.minimise(bowl, start, gx.sgd(rate), 2000, tol=1e-3)
    assert run.reason == "converged"
    assert run.grad_norms[-1] <= 1e-3
    assert np.all(run.grad_norms[:-1] > 1e-3)
    factor = abs(1 - rate)
    expected = np.log(1e-3 / abs(start)) / np.log(factor) if factor > 0 else 1.0
    # A gradient that is within rounding of the tolerance may end it a step sooner or later.
    assert abs(run.steps - max(np.ceil(expected), 1)) <= 1
    assert len(run.losses) == len(run.path) == len(run.grad_norms) == run.steps + 1


def test_a_start_at_the_minimum_takes_no_step():
    run = gx.minimise(bowl, jnp.zeros(3), gx.sgd(0.1))
    assert (run.steps, run.reason, run.path.shape) == (0, "converged", (1, 3))
    assert run.message == "converged after 0 steps: f = 0, and the gradient's norm is 0, at most 1e-06"


def test_one_step_is_not_one_steps():
    assert gx.minimise(bowl, 1.0, gx.sgd(1.0)).message.startswith("converged after 1 step: f = 0")


def test_the_limit():
    run = gx.minimise(bowl, 1.0, gx.sgd(0.01), 7)
    assert (run.steps, run.reason) == (7, "step limit")
    assert str(run).startswith("<Minimisation: stopped at the limit of 7 steps: f = 0.434")
    assert "more than 1e-06" in run.message


def test_divergence():
    """At a rate of 3 each step doubles x and turns its sign: f is 4^k / 2, and 1e6 more than 1 / 2 after 11."""
    run = gx.minimise(bowl, 1.0, gx.sgd(3.0), 100)
    assert (run.steps, run.reason) == (11, "diverged")
    assert run.message == "diverged at step 11: f rose from 0.5 to 2.09715e+06; a smaller learning rate may help"
    np.testing.assert_allclose(run.path, (-2.0) ** np.arange(12))
    assert gx.minimise(bowl, 1.0, gx.sgd(3.0), 100, blow_up=10.0).steps == 3


def test_a_value_of_infinity_is_a_divergence():
    run = gx.minimise(lambda x: jnp.exp(x**2), 3.0, gx.sgd(1.0), 10)
    assert (run.steps, run.reason, run.value) == (1, "diverged", np.inf)


def test_nan():
    run = gx.minimise(jnp.log, 0.5, gx.sgd(1.0), 10)
    assert (run.steps, run.reason) == (1, "not finite")
    assert run.message == (
        "not finite at step 1: f = nan, and the gradient's norm is 0.667; before it they were -0.693147 and 2"
    )
    start = gx.minimise(jnp.log, -1.0, gx.sgd(1.0), 10)
    assert (start.steps, start.reason) == (0, "not finite")
    assert start.message == "not finite at the start: f = nan, and the gradient's norm is 1"


def test_a_gradient_that_is_not_finite_where_the_value_is():
    run = gx.minimise(lambda x: jnp.sqrt(x), 0.0, gx.sgd(1.0), 10)
    assert (run.reason, run.value, run.grad_norms[0]) == ("not finite", 0.0, np.inf)


def test_metrics_of_every_step():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(0.5))
    run = gx.minimise(bowl, jnp.array([3.0, 4.0]), tx, 6, tol=0)
    assert run.metrics.keys() == gx.metrics(tx.init(jnp.zeros(2))).keys()
    # The norm before clipping is that of the gradient at the point from which the step goes.
    np.testing.assert_allclose(run.metrics["clip_by_global_norm.norm"], run.grad_norms[:-1], rtol=1e-6)
    np.testing.assert_allclose(run.grad_norms[:4], [5.0, 4.5, 4.0, 3.5], rtol=1e-6)


def test_a_pytree_and_complex_numbers():
    x0 = {"z": jnp.array([1.0 + 2.0j, -3.0j]), "w": jnp.ones((2, 3))}

    def fun(x):
        return jnp.sum(jnp.abs(x["z"] - (2 - 1j)) ** 2) / 2 + bowl(x["w"])

    run = gx.minimise(fun, x0, gx.sgd(0.5), 100, tol=1e-5)
    assert run.reason == "converged"
    np.testing.assert_allclose(run.x["z"], [2 - 1j] * 2, atol=1e-5)
    assert run.path["w"].shape == (run.steps + 1, 2, 3)


def test_the_start_is_not_changed_nor_donated():
    x0 = jnp.array([1.0, 2.0])
    gx.minimise(bowl, x0, gx.sgd(0.1), 5)
    np.testing.assert_array_equal(x0, [1.0, 2.0])


def test_without_the_path():
    run = gx.minimise(bowl, jnp.ones(3), gx.sgd(0.1), 5, keep_path=False)
    assert run.path is None
    assert run.losses.shape == (6,)


def test_line_searches_get_what_they_need():
    run = gx.minimise(gx.landscapes.rosenbrock, START, gx.lbfgs(), 100)
    assert (run.reason, run.steps < 60) == ("converged", True)
    np.testing.assert_allclose(run.x, 1.0, rtol=1e-4)
    assert gx.minimise(bowl, jnp.ones(3), gx.polyak_sgd(), 100, tol=1e-4).reason == "converged"


def test_of_a_landscape_another_learning_rate_compiles_nothing_new():
    traces = []

    def function(x1, x2):
        traces.append(1)
        return x1**2 + x2**2

    counted = gx.landscapes.Landscape("counted", function, ((0.0, 0.0),), (1.0, 1.0), ((-1.0, 1.0), (-1.0, 1.0)))
    gx.minimise(counted, jnp.ones(2), gx.adam(0.1), 10)
    before = len(traces)
    gx.minimise(counted, jnp.ones(2), gx.adam(0.2), 10)
    assert len(traces) == before


def test_a_function_that_reads_something_else_by_now_gives_new_numbers():
    """As in a notebook, in which the cell with the data runs again."""
    target = 1.0

    def fun(x):
        return (x - target) ** 2

    assert abs(gx.minimise(fun, 0.0, gx.sgd(0.5), 10).x - 1.0) < 1e-6
    target = 2.0
    assert abs(gx.minimise(fun, 0.0, gx.sgd(0.5), 10).x - 2.0) < 1e-6


def test_a_function_that_has_no_hash():
    @dataclasses.dataclass
    class Bowl:
        centre: float

        def __call__(self, x):
            return (x - self.centre) ** 2

    assert abs(gx.minimise(Bowl(3.0), 0.0, gx.sgd(0.5), 10).x - 3.0) < 1e-6


def test_descend_in_a_sweep_is_one_run_for_each():
    rates = np.array([0.01, 0.1, 0.5])
    swept = gx.sweep(gx.sgd, {"learning_rate": rates})(lambda tx: gx.descend(bowl, jnp.ones(2), tx, 5).losses)
    # f falls by (1 - rate)^2 a step, from 1.
    np.testing.assert_allclose(swept, (1 - rates[:, None]) ** (2 * np.arange(6)), rtol=1e-5)


@pytest.mark.parametrize("name", ["minimise", "descend"])
@pytest.mark.parametrize(
    ("fun", "x0", "error", "match"),
    [
        (gx.landscapes.beale, jnp.ones(3), ValueError, r"does not take a start of float32\[3\]: beale takes an array"),
        (lambda x: x @ jnp.ones(4), jnp.ones(3), ValueError, r"does not take a start of float32\[3\]: dot_general req"),
        (lambda x: x, jnp.ones(3), ValueError, r"one real number, of shape \(\); for float32\[3\] it returns float32"),
        (lambda x: (bowl(x), x), jnp.ones(3), ValueError, r"one real number, .* returns tuple"),
        (lambda x: jax.lax.complex(x, x), jnp.ones(()), ValueError, r"one real number, .* returns complex64\[\]"),
        (bowl, jnp.ones(3, int), TypeError, r"the start: expected a floating-point array at the root, got int32\[3\]"),
        (bowl, {"w": "a"}, TypeError, "the start: expected an array at 'w', got 'a'"),
    ],
)
def test_errors_of_the_function_and_the_start(name, fun, x0, error, match):
    with pytest.raises(error, match=rf"{name}: .*{match}"):
        getattr(gx, name)(fun, x0, gx.sgd(0.1), 10)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_errors_of_the_steps(steps):
    with pytest.raises(ValueError, match="minimise: steps must be an integer of at least 1"):
        gx.minimise(bowl, 1.0, gx.sgd(0.1), steps)


@pytest.mark.parametrize("name", ["tol", "blow_up"])
@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_errors_of_the_bounds(name, value):
    with pytest.raises(ValueError, match=f"minimise: {name} must be at least 0; got"):
        gx.minimise(bowl, 1.0, gx.sgd(0.1), 10, **{name: value})


def test_what_is_no_transform():
    with pytest.raises(TypeError, match="minimise: expected a transform, as gx"):
        gx.minimise(bowl, 1.0, gx.adam, 10)


def test_progress_is_told_of_every_step(monkeypatch):
    told = []

    class Bar:
        def update(self, n=1):
            told.append(n)

    class Shown:
        def __init__(self, what, total):
            self.total = total

        def __enter__(self):
            assert self.total == 250
            return Bar()

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(module, "progress", Shown)
    gx.minimise(bowl, 1.0, gx.sgd(1e-4), 250)
    assert sum(told) == 250
    assert len(told) > 50
