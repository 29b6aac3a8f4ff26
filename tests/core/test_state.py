"""A state: attributes are found by name, unpacking is an error, it prints short, and libraries see a NamedTuple."""

import copy
import dataclasses
import pickle

import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gradxform as gx
from tests.ecosystem.common import assert_equal, saved_and_restored

PARAMS = {"dense": {"bias": jnp.ones(4), "kernel": jnp.ones((3, 4))}}
LABELS = {"dense": {"bias": "a", "kernel": "b"}}
CLIPPED = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1))
STATE = CLIPPED.init(PARAMS)
SAID = (
    r"read state\.stages\[\"scale_by_adam\"\]\.mu, or state\.mu if one record alone has it; state\.stages has "
    r"clip_by_global_norm \(norm\), scale_by_adam \(mu, nu\), scale_by_learning_rate$"
)


@pytest.mark.parametrize(
    ("tx", "name", "where"),
    [
        (gx.scale_by_adam(), "mu", lambda stages: stages["scale_by_adam"].mu),
        (CLIPPED, "nu", lambda stages: stages["scale_by_adam"].nu),
        (CLIPPED, "norm", lambda stages: stages["clip_by_global_norm"].norm),
        (gx.accumulate(gx.adam(0.1), 2), "inner_state", lambda stages: stages["accumulate"].inner_state),
        (gx.accumulate(gx.adam(0.1), 2), "mu", lambda stages: stages["accumulate"].inner_state.mu),
        (gx.guard(gx.accumulate(CLIPPED, 2)), "inner_state", lambda stages: stages["guard"].inner_state),
        (gx.guard(gx.accumulate(CLIPPED, 2)), "micro_step", lambda stages: stages["guard"].inner_state.micro_step),
        (
            gx.inject_hyperparams(gx.adam)(0.1),
            "hyperparams_states",
            lambda stages: stages["inject_hyperparams"].hyperparams_states,
        ),
        (
            gx.chain(optax.apply_if_finite(gx.adam(0.1), 3)),
            "notfinite_count",
            lambda stages: stages["apply_if_finite"].notfinite_count,
        ),
        (gx.chain(gx.scale(2.0), optax.adam(0.1)), "mu", lambda stages: stages["chain"][0].mu),
        (
            gx.partition({"a": gx.adam(0.1), "b": optax.sgd(0.1, 0.9)}, LABELS),
            "trace",
            lambda stages: stages["partition"].inner_states["b"][0].trace,
        ),
        (
            gx.partition({"a": gx.adam(0.1), "b": optax.sgd(0.1, 0.9)}, LABELS),
            "nu",
            lambda stages: stages["partition"].inner_states["a"].nu,
        ),
    ],
)
def test_an_attribute_of_one_record_is_found(tx, name, where):
    state = tx.init(PARAMS)
    assert getattr(state, name) is where(state.stages)
    assert name in dir(state)


@pytest.mark.parametrize(
    ("tx", "name", "words"),
    [
        (
            gx.chain(gx.trace(0.9), gx.trace(0.8)),
            "trace",
            r"more than one record of the state has 'trace', say which: "
            r'state\.stages\["trace"\]\.trace, state\.stages\["trace_2"\]\.trace$',
        ),
        (
            gx.guard(CLIPPED),
            "norm",
            r'say which: state\.stages\["guard"\]\.inner_state\.stages\["clip_by_global_norm"\]\.norm, '
            r'state\.stages\["guard"\]\.norm$',
        ),
        (
            gx.partition({"a": gx.guard(gx.sgd(0.1)), "b": gx.guard(gx.sgd(0.2))}, LABELS),
            "inner_state",
            r'say which: state\.stages\["partition"\]\.inner_states\["a"\]\.stages\["guard"\]\.inner_state, '
            r'state\.stages\["partition"\]\.inner_states\["b"\]\.stages\["guard"\]\.inner_state$',
        ),
        (
            gx.chain(optax.chain(optax.trace(0.9), optax.trace(0.8))),
            "trace",
            r'state\.stages\["chain"\]\[0\]\.trace, state\.stages\["chain"\]\[1\]\.trace$',
        ),
        (
            CLIPPED,
            "norms",
            r"no record of the state has 'norms'; did you mean norm\?; "
            r"state\.stages has clip_by_global_norm \(norm\), scale_by_adam \(mu, nu\), scale_by_learning_rate$",
        ),
        (CLIPPED, "stage", r"did you mean stages\?"),
        (CLIPPED, "hyperparam", r"did you mean hyperparams\?"),
        (gx.chain(), "mu", r"no record of the state has 'mu'; state\.stages has none$"),
        (CLIPPED, "_mu", r"^'State' object has no attribute '_mu'$"),
        (CLIPPED, "__jax_array__", r"^'State' object has no attribute '__jax_array__'$"),
    ],
)
def test_another_name_is_an_error_that_says_what_there_is(tx, name, words):
    state = tx.init(PARAMS)
    with pytest.raises(AttributeError, match=words):
        getattr(state, name)
    assert not hasattr(state, name)


def test_parameters_of_named_tuples_are_no_records():
    params = optax.TraceState(jnp.ones(2))
    state = gx.adam(0.1).init(params)
    assert type(state.mu) is optax.TraceState
    assert not hasattr(state, "trace")


@pytest.mark.parametrize("key", [0, -1, slice(None), "mu"], ids=str)
def test_an_index_is_an_error_that_says_how_records_are_read(key):
    with pytest.raises(TypeError, match=SAID) as error:
        STATE[key]
    assert f"state[{key!r}]: the records of a state have names" in str(error.value)


def test_unpacking_is_an_error_that_says_how_records_are_read():
    with pytest.raises(TypeError, match=f"a state is not unpacked: its records have names; {SAID}"):
        _adam, *_ = STATE
    with pytest.raises(TypeError, match=SAID):
        _count, _stages, _live = STATE
    with pytest.raises(TypeError, match=r"state\.stages has scale$"):
        for _adam, _rate in [gx.scale(0.1).init(PARAMS)]:
            pass


def test_what_goes_over_all_tuples_goes_over_its_fields():
    assert tuple(STATE) == (STATE.count, STATE.stages, STATE.live) == tuple(part for part in STATE)
    assert STATE._asdict() == {"count": STATE.count, "stages": STATE.stages, "live": {}}
    assert type(STATE)._make(STATE) == STATE
    holder = dataclasses.make_dataclass("Holder", ["state"])(STATE)
    assert type(dataclasses.asdict(holder)["state"]) is gx.State


def test_is_read_inside_jit_and_from_shapes():
    assert jax.jit(lambda state: state.norm + 1.0)(STATE) == 1.0
    assert jax.eval_shape(CLIPPED.init, PARAMS).mu["dense"]["bias"].shape == (4,)


def test_jax_sees_a_named_tuple():
    flat, structure = jax.tree_util.tree_flatten_with_path(STATE)
    assert type(structure.unflatten(leaf for _, leaf in flat)) is gx.State
    assert jax.tree_util.keystr(flat[1][0]) == ".stages['clip_by_global_norm'].norm"
    assert jax.tree.map(jnp.ndim, STATE).mu == {"dense": {"bias": 1, "kernel": 2}}
    many = jax.vmap(lambda rate: gx.adam(rate).init(PARAMS), out_axes=gx.State(0, 1, 0))(jnp.ones(5))
    assert (many.count.shape, many.mu["dense"]["bias"].shape) == ((5,), (4, 5))
    last, counts = jax.lax.scan(lambda state, _: (state._replace(count=state.count + 1), state.count), STATE, None, 3)
    assert (last.count, type(last)) == (3, gx.State)
    np.testing.assert_array_equal(counts, np.arange(3))


def test_optax_sees_a_named_tuple():
    assert optax.tree.get(STATE, "mu") is STATE.mu
    assert optax.tree.set(STATE, mu=0).mu == 0
    [(path, _)] = optax.tree.get_all_with_path(STATE, "norm")
    assert next(key.name for key in path if isinstance(key, optax.tree_utils.NamedTupleKey)) == "stages"
    bias = optax.tree.map_params(CLIPPED, lambda x: x + 1, STATE).mu["dense"]["bias"]
    np.testing.assert_array_equal(bias, np.ones(4))


def test_is_copied_pickled_and_compared():
    for other in (copy.copy(STATE), copy.deepcopy(STATE), pickle.loads(pickle.dumps(STATE)), STATE._replace()):
        assert type(other) is gx.State
        assert_equal(other, STATE)
    assert copy.copy(STATE) == STATE
    assert STATE._replace(count=3).count == 3


def test_flax_sees_a_named_tuple():
    as_dict = flax.serialization.to_state_dict(STATE)
    assert list(as_dict) == ["count", "stages", "live"]
    for other in (
        flax.serialization.from_state_dict(STATE, as_dict),
        flax.serialization.from_bytes(STATE, flax.serialization.to_bytes(STATE)),
    ):
        assert type(other) is gx.State
        assert_equal(other, STATE)


class Linear(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.ones(3))


def test_an_optimizer_of_nnx_prints_and_has_the_slots():
    optimizer = nnx.Optimizer(Linear(), CLIPPED, wrt=nnx.Param)
    assert optimizer.opt_state.mu["w"].shape == (3,)
    assert "scale_by_adam" in str(optimizer)


def test_equinox_and_orbax_see_a_named_tuple(tmp_path):
    assert eqx.tree_at(lambda state: state.mu, STATE, 0).mu == 0
    assert eqx.tree_pformat(STATE).startswith("State(")
    restored = saved_and_restored(tmp_path / "state", STATE, jax.tree.map(lambda leaf: leaf + 1, STATE))
    assert type(restored) is gx.State
    assert_equal(restored, STATE)


WRITTEN = """State(
    count=0,
    stages={
        'clip_by_global_norm': ClipByGlobalNorm.State(norm=0.0),
        'scale_by_adam': ScaleByAdam.State(
            mu={dense/bias: f32[4], dense/kernel: f32[3,4]},
            nu={dense/bias: f32[4], dense/kernel: f32[3,4]},
        ),
        'scale_by_learning_rate': ScaleByLearningRate.State(),
    },
    live={},
)"""


def test_prints_shapes_in_the_place_of_arrays():
    assert repr(STATE) == WRITTEN
    seen = []
    jax.jit(lambda state: seen.append(repr(state)))(STATE)
    in_order = CLIPPED.init(PARAMS)
    assert seen == [WRITTEN.replace("=0,", "=i32[],").replace("=0.0", "=f32[]")]
    assert repr(jax.eval_shape(CLIPPED.init, PARAMS)) == seen[0]
    assert repr(in_order.stages["clip_by_global_norm"]) == "ClipByGlobalNorm.State(norm=0.0)"
    stages = "stages={'scale_by_learning_rate': ScaleByLearningRate.State()}"
    assert repr(gx.sgd(0.1).init(PARAMS)) == f"State(count=0, {stages}, live={{}})"


def test_prints_the_dtypes_as_jax_writes_them():
    dtypes = {"a": "bfloat16", "b": "uint32", "c": "complex64", "d": "bool", "e": "float8_e4m3fn"}
    shapes = {name: jax.ShapeDtypeStruct((2,), dtype) for name, dtype in dtypes.items()}
    state = gx.State(2, {"keys": optax.TraceState([jax.random.key(0), shapes, 0.5, "x"])}, {})  # pyright: ignore[reportArgumentType]: it prints all the same
    assert "{0: key<fry>[], 1/a: bf16[2], 1/b: u32[2], ... 5 more}" in repr(state)
    state = state._replace(stages={"one": optax.TraceState(shapes)})
    assert "trace={a: bf16[2], b: u32[2], c: c64[2], d: bool[2], e: f8_e4m3fn[2]}" in repr(state)
    assert repr(gx.State(None, None, (1.5, True))) == "State(count={}, stages={}, live={0: 1.5, 1: True})"  # pyright: ignore[reportArgumentType]: as above


def test_what_was_donated_prints_without_its_values():
    state = gx.adam(0.1).init(PARAMS)
    state.count.delete()
    assert repr(state).startswith("State(\n    count=i32[],")


def test_of_many_leaves_the_first_are_printed():
    params = {f"layer_{index:04}": jax.ShapeDtypeStruct((8, 8), jnp.float32) for index in range(1000)}
    shapes = jax.eval_shape(gx.chain(CLIPPED, optax.trace(0.9)).init, params)
    text = repr(shapes)
    assert "nu={layer_0000: f32[8,8], layer_0001: f32[8,8], layer_0002: f32[8,8], ... 997 more}" in text
    assert "TraceState(" in text
    assert len(text) < 1000
    assert len(shapes._repr_html_()) < 5000
    # Of parameters in NamedTuples a guest's state may be records all over.
    pairs = {name: optax.TraceState(leaf) for name, leaf in params.items()}
    guest = jax.eval_shape(gx.chain(optax.trace(0.9)).init, pairs)
    assert "... 960 more" in repr(guest)
    assert "... 961 more" in guest._repr_html_()


def test_of_states_within_states_everything_is_printed():
    state = gx.chain(gx.guard(gx.adam(0.1)), optax.adam(0.1), gx.inject_hyperparams(gx.sgd)(0.5)).init(jnp.ones(2))
    text = repr(state)
    assert "'scale_by_adam': ScaleByAdam.State(mu=f32[2], nu=f32[2])" in text
    assert "'chain': (ScaleByAdamState(count=0, mu=f32[2], nu=f32[2]), EmptyState())" in text
    assert "hyperparams={learning_rate: 0.5}" in text
    assert "skipped=False" in text


def test_is_a_table_in_a_notebook():
    html = gx.guard(CLIPPED).init({"<w>": jnp.ones(2)})._repr_html_()
    name = "stages[&quot;guard&quot;].inner_state.stages[&quot;scale_by_adam&quot;].mu"
    assert html.count("<tr") == 1 + 1 + 7 + 1 + 3
    assert f"{name}</td>" in html
    assert "{&lt;w&gt;: f32[2]}" in html


def test_a_transform_is_a_table_in_a_notebook():
    html = gx.named_chain(("<clip>", gx.clip(1.0)), ("adam", gx.guard(gx.adam(0.1))))._repr_html_()
    assert html.count("<tr") == 3
    assert "&lt;clip&gt;</td>" in html
    assert "\u00a0\u00a0\u00a0\u00a0inner=chain(<br>" in html
    assert "<div>Transform</div>" in html
    told = gx.on_axes(gx.adam(0.1), {"w": jax.sharding.PartitionSpec("data")})._repr_html_()
    assert "on_axes {&#x27;w&#x27;: " in told


def test_a_transform_of_much_prints_short():
    mask = {f"layer_{index}": {"w": True, "b": False} for index in range(50)}
    assert repr(gx.masked(gx.scale(2.0), mask)) == (
        "masked(\n    inner=scale(step_size=2.0),\n    mask={'layer_0': {'w': True, 'b': False}, 'layer_1': "
        "{'w': True, 'b': False}, 'layer_2': {'w': True, 'b': False}, ... 47 more},\n)"
    )
    assert repr(gx.scale(jnp.ones((50, 2)))) == "scale(step_size=<float32[50, 2]>)"
    assert repr(gx.scale(jnp.ones(3))) == "scale(step_size=jnp.float32([1.0, 1.0, 1.0]))"
    schedule = gx.piecewise_constant_schedule(1.0, dict.fromkeys(range(1, 101), 0.9))
    assert "1: 0.9, 2: 0.9, 3: 0.9, ... 97 more}" in repr(gx.sgd(schedule))
