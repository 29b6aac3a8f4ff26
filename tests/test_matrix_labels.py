"""Which parameters are hidden matrices, and along which axes: what is chosen, and that the choices are values."""

import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import MuonDimensionNumbers

import gradxform as gx


def shapes(tree):
    return jax.tree.map(lambda shape: jnp.zeros(shape), tree, is_leaf=lambda node: isinstance(node, tuple))


def chosen(params, rule=gx.matrices_and_rest):
    labels = jax.tree_util.tree_flatten_with_path(rule(params))[0]
    assert {label for _, label in labels} <= {"matrices", "rest"}
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, label in labels if label == "matrices"}


FLAX = shapes(
    {
        "Embed_0": {"embedding": (9, 8)},
        "pos_embed": (1, 5, 8),
        "cls_token": (1, 1, 8),
        "EncoderBlock_0": {
            "LayerNorm_0": {"scale": (8,), "bias": (8,)},
            "MultiHeadDotProductAttention_0": {
                "query": {"kernel": (8, 2, 4), "bias": (2, 4)},
                "out": {"kernel": (2, 4, 8), "bias": (8,)},
            },
            "MlpBlock_0": {"Dense_0": {"kernel": (8, 16), "bias": (16,)}, "heads_0": {"kernel": (8, 8)}},
        },
        "lm_head": {"kernel": (8, 9)},
        "classifier": {"kernel": (8, 3)},
    }
)
FLAX_MATRICES = {
    "EncoderBlock_0/MultiHeadDotProductAttention_0/query/kernel",
    "EncoderBlock_0/MultiHeadDotProductAttention_0/out/kernel",
    "EncoderBlock_0/MlpBlock_0/Dense_0/kernel",
    "EncoderBlock_0/MlpBlock_0/heads_0/kernel",
}
# Layers that are scanned over, with names of GPT-2 and nanochat; vectors are stacked to matrices.
STACKED = shapes(
    {
        "wte": (9, 8),
        "wpe": (6, 8),
        "h": {"ln_1": {"g": (3, 8)}, "attn": {"c_attn": {"w": (3, 8, 24), "b": (3, 24)}}, "mlp": {"w_in": (3, 8, 16)}},
        "router": {"w": (3, 8, 4)},
        "unembed": (8, 9),
        "to_logits": {"w": (8, 9)},
        "ClsHead": {"w": (8, 3)},
    }
)
STACKED_MATRICES = {"h/attn/c_attn/w", "h/mlp/w_in", "router/w"}
HAIKU = shapes(
    {
        "transformer/~/token_embedding": {"embeddings": (9, 8)},
        "transformer/layer_0/multi_head_attention/query": {"w": (8, 8), "b": (8,)},
        "transformer/layer_0/layer_norm": {"scale": (8,), "offset": (8,)},
        "transformer/head": {"w": (8, 9), "b": (9,)},
    }
)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (FLAX, FLAX_MATRICES),
        (STACKED, STACKED_MATRICES),
        (HAIKU, {"transformer/layer_0/multi_head_attention/query/w"}),
    ],
    ids=["Flax", "stacked", "Haiku"],
)
def test_chooses_hidden_matrices(params, expected):
    assert chosen(params) == expected
    assert chosen(jax.eval_shape(lambda: params)) == expected
    axes = gx.hidden_matrices(params, axes=gx.MatrixAxes(-1, -2))
    assert jax.tree.map(lambda each: each is not None, axes, is_leaf=lambda each: each is None) == jax.tree.map(
        lambda label: label == "matrices", gx.matrices_and_rest(params)
    )


class Model(eqx.Module):
    token_embedding: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    head: eqx.nn.Linear

    def __init__(self):
        keys = jax.random.split(jax.random.key(0), 4)
        self.token_embedding = eqx.nn.Embedding(9, 8, key=keys[0])
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=keys[1])
        self.norm = eqx.nn.LayerNorm(8)
        self.mlp = eqx.nn.MLP(8, 8, 16, 1, key=keys[2])
        self.head = eqx.nn.Linear(8, 9, key=keys[3])


def test_chooses_of_an_equinox_module():
    params = eqx.filter(Model(), eqx.is_array)
    assert chosen(params) == {
        *(f"attention/{name}_proj/weight" for name in ("query", "key", "value", "output")),
        *(f"mlp/layers/{index}/weight" for index in (0, 1)),
    }
    axes = gx.hidden_matrices(params, axes=gx.MatrixAxes(-1, -2))
    assert axes.mlp.layers[0].weight == gx.MatrixAxes(-1, -2)
    assert axes.head.weight is None


def test_options_say_more():
    assert chosen(STACKED, gx.matrices_and_rest(also=("router",))) == STACKED_MATRICES - {"router/w"}
    assert chosen(STACKED, gx.matrices_and_rest(also=("h/mlp/*",))) == STACKED_MATRICES - {"h/mlp/w_in"}
    found = chosen(STACKED, gx.matrices_and_rest(hidden=("unembed", "ClsHead/*")))
    assert found == STACKED_MATRICES | {"unembed", "ClsHead/w"}
    # Options beside a tree are those of this one call.
    assert chosen(STACKED, lambda params: gx.matrices_and_rest(params, also=("mlp",))) == {
        "h/attn/c_attn/w",
        "router/w",
    }


def test_kinds_of_layers():
    kinds = gx.layer_kinds(STACKED)
    hidden = {"attn": {"c_attn": {"w": "hidden", "b": "vectors"}}, "mlp": {"w_in": "hidden"}, "ln_1": {"g": "vectors"}}
    assert kinds["h"] == hidden
    assert kinds["wte"] == kinds["wpe"] == "embeddings"
    assert kinds["unembed"] == kinds["to_logits"]["w"] == kinds["ClsHead"]["w"] == "heads"
    assert gx.layer_kinds(STACKED, also=("router",))["router"]["w"] == "heads"
    assert gx.layer_kinds(FLAX)["cls_token"] == "vectors"


def test_axes_of_hidden_matrices():
    axes = gx.hidden_matrices(FLAX)
    attention = axes["EncoderBlock_0"]["MultiHeadDotProductAttention_0"]
    assert attention["query"]["kernel"] == gx.MatrixAxes(-3, (-2, -1))
    assert attention["out"]["kernel"] == gx.MatrixAxes((-3, -2), -1)
    assert attention["query"]["bias"] is axes["lm_head"]["kernel"] is None
    assert axes["EncoderBlock_0"]["MlpBlock_0"]["Dense_0"]["kernel"] == gx.MatrixAxes()
    told = gx.hidden_matrices(axes={"*/query/kernel": gx.MatrixAxes(0, 2), gx.by_ndim(2): MuonDimensionNumbers(0, 1)})
    attention = told(FLAX)["EncoderBlock_0"]["MultiHeadDotProductAttention_0"]
    assert attention["query"]["kernel"] == gx.MatrixAxes(0, 2)
    assert told(FLAX)["EncoderBlock_0"]["MlpBlock_0"]["Dense_0"]["kernel"] == gx.MatrixAxes(0, 1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        # Fewer key heads than query heads, or a stack of layers: the sizes do not tell.
        (
            {"attention": {"key": {"kernel": (8, 2, 2)}}},
            r"'attention/key/kernel', of shape \(8, 2, 2\).*heads, depth",
        ),
        ({"Conv_0": {"kernel": (3, 3, 8, 4)}}, r"MatrixAxes\(\(0, 1, 2\), 3\)"),
    ],
)
def test_what_may_be_one_as_well_as_another_is_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        gx.hidden_matrices(shapes(params))


def test_muon_and_a_partition_take_the_choice_and_describe_shows_it():
    params = jax.tree.map(lambda leaf: leaf + 1.0, FLAX)
    grads = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)
    by_muon = gx.muon(0.1, muon_weight_dimension_numbers=gx.hidden_matrices)
    matrices = gx.chain(
        gx.scale_by_muon(weight_dimension_numbers=gx.hidden_matrices),
        gx.scale_by_shape(gx.hidden_matrices),
        gx.scale_by_learning_rate(0.1),
    )
    by_labels = gx.partition(
        {"matrices": matrices, "rest": gx.adamw(0.1, weight_decay=0.0, nesterov=True)}, gx.matrices_and_rest
    )
    ours, theirs = (tx.update(grads, tx.init(params), params)[0] for tx in (by_muon, by_labels))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    groups = {group.path[-1]: set(group.which) for group in gx.describe(by_labels, params).groups}
    assert groups["matrices"] == {name.replace("_0/", "_*/") for name in FLAX_MATRICES}
    assert "lm_head/kernel" in groups["rest"]
    assert "lm_head/kernel" in str(gx.describe(by_labels, params))


def test_axes_by_rule():
    axes = gx.matrix_axes({"*/query/kernel": gx.MatrixAxes(0, (1, 2)), gx.by_ndim(2): MuonDimensionNumbers(1, 0)})
    found = axes(FLAX)
    attention = found["EncoderBlock_0"]["MultiHeadDotProductAttention_0"]
    assert attention["query"]["kernel"] == gx.MatrixAxes(0, (1, 2))
    assert attention["out"]["kernel"] is None
    assert found["lm_head"]["kernel"] == gx.MatrixAxes(1, 0)
    assert repr(gx.matrix_axes({"*": None}, gx.MatrixAxes())) == "matrix_axes({'*': None}, default=MatrixAxes(-2, -1))"
    assert gx.labels_by_axes(axes)(FLAX)["lm_head"]["kernel"] == "matrices"


VALUES = [
    lambda: gx.matrices_and_rest,
    lambda: gx.matrices_and_rest(also=("gate", "*/up")),
    lambda: gx.matrices_and_rest(hidden=("head",)),
    lambda: gx.layer_kinds,
    lambda: gx.layer_kinds(also=("output/*",)),
    lambda: gx.hidden_matrices,
    lambda: gx.hidden_matrices(also=("gate",)),
    lambda: gx.hidden_matrices(axes=gx.MatrixAxes(-1, -2)),
    lambda: gx.hidden_matrices(axes={"*/q": gx.MatrixAxes(0, (1, 2)), gx.by_ndim(2): None}),
    lambda: gx.matrix_axes({"*/q": gx.MatrixAxes(0, (1, 2))}, gx.MatrixAxes()),
    lambda: gx.matrix_axes({gx.by_ndim(2): MuonDimensionNumbers(0, 1)}),
    lambda: {"a": MuonDimensionNumbers(0, (1, 2)), "b": gx.MatrixAxes(split_columns=(1, 2))},
]


@pytest.mark.parametrize("make", VALUES, ids=lambda make: repr(make()))
def test_is_a_value(make):
    value = make()
    assert value == make()
    assert [other for other in VALUES if other() == value] == [make]
    assert pickle.loads(pickle.dumps(value)) == value
    assert eval(repr(value), {**vars(gx), "MuonDimensionNumbers": MuonDimensionNumbers}) == value
    tx = gx.scale_by_muon(weight_dimension_numbers=value)
    assert tx == gx.scale_by_muon(weight_dimension_numbers=make())
    assert hash(tx) == hash(gx.scale_by_muon(weight_dimension_numbers=make()))
    assert gx.from_json(gx.to_json(tx)) == tx


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: gx.matrices_and_rest(also="router"),
            "matrices_and_rest: also must be a tuple of strings",
        ),
        (lambda: gx.hidden_matrices(axes={"*": 3}), "hidden_matrices: axes must be MatrixAxes, .* or None; got 3"),
        (lambda: gx.matrix_axes({"*": (0, 1)}), "matrix_axes: axes must be MatrixAxes"),
        (lambda: gx.matrix_axes({2: None}), "matrix_axes: a rule must be a pattern or a mask"),
        (lambda: gx.matrix_axes("*"), "matrix_axes: rules must be a dict"),
    ],
)
def test_what_is_no_rule_is_an_error(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_function_of_axes_is_told_how_it_goes_to_a_file():
    with pytest.raises(TypeError, match=r"write it as axes of gradxform, such as matrix_axes or hidden_matrices"):
        gx.to_json(gx.scale_by_muon(weight_dimension_numbers=lambda params: gx.MatrixAxes()))
