"""The learning-rate range test: each rate once, from low to high, on the user's own loss."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype(np.float32)
TRUE = np.arange(1.0, 6.0, dtype=np.float32)
BATCHES = [X[:32], X[32:]]


def loss(params, x):
    return jnp.mean(jnp.square(x @ params - x @ TRUE))


def bowl(params):
    return jnp.sum(params**2)


def test_equals_a_plain_loop_in_float64():
    """Gradient descent on a regression, of which the gradient is known."""
    result = gx.learning_rate_range_test(loss, jnp.zeros(5), gx.sgd, BATCHES, low=1e-4, high=1e-1, steps=25)
    rates = np.geomspace(1e-4, 1e-1, 25)
    params, losses, mean, smoothed = np.zeros(5), [], 0.0, []
    for k, (rate, x) in enumerate(zip(rates, itertools.cycle(np.asarray(BATCHES, np.float64)), strict=False)):
        error = x @ params - x @ TRUE
        losses.append(np.mean(error**2))
        params = params - rate * 2 * x.T @ error / len(x)
        mean = 0.9 * mean + 0.1 * losses[-1]
        smoothed.append(mean / (1 - 0.9 ** (k + 1)))
    np.testing.assert_allclose(result.rates, rates, rtol=1e-9)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(result.smoothed, smoothed, rtol=1e-4)
    assert result.diverged_at is None


def test_stops_where_it_diverges_and_suggests_less():
    """The bowl |x|^2 diverges above a rate of 1."""
    result = gx.learning_rate_range_test(bowl, jnp.ones(3), gx.sgd, low=1e-4, high=100.0, smoothing=0.5)
    assert 1.0 < result.diverged_at < 100.0
    assert result.rates[-1] == result.diverged_at
    assert len(result.rates) == len(result.losses) == len(result.smoothed) < 100
    assert 1e-3 < result.suggestion < 1.0
    assert "diverged at" in repr(result)


def test_the_suggestion_is_where_the_loss_falls_fastest():
    result = gx.learning_rate_range_test(loss, jnp.zeros(5), gx.adam, [X], low=1e-4, high=1.0, smoothing=0.0)
    slopes = np.diff(result.losses) / np.diff(np.log(result.rates))
    assert abs(np.argmin(slopes) - np.argmin(np.abs(result.rates - result.suggestion))) <= 1
    assert "did not diverge" in repr(result) or result.diverged_at > result.suggestion


def test_a_loss_that_is_not_finite_ends_it():
    def cliff(params):
        return jnp.where(params[0] < -0.5, jnp.nan, params[0])

    result = gx.learning_rate_range_test(cliff, jnp.zeros(1), gx.sgd, low=1e-3, high=1.0, steps=30)
    assert result.diverged_at is not None
    assert np.isnan(result.losses[-1])
    assert np.isfinite(result.losses[:-1]).all()


def test_the_parameters_that_came_in_stay():
    params = {"w": jnp.ones(3)}
    gx.learning_rate_range_test(lambda p: bowl(p["w"]), params, gx.adam, steps=5)
    np.testing.assert_array_equal(params["w"], 1.0)


def test_compiles_once():
    traces = []

    def counted(params):
        traces.append(1)
        return bowl(params)

    gx.learning_rate_range_test(counted, jnp.ones(2), gx.adam, steps=20)
    # The check of its shape, and the step.
    assert len(traces) == 2


def test_an_iterator_must_hold_enough():
    enough = gx.learning_rate_range_test(loss, jnp.zeros(5), gx.sgd, itertools.repeat(X), steps=3)
    assert len(enough.losses) == 3
    with pytest.raises(ValueError, match="the batches ended after 2 of 10 steps; give more, or a list"):
        gx.learning_rate_range_test(loss, jnp.zeros(5), gx.sgd, iter(BATCHES), steps=10)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"low": 0.0}, "expected 0 < low < high; got low=0.0"),
        ({"low": 1.0, "high": 0.1}, "expected 0 < low < high"),
        ({"steps": 1}, "steps must be an integer of at least 2; got 1"),
        ({"steps": 2.5}, "steps must be an integer of at least 2"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and less than 1; got 1.0"),
        ({"blow_up": 1.0}, "blow_up must be more than 1; got 1.0"),
    ],
)
def test_errors(options, match):
    with pytest.raises(ValueError, match=f"learning_rate_range_test: {match}"):
        gx.learning_rate_range_test(bowl, jnp.ones(2), gx.sgd, **options)


def test_errors_of_the_loss():
    with pytest.raises(ValueError, match=r"the loss must be one real number, of shape \(\); got float32\[2\]"):
        gx.learning_rate_range_test(lambda params: params, jnp.ones(2), gx.sgd)
    with pytest.raises(ValueError, match=r"the loss must be one real number, .* got tuple"):
        gx.learning_rate_range_test(lambda params: (bowl(params), 1), jnp.ones(2), gx.sgd)
    with pytest.raises(ValueError, match="the loss is nan before the first step"):
        gx.learning_rate_range_test(lambda params: jnp.log(params[0]), -jnp.ones(2), gx.sgd)


def test_a_transform_in_the_place_of_what_makes_one_is_an_error():
    with pytest.raises(TypeError, match=r"make must be a function of the rate, as gx\.adam; got a transform"):
        gx.learning_rate_range_test(bowl, jnp.ones(2), gx.sgd(0.1))


def test_no_batches_are_an_error():
    with pytest.raises(ValueError, match="the batches ended after 0 of 10 steps"):
        gx.learning_rate_range_test(loss, jnp.zeros(5), gx.sgd, [], steps=10)


def test_needs_no_tqdm(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    assert len(gx.learning_rate_range_test(bowl, jnp.ones(2), gx.sgd, steps=4).losses) == 4
    assert gx.minimise(bowl, jnp.ones(2), gx.sgd(0.1), 4).steps == 4
