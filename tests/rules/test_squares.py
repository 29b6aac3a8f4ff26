"""Mean squares are real, also of complex gradients: half the memory, and what a codec may take for never negative."""

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx

PARAMS = jnp.array([1 + 1j, 2 - 1j], jnp.complex64)

# By transform, the slots that hold squares and those that hold the gradients' own direction.
SLOTS = {
    "scale_by_adam": ("nu", "mu"),
    "scale_by_nadam": ("nu", "mu"),
    "scale_by_amsgrad": ("nu", "mu"),
    "scale_by_belief": ("nu", "mu"),
    "scale_by_yogi": ("nu", "mu"),
    "scale_by_adamax": ("nu", "mu"),
    "scale_by_radam": ("nu", "mu"),
    "scale_by_rms": ("nu", None),
    "scale_by_rss": ("sum_of_squares", None),
    "scale_by_adan": ("n", "m"),
    "scale_by_ademamix": ("nu", "m1"),
    "scale_by_adopt": ("nu", "mu"),
    "scale_by_adadelta": ("e_g", None),
}


@pytest.mark.parametrize("name", SLOTS)
def test_squares_are_real_and_directions_complex(name):
    squares, direction = SLOTS[name]
    record = jax.eval_shape(getattr(gx, name)().init, PARAMS).stages[name]
    assert getattr(record, squares).dtype == jnp.float32
    if direction is not None:
        assert getattr(record, direction).dtype == jnp.complex64
