"""apply_updates adds in the wider dtype, keeps the parameters', and broadcasts nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx


@pytest.mark.parametrize("of_params", ["bfloat16", "float16", "float32", "complex64"])
@pytest.mark.parametrize("of_updates", ["bfloat16", "float32"])
def test_equals_optax(of_params, of_updates):
    kind = "complex64" if of_params == "complex64" else of_updates
    params = {"a": jnp.arange(4.0).astype(of_params), "b": None, "c": [jnp.ones((), of_params)]}
    updates = {"a": jnp.full(4, 0.1).astype(kind), "b": None, "c": [jnp.ones((), kind)]}
    with jax.numpy_dtype_promotion("standard"):
        expected = optax.apply_updates(params, updates)
    ours = jax.jit(gx.apply_updates)(params, updates)
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("updates", "error", "match"),
    [
        ({"w": jnp.ones(1)}, ValueError, r"expected shape \(3,\) at 'w', as the parameters have, got \(1,\)"),
        ({}, ValueError, "expected a leaf at 'w', where the parameters have one, and got none"),
        ({"w": jnp.ones(3, jnp.complex64)}, TypeError, "expected real values at 'w'"),
    ],
)
def test_what_does_not_fit_is_an_error_with_the_path(updates, error, match):
    with pytest.raises(error, match=match):
        gx.apply_updates({"w": jnp.ones(3)}, updates)
