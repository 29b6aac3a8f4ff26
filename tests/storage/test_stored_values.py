"""stored is a value, says what it keeps and what that takes, and refuses what does not fit, in words."""

import pickle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core.keep import is_encoded

PARAMS = {"kernel": jnp.linspace(-1.0, 1.0, 48).reshape(8, 6), "bias": jnp.linspace(0.5, 1.0, 6)}
ALL = gx.stored(gx.adamw(0.1), gx.int8(), min_size=0)
SOME = gx.stored(gx.adamw(0.1), mu=gx.int4(), nu=gx.as_dtype("bfloat16"), where=gx.by_path("kernel"), min_size=0)
VALUES = [
    ALL,
    SOME,
    gx.stored(gx.adamw(0.1), gx.int8(64, stochastic=True, seed=1), nu=None),
    gx.stored(gx.chain(gx.clip(1.0), gx.lion(0.1)), gx.as_dtype("float8_e4m3fn", companded=False)),
    gx.stored(gx.stored(gx.adam(0.1), mu=gx.int4()), gx.int8()),
    gx.chain(gx.clip(1.0), gx.stored(gx.scale_by_adam(), gx.int8(axis=-1, signed=True)), gx.scale(-0.1)),
]


@pytest.mark.parametrize("tx", VALUES, ids=range(len(VALUES)))
def test_is_a_value(tx):
    names = {**vars(gx), "dtype": np.dtype}
    assert eval(repr(tx), names) == tx
    assert hash(eval(repr(tx), names)) == hash(tx)
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert gx.from_json(gx.to_json(tx)) == tx
    leaves, structure = jax.tree.flatten(tx)
    assert jax.tree.unflatten(structure, leaves) == tx
    assert all(isinstance(leaf, float) for leaf in leaves)
    assert [other == tx for other in VALUES].count(True) == 1


def test_numbers_and_codecs_are_replaced_by_name():
    assert gx.replace(ALL, learning_rate=0.2) == gx.stored(gx.adamw(0.2), gx.int8(), min_size=0)
    assert gx.replace(ALL, block=64, min_size=1) == gx.stored(gx.adamw(0.1), gx.int8(64), min_size=1)
    assert gx.replace(SOME, {"stored.mu.block": 64}) == gx.stored(
        gx.adamw(0.1), mu=gx.int4(64), nu=gx.as_dtype("bfloat16"), where=gx.by_path("kernel"), min_size=0
    )
    with pytest.raises(ValueError, match=r"stored\.mu\.block"):
        gx.replace(SOME, block=64)


def test_hyperparameters_within_are_read_and_adjusted():
    tx = gx.stored(gx.adam(gx.Live(0.1)), gx.int8(), min_size=0)
    state = tx.init(PARAMS)
    assert gx.hyperparams(tx, state)["stored.inner.scale_by_learning_rate.learning_rate"] == np.float32(0.1)
    state = gx.adjust(state, learning_rate=0.2)
    assert gx.hyperparams(tx, state)["stored.inner.scale_by_learning_rate.learning_rate"] == np.float32(0.2)
    assert all(map(is_encoded, state.mu.values()))


def test_a_state_prints_and_pickles():
    state = SOME.init(PARAMS)
    assert "mu={bias: f32[6], kernel: f32[8,6] as int4 in blocks of 128}" in repr(state)
    assert "nu={bias: f32[6], kernel: f32[8,6] as bfloat16}" in repr(state)
    # What is mapped to something else than arrays, such as shardings, prints as well.
    assert "by int4(): codes='int8', scale='float32'>" in repr(jax.tree.map(lambda leaf: leaf.dtype.name, state))
    again = pickle.loads(pickle.dumps(state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    assert gx.decoded(state).mu["kernel"].dtype == jnp.float32
    assert jax.tree.structure(gx.decoded(state).stages["stored"]) == jax.tree.structure(gx.adamw(0.1).init(PARAMS))


class Layer(NamedTuple):
    """Parameters whose fields have the names of slots."""

    nu: jax.Array
    bias: jax.Array


def kept(description, name):
    """What is described under a name."""
    return next(each for part in description.parts for each in part.kept if each.name == name)


def test_describe_says_how_slots_are_kept_and_what_that_takes():
    described = gx.describe(SOME, PARAMS)
    state = SOME.init(PARAMS)
    assert kept(described, "mu").dtypes == ("float32", "int4 in blocks of 128")
    assert kept(described, "nu").dtypes == ("bfloat16", "float32")
    # Of the kernel 4 bits an element and a scale for each of 6 columns; of the bias float32.
    assert (kept(described, "mu").arrays, kept(described, "mu").bytes) == (2, 48 // 2 + 6 * 4 + 6 * 4)
    assert described.state_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert gx.describe(SOME, PARAMS, state).to_dict() == described.to_dict() | {"step": 0}
    text = repr(described)
    assert "mu: float32 and int4 in blocks of" in text
    assert "mu=int4()" in text
    assert "slots" not in text


def test_describe_counts_groups_and_guests_as_they_are_kept():
    grouped = gx.partition({"a": gx.adam(0.1), "b": gx.sgd(0.1)}, {"kernel": "a", "bias": "b"})
    (group, _) = gx.describe(gx.stored(grouped, gx.int8(), min_size=0), PARAMS).groups
    # Two slots of 48 codes and 6 scales, and a count.
    assert group.state_bytes == 2 * (48 + 6 * 4) + 4
    guest = gx.describe(gx.stored(optax.adam(0.1), gx.int8(), nu=None, min_size=0), PARAMS)
    assert kept(guest, "mu").dtypes == ("int8 in blocks of 128",)
    assert kept(guest, "nu").dtypes == ("float32",)


def test_small_leaves_integers_and_numbers_stay_as_they_are():
    params = {"large": jnp.ones((64, 64)), "small": jnp.ones((63, 65))}
    state = jax.eval_shape(gx.stored(gx.adamw(0.1), gx.int8()).init, params)
    assert is_encoded(state.mu["large"])
    assert not is_encoded(state.mu["small"])
    # Numbers of prodigy, the copies of its parameters, and counts.
    tx = gx.stored(gx.prodigy(0.1), gx.int8(), min_size=0)
    state = jax.eval_shape(tx.init, params)
    assert not any(map(is_encoded, jax.tree.leaves(state.params0, is_leaf=is_encoded)))
    assert is_encoded(state.exp_avg_sq["large"])
    named = gx.stored(gx.schedule_free_sgd(0.1), gx.int8(), z=gx.as_dtype("bfloat16"), min_size=0)
    assert repr(jax.eval_shape(named.init, params).z["large"].codec) == "as_dtype(dtype='bfloat16')"


def test_the_inner_of_two_says_first_and_the_outer_what_is_left():
    inner = gx.stored(gx.amsgrad(0.1), mu=gx.int4(), nu_max=None, min_size=0)
    state = jax.eval_shape(gx.stored(inner, gx.int8(), min_size=0).init, PARAMS)
    assert state.mu["kernel"].codec == gx.int4()
    assert state.nu["kernel"].codec == gx.int8()
    assert not is_encoded(state.nu_max["kernel"])


def test_slots_of_guests_have_their_names_whatever_the_parameters_are_called():
    params = Layer(jnp.ones((8, 6)), jnp.ones(6))
    tx = gx.stored(optax.adam(0.1), mu=gx.int8(), min_size=0)
    adam = jax.eval_shape(tx.init, params).stages["stored"][0]
    assert is_encoded(adam.mu.nu)
    assert is_encoded(adam.mu.bias)
    assert not is_encoded(adam.nu.nu)


def test_errors_name_what_is_wrong_and_what_to_do():
    adam = gx.adam(0.1)
    with pytest.raises(TypeError, match="expected a codec for all slots, or one for some, by their names, as mu="):
        gx.stored(adam)
    with pytest.raises(TypeError, match=r"codec must be a codec, such as int8\(\); got .*; call it to make the codec"):
        gx.stored(adam, gx.int8)
    with pytest.raises(TypeError, match=r"mu must be a codec, such as int8\(\); got 'int8'$"):
        gx.stored(adam, mu="int8")
    with pytest.raises(TypeError, match=r"inner must be a transform; got .*; call it to make the transform"):
        gx.stored(gx.adam, gx.int8())
    with pytest.raises(TypeError, match=r"min_size must be an integer; got 0\.5"):
        gx.stored(adam, gx.int8(), min_size=0.5)
    with pytest.raises(ValueError, match="stored: there is no 'mus' among mu, nu; did you mean mu"):
        gx.stored(adam, mus=gx.int8()).init(PARAMS)
    with pytest.raises(
        ValueError, match=r"slot mu at 'bias': int8: there is no axis 1 in shape \(6,\); leave it out with"
    ):
        gx.stored(adam, gx.int8(axis=1), min_size=0).init(PARAMS)
    with pytest.raises(
        ValueError, match="slot mu at 'a': int4 keeps real numbers, got complex64; leave it out with where"
    ):
        gx.stored(adam, gx.int4(), min_size=0).init({"a": jnp.ones(3, jnp.complex64)})
    with pytest.raises(
        ValueError, match="stored: expected a mask that is a prefix of the updates; got nothing for the leaf at 'bias'"
    ):
        gx.stored(adam, gx.int8(), where={"other": True}).init(PARAMS)
    # Complex leaves go on beside real ones.
    mixed = {"a": jnp.ones(3, jnp.complex64), "b": jnp.ones(3)}
    state = gx.stored(adam, gx.int8(), where={"a": False, "b": True}, min_size=0).init(mixed)
    assert [is_encoded(leaf) for leaf in state.mu.values()] == [False, True]


def test_bytes_of_the_state_for_each_parameter():
    """Of a GPT of 28M parameters: 12 layers of width 384, and 16384 words."""
    width = 384
    vectors = [(width,)] * 6 + [(3 * width,), (4 * width,)]
    dense = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    of_leaves = [(16384, width), (512, width), *[*vectors, *dense] * 12, (width,), (width,)]
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in of_leaves]
    matrices = [shape for shape in shapes if len(shape.shape) == 2]
    adamw = gx.adamw(3e-4)
    limits = {
        8.0: (adamw, shapes),
        2.1: (gx.stored(adamw, gx.int8()), shapes),
        4.0: (gx.stored(adamw, gx.as_dtype("bfloat16"), min_size=0), shapes),
        1.15: (gx.stored(adamw, gx.int4()), shapes),
        1.1: (gx.stored(gx.scale_by_muon(), gx.int8()), matrices),
    }
    for limit, (tx, params) in limits.items():
        elements = sum(np.prod(leaf.shape) for leaf in params)
        # A count or two is all that there is beside slots.
        assert limit * 0.9 < (gx.describe(tx, params).state_bytes - 8) / elements <= limit
