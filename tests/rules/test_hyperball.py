"""Hyperball: the paper's steps, for matrices, stacks and parts, around any optimizer, and on many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract import references_matrices as references
from tests.rules.matrices import gradients, ran

FIRST = gradients((4, 6), 1, seed=3)[0]
# Ten steps of float64.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
RADII = ("present", "first")


def lengths(stack):
    return np.linalg.norm(stack, axis=(-2, -1))


@pytest.mark.parametrize("radius", RADII)
def test_ten_steps_of_the_paper(radius):
    grads = gradients((4, 6))
    _, last, state = ran(gx.scale_by_hyperball(0.1, radius=radius), grads, FIRST)
    expected = references.hyperball(list(grads), FIRST, 0.1)
    np.testing.assert_allclose(last, expected[-1], **CLOSE)
    if radius == "first":
        np.testing.assert_allclose(state.norm, np.linalg.norm(FIRST), **CLOSE)


@pytest.mark.parametrize("radius", RADII)
def test_a_stack_and_the_parts_of_a_kernel_are_their_matrices(radius):
    grads, first = gradients((3, 4, 6)), gradients((3, 4, 6), 1, seed=4)[0]

    def last(axes, grads, first):
        return ran(gx.scale_by_hyperball(0.1, axes, radius=radius), grads, first)[1]

    stacked = last(gx.MatrixAxes(), grads, first)
    for i in range(3):
        np.testing.assert_allclose(stacked[i], last(None, grads[:, i], first[i]), **CLOSE)
    # Parts of one size, of several, and heads in the middle of a stack.
    for sizes in (3, (2, 4), (1, 1, 4)):
        found = last(gx.MatrixAxes(split_columns=sizes), grads, first)
        cuts = sizes if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
        parts = zip(np.split(grads, cuts, -1), np.split(first, cuts, -1), strict=True)
        expected = np.concatenate([last(gx.MatrixAxes(), *part) for part in parts], -1)
        np.testing.assert_allclose(found, expected, **CLOSE)
    heads = last(gx.MatrixAxes(1, 3), grads.reshape(-1, 3, 4, 2, 3), first.reshape(3, 4, 2, 3))
    np.testing.assert_allclose(heads.reshape(3, 4, 6), last(gx.MatrixAxes(split_columns=2), grads, first), **CLOSE)


@pytest.mark.parametrize(
    "make", [gx.adam, optax.adam, lambda rate: optax.chain(optax.scale_by_adam(), optax.scale(-rate))]
)
def test_around_an_optimizer_of_any_library_matrices_keep_their_norms_and_the_rest_moves_as_it_did(make):
    params = {"kernel": FIRST, "bias": FIRST[0]}
    grads = jax.tree.map(lambda leaf: gradients(leaf.shape), params)
    # optax mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        _, alone, _ = ran(make(0.1), grads, params)
        updates = ran(make(0.1), grads, params)[0]
        _, last, _ = ran(gx.hyperball(make(0.1), 0.05), grads, params)
    np.testing.assert_allclose(last["bias"], alone["bias"], **CLOSE)
    expected = references.hyperball(list(-updates["kernel"]), FIRST, 0.05)[-1]
    np.testing.assert_allclose(last["kernel"], expected, rtol=1e-9)
    np.testing.assert_allclose(lengths(last["kernel"]), lengths(FIRST), **CLOSE)


def test_is_the_same_written_as_the_end_of_a_chain():
    grads = gradients((4, 6))
    ends = ran(gx.chain(gx.scale_by_adam(), gx.scale_by_hyperball(0.1)), grads, FIRST)[1]
    np.testing.assert_allclose(ends, ran(gx.hyperball(gx.adam(1.0), 0.1), grads, FIRST)[1], **CLOSE)
    with pytest.raises(ValueError, match="scale_by_hyperball"):
        gx.chain(gx.scale_by_hyperball(0.1), gx.scale(0.5))


@pytest.mark.parametrize("radius", RADII)
def test_zeros_leave_a_matrix_and_a_matrix_of_zeros_stays(radius):
    tx = gx.scale_by_hyperball(0.1, radius=radius)
    for grads, first in ((np.zeros((3, 4, 6)), FIRST), (gradients((4, 6), 3), np.zeros((4, 6)))):
        np.testing.assert_array_equal(ran(tx, grads, first)[1], first)


def test_a_nan_stays_in_its_own_matrix():
    grads = gradients((2, 4, 6), 2)
    grads[0, 1, 0, 0] = np.nan
    updates = ran(gx.scale_by_hyperball(0.1, gx.MatrixAxes()), grads, gradients((2, 4, 6), 1)[0])[0]
    assert np.all(np.isnan(updates[:, 1]))
    assert np.all(np.isfinite(updates[:, 0]))


def test_norms_of_bfloat16_matrices_stay_within_their_rounding():
    first = jnp.asarray(FIRST, jnp.bfloat16)
    tx = gx.scale_by_hyperball(0.02, radius="first")

    def step(carry, grad):
        return tx.step(grad, carry[1], carry[0]), None

    grads = jnp.asarray(gradients((4, 6), 500), jnp.bfloat16)
    (last, _), _ = jax.lax.scan(step, (first, tx.init(first)), grads)
    # Each of the elements is rounded once, by half a unit of bfloat16 at most.
    np.testing.assert_allclose(lengths(np.float32(last)), lengths(np.float32(first)), rtol=2**-8)


SPECS = {
    "columns": jax.sharding.PartitionSpec(None, None, "data"),
    "rows": jax.sharding.PartitionSpec(None, "data", None),
    "layers": jax.sharding.PartitionSpec("data", None, None),
}


@pytest.mark.parametrize("way", ["shard_map", "shard_map without types", "jit"])
@pytest.mark.parametrize("cut", SPECS)
def test_norms_are_those_of_whole_matrices_where_leaves_are_sharded(way, cut):
    spec, grads = SPECS[cut], jnp.asarray(gradients((8, 16, 8), 3), jnp.float32)
    first = jnp.asarray(gradients((8, 16, 8), 1, seed=5)[0], jnp.float32)
    tx = gx.scale_by_hyperball(0.1, gx.MatrixAxes(), radius="first")
    expected = ran(tx, grads, first, x64=False)[1]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, spec)
    told = gx.on_axes(tx, spec)

    def run(params, grads):
        state = told.init(params) if way != "jit" else tx.init(params)
        for grad in grads:
            params, state = (told if way != "jit" else tx).step(grad, state, params)
        return params

    params, grads = jax.device_put(first, sharding), [jax.device_put(grad, sharding) for grad in grads]
    if way != "jit":
        run = jax.shard_map(run, mesh=mesh, in_specs=(spec, [spec] * 3), out_specs=spec, check_vma=way == "shard_map")
    # Sums of float32 in another order.
    np.testing.assert_allclose(jax.jit(run)(params, grads), expected, rtol=2e-5, atol=1e-6)


def test_parts_of_a_leaf_that_is_cut_over_devices_are_an_error():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    params = jax.device_put(jnp.ones((8, 16)), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    tx = gx.scale_by_hyperball(0.1, gx.MatrixAxes(split_columns=2))
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="is cut over devices, and its matrices are parts of it"):
        jax.eval_shape(lambda params: tx.update(params, tx.init(params), params), params)


def test_the_word_for_the_radius_is_checked():
    with pytest.raises(ValueError, match="scale_by_hyperball: radius must be one of 'present', 'first'; got 'last'"):
        gx.hyperball(gx.adam(0.1), 0.1, radius="last")
