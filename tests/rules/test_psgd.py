"""PSGD against the algorithm, in NumPy, with the same noise; and what is special in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.contract import references_preconditioned as references
from tests.rules.preconditioned import CLOSE, gradients, ran, updates_of


def noise_of(shape, steps, seed=0, number=0):
    """What the matrix of a number is given at each step."""
    with jax.enable_x64(True):
        return references.psgd_noise(shape, steps, seed, number)


def at_turns(every):
    """The frequency with which psgd_jax, which counts on, would be due at steps 1, every + 1, ..."""
    return lambda step: 1.0 if (step - 1) % every == 0 else 1e-9


@pytest.mark.parametrize("shape", [(4, 3), (3, 7), (5, 5), (1, 4)])
@pytest.mark.parametrize("every", [1, 3])
def test_ten_steps_of_the_algorithm(shape, every):
    grads = gradients(shape)
    ours = updates_of(gx.scale_by_psgd_kron(precondition_frequency=every), grads)
    expected = references.psgd_kron(
        list(grads), noise_of(shape, 10), probability=at_turns(every), diagonal=[length == 1 for length in shape]
    )
    np.testing.assert_allclose(ours, expected, **CLOSE)


@pytest.mark.parametrize(
    ("kwargs", "diagonal"),
    [
        ({"max_size_triangular": 5}, (False, True)),
        ({"max_size_triangular": 0}, (True, True)),
        ({"max_skew": 1.0}, (False, True)),
        ({"max_skew": 1.5}, (False, False)),
    ],
)
def test_long_sides_are_diagonal(kwargs, diagonal):
    grads = gradients((4, 6))
    updates, state = ran(gx.scale_by_psgd_kron(0.8, precond_lr=0.3, precond_init_scale=2.0, key=5, **kwargs), grads)
    expected = references.psgd_kron(
        list(grads), noise_of((4, 6), 10, 5), 0.8, 0.3, 2.0, probability=at_turns(1), diagonal=diagonal
    )
    np.testing.assert_allclose(updates, expected, **CLOSE)
    record = state.stages["scale_by_psgd_kron"]
    assert (record.left.ndim == 1, record.right.ndim == 1) == diagonal


def test_updates_are_bounded_or_not():
    grads = gradients((4, 3))
    rule = gx.scale_by_psgd_kron(precond_lr=0.0, precond_init_scale=10.0, max_rms=0.5)
    rms = np.sqrt(np.mean(updates_of(rule, grads) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(rms, 0.5, rtol=1e-12)
    free = gx.scale_by_psgd_kron(precond_lr=0.0, precond_init_scale=10.0, max_rms=None)
    np.testing.assert_allclose(updates_of(free, grads), 100 * updates_of(gx.ema(0.9), grads), **CLOSE)


def test_matrices_of_a_leaf_and_of_other_leaves_draw_noise_of_their_own():
    grads = np.repeat(gradients((1, 4, 3)), 2, axis=1)
    tree = {"a": grads, "b": grads}
    updates = updates_of(gx.scale_by_psgd_kron(weight_dimension_numbers=gx.MatrixAxes()), tree)
    for number, ours in enumerate((*np.moveaxis(updates["a"], 1, 0), *np.moveaxis(updates["b"], 1, 0))):
        noise = noise_of((4, 3), 10, number=number)
        np.testing.assert_allclose(
            ours, references.psgd_kron(list(grads[:, 0]), noise, probability=at_turns(1)), **CLOSE
        )


def test_factors_keep_in_range_where_gradients_are_zero():
    rule = gx.scale_by_psgd_kron()
    state = ran(rule, np.zeros((300, 3, 3)))[1]
    np.testing.assert_array_equal(state.stages["scale_by_psgd_kron"].left, np.eye(3))


def test_the_optimizer_refreshes_as_seldom_as_psgd_jax():
    every = gx.psgd_kron(0.1).stages[0].node.transforms_by_label()["psgd_kron"].stages[0].node.precondition_frequency
    for step in (1, 499, 500, 501, 1500, 4006, 4007, 10_000):
        np.testing.assert_allclose(every(step - 1), 1 / references.update_probability(step), rtol=1e-5)


def test_what_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"precond_init_scale must be more than 0; got 0\.0"):
        gx.scale_by_psgd_kron(precond_init_scale=0.0)
    with pytest.raises(TypeError, match="takes real arrays, got complex"):
        gx.scale_by_psgd_kron().init(jnp.zeros((2, 2), jnp.complex64))
