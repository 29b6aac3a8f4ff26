"""What holds of clipping for all inputs."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

# Few shapes, so that few programs are compiled; many values, from the smallest normal number to the largest.
SHAPES = st.sampled_from([((3,), (2, 2)), ((7,), ())])
LARGEST, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
SIZES = st.one_of(*(st.floats(-top, top, width=32, allow_subnormal=False) for top in (LARGEST, 10.0)))
BOUNDS = st.floats(2.0**-20, 2.0**20, width=32)
SHARES = st.floats(2.0**-10, 1 - 2.0**-10, width=32)
ORDERS = st.sampled_from([1, 2, 3, np.inf])
# A norm of 14 values, a division and a product in float32, each rounded.
ROUNDING = 2e-6


@st.composite
def trees(draw, elements=SIZES):
    """Trees of two leaves."""
    return [jnp.asarray(draw(hnp.arrays(np.float32, shape, elements=elements))) for shape in draw(SHAPES)]


def norm(tree, ord):
    """The joint norm in float64 and in NumPy."""
    return np.linalg.norm(np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in tree]), ord)


def fits(tree, ord):
    """Whether the norm itself is a float32 number, and not the last one, which rounding makes infinite."""
    return norm(tree, ord) <= LARGEST / 2


@jax.jit
def apply(tx, tree, params=None):
    """The updates and the metrics of one step."""
    updates, state = tx.update(tree, tx.init(tree), params)
    return updates, gx.metrics(state)


@hypothesis.given(tree=trees(), bound=BOUNDS, ord=ORDERS)
def test_the_joint_norm_never_exceeds_the_bound(tree, bound, ord):
    hypothesis.assume(fits(tree, ord))
    clipped, _ = apply(gx.clip_by_global_norm(bound, ord=ord), tree)
    assert norm(clipped, ord) <= bound * (1 + ROUNDING)


@hypothesis.given(tree=trees(), ord=ORDERS)
def test_the_reported_norm_is_the_norm(tree, ord):
    hypothesis.assume(fits(tree, ord))
    _, metrics = apply(gx.clip_by_global_norm(1.0, ord=ord), tree)
    np.testing.assert_allclose(metrics["clip_by_global_norm.norm"], norm(tree, ord), rtol=ROUNDING, atol=1e-37)


@hypothesis.given(tree=trees(), share=SHARES, ord=ORDERS)
def test_the_direction_is_kept(tree, share, ord):
    hypothesis.assume(fits(tree, ord) and norm(tree, ord) > 1e-30)
    clipped, _ = apply(gx.clip_by_global_norm(float(norm(tree, ord) * share), ord=ord), tree)
    for leaf, new in zip(tree, clipped, strict=True):
        # What falls below the smallest normal number may be flushed to 0.
        np.testing.assert_allclose(new, np.asarray(leaf, np.float64) * share, rtol=ROUNDING, atol=TINY)


@hypothesis.given(tree=trees(), share=SHARES, ord=ORDERS)
def test_what_is_under_the_bound_is_untouched(tree, share, ord):
    bound = float(norm(tree, ord) / share)
    hypothesis.assume(bound <= LARGEST / 2)
    clipped, _ = apply(gx.clip_by_global_norm(bound, ord=ord), tree)
    for leaf, new in zip(tree, clipped, strict=True):
        np.testing.assert_array_equal(new, leaf)


@hypothesis.given(tree=trees(), bound=BOUNDS, ord=ORDERS)
def test_each_leaf_alone_never_exceeds_the_bound(tree, bound, ord):
    hypothesis.assume(fits(tree, ord))
    clipped, _ = apply(gx.clip_by_norm(bound, ord=ord), tree)
    assert all(norm([leaf], ord) <= bound * (1 + ROUNDING) for leaf in clipped)


@hypothesis.given(tree=trees(), bound=BOUNDS)
def test_each_value_never_exceeds_the_bound_and_keeps_its_sign(tree, bound):
    clipped, _ = apply(gx.clip(bound), tree)
    for leaf, new in zip(tree, clipped, strict=True):
        np.testing.assert_array_equal(new, np.clip(leaf, -np.float32(bound), np.float32(bound)))


@hypothesis.given(tree=trees(), bound=BOUNDS)
def test_the_root_mean_square_of_a_leaf_never_exceeds_the_bound(tree, bound):
    hypothesis.assume(fits(tree, 2))
    clipped, _ = apply(gx.clip_by_block_rms(bound), tree)
    assert all(norm([leaf], 2) <= bound * leaf.size**0.5 * (1 + ROUNDING) for leaf in clipped)


@hypothesis.given(tree=trees(), bound=BOUNDS, ord=ORDERS)
def test_normalised_updates_have_the_norm_that_was_asked(tree, bound, ord):
    # Where the factor is a normal number of float32.
    hypothesis.assume(fits(tree, ord) and norm(tree, ord) > 1e-30 and bound / norm(tree, ord) > 2 * TINY)
    updates, _ = apply(gx.normalize_by_global_norm(bound, ord=ord), tree)
    np.testing.assert_allclose(norm(updates, ord), bound, rtol=ROUNDING)


@hypothesis.given(tree=trees(), ratio=st.floats(2.0**-10, 1.0, width=32))
def test_no_unit_moves_more_than_its_share(tree, ratio):
    hypothesis.assume(fits(tree, 2))
    params = [jnp.full(leaf.shape, 2.0) for leaf in tree]
    clipped, _ = apply(gx.adaptive_grad_clip(ratio), tree, params)
    for leaf, param in zip(clipped, params, strict=True):
        axis = 0 if leaf.ndim == 2 else None
        units = np.linalg.norm(np.asarray(leaf, np.float64), axis=axis)
        assert np.all(units <= ratio * np.linalg.norm(param, axis=axis) * (1 + ROUNDING))


@pytest.mark.parametrize("make", [gx.clip_by_norm, gx.clip_by_global_norm, gx.normalize_by_global_norm])
@pytest.mark.parametrize("ord", [1, 2, 3, np.inf])
def test_nan_shows_in_every_element(make, ord):
    clipped, _ = apply(make(1.0, ord=ord), [jnp.array([1.0, jnp.nan, 2.0])])
    assert np.all(np.isnan(clipped[0]))


@pytest.mark.parametrize("make", [gx.clip_by_norm, gx.clip_by_global_norm])
@pytest.mark.parametrize("ord", [1, 2, 3, np.inf])
def test_infinity_makes_the_finite_zero_and_the_infinite_nan(make, ord):
    clipped, _ = apply(make(1.0, ord=ord), [jnp.array([1.0, -jnp.inf, 2.0])])
    np.testing.assert_array_equal(clipped[0], [0.0, jnp.nan, 0.0])


def test_nan_passes_a_clip_by_value_and_infinity_becomes_the_bound():
    clipped, _ = apply(gx.clip(2.0), [jnp.array([jnp.nan, jnp.inf, -jnp.inf])])
    np.testing.assert_array_equal(clipped[0], [jnp.nan, 2.0, -2.0])


def test_zero_nans_leaves_infinity_and_says_where_it_found_nan():
    updates, metrics = apply(gx.zero_nans(), [jnp.array([jnp.nan, jnp.inf]), jnp.ones(2)])
    np.testing.assert_array_equal(updates[0], [0.0, jnp.inf])
    assert metrics["zero_nans.found_nan/0"]
    assert not metrics["zero_nans.found_nan/1"]


def test_the_vector_of_the_tutorial():
    # (1, 2, 3, 4, 5) has norm 7.4162; clipped to 3 it is 3 / 7.4162 of itself.
    clipped, metrics = apply(gx.clip_by_global_norm(3.0), [jnp.arange(1.0, 6.0)])
    np.testing.assert_allclose(metrics["clip_by_global_norm.norm"], 7.4162, atol=5e-5)
    np.testing.assert_allclose(clipped[0], [0.4045, 0.8090, 1.2136, 1.6181, 2.0226], atol=5e-5)


@pytest.mark.parametrize("make", [gx.clip_by_norm, gx.clip_by_global_norm, gx.normalize_by_global_norm])
def test_an_order_below_one_is_no_norm(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: ord must be at least 1, or infinity; got 0.5"):
        make(1.0, ord=0.5)


def test_a_norm_that_is_eps_itself_is_divided_by_both():
    tx = gx.normalize_by_update_norm(eps=2.0)
    grad = jnp.array([0.0, 2.0])
    np.testing.assert_array_equal(tx.update(grad, tx.init(grad))[0], jnp.array([0.0, 0.5]))
