"""Adafactor over the rows and columns of matrices, where the two largest axes of a leaf are others."""

import numpy as np
import pytest
from optax.contrib import MuonDimensionNumbers

import gradxform as gx
from tests.rules.matrices import gradients, updates_of

# Rounding of float64.
CLOSE = {"rtol": 1e-12, "atol": 0}


def factored(axes=None, **kwargs):
    return gx.scale_by_factored_rms(min_dim_size_to_factor=2, weight_dimension_numbers=axes, **kwargs)


@pytest.mark.parametrize("min_rms", [None, 0.1])
def test_stacked_layers_are_factored_as_each_alone(min_rms):
    """More layers than a matrix has columns: by default the layers would be factored."""
    grads = gradients((7, 4, 3))
    stacked = updates_of(factored(gx.MatrixAxes(), min_rms=min_rms), grads)
    for layer in range(7):
        np.testing.assert_allclose(stacked[:, layer], updates_of(factored(min_rms=min_rms), grads[:, layer]), **CLOSE)
    assert not np.allclose(stacked, updates_of(factored(min_rms=min_rms), grads))


def test_joined_axes_are_one():
    grads = gradients((4, 2, 3))
    heads = updates_of(factored(MuonDimensionNumbers(0, (1, 2))), grads)
    np.testing.assert_allclose(heads.reshape(-1, 4, 6), updates_of(factored(), grads.reshape(-1, 4, 6)), **CLOSE)


def test_what_is_kept_has_the_shape_of_rows_and_of_columns():
    params = {"stack": np.zeros((7, 4, 3)), "bias": np.zeros(3), "single": np.zeros((1, 9))}
    state = factored(gx.MatrixAxes()).init(params)
    assert (state.v_row["stack"].shape, state.v_col["stack"].shape) == ((7, 4), (7, 3))
    assert (state.v["bias"].shape, state.v["single"].shape) == ((3,), (1, 9))


def test_adafactor_takes_axes_too():
    grads = gradients((7, 4, 3))
    tx = gx.adafactor(
        0.1, 2, multiply_by_parameter_scale=False, clipping_threshold=None, weight_dimension_numbers=gx.MatrixAxes()
    )
    np.testing.assert_allclose(updates_of(tx, grads), -0.1 * updates_of(factored(gx.MatrixAxes()), grads), **CLOSE)
    assert gx.from_json(gx.to_json(tx)) == tx


@pytest.mark.parametrize("axes", [{"w": gx.MatrixAxes()}, gx.hidden_matrices, gx.MatrixAxes(split_columns=3)])
def test_axes_of_several_kinds_are_an_error(axes):
    with pytest.raises(TypeError, match="weight_dimension_numbers must be MatrixAxes or MuonDimensionNumbers, without"):
        factored(axes)
