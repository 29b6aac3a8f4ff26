"""QK-Clip: the paper's factors, how layers find their logits, and what does not pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.contract import references_matrices as references

LOGITS = np.array([150.0, 30.0, -500.0, np.nan, 400.0, 100.0])
# Rounding of float32.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layer(seed=0):
    return {name: {"kernel": drawn(4, 6, 2, seed=seed + i)} for i, name in enumerate(("query", "key", "value"))}


def stepped(tx, params, logits, grads=None):
    """The parameters after a step."""
    grads = jax.tree.map(lambda leaf: np.zeros_like(leaf) + np.float32(0.1), params) if grads is None else grads
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params, logits=logits)
    return gx.apply_updates(params, updates), state


def tx(**kwargs):
    return gx.qk_clip("*/query/kernel", "*/key/kernel", **kwargs)


def test_the_paper_s_step_after_an_optimizer_s():
    params = {"layers": [layer(0), layer(5)], "other": drawn(3)}
    logits = {"layers": [LOGITS, np.full(6, 50.0)]}
    new, state = stepped(tx(), params, logits)
    moved = jax.tree.map(lambda leaf: leaf + np.float32(0.1), params)
    with np.errstate(invalid="ignore"):
        query, key = references.qk_clip(*(moved["layers"][0][name]["kernel"] for name in ("query", "key")), LOGITS)
    np.testing.assert_allclose(new["layers"][0]["query"]["kernel"], query, **CLOSE)
    np.testing.assert_allclose(new["layers"][0]["key"]["kernel"], key, **CLOSE)
    for name in ("value", "query", "key"):
        np.testing.assert_array_equal(new["layers"][1][name]["kernel"], moved["layers"][1][name]["kernel"])
    np.testing.assert_array_equal(new["layers"][0]["value"]["kernel"], moved["layers"][0]["value"]["kernel"])
    np.testing.assert_array_equal(new["other"], moved["other"])
    assert state.clipped == 2


@pytest.mark.parametrize(
    "logits",
    [
        {"layers/0": LOGITS, "layers/1": LOGITS},
        {"layers": [LOGITS, LOGITS]},
        # As Flax sows them.
        {"layers": [{"max_logits": (LOGITS,)}, {"max_logits": (LOGITS,)}]},
    ],
)
def test_layers_find_their_logits_by_their_paths(logits):
    _, state = stepped(tx(), {"layers": [layer(), layer()]}, logits)
    assert state.clipped == 4


def test_stacked_layers_biases_and_joined_heads_are_those_of_single_kernels():
    single = {f"layer{i}": layer(i) for i in range(2)}
    logits = np.stack([LOGITS, LOGITS[::-1]])
    expected, _ = stepped(tx(), single, {"layer0": logits[0], "layer1": logits[1]})
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), single["layer0"], single["layer1"])
    stacked["query"]["bias"] = drawn(2, 6, 2, seed=9)
    by_stack = gx.qk_clip(("query/kernel", "query/bias"), "key/kernel")
    new, _ = stepped(by_stack, stacked, logits)
    for i in range(2):
        for name in ("query", "key"):
            np.testing.assert_allclose(new[name]["kernel"][i], expected[f"layer{i}"][name]["kernel"], **CLOSE)
    gamma = np.where(logits > 100, 100 / logits, 1)[..., None]
    np.testing.assert_allclose(new["query"]["bias"], gamma**0.5 * (stacked["query"]["bias"] + 0.1), **CLOSE)
    joined = jax.tree.map(lambda leaf: leaf.reshape(4, 12), single["layer0"])
    found, _ = stepped(gx.qk_clip("query/kernel", "key/kernel", heads_axis=-1), joined, LOGITS)
    np.testing.assert_allclose(
        found["query"]["kernel"].reshape(4, 6, 2), expected["layer0"]["query"]["kernel"], **CLOSE
    )


def test_latent_attention_s_rotary_queries_take_all_of_gamma():
    params = {"a": {**layer(), "rotary": {"kernel": drawn(4, 6, 3, seed=8)}}}
    new, _ = stepped(tx(rotary_query="*/rotary/kernel"), params, LOGITS, jax.tree.map(np.zeros_like, params))
    kernels = [params["a"][name]["kernel"] for name in ("query", "key", "rotary")]
    with np.errstate(invalid="ignore"):
        expected = references.qk_clip_mla(*kernels, LOGITS)
    for name, each in zip(("query", "key", "rotary"), expected, strict=True):
        np.testing.assert_allclose(new["a"][name]["kernel"], each, **CLOSE)


def test_a_key_that_query_heads_share_takes_the_least_of_their_gammas():
    params = {"query": drawn(4, 6, 2), "key": drawn(4, 2, 2)}
    rule = gx.qk_clip("query", "key", key_heads=2, alpha=0.25)
    new, _ = stepped(rule, params, LOGITS, jax.tree.map(np.zeros_like, params))
    np.testing.assert_allclose(new["key"], params["key"] * np.array([1.5, 4.0])[:, None] ** -0.75, **CLOSE)


def test_the_end_of_a_chain_with_muon_in_a_compiled_loop():
    params = {"a": layer()}
    whole = gx.chain(
        gx.muon(
            0.02, muon_weight_dimension_numbers={"a": {"query": gx.MatrixAxes(0, (1, 2)), "key": None, "value": None}}
        ),
        tx(max_logit=1.0),
    )

    def step(carry, _):
        params, state = carry
        q, k = params["a"]["query"]["kernel"], params["a"]["key"]["kernel"]
        logits = 100 * jnp.max(jnp.abs(jnp.einsum("ihd,jhd->hij", q, k)), axis=(1, 2))
        updates, state = whole.update(jax.tree.map(jnp.cos, params), state, params, logits=logits)
        return (gx.apply_updates(params, updates), state), logits

    _, logits = jax.lax.scan(step, (jax.tree.map(jnp.asarray, params), whole.init(params)), None, 20)
    # The step comes before the factor, which is that of the logits before the step.
    assert np.all(logits[0] > 10)
    assert np.all(logits[5:] < 2.0)


@pytest.mark.parametrize(
    ("rule", "params", "logits", "message"),
    [
        (
            tx(),
            {"a": {"query": {"kernel": drawn(4, 6, 2)}, "v": drawn(2)}},
            LOGITS,
            r"key='\*/key/kernel' fits no leaf",
        ),
        (tx(), {"a": layer(), "b": {"query": layer()["query"]}}, {"a": LOGITS}, "layer 'b' has no key that"),
        (tx(), {"a": layer(), "b": {"key": layer()["key"]}}, {"a": LOGITS}, "layer 'b' has no query that"),
        (tx(), {"a": layer(), "b": layer()}, {"a": LOGITS}, "got no logits for layer 'b'; got them for 'a'"),
        (tx(), {"a": layer(), "b": layer()}, {"a": LOGITS, "c": LOGITS}, "got logits at 'c', where there is no layer"),
        (tx(), {"a": layer(), "b": layer()}, {"a": LOGITS, "b": 3.0}, r"shape \(heads,\) for layer 'b', got a number"),
        (tx(), {"a": layer()}, LOGITS[:4], r"at 'a/query/kernel', of shape \(4, 6, 2\), does not have the heads of"),
        (tx(heads_axis=-4), {"a": layer()}, LOGITS, "does not have the heads of its logits"),
        (tx(key_heads=4), {"a": layer()}, LOGITS, "4 heads of the key at 'a/key/kernel' do not divide 6 of logits"),
    ],
)
def test_what_does_not_pair_is_an_error(rule, params, logits, message):
    with pytest.raises(ValueError, match=message):
        stepped(rule, params, logits)


def test_without_logits_or_with_others_words_it_is_an_error():
    params = {"a": layer()}
    with pytest.raises(ValueError, match=r"qk_clip needs an extra argument: call update\(.*, logits=\.\.\.\)"):
        tx().update(params, tx().init(params), params)
    with pytest.raises(TypeError, match="qk_clip: key must be a pattern of paths or a tuple of them; got 3"):
        gx.qk_clip("*/query", 3)
    with pytest.raises(ValueError, match=r"qk_clip: alpha must be at least 0 and at most 1; got 1\.5"):
        tx(alpha=1.5)
