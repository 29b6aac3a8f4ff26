"""What Muon and its kin do alike: stacks, parts, zeros, NaN, single rows, low precision; and their published steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import gradxform as gx
from tests.contract import references_matrices as references
from tests.rules.matrices import CLOSE, gradients, ran, updates_of

STACKED = gx.MatrixAxes()
NORMS = ("spectral", "input", "rows", "columns", "sign")
RULES = {
    "muon": gx.scale_by_muon,
    "muon, Polar Express": lambda **kwargs: gx.scale_by_muon(gx.newton_schulz_coefficients("polar_express"), **kwargs),
    "normuon": gx.scale_by_normuon,
    "normuon, rms": lambda **kwargs: gx.scale_by_normuon(nesterov=False, rescale="rms", **kwargs),
    "dion2": lambda **kwargs: gx.scale_by_dion2(0.5, **kwargs),
    **{f"scion, {norm}": lambda norm=norm, **kwargs: gx.scale_by_scion(norm, **kwargs) for norm in NORMS},
}
every_rule = pytest.mark.parametrize("name", RULES)

PUBLISHED = {
    "muon": (lambda: gx.scale_by_muon(eps=1e-7, debias=False), lambda grads: references.muon(grads, scale=None)),
    "normuon": (
        lambda: gx.chain(gx.scale_by_normuon(), gx.scale_by_shape()),
        lambda grads: references.normuon_of_code(grads, scale="keller"),
    ),
    "normuon, rms": (
        lambda: gx.scale_by_normuon(eps=1e-8, nesterov=False, rescale="rms"),
        references.normuon,
    ),
    "dion2": (
        lambda: gx.chain(gx.scale_by_dion2(0.3, ns_coeffs=KELLER), gx.scale_by_shape(scale="spectral")),
        lambda grads: references.dion2(grads, 0.3),
    ),
    "dion2 of all": (
        lambda: gx.scale_by_dion2(1.0, 0.8, ns_coeffs=KELLER),
        # The sum that it keeps is five times the mean of Muon.
        lambda grads: references.muon([5 * g for g in grads], 0.8, nesterov=False, scale=None),
    ),
    **{
        f"scion, {norm}": (
            lambda norm=norm: gx.scale_by_scion(norm, 3.0, 0.8),
            lambda grads, norm=norm: references.scion(grads, 0.8, 3.0, "tokens" if norm == "rows" else norm),
        )
        for norm in NORMS
        if norm != "columns"
    },
}
KELLER = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("name", PUBLISHED)
def test_ten_steps_of_the_published_algorithm(name):
    make, reference = PUBLISHED[name]
    grads = [gradients(shape) for shape in ((4, 3), (3, 4), (5, 5), (3, 8), (8, 3), (1, 4), (4, 1))]
    for each, found in zip(grads, updates_of(make(), grads), strict=True):
        np.testing.assert_allclose(found, reference(list(each)), **CLOSE, err_msg=str(each.shape))


@every_rule
def test_a_stack_is_its_matrices(name):
    grads = gradients((3, 4, 6))
    layers = {f"layer{i}": grads[:, i] for i in range(3)}
    alone = updates_of(RULES[name](weight_dimension_numbers=STACKED), {**layers, "stack": grads})
    together = updates_of(RULES[name](batched=True), layers)
    for i in range(3):
        np.testing.assert_allclose(alone["stack"][:, i], alone[f"layer{i}"], **CLOSE)
        np.testing.assert_allclose(together[f"layer{i}"], alone[f"layer{i}"], **CLOSE)


@every_rule
def test_heads_and_parts_of_a_fused_kernel_are_their_matrices(name):
    grads = gradients((4, 6))
    fused = updates_of(RULES[name](weight_dimension_numbers=gx.MatrixAxes(split_columns=3)), grads)
    heads = updates_of(RULES[name](weight_dimension_numbers=gx.MatrixAxes(0, 2)), grads.reshape(-1, 4, 3, 2))
    alone = updates_of(RULES[name](weight_dimension_numbers=STACKED), np.stack(np.split(grads, 3, -1), 1))
    np.testing.assert_allclose(fused, np.concatenate(list(np.moveaxis(alone, 1, 0)), -1), **CLOSE)
    np.testing.assert_allclose(heads.reshape(fused.shape), fused, **CLOSE)


@pytest.mark.parametrize("name", RULES)
def test_a_matrix_told_the_other_way_round_is_its_transpose(name):
    grads = gradients((4, 6))
    turned = updates_of(RULES[name](weight_dimension_numbers=gx.MatrixAxes(1, 0)), grads)
    np.testing.assert_allclose(turned, updates_of(RULES[name](), grads.mT).mT, **CLOSE)


def test_each_neuron_of_scion_s_columns_has_one_length():
    update = updates_of(gx.scale_by_scion("columns", 2.0), gradients((4, 6), 1))[0]
    np.testing.assert_allclose(np.linalg.norm(update, axis=0), 2.0 / np.sqrt(4), rtol=1e-6)


def test_constrained_scion_stays_in_its_ball():
    grads, first = gradients((4, 6)), 0.1 * gradients((4, 6), 1, seed=3)[0]
    tx = gx.scion(0.2, 3.0, beta=0.8)
    _, last, _ = ran(tx, grads, first)
    np.testing.assert_allclose(last, references.constrained_scion(list(grads), first, 0.2, 0.8, 3.0)[-1], **CLOSE)


def test_scion_gives_each_kind_of_layer_its_norm():
    params = {"embed": np.ones((7, 4)), "mlp": np.ones((4, 6)), "head": np.ones((6, 5)), "bias": np.ones((2, 6))}
    grads = {name: gradients(leaf.shape, 2) for name, leaf in params.items()}
    updates = updates_of(gx.scion(1.0, 2.0, 30.0, constrained=False), grads, params)
    for name, norm, radius in (("embed", "rows", 2.0), ("mlp", "spectral", 2.0), ("head", "sign", 30.0)):
        expected = updates_of(gx.scale_by_scion(norm, radius), grads[name])
        np.testing.assert_allclose(updates[name], -expected, **CLOSE)
    # Of a stack of biases each has its own size.
    np.testing.assert_allclose(np.mean(updates["bias"] ** 2, axis=-1), 4.0, rtol=1e-6)


def test_what_dion2_does_not_move_stays_for_later():
    grads = np.zeros((3, 4, 4))
    grads[0] = np.diag([4.0, 3.0, 2.0, 1.0])
    updates = updates_of(gx.scale_by_dion2(0.25, 0.1), grads)
    moved = [np.flatnonzero(np.any(update != 0, axis=0)).tolist() for update in updates]
    assert moved == [[0], [1], [2]]


@every_rule
def test_zeros_stay_zeros_and_what_follows_is_finite(name):
    grads = gradients((4, 3), 6) * (np.arange(6) >= 3)[:, None, None]
    updates, _, state = ran(RULES[name](), grads)
    np.testing.assert_array_equal(updates[:3], 0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((updates, state)))
    assert np.all(np.any(updates[3:] != 0, axis=(1, 2)))


@every_rule
def test_a_matrix_with_a_nan_becomes_nan_and_no_other_does(name):
    grads = gradients((3, 4, 3), 4)
    rule = RULES[name](weight_dimension_numbers=STACKED)
    whole = updates_of(rule, grads)
    grads[1, 1, 0, 0] = np.nan
    updates = updates_of(rule, grads)
    # Elements of signs have nothing to do with each other, nor slices that do not move.
    assert np.all(np.isnan(updates[1, 1, 0, 0]))
    assert "scion" in name or "dion2" in name or np.all(np.isnan(updates[1:, 1]))
    np.testing.assert_allclose(np.delete(updates, 1, 1), np.delete(whole, 1, 1), **CLOSE)


@every_rule
def test_low_precision_is_computed_and_kept_in_float32(name):
    grads = {dtype: jnp.asarray(gradients((4, 6)), dtype) for dtype in ("bfloat16", "float16")}
    wide = {f"{dtype} in float32": leaf.astype(jnp.float32) for dtype, leaf in grads.items()}
    first = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), {**grads, **wide})
    found, _, state = ran(RULES[name](), {**grads, **wide}, first, x64=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.stages)} == {np.dtype("float32")}
    for dtype in grads:
        updates, exact = found[dtype], found[f"{dtype} in float32"]
        assert updates.dtype == dtype
        # Half a unit in the last place of bfloat16, and of float16 an eighth of it.
        np.testing.assert_allclose(updates.astype(np.float32), exact, rtol=2**-8, atol=1e-6)


@every_rule
def test_turned_complex_gradients_give_turned_updates(name):
    """By a phase, which each neuron's size does not see."""
    grads = gradients((4, 3), 4) + 1j * gradients((4, 3), 4, seed=1)
    turned = updates_of(RULES[name](), grads * 1j)
    np.testing.assert_allclose(turned, 1j * updates_of(RULES[name](), grads), **CLOSE)


def test_a_neuron_of_normuon_has_one_number_for_its_mean_square():
    state = gx.scale_by_normuon(weight_dimension_numbers=STACKED).init(jnp.zeros((3, 4, 6)))
    assert (state.mu.shape, state.nu.shape) == ((3, 4, 6), (3, 1, 6))


def test_the_first_step_of_normuon_is_of_neurons_of_one_size():
    grads = gradients((4, 6), 1)
    update = updates_of(gx.scale_by_normuon(rescale="rms"), grads)[0]
    np.testing.assert_allclose(np.mean(update**2, axis=0), 0.04, rtol=1e-6)
    norm = updates_of(gx.scale_by_normuon(), grads)[0]
    np.testing.assert_allclose(
        np.linalg.norm(norm), np.linalg.norm(updates_of(gx.scale_by_muon(), grads)[0]), rtol=1e-6
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("name", ["normuon", "dion2", "scion, columns", "scion, sign"])
def test_a_step_on_a_mesh_is_that_of_one_device(name, kind):
    """Whole matrices go to devices, and what is kept of them with them."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    grads = jnp.asarray(gradients((3, 16, 8), 2), jnp.float32)
    tx = RULES[name](weight_dimension_numbers=STACKED)
    expected = ran(tx, grads, x64=False)[0]
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, None, "data"))
    with jax.set_mesh(mesh):
        state = gx.init_sharded(tx, jax.device_put(grads[0], sharding))
        for grad, update in zip(grads, expected, strict=True):
            found, state = jax.jit(tx.update)(jax.device_put(grad, sharding), state)
            # Sums of float32 in another order, which Newton-Schulz amplifies.
            np.testing.assert_allclose(found, update, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gx.scale_by_normuon(rescale="max"), "scale_by_normuon: rescale must be one of 'norm', 'rms', None"),
        (lambda: gx.normuon(0.1, preconditioning="l1"), "scale_by_normuon: preconditioning must be one of 'frobenius'"),
        (lambda: gx.scale_by_scion("l1"), "scale_by_scion: norm must be one of 'spectral', 'input', 'rows'"),
        (lambda: gx.dion2(0.1, 1.5), "scale_by_dion2: fraction must be more than 0 and at most 1; got 1.5"),
        (lambda: gx.normuon(0.1, scale="width"), "scale_by_shape: scale must be one of 'keller'"),
    ],
)
def test_a_word_that_is_none_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
