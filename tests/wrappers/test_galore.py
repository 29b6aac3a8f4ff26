"""GaLore: the paper's steps, optax's with the same names, stacks, and what it keeps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx
from tests.contract import references_adam, references_matrices as references
from tests.rules.matrices import gradients, ran, updates_of

# Of float64, after decompositions and ten steps of numbers of about 1.
CLOSE = {"rtol": 1e-8, "atol": 1e-9}


def vectors(g, rank):
    """Leading singular vectors whose largest entries are positive."""
    u = np.linalg.svd(g, full_matrices=False)[0][:, :rank]
    return u * np.sign(np.take_along_axis(u, np.argmax(np.abs(u), axis=0)[None], 0))


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
@pytest.mark.parametrize("rank", [2, 9])
def test_ten_steps_of_the_paper(shape, rank):
    grads = gradients(shape)
    tx = gx.scale_by_galore(rank, 3, 0.25, gx.scale_by_adam(eps=1e-6), side="shorter")
    expected = references.galore(list(grads), min(rank, *shape), 3, basis=vectors)
    np.testing.assert_allclose(updates_of(tx, grads), expected, **CLOSE)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_equals_optax_where_signs_do_not_matter(shape):
    """Until the second decomposition: Adam takes each row of a subspace alone, and a sign comes back as it went."""
    grads = {"w": gradients(shape).astype(np.float32), "b": gradients((3,)).astype(np.float32)}

    def updates(lib):
        return ran(lib.galore(0.1, 2, 50, 0.5, weight_decay=0.1), grads, x64=False)[0]

    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        ours, theirs = updates(gx), updates(optax.contrib)
    # Singular vectors in float32, whose neighbours are not far away.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), ours, theirs)


def test_a_stack_heads_and_parts_are_their_matrices():
    grads = gradients((3, 4, 6))
    make = functools.partial(gx.scale_by_galore, 2, 4)
    stacked = updates_of(make(weight_dimension_numbers=gx.MatrixAxes()), grads)
    for i in range(3):
        np.testing.assert_allclose(stacked[:, i], updates_of(make(), grads[:, i]), **CLOSE)
    fused = updates_of(make(weight_dimension_numbers=gx.MatrixAxes(split_columns=2)), grads)
    halves = np.split(grads, 2, -1)
    alone = [updates_of(make(weight_dimension_numbers=gx.MatrixAxes()), half) for half in halves]
    np.testing.assert_allclose(fused, np.concatenate(alone, -1), **CLOSE)
    joined = optax.contrib.GaLoreDimensionNumbers(0, (1, 2))
    heads = updates_of(make(weight_dimension_numbers={"w": joined}), {"w": grads.transpose(0, 2, 1, 3)})["w"]
    whole = updates_of(make(), grads.transpose(0, 2, 1, 3).reshape(-1, 4, 18))
    np.testing.assert_allclose(heads.reshape(whole.shape), whole, **CLOSE)


def test_what_is_kept_has_reduced_shapes():
    params = {"w": jnp.zeros((8, 6)), "b": jnp.zeros(6), "stack": jnp.zeros((3, 4, 5))}
    axes = {"w": gx.MatrixAxes(), "b": None, "stack": gx.MatrixAxes()}
    state = gx.scale_by_galore(2, weight_dimension_numbers=axes).init(params)
    shapes = jax.tree.map(jnp.shape, state.projector)
    assert shapes == {"w": (8, 2), "b": (0, 0), "stack": (3, 5, 2)}
    mu = state.base_optimizer_state.mu
    assert jax.tree.map(jnp.shape, mu) == {"w": (2, 6), "b": (6,), "stack": (3, 4, 2)}
    shorter = gx.scale_by_galore(2, weight_dimension_numbers=axes, side="shorter").init(params)
    assert shorter.base_optimizer_state.mu["w"].shape == (8, 2)


@pytest.mark.parametrize("base", [gx.signum(1.0), optax.scale_by_lion(), gx.chain(gx.clip(0.1), gx.trace(0.9))])
def test_any_transform_stands_within(base):
    grads = {"w": gradients((4, 6)), "b": gradients((3,))}
    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        updates, _, state = ran(gx.scale_by_galore(4, base_optimizer=base), grads)
        # Of full rank the first step is that of the turned gradient.
        np.testing.assert_allclose(updates["b"], updates_of(base, grads["b"]), **CLOSE)
    assert np.linalg.matrix_rank(updates["w"][0]) <= 4
    assert state.count == 10


def test_the_rest_is_adam_s():
    grads = gradients((3,))
    np.testing.assert_allclose(updates_of(gx.scale_by_galore(2), grads), references_adam.adam(grads), **CLOSE)


def test_zeros_nan_low_precision_and_complex_matrices():
    tx = gx.scale_by_galore(2, 2, weight_dimension_numbers=gx.MatrixAxes())
    np.testing.assert_array_equal(updates_of(tx, np.zeros((3, 2, 4, 6))), 0)
    grads = gradients((2, 4, 6), 2)
    grads[0, 1, 0, 0] = np.nan
    updates = updates_of(tx, grads)
    assert np.all(np.isnan(updates[0, 1]))
    assert np.all(np.isfinite(updates[:, 0]))
    low, _, state = ran(tx, jnp.asarray(gradients((4, 6)), jnp.bfloat16), jnp.zeros((4, 6), jnp.bfloat16), x64=False)
    assert low.dtype == jnp.bfloat16
    assert state.projector.dtype == state.base_optimizer_state.mu.dtype == jnp.float32
    turned = gradients((4, 6), 4) + 1j * gradients((4, 6), 4, seed=1)
    whole = updates_of(gx.scale_by_galore(6, base_optimizer=gx.identity(), side="shorter"), turned)
    np.testing.assert_allclose(whole, turned, **CLOSE)


def test_is_a_value_and_takes_over_optax_s_state():
    tx = gx.galore(0.1, 2, 3)
    assert gx.from_json(gx.to_json(tx)) == tx
    assert eval(repr(tx), dict(vars(gx))) == tx
    params = {"w": jnp.asarray(gradients((6, 4), 1)[0], jnp.float32), "b": jnp.ones(3)}
    grads = jax.tree.map(jnp.sin, params)
    theirs = optax.contrib.galore(0.1, 2, 30)
    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        state = theirs.init(params)
        for _ in range(3):
            _, state = theirs.update(grads, state, params)
        ours = gx.galore(0.1, 2, 30)
        taken, _ = gx.from_optax(state, ours, params)
        expected, found = theirs.update(grads, state, params)[0], ours.update(grads, taken, params)[0]
    # Rounding of float32, and bias corrections that optax takes by cancellation.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, expected)
    assert taken.count == 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gx.galore(0.1, 0), ValueError, "scale_by_galore: rank must be more than 0; got 0"),
        (lambda: gx.galore(0.1, 2.0), TypeError, r"scale_by_galore: rank must be an int; got 2\.0"),
        (lambda: gx.scale_by_galore(side="left"), ValueError, "side must be one of 'longer', 'shorter'; got 'left'"),
        (lambda: gx.scale_by_galore(base_optimizer=3), TypeError, "base_optimizer must be a transform; got 3"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_matrices_of_which_each_device_has_a_part_are_an_error():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("data")
    tx = gx.scale_by_galore(2)
    run = jax.shard_map(lambda w: tx.update(w, tx.init(w), w)[0], mesh=mesh, in_specs=spec, out_specs=spec)
    with pytest.raises(ValueError, match=r"scale_by_galore needs whole matrices, .* leaf at 'w'.*outside shard_map"):
        jax.eval_shape(run, {"w": jnp.ones((4, 2))})
