"""Which axes are rows and columns: said once, by a value, and the same numbers as of the matrices by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st
from optax.contrib import MuonDimensionNumbers

import gradxform as gx
from gradxform.core.matrix_axes import View


def drawn(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def update(leaf, axes=None, **options):
    tx = gx.scale_by_muon(weight_dimension_numbers=axes, **options)
    return jax.jit(tx.update)({"w": leaf}, tx.init({"w": leaf}))[0]["w"]


def each_alone(leaves):
    """The updates of leaves that are matrices."""
    tx = gx.scale_by_muon()
    return jax.jit(tx.update)(leaves, tx.init(leaves))[0]


LAYERS = drawn((12, 128, 512))
# Of updates whose elements are about 1/20: products of other shapes round otherwise.
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def separate():
    """The update of each layer by itself."""
    return jnp.stack(each_alone(list(LAYERS)))


def test_stacked_layers_are_matrices_by_themselves(separate):
    np.testing.assert_allclose(update(LAYERS, gx.MatrixAxes()), separate, **CLOSE)
    np.testing.assert_allclose(update(LAYERS, MuonDimensionNumbers(1, 2)), separate, **CLOSE)


def test_a_transposed_twin_gets_the_transposed_update(separate):
    twins = {"up": LAYERS[0], "down": LAYERS[0].T}
    for options in ({}, {"batched": True}):
        tx = gx.scale_by_muon(**options)
        found, _ = jax.jit(tx.update)(twins, tx.init(twins))
        np.testing.assert_allclose(found["up"], separate[0], **CLOSE)
        np.testing.assert_allclose(found["down"].T, separate[0], **CLOSE)


@pytest.mark.parametrize("batched", [False, True])
def test_heads_whole_or_each_by_itself(batched):
    kernel = drawn((64, 4, 16), 1)
    heads = jnp.stack(each_alone([kernel[:, head] for head in range(4)]), axis=1)
    np.testing.assert_allclose(update(kernel, gx.MatrixAxes(0, 2), batched=batched), heads, **CLOSE)
    whole = update(kernel.reshape(64, 64)).reshape(64, 4, 16)
    np.testing.assert_allclose(update(kernel, gx.MatrixAxes(0, (1, 2)), batched=batched), whole, **CLOSE)
    # The output's kernel, (heads, head_dim, out).
    back = kernel.transpose(1, 2, 0)
    np.testing.assert_allclose(update(back, gx.MatrixAxes((0, 1), 2)), whole.transpose(1, 2, 0), **CLOSE)
    np.testing.assert_allclose(update(back, gx.MatrixAxes(1, 2)), heads.transpose(1, 2, 0), **CLOSE)


@pytest.mark.parametrize("sizes", [3, (32, 32, 32), (64, 16, 16)])
@pytest.mark.parametrize("batched", [False, True])
def test_fused_queries_keys_and_values_are_cut_into_their_parts(sizes, batched):
    fused = drawn((48, 96), 2)
    ends = np.cumsum((32, 32, 32) if sizes == 3 else sizes)[:-1].tolist()
    expected = jnp.concatenate(each_alone(jnp.split(fused, ends, axis=1)), axis=1)
    found = update(fused, gx.MatrixAxes(split_columns=sizes), batched=batched)
    np.testing.assert_allclose(found, expected, **CLOSE)
    transposed = update(fused.T, gx.MatrixAxes(split_rows=sizes), batched=batched)
    np.testing.assert_allclose(transposed.T, expected, **CLOSE)


def test_a_convolution_is_one_matrix_of_all_its_inputs():
    kernel = drawn((3, 3, 8, 16), 3)
    whole = update(kernel.reshape(72, 16)).reshape(3, 3, 8, 16)
    np.testing.assert_allclose(update(kernel, gx.MatrixAxes((0, 1, 2), 3)), whole, **CLOSE)


@pytest.mark.portable
@given(
    st.permutations(range(4)),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([None, 2, (1, 3)]),
    st.sampled_from([None, 2, (2, 1, 1)]),
)
def test_a_leaf_is_its_matrices_and_back(order, rows, columns, split_rows, split_columns):
    shape = (4, 4, 4, 4)
    axes = tuple(order[:rows]), tuple(order[rows : rows + columns])
    cuts = {(1, 3): (4**rows - 3, 3), (2, 1, 1): (4**columns - 2, 1, 1)}
    view = View(shape, gx.MatrixAxes(*axes, cuts.get(split_rows, split_rows), cuts.get(split_columns, split_columns)))
    leaf = np.arange(256).reshape(shape)
    matrices = view.matrices(view.stacked(jnp.asarray(leaf)))
    assert [matrix.shape[1 if view.batch else 0 :] for matrix in matrices] == view.pieces
    assert sum(matrix.size for matrix in matrices) == leaf.size
    np.testing.assert_array_equal(view.unstacked(view.joined(matrices), shape), leaf)


@pytest.mark.portable
def test_axes_print_compare_and_are_checked():
    assert repr(gx.MatrixAxes()) == "MatrixAxes(-2, -1)"
    axes = gx.MatrixAxes(0, (1, 2), split_columns=(4, 4))
    assert repr(axes) == "MatrixAxes(0, (1, 2), split_columns=(4, 4))"
    assert eval(repr(axes), {"MatrixAxes": gx.MatrixAxes}) == axes == gx.MatrixAxes(0, [1, 2], split_columns=[4, 4])
    with pytest.raises(TypeError, match="rows must be an integer or a tuple of them"):
        gx.MatrixAxes(1.5)
    with pytest.raises(ValueError, match="split_columns must be more than 0"):
        gx.MatrixAxes(split_columns=0)


WRONG = {
    "no matrix": ((3, 4, 5), None, r"shape \(3, 4, 5\); say which axes.*weight_dimension_numbers.*partition"),
    "a vector": ((3,), None, r"at 'w' has shape \(3,\)"),
    "told to have none": ((3, 4), {"w": None}, r"at 'w' has shape \(3, 4\)"),
    "an axis too many": ((3, 4), gx.MatrixAxes(0, 2), "at 'w', of shape .3, 4., there is no axis 2"),
    "an axis twice": ((3, 4), gx.MatrixAxes(0, 0), "at 'w'.*names an axis twice"),
    "parts that do not divide": ((3, 4), gx.MatrixAxes(split_columns=3), "at 'w'.*3 parts do not divide its 4 columns"),
    "sizes that do not add up": ((3, 4), gx.MatrixAxes(split_rows=(1, 1)), r"at 'w'.*\(1, 1\) do not add up to its 3"),
    "another tree": ((3, 4), {"v": gx.MatrixAxes()}, "got no MatrixAxes for the leaf at 'w'"),
    "a leaf that is not there": (
        (3, 4),
        {"w": gx.MatrixAxes(), "v": gx.MatrixAxes()},
        "got MatrixAxes for 'v', where there is no leaf",
    ),
}


@pytest.mark.portable
@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_an_error_with_the_path(case):
    shape, axes, message = case
    with pytest.raises(ValueError, match=message):
        gx.scale_by_muon(weight_dimension_numbers=axes).init({"w": jnp.ones(shape)})


@pytest.mark.portable
def test_something_else_among_axes_is_an_error():
    with pytest.raises(TypeError, match=r"expected MatrixAxes, MuonDimensionNumbers or None for the leaf at 'w', got"):
        gx.scale_by_muon(weight_dimension_numbers={"w": "rows"}).init({"w": jnp.ones((3, 4))})


def test_axes_may_be_a_prefix_or_a_function_and_fit_behind_a_mask():
    params = {"layers": {"a": drawn((2, 4, 3), 4), "b": drawn((2, 3, 4), 5)}, "bias": jnp.ones(3)}
    prefix = {"layers": gx.MatrixAxes(), "bias": None}

    def by_shape(tree):
        return jax.tree.map(lambda leaf: gx.MatrixAxes() if leaf.ndim == 3 else None, tree)

    grads = params["layers"]
    alone = gx.scale_by_muon(weight_dimension_numbers=gx.MatrixAxes())
    expected, _ = alone.update(grads, alone.init(grads))
    for axes in (prefix, by_shape):
        tx = gx.masked(gx.scale_by_muon(weight_dimension_numbers=axes), gx.by_ndim(3))
        found, _ = tx.update(params, tx.init(params))
        np.testing.assert_array_equal(found["layers"]["a"], expected["a"])
        np.testing.assert_array_equal(found["bias"], params["bias"])


def test_slots_of_matrices_have_their_axes_in_front():
    @gx.transform
    class Squares(gx.MatrixRule):
        weight_dimension_numbers: gx.WeightAxes | None = None
        left = gx.MatrixSlot(shape=lambda rule, rows, columns: (rows, rows), init=2.0, diagonal=True)
        right = gx.MatrixSlot(shape=lambda rule, rows, columns: (columns,) if columns < 8 else None)

        def update(self, grad, slots, matrix):
            return grad, slots._replace(left=slots.left + grad @ grad.mT)

    axes = {"one": gx.MatrixAxes(), "many": gx.MatrixAxes(), "fused": gx.MatrixAxes(split_columns=(6, 2))}
    params = {"one": jnp.ones((3, 8)), "many": jnp.ones((5, 3, 4)), "fused": jnp.ones((3, 8))}
    tx = Squares(axes)
    state = tx.init(params).stages["squares"]
    np.testing.assert_array_equal(state.left["one"], 2 * np.eye(3))
    assert state.left["many"].shape == (5, 3, 3)
    assert [part.shape for part in state.left["fused"]] == [(3, 3), (3, 3)]
    assert isinstance(state.right["one"], optax.MaskedNode)
    assert [part.shape for part in state.right["fused"]] == [(6,), (2,)]
    _, after = tx.update(params, tx.init(params))
    np.testing.assert_array_equal(after.stages["squares"].left["fused"][1], 2 * np.eye(3) + 2)


@pytest.mark.portable
def test_a_rule_that_declares_what_matrices_have_not_is_an_error():
    with pytest.raises(TypeError, match="a MatrixRule has no metrics"):

        class Measuring(gx.MatrixRule):
            norm = gx.Metric()

    with pytest.raises(TypeError, match="only a LeafRule takes a mask"):

        class Masking(gx.MatrixRule):
            mask: gx.Mask | None = None

    with pytest.raises(TypeError, match="with a method prepare or update"):
        gx.transform(type("Nothing", (gx.MatrixRule,), {}))
