"""describe says what a transform is made of and what it costs, in text, in HTML and in plain numbers."""

import html.parser
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.case import MASK, at, params
from tests.contract.cases import CASES

EMBEDDED = {"w": jnp.ones((4, 3)), "b": jnp.ones(3, jnp.bfloat16), "emb": jnp.ones((8, 4))}
LABELS = {"w": "matrices", "b": "rest", "emb": "frozen"}


def parted(rate=0.1):
    """Two groups of ours and one of optax, in an order that is not the alphabet's."""
    matrices = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(rate))
    return gx.partition({"rest": gx.sgd(0.1, 0.9), "matrices": matrices, "frozen": optax.set_to_zero()}, LABELS)


def part(description, *path):
    """The part at a path."""
    (found,) = [each for each in description.parts if each.path == path]
    return found


def kept(description, *path):
    """What a part keeps: name -> (kind, shape, dtypes, arrays, bytes)."""
    return {
        each.name: (each.kind, each.shape, each.dtypes, each.arrays, each.bytes)
        for each in part(description, *path).kept
    }


def settings(description, *path):
    """The hyperparameters of a part: name -> (value, value at the step)."""
    return {each.name: (each.value, each.at_step) for each in part(description, *path).settings}


def bytes_of(state):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bytes_are_those_of_the_arrays_that_init_makes(case):
    tx, first = case.make(), params(jnp.bfloat16)
    if case.real_only or not case.batch:
        first = {**first, "scale": first["scale"].astype(jnp.float32)}
    for transform in (tx, gx.live(tx)):
        state = transform.init(first)
        described = gx.describe(transform, jax.eval_shape(lambda: first))
        assert described.state_bytes == bytes_of(state)
        assert gx.describe(transform, first, state).state_bytes == bytes_of(state)
        # Line by line they are all there, and none twice.
        assert sum(each.bytes for each_part in described.parts for each in each_part.kept) == bytes_of(state)
        assert sum(each.arrays for each_part in described.parts for each in each_part.kept) == len(
            jax.tree.leaves(state)
        )
        json.dumps(described.to_dict(), allow_nan=False)


def test_a_chain_rule_by_rule():
    schedule = gx.linear_schedule(0.0, 1.0, 10)
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(schedule, mask=MASK, mu_dtype="bfloat16"))
    first = params()
    state = tx.init(first)
    for _ in range(3):
        _, state = tx.update(first, state, first)
    described = gx.describe(tx, first, state)
    assert described.call == repr(tx)
    assert [each.path for each in described.parts] == [
        (),
        ("clip_by_global_norm",),
        ("scale_by_adam",),
        ("add_decayed_weights",),
        ("scale_by_learning_rate",),
    ]
    assert kept(described) == {"count": ("count", "one number", ("int32",), 1, 4)}
    assert kept(described, "clip_by_global_norm") == {"norm": ("metric", "one number", ("float32",), 1, 4)}
    assert kept(described, "scale_by_adam") == {
        "mu": ("slot", "like the parameter", ("bfloat16",), 3, 32),
        "nu": ("slot", "like the parameter", ("float32",), 3, 64),
    }
    assert settings(described, "scale_by_adam") == {
        "b1": (0.9, None),
        "b2": (0.999, None),
        "eps": (1e-8, None),
        "eps_root": (0.0, None),
        "mu_dtype": ("'bfloat16'", None),
    }
    assert settings(described, "scale_by_learning_rate")["learning_rate"] == (repr(schedule), pytest.approx(0.3))
    # The mask counts.
    decayed = part(described, "add_decayed_weights").touched
    assert (decayed.leaves, decayed.elements, decayed.bytes) == (1, 12, 48)
    assert (described.params.leaves, described.params.elements, described.params.bytes) == (3, 16, 64)
    assert (described.step, described.ratio) == (3, (4 + 4 + 32 + 64) / 64)
    assert described.groups == ()


def test_what_is_of_matrices_is_told_from_what_is_like_the_parameter():
    described = gx.describe(gx.scale_by_psgd_kron(), {"w": jnp.zeros((4, 6))})
    assert kept(described, "scale_by_psgd_kron") == {
        "mu": ("slot", "like the parameter", ("float32",), 1, 96),
        "left": ("slot", "one of each matrix", ("float32",), 1, 64),
        "right": ("slot", "one of each matrix", ("float32",), 1, 144),
        "noise": ("key", "one key", ("uint32",), 1, 8),
    }


def test_without_parameters_it_says_what_is_declared():
    described = gx.describe(gx.chain(gx.lamb(0.1), gx.add_noise(0.1, 0.5, 1)))
    assert (described.params, described.state_bytes, described.ratio, described.step) == (None, None, None, None)
    assert kept(described, "scale_by_adam")["mu"] == ("slot", "like the parameter", ("float32 or wider",), None, None)
    assert kept(described, "scale_by_trust_ratio") == {
        "trust_ratio": ("metric", "one number a leaf", ("float32 or wider",), None, None)
    }
    assert kept(described, "add_noise")["rng_key"][:3] == ("key", "one key", ("uint32",))
    assert "with parameters, also bytes" in str(described)


@pytest.mark.parametrize(
    ("tx", "path", "name", "shape"),
    [
        (gx.scale_by_factored_rms(), "scale_by_factored_rms", "v_row", "some axes of the parameter"),
        (gx.mechanize(gx.sgd(0.1)), "mechanize", "s", "6 numbers"),
        (gx.prodigy(), "prodigy", "params0", "a copy of the parameter"),
        (gx.zero_nans(), "zero_nans", "found_nan", "one number a leaf"),
        (gx.snapshot("norm", optax.tree.norm), "snapshot", "measurement", "as measured"),
        (gx.record_norms({"all": True}), "record_norms", "norm", "one number a group"),
    ],
    ids=["axes", "length", "copy", "leaf", "measure", "group"],
)
def test_the_shape_of_each_kind_of_slot_is_told(tx, path, name, shape):
    for described in (gx.describe(tx), gx.describe(tx, EMBEDDED)):
        assert kept(described, path)[name][1] == shape


def test_a_state_alone_tells_bytes_and_the_values_of_its_step():
    tx = gx.live(gx.chain(gx.adam(0.1)), "learning_rate")
    state = gx.adjust(tx.init(EMBEDDED), learning_rate=0.25)
    described = gx.describe(tx, state=state)
    assert (described.params, described.state_bytes, described.step) == (None, bytes_of(state), 0)
    assert settings(described, "scale_by_learning_rate") == {"learning_rate": ("Live(value=0.1)", 0.25)}
    assert kept(described)["scale_by_learning_rate.learning_rate"] == ("live", "one number", ("float32",), 1, 4)
    assert "now 0.25" in str(described)


def test_a_live_hyperparameter_that_was_written_as_a_number():
    tx = gx.live(gx.sgd(0.1))
    state = tx.init(EMBEDDED)
    state.hyperparams["scale_by_learning_rate.learning_rate"] = 0.5
    described = gx.describe(tx, EMBEDDED, state)
    assert settings(described, "scale_by_learning_rate")["learning_rate"][1] == 0.5
    assert described.state_bytes == 8


def test_a_state_of_mere_shapes_has_bytes_and_no_step():
    tx = gx.adam(gx.constant_schedule(0.1))
    state = jax.eval_shape(tx.init, EMBEDDED)
    described = gx.describe(tx, EMBEDDED, state)
    assert described.step is None
    assert described.state_bytes == gx.describe(tx, EMBEDDED).state_bytes
    assert settings(described, "scale_by_learning_rate")["learning_rate"][1] is None


def test_groups_of_a_partition():
    tx = parted(gx.constant_schedule(0.5))
    state = tx.init(EMBEDDED)
    described = gx.describe(tx, EMBEDDED, state)
    groups = {each.path[-1]: (each.seen.leaves, each.seen.elements, each.state_bytes) for each in described.groups}
    assert groups == {"rest": (1, 3, 4 + 12), "matrices": (1, 12, 4 + 4 + 2 * 48), "frozen": (1, 32, 0)}
    inside = ("partition", "matrices")
    assert settings(described, *inside, "scale_by_learning_rate")["learning_rate"][1] == 0.5
    assert part(described, *inside, "scale_by_adam").touched.leaves == 1
    assert kept(described, *inside, "scale_by_adam")["mu"][3:] == (1, 48)
    assert kept(described, "partition", "rest", "trace")["trace"][3:] == (1, 12)
    assert part(described, "partition").kind == "route"
    assert settings(described, "partition") == {"param_labels": (repr(LABELS), None)}
    # The labels may be a function too.
    by_function = gx.partition(tx.stages[0].node.transforms, lambda tree: LABELS)
    assert gx.describe(by_function, EMBEDDED).groups == described.groups


def test_groups_of_masks_and_of_transforms_within_them():
    masked = gx.masked(
        gx.chain(gx.masked(gx.adam(0.1), {"w": True, "b": False, "emb": False}), gx.scale(2.0)),
        {"w": True, "b": True, "emb": False},
    )
    described = gx.describe(masked, EMBEDDED)
    assert [(each.path, each.seen.leaves) for each in described.groups] == [
        (("masked", "inner"), 2),
        (("masked", "inner", "masked", "inner"), 1),
    ]
    assert part(described, "masked", "inner", "scale").touched.leaves == 2
    # Where all leaves are seen there are no groups to tell of.
    assert gx.describe(gx.apply_if_finite(gx.sgd(0.1), 5), EMBEDDED).groups == ()
    assert gx.describe(gx.mechanize(gx.sgd(0.1)), EMBEDDED).groups == ()


def test_a_guest_with_its_arrays():
    tx = gx.chain(gx.clip_by_global_norm(1.0), optax.scale_by_lion(), gx.scale_by_learning_rate(0.1))
    first = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
    described = gx.describe(tx, first)
    assert part(described, "scale_by_lion").kind == "guest"
    assert part(gx.describe(gx.stored(gx.adam(0.1), gx.int8())), "stored").kind == "node"
    assert kept(described, "scale_by_lion") == {
        "count": ("array", "", ("int32",), 1, 4),
        "mu": ("array", "", ("float32",), 2, 60),
    }
    assert kept(gx.describe(tx), "scale_by_lion") == {}
    for guest in (optax.masked(gx.adam(0.1), True), optax.add_noise(0.1, 0.5, jax.random.key(0)), optax.lbfgs()):
        held = gx.chain(guest)
        assert gx.describe(held, first).state_bytes == bytes_of(held.init(first))


def test_hyperparameters_that_a_guest_s_state_holds():
    tx = gx.inject_hyperparams(gx.adamw)(learning_rate=gx.linear_schedule(0.0, 1.0, 10), b1=0.8)
    state = tx.init(EMBEDDED)
    for _ in range(2):
        _, state = tx.update(EMBEDDED, state, EMBEDDED)
    now = settings(gx.describe(tx, EMBEDDED, state), "inject_hyperparams")
    assert now["learning_rate"] == (repr(gx.linear_schedule(0.0, 1.0, 10)), pytest.approx(0.2))
    assert now["b1"] == (0.8, pytest.approx(0.8))


def test_how_many_leaves_decay_where_all_are_treated():
    described = gx.describe(gx.prodigy(weight_decay=0.1, mask=MASK), params())
    assert part(described, "prodigy").touched.leaves == 3
    assert part(described, "prodigy").decayed == 1
    assert "1 decay" in str(described)
    assert part(gx.describe(gx.prodigy(weight_decay=0.1), params()), "prodigy").decayed is None


def test_a_hundred_billion_parameters_are_described_without_an_array():
    layer = {
        "kernel": jax.ShapeDtypeStruct((16384, 65536), jnp.bfloat16),
        "bias": jax.ShapeDtypeStruct((65536,), jnp.bfloat16),
    }
    shapes = {f"layer_{i}": layer for i in range(94)}
    before = len(jax.live_arrays())
    described = gx.describe(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)), shapes)
    assert len(jax.live_arrays()) <= before
    assert described.params.elements > 100e9
    assert described.state_bytes == 2 * 4 * described.params.elements + 8
    assert described.ratio == pytest.approx(4)
    assert "state 808 GB, 4 times the parameters" in str(described)


def test_the_text_of_a_chain():
    first = {"w": jax.ShapeDtypeStruct((1000, 1000), jnp.float32), "b": jax.ShapeDtypeStruct((1000,), jnp.float32)}
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.constant_schedule(3e-4), mask=gx.not_biases_or_norms()))
    assert str(gx.describe(tx, first)) == TEXT.strip("\n")


TEXT = """
2 leaves of 1M elements; parameters 4 MB; state 8.01 MB, 2 times the parameters

part                    hyperparameters                                kept in the state                bytes  leaves
----------------------  ---------------------------------------------  -------------------------------  -----  ------
transform                                                              count: int32, one number           4 B       2
clip_by_global_norm     max_norm=1.0                                   norm: float32, one number          4 B       2
scale_by_adam           b1=0.9                                         mu: float32, like the parameter   4 MB       2
                        b2=0.999                                       nu: float32, like the parameter   4 MB
                        eps=1e-08
                        eps_root=0.0
add_decayed_weights     weight_decay=0.0001                                                                    1 of 2
                        mask=not_biases_or_norms()
scale_by_learning_rate  learning_rate=constant_schedule(value=0.0003)                                               2
"""


@pytest.mark.parametrize("described", [gx.describe(case.make(), params()) for case in CASES[::5]], ids=lambda _: "")
def test_text_is_of_the_width_of_a_terminal(described):
    for line in str(described).splitlines():
        assert len(line) <= 130
        assert line == line.rstrip()


class Tags(html.parser.HTMLParser):
    """The text of a page, and whether its tags fit."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_html_is_whole_escaped_and_has_what_the_text_has():
    tx = gx.chain(parted(), optax.stateless(lambda updates, params: updates), gx.snapshot("<b>&", optax.tree.norm))
    page = gx.describe(tx, EMBEDDED)._repr_html_()
    tags = Tags(page)
    assert tags.open == []
    assert "<b>" not in page
    assert "measure_name=<b>&" in tags.text
    assert {"scale_by_adam", "trace: float32, like the parameter"} <= {text.strip("\u00a0") for text in tags.text}
    # It brings no colours but a grey that is seen on white and on black, and loads nothing.
    assert "http" not in page
    assert "color: inherit" in page


def test_the_dict_is_plain():
    described = gx.describe(gx.chain(gx.record_norms(ord=math.inf), parted()), EMBEDDED)
    plain = json.loads(json.dumps(described.to_dict(), allow_nan=False))
    assert plain["ratio"] == described.ratio
    assert plain["params"] == {"leaves": 3, "elements": 47, "bytes": 12 * 4 + 3 * 2 + 32 * 4}
    assert plain["parts"][1]["settings"] == [{"name": "ord", "value": "inf", "at_step": None}]
    assert plain["groups"][0]["path"] == ["partition", "rest"]


def test_numbers_that_are_arrays_and_pairs_are_written_as_in_the_call():
    tx = gx.chain(gx.scale(jnp.float32(2.0)), gx.scale_by_adam(np.float32(0.5)), gx.prodigy(betas=(0.9, 0.98)))
    described = gx.describe(tx)
    assert settings(described, "scale") == {"step_size": ("jnp.float32(2.0)", None)}
    assert settings(described, "scale_by_adam")["b1"][0] == "np.float32(0.5)"
    assert settings(described, "prodigy")["betas.1"] == (0.98, None)


def test_leaves_of_python_and_numpy_are_counted_as_init_takes_them():
    tree = {"number": 0.5, "array": np.ones(3)}
    tx = gx.adam(0.1)
    assert gx.describe(tx, tree).state_bytes == bytes_of(tx.init(tree))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: gx.describe(optax.adam(0.1)),
            TypeError,
            "describe takes a gradxform transform, got .*optax.* of type",
        ),
        (
            lambda: gx.describe(gx.adam),
            TypeError,
            "describe takes a gradxform transform, got .*adam.* of type function",
        ),
        (lambda: gx.describe(gx.adam(0.1), {"a": "relu"}), TypeError, "expected an array at 'a', got 'relu'"),
        (
            lambda: gx.describe(gx.adam(0.1), {"a": jnp.ones(2, int)}),
            TypeError,
            "expected a floating-point array at 'a'",
        ),
        (lambda: gx.describe(gx.adam(0.1), state=()), ValueError, "expected the state that init"),
        (
            lambda: gx.describe(gx.adam(0.1), state=gx.sgd(0.1).init(EMBEDDED)),
            ValueError,
            r"the state has stages \['scale_by_learning_rate'\]",
        ),
        (
            lambda: gx.describe(
                gx.named_chain(("a", gx.trace(0.9))), state=gx.named_chain(("a", gx.ema(0.9))).init({})
            ),
            ValueError,
            "the state has another rule's record in 'a'",
        ),
        (
            lambda: gx.describe(gx.adam(0.1), {"a": jnp.ones(2)}, gx.adam(0.1).init({"b": jnp.ones(2)})),
            ValueError,
            "state: expected a leaf at .*mu/a.*and got none",
        ),
        (
            lambda: gx.describe(gx.adam(0.1), jnp.ones(2), gx.adam(0.1).init(jnp.ones(3))),
            ValueError,
            r"state: expected shape \(2,\) at .*got \(3,\)",
        ),
        (
            lambda: gx.describe(gx.adam(0.1), state=jax.vmap(gx.adam(0.1).init)(jnp.ones((4, 2)))),
            ValueError,
            r"expected the state of one run, got one with a count of shape \(4,\)",
        ),
    ],
)
def test_wrong_input_is_a_clear_error(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_step_of_the_contract_s_gradients_keeps_the_description():
    case = next(case for case in CASES if case.name == "chain")
    tx, first = case.make(), params()
    _, state = tx.update(at(0, case.gradients(1)), tx.init(first), first)
    before, after = gx.describe(tx, first, tx.init(first)).to_dict(), gx.describe(tx, first, state).to_dict()
    assert before["state_bytes"] == after["state_bytes"]
    assert (before["step"], after["step"]) == (0, 1)
