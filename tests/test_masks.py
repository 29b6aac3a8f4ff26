"""Masks and labels by rule: what they choose, how they combine, and that they are values."""

import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {
    "embedding": jnp.ones((5, 4)),
    "layers": [{"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}, {"kernel": jnp.ones((2, 4, 4)), "bias": jnp.ones(4)}],
    "Bias": jnp.ones(()),
    "bias": jnp.ones(3),
}
EVERYWHERE = {"Bias", "bias", "embedding", *(f"layers/{i}/{name}" for i in (0, 1) for name in ("kernel", "bias"))}


def chosen(mask, params=PARAMS):
    """The paths at which a mask is True."""
    leaves = jax.tree_util.tree_flatten_with_path(mask(params))[0]
    assert all(isinstance(leaf, bool) for _, leaf in leaves)
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in leaves if leaf}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (gx.by_path("*/bias"), {"layers/0/bias", "layers/1/bias"}),
        (gx.by_path("*bias"), {"layers/0/bias", "layers/1/bias", "bias"}),
        (gx.by_path("layers/0/*"), {"layers/0/kernel", "layers/0/bias"}),
        (gx.by_path("layers/?/kernel"), {"layers/0/kernel", "layers/1/kernel"}),
        (gx.by_path(("embedding", "[Bb]ias")), {"embedding", "Bias", "bias"}),
        (gx.by_path("layers"), set()),
        (gx.by_path(r"layers/\d/(kernel|bias)", regex=True), {p for p in EVERYWHERE if p.startswith("layers")}),
        (gx.by_path(r"layers/\d", regex=True), set()),
        (gx.by_path(("embed.*", "Bias"), regex=True), {"embedding", "Bias"}),
        (gx.by_ndim(2), {"embedding", "layers/0/kernel"}),
        (gx.by_ndim(0), {"Bias"}),
        (gx.by_ndim(at_least=2), {"embedding", "layers/0/kernel", "layers/1/kernel"}),
        (gx.by_ndim(at_most=0), {"Bias"}),
        (gx.by_ndim(at_least=1, at_most=1), {"layers/0/bias", "layers/1/bias", "bias"}),
        (~gx.by_ndim(at_least=1), {"Bias"}),
        (gx.by_path("layers/*") & gx.by_ndim(at_least=2), {"layers/0/kernel", "layers/1/kernel"}),
        (gx.by_path("layers/*") & ~gx.by_path("*/0/*") & gx.by_ndim(1), {"layers/1/bias"}),
        (gx.by_path("embedding") | gx.by_ndim(0) | gx.by_ndim(3), {"embedding", "Bias", "layers/1/kernel"}),
        (gx.not_biases_or_norms() & ~gx.by_path("embedding"), {"layers/0/kernel", "layers/1/kernel"}),
        (~(gx.by_ndim(2) | gx.by_ndim(3) | gx.by_ndim(1)), {"Bias"}),
    ],
    ids=lambda value: repr(value) if callable(value) else "",
)
def test_chooses_by_rule(mask, expected):
    assert chosen(mask) == expected
    # Shapes are enough, and so are NumPy's arrays.
    assert chosen(mask, jax.eval_shape(lambda: PARAMS)) == expected
    assert chosen(mask, jax.tree.map(np.asarray, PARAMS)) == expected


MASKS = [
    lambda: gx.by_path("*/bias"),
    lambda: gx.by_path("*/bias", regex=False) | gx.by_ndim(1),
    lambda: gx.by_path("*/bias") & gx.by_ndim(1),
    lambda: gx.by_path(".*/bias", regex=True),
    lambda: gx.by_path(("a", "b")),
    lambda: gx.by_ndim(at_least=1),
    lambda: ~gx.by_ndim(1),
    lambda: ~(gx.by_ndim(1) | ~gx.by_path("a") & gx.not_biases_or_norms(("b",))),
    gx.not_biases_or_norms,
    lambda: gx.labels({"*/bias": "a", gx.by_ndim(2): "b"}, "c"),
    lambda: gx.labels({gx.by_ndim(2): "b", "*/bias": "a"}, default="c"),
    lambda: gx.labels({"*": "a"}),
]


@pytest.mark.parametrize("make", MASKS, ids=lambda make: repr(make()))
def test_is_a_value(make):
    mask = make()
    assert mask == make()
    assert hash(mask) == hash(make())
    assert [make for make in MASKS if make() == mask] == [make]
    assert pickle.loads(pickle.dumps(mask)) == mask
    assert eval(repr(mask), dict(vars(gx))) == mask
    # To a pytree it is a leaf, as a function is.
    assert jax.tree.leaves(mask) == [mask]


def test_prints_as_it_is_written():
    mask = gx.by_path("*/w") & ~(gx.by_ndim(1) | gx.by_ndim(0))
    assert repr(mask) == "(by_path(pattern='*/w') & ~(by_ndim(ndim=1) | by_ndim(ndim=0)))"
    assert (
        repr(gx.labels({"*/w": "a", gx.by_ndim(1): "b"})) == "labels({'*/w': 'a', by_ndim(ndim=1): 'b'}, default=None)"
    )


def test_is_a_mask_of_ours_and_of_optax():
    mask = gx.by_path("layers/*") & gx.by_ndim(at_least=2)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    for tx in (
        gx.adamw(0.1, weight_decay=1.0, mask=mask),
        optax.masked(optax.add_decayed_weights(-0.1), mask),
        gx.masked(gx.add_decayed_weights(0.1, flip_sign=True), mask),
        gx.chain(gx.prodigy(0.1, weight_decay=1.0, mask=mask)),
    ):
        updates, _ = jax.jit(tx.update)(zeros, tx.init(PARAMS), PARAMS)
        changes = jax.tree.map(lambda update: bool(jnp.any(update != 0)), updates)
        assert changes == mask(PARAMS)


def test_reads_the_attributes_of_a_module():
    model = eqx.filter(eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0)), eqx.is_array)
    assert chosen(gx.by_path("layers/0/*"), model) == {"layers/0/weight", "layers/0/bias"}


# Labels.


def test_the_first_rule_that_fits_counts():
    labels = gx.labels({"*/bias": "bias", gx.by_ndim(2): "matrix", "layers/*": "layer"}, default="rest")
    assert labels(PARAMS) == {
        "embedding": "matrix",
        "layers": [{"kernel": "matrix", "bias": "bias"}, {"kernel": "layer", "bias": "bias"}],
        "Bias": "rest",
        "bias": "rest",
    }
    reversed_order = gx.labels({"layers/*": "layer", "*/bias": "bias"}, default="rest")
    assert reversed_order(PARAMS)["layers"][0]["bias"] == "layer"


def test_labels_part_the_parameters():
    groups = {"decay": gx.adamw(0.1, weight_decay=1.0), "no_decay": gx.adam(0.1)}
    tx = gx.partition(groups, gx.labels({gx.by_ndim(at_most=1): "no_decay"}, default="decay"))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["embedding"], -0.1, rtol=1e-6)
    assert not updates["bias"].any()
    assert "param_labels=labels({by_ndim(at_most=1): 'no_decay'}, default='decay')" in repr(tx)


def test_a_parameter_that_no_rule_fits_is_an_error():
    with pytest.raises(ValueError, match="labels: no rule fits the parameter at 'Bias', and there is no default"):
        gx.labels({"*/*": "a", "b*": "b"})({"Bias": jnp.ones(3), "b": jnp.ones(3)})


# Errors.


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: gx.by_path(3), TypeError, "by_path: pattern must be a string or a tuple of strings; got 3"),
        (lambda: gx.by_path(()), TypeError, "by_path: pattern must be a string or a tuple of strings"),
        (lambda: gx.by_path(["a"]), TypeError, "by_path: pattern must be a string or a tuple of strings"),
        (lambda: gx.by_path("(", regex=True), ValueError, r"by_path: '\(' is no regular expression: missing \)"),
        (lambda: gx.by_ndim(), TypeError, "by_ndim: expected either a number of axes or bounds"),
        (lambda: gx.by_ndim(1, at_least=1), TypeError, "by_ndim: expected either a number of axes or bounds"),
        (lambda: gx.by_ndim("2"), TypeError, "by_ndim: expected integers, got '2'"),
        (lambda: gx.by_ndim(at_most=True), TypeError, "by_ndim: expected integers, got True"),
        (lambda: gx.by_ndim(2) & (lambda params: params), TypeError, "unsupported operand"),
        (lambda: gx.by_ndim(2) | {"w": True}, TypeError, "unsupported operand"),
        (lambda: gx.labels(["*/bias"]), TypeError, "labels: rules must be a dict from patterns or masks to labels"),
        (
            lambda: gx.labels({3: "a"}),
            TypeError,
            r"labels: a rule must be a pattern or a mask .*; got 3",
        ),
        (lambda: gx.labels({"*": 1}), TypeError, "labels: a label must be a string; got 1"),
        (lambda: gx.labels({"*": "a"}, default=2), TypeError, "labels: a label must be a string; got 2"),
    ],
)
def test_what_makes_no_sense_is_an_error(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("call", ["and", "or", "not"])
def test_combinations_in_a_file_are_checked(call):
    argument = {"mask": {"w": True}} if call == "not" else {"masks": [{"w": True}]}
    config = {"gradxform": 1, "call": "masked", "inner": {"call": "identity"}, "mask": {"call": call, **argument}}
    with pytest.raises(TypeError, match=rf"^from_dict: mask: {call}: expected masks by rule, such as by_path"):
        gx.from_dict(config)
