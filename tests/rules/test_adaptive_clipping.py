"""Bounds that follow what the norms were: NaN and infinity, zeros, norms that float32 cannot square, and arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

GOOD = {"b": jnp.asarray([0.6, -0.8]), "w": jnp.asarray([[1.0, 2.0], [-2.0, 0.0]])}
RULES = {"zclip": gx.zclip(1.0, 0.9, 2), "autoclip": gx.autoclip(40.0, 4), "adagc": gx.adagc(1.2, 0.9, 2)}
# Streams of one length, which share a program.
SIZES = [1.0, 1.3, 0.9, 5.0, 1.1, 1.2]
every_rule = pytest.mark.parametrize("name", RULES)


def times(size, tree=GOOD):
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(size, leaf.dtype), tree)


@jax.jit
def scanned(tx, grads):
    def step(state, grad):
        updates, state = tx.update(grad, state)
        return state, (updates, state)

    return jax.lax.scan(step, tx.init(jax.tree.map(lambda leaf: leaf[0], grads)), grads)[1]


def follow(tx, grads):
    """The updates and what the last rule remembers after each step, stacked."""
    updates, states = scanned(tx, jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads))
    record = list(states.stages.values())[-1]
    kept = {name: getattr(record, name) for name in record._fields if name not in record.metrics}
    return jax.tree.map(np.asarray, (updates, kept))


def norms(updates):
    """Of each step, over all leaves."""
    flat = np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in updates.values()], axis=1)
    return np.linalg.norm(flat, axis=1)


@every_rule
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows_and_is_not_remembered(name, value):
    bad = {**GOOD, "b": GOOD["b"].at[0].set(value)}
    updates, kept = follow(RULES[name], [*map(times, SIZES[:4]), bad, times(SIZES[4])])
    expected, without = follow(RULES[name], list(map(times, SIZES)))
    assert np.isnan(updates["b"][4, 0])
    if name == "adagc":
        # The leaf alone; the other one had a gradient like any.
        assert np.all(np.isfinite(updates["w"]))
        np.testing.assert_array_equal(updates["b"][5], expected["b"][4])
        np.testing.assert_array_equal(kept["running_norm"]["b"][5], without["running_norm"]["b"][4])
        return
    # NaN is everywhere where leaves are clipped together; infinity makes zeros.
    assert np.all(np.isnan(updates["w"][4])) if np.isnan(value) else not updates["w"][4].any()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[5], b[4]), (updates, kept), (expected, without))


@every_rule
def test_in_the_warm_up_too(name):
    updates, kept = follow(RULES[name], [times(np.nan), *map(times, SIZES[1:])])
    assert np.isnan(updates["w"][0]).all()
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((kept, updates["w"][1:])))


@every_rule
def test_zeros_stay_zero_and_what_comes_after_them_moves(name):
    found = norms(follow(RULES[name], [times(0.0)] * 4 + [times(1.0), times(2.0)])[0])
    assert not found[:4].any()
    assert found[5] > 0


def test_a_leaf_without_a_gradient_in_the_warm_up_is_not_stopped_for_ever():
    silent = {**GOOD, "b": jnp.zeros(2)}
    updates, kept = follow(gx.adagc(1.5, 0.9, 2, max_norm=10.0), [silent, silent, times(1.0), times(4.0)])
    np.testing.assert_allclose(updates["b"][2], GOOD["b"], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(updates["b"][3]), 1.5, rtol=1e-6)
    np.testing.assert_allclose(kept["running_norm"]["b"][3], 0.9 + 0.1 * 1.5, rtol=1e-6)


# Bounds are relative, but for zclip's eps and adagc's max_norm.
RELATIVE = {**RULES, "zclip": gx.replace(RULES["zclip"], eps=0.0), "adagc": gx.replace(RULES["adagc"], max_norm=np.inf)}


@every_rule
@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_squares_beyond_float32(name, scale):
    expected, _ = follow(RELATIVE[name], list(map(times, SIZES)))
    updates, _ = follow(RELATIVE[name], [times(size * scale) for size in SIZES])
    # Some roundings of float32 in the norms and in what is made of them.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a / scale, b, rtol=1e-5), updates, expected)


@every_rule
def test_bfloat16_is_measured_in_float32(name):
    low = [jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), times(size)) for size in SIZES]
    wide = [jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree) for tree in low]
    updates, kept = follow(RULES[name], low)
    expected, without = follow(RULES[name], wide)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype(jnp.bfloat16)), updates, expected)
    jax.tree.map(np.testing.assert_array_equal, kept, without)
    assert all(leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves(kept))


@every_rule
def test_complex_gradients_are_clipped_by_their_moduli(name):
    turn = np.complex64(np.exp(0.7j))
    turned = [jax.tree.map(lambda leaf: turn * np.asarray(leaf, np.complex64), times(size)) for size in SIZES]
    updates, _ = follow(RULES[name], turned)
    expected, _ = follow(RULES[name], list(map(times, SIZES)))
    # A few roundings of float32.
    np.testing.assert_allclose(norms(updates), norms(expected), rtol=1e-5)


def test_an_outlier_is_shrunk_the_more_the_farther_it_is():
    first = [times(size) for size in (1.0, 1.2, 0.8, 1.1)]
    found = [norms(follow(gx.zclip(2.0, warm_up=4), [*first, times(size)])[0])[-1] for size in (1.3, 2.0, 10.0)]
    unit = float(norms(jax.tree.map(lambda leaf: leaf[None], GOOD))[0])
    assert found[0] > found[1] > found[2] > 1.02 * unit
    # 1.3 is within two deviations of a mean of 1.025, and passes.
    np.testing.assert_allclose(found[0], 1.3 * unit, rtol=1e-6)


def test_percentiles_of_a_window():
    grads = [times(size) for size in (3.0, 1.0, 2.0, 5.0)]
    unit = norms(jax.tree.map(lambda leaf: leaf[None], GOOD))[0]

    def found(*args):
        return norms(follow(gx.autoclip(*args), grads)[0]) / unit

    np.testing.assert_allclose(found(100.0, 3), [3, 1, 2, 5], rtol=1e-6)
    np.testing.assert_allclose(found(0.0, 3), [3, 1, 1, 1], rtol=1e-6)
    # The median of the last three: of 3; 3 and 1; 3, 1 and 2; 1, 2 and 5.
    np.testing.assert_allclose(found(50.0, 3), [3, 1, 2, 2], rtol=1e-6)
    np.testing.assert_allclose(found(gx.linear_schedule(100.0, 0.0, 3), 3), [3, 1, 1 + 1 / 3 * 2, 1], rtol=1e-6)
    np.testing.assert_allclose(found(0.0, 1), [3, 1, 2, 5], rtol=1e-6)


def test_metrics_tell_what_was_clipped():
    tx = gx.chain(*RULES.values())
    names = [f"{name}.clipped" for name in RULES]
    state, seen = tx.init(GOOD), []
    for size in (0.1, 0.1, 0.1, 0.3):
        _, state = jax.jit(tx.update)(times(size), state)
        seen.append([float(gx.metrics(state)[name]) for name in names])
    assert seen == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gx.zclip(-1.0), "zclip: max_deviations must be at least 0; got -1.0"),
        (lambda: gx.zclip(warm_up=-1), "zclip: warm_up must be an integer of at least 0; got -1"),
        (lambda: gx.zclip(decay=1.0), "zclip: decay must be"),
        (lambda: gx.autoclip(101.0), "autoclip: percentile must be from 0 to 100; got 101.0"),
        (lambda: gx.autoclip(window=0), "autoclip: window must be an integer of at least 1; got 0"),
        (lambda: gx.autoclip(window=2.5), "autoclip: window must be an integer of at least 1; got 2.5"),
        (lambda: gx.adagc(warm_up=True), "adagc: warm_up must be an integer of at least 0; got True"),
        (lambda: gx.adagc(max_norm=-1.0), "adagc: max_norm must be at least 0; got -1.0"),
    ],
)
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def clipped_adam(threshold=1.0, **settings):
    return gx.scale_by_adam(b2=0.99, clipping_threshold=threshold, **settings)


def test_the_update_of_a_leaf_is_shrunk_where_its_gradient_grows_and_only_there():
    grads = [GOOD] * 5 + [{**GOOD, "w": 100 * GOOD["w"]}]
    plain, clipped = (follow(tx, grads)[0] for tx in (gx.scale_by_adam(b2=0.99), clipped_adam()))
    # At g = +-1 nu is g^2, whose quotient is 1 within rounding.
    np.testing.assert_allclose(clipped["b"], plain["b"], rtol=1e-5)
    ratio = np.linalg.norm(clipped["w"][5]) / np.linalg.norm(plain["w"][5])
    expected = np.sqrt(np.mean([0 if g == 0 else g**2 / nu for g, nu in _last(100 * np.ravel(GOOD["w"]))]))
    np.testing.assert_allclose(ratio, 1 / expected, rtol=1e-4)


def _last(g):
    """The last gradient of each element with its debiased mean square, after five that were a hundredth of it."""
    weights = 0.01 * 0.99 ** np.arange(5, -1, -1.0)
    squares = sum(w * (g / 100) ** 2 for w in weights[:5]) + weights[5] * g**2
    return zip(g, squares / weights.sum(), strict=True)


@pytest.mark.parametrize("settings", [{}, {"eps": 1e-30}, {"eps": 0.0, "eps_root": 1e-8}], ids=str)
def test_the_update_is_finite_where_the_squares_of_gradients_are_zero(settings):
    grads = {"b": jnp.zeros(2), "w": jnp.full((2, 2), 1e-25)}
    updates, _ = follow(clipped_adam(**settings), [grads, grads])
    assert all(np.all(np.isfinite(leaf)) for leaf in updates.values())
    assert not updates["b"].any()


def test_a_clip_of_each_element_stands_behind_adam():
    tx = gx.chain(gx.scale_by_adam(b2=0.999), gx.clip(0.5), gx.scale_by_learning_rate(1.0))
    updates, _ = follow(tx, [GOOD])
    np.testing.assert_allclose(updates["b"], -0.5 * np.sign(GOOD["b"])[None], rtol=1e-6)
