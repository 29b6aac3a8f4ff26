"""Polar factors by Newton-Schulz iterations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib._muon import orthogonalize_via_newton_schulz

from gradxform.linalg import newton_schulz_coefficients, orthogonalize, polar
from tests.linalg.matrices import curve, matrix, newton_schulz, spread

WAYS = ["frobenius", "spectral", "aol", "schatten"]
STANDARD = newton_schulz_coefficients()
SETS = {"standard": 5, "dion": 5, "polar_express": 8, "deepseek": 10}


def singular_values(x):
    return np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)


@pytest.mark.parametrize(("way", "shape"), [*zip(WAYS, [(40, 12), (20, 20), (12, 40), (40, 12)], strict=True)])
def test_equals_optax(way, shape):
    x = jnp.asarray(matrix(shape), jnp.float32)
    ours = jax.jit(partial(orthogonalize, preconditioning=way))(x)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        coeffs = jnp.array(STANDARD[0])
        theirs = jax.jit(lambda x: orthogonalize_via_newton_schulz(x, coeffs, 5, way))(x)
    # Rounding of float32 in sums of 40, five times over.
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_equals_the_published_iteration(way, dtype):
    """Batches of real and complex matrices, rows more than columns too, in both forms."""
    batch = np.stack([matrix((20, 7), seed=seed, dtype=dtype) for seed in range(2)])
    expected = [newton_schulz(x, STANDARD, way) for x in batch]
    with jax.enable_x64(True):

        @jax.jit
        def run(x):
            return [orthogonalize(x, preconditioning=way, gram=gram) for gram in (None, False, True)]

        for result in run(jnp.asarray(batch)):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize("gram", [True, False])
def test_products_by_halves_are_the_same(gram, monkeypatch):
    """What a CPU does with large matrices, here with small ones of an odd size."""
    monkeypatch.setattr(polar, "_HALVED_SIZE", 4)
    x = matrix((7, 9), dtype=np.complex128)
    with jax.enable_x64(True):
        result = jax.jit(partial(orthogonalize, gram=gram))(jnp.asarray(x))
    np.testing.assert_allclose(result, newton_schulz(x, STANDARD), atol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_the_gram_form_keeps_the_digits_of_the_plain_form(name):
    """Condition 1e4, aspects 2 and 8, also with one dominant singular value: as far from float64 as the plain form."""
    triples = newton_schulz_coefficients(name, SETS[name])
    spectra = [spread(48, 1e4), np.array([1, *spread(47, 10) * 1e-3])]
    batches = [np.stack([matrix((48, 96), values) for values in spectra]), matrix((24, 192), spread(24, 1e4))[None]]
    run = jax.jit(lambda xs, gram: [orthogonalize(x, name, SETS[name], gram=gram) for x in xs], static_argnums=1)
    plain, gram = (run([jnp.asarray(batch, jnp.float32) for batch in batches], form) for form in (False, True))
    for batch, one, other in zip(batches, plain, gram, strict=True):
        exact = np.stack([newton_schulz(x, triples) for x in batch])
        lost, lost_by_gram = (np.linalg.norm(each - exact) / np.linalg.norm(exact) for each in (one, other))
        assert lost_by_gram < 2 * lost + 5e-6


# The bands of the docstring: what singular values become, from which part of the Frobenius norm on.
BANDS = [
    ("standard", 5, 1 / 300, 0.68, 1.21),
    ("standard", 5, 1e-3, 0.47, 1.21),
    ("dion", 5, 1 / 300, 0.97, 1.15),
    ("dion", 5, 1e-3, 0.47, 1.15),
    ("polar_express", 5, 1e-3, 0.84, 1.13),
    ("polar_express", 6, 1e-3, 0.99, 1.01),
    ("polar_express", 8, 1 / 3000, 0.98, 1.01),
    ("polar_express", 10, 1e-4, 0.99, 1.01),
    ("deepseek", 10, 5e-5, 0.99, 1.01),
]


@pytest.mark.parametrize(("name", "steps", "least", "low", "high"), BANDS)
def test_the_stated_bands(name, steps, least, low, high):
    ends = curve(np.geomspace(least, 1, 10_000), newton_schulz_coefficients(name, steps))
    # And they are tight.
    assert low < ends.min() < low + 0.02
    assert high - 0.02 < ends.max() < high


@pytest.mark.parametrize("name", SETS)
def test_singular_values_are_in_the_band(name):
    """Aspects 1 to 8, condition 1 to 1e4, in float32: those that the band speaks of are in it, others below."""
    shapes = [(32, 32), (256, 32)]
    batches = [np.stack([matrix(shape, spread(32, 10.0**power)) for power in range(5)]) for shape in shapes]
    results = jax.jit(lambda xs: [orthogonalize(x, name, SETS[name]) for x in xs])(
        [jnp.asarray(batch, jnp.float32) for batch in batches]
    )
    least, low, high = next(band[2:] for band in BANDS if band[:2] == (name, SETS[name]))
    for x, result in zip(np.concatenate(batches, 1), np.concatenate(results, 1), strict=True):
        for before, after in ((x[:32], result[:32]), (x[32:], result[32:])):
            share, ends = singular_values(before) / np.linalg.norm(before), singular_values(after)
            # Rounding moves the ends by 1e-5.
            assert ends.max() < high + 1e-4
            assert np.sum(ends > low - 1e-4) >= np.sum(share > least)


def test_polar_express_converges_for_conditions_up_to_1000():
    """Within 0.02 of 1: after 8 steps for an even spread of singular values, for any spread by the spectral norm."""
    even = np.stack([matrix((32, 64), spread(32, condition)) for condition in (1, 10, 1e3)])
    gap = matrix((32, 64), np.array([1, *[1e-3] * 31]))[None]
    for batch, way in ((even, "frobenius"), (gap, "spectral")):
        result = jax.jit(partial(orthogonalize, preconditioning=way), static_argnums=(1, 2))(
            jnp.asarray(batch, jnp.float32), "polar_express", 8
        )
        for x in result:
            np.testing.assert_allclose(singular_values(x), 1, atol=0.02)


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    """A way of preconditioning, and the program that the tests of what is odd share."""
    run = jax.jit(lambda x, eps: orthogonalize(x, preconditioning=request.param, eps=eps))
    return lambda x, eps=1e-8: run(jnp.asarray(x, jnp.float32), eps), request.param


def test_zeros_stay_and_nan_shows_where_it_is(way):
    run, _ = way
    x = np.stack([matrix((6, 10)), np.zeros((6, 10)), matrix((6, 10)), matrix((6, 10))])
    x[2, 1, 3], x[3, 0, 0] = np.nan, np.inf
    result = np.asarray(run(x))
    assert np.all(np.isfinite(result[0]))
    assert np.all(result[1] == 0)
    assert np.all(np.isnan(result[2:]))


def test_a_matrix_is_divided_whatever_its_size(way):
    """Entries whose squares leave float32: the scale is divided out, beside eps the smallest are nothing."""
    run, name = way
    x = matrix((6, 10))
    for scale in (1e30, 1e-3, 1e-30):
        scaled = np.stack([x, scale * x, scale * x, x])
        expected = [newton_schulz(each, STANDARD, name) for each in scaled]
        result = run(scaled)
        # 1e-30 is beneath eps, and what comes of it is 1e-19; it has its digits all the same.
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6 * np.max(np.abs(expected[1])))


def test_without_eps_the_smallest_are_right_too(way):
    run, name = way
    x, zeros = 1e-30 * matrix((6, 10)), np.zeros((6, 10))
    expected = newton_schulz(1e30 * x, STANDARD, name, eps=0)
    np.testing.assert_allclose(run(np.stack([x, zeros, x, x]), 0.0), [expected, zeros, expected, expected], atol=1e-5)


def test_a_single_row_or_column_becomes_its_direction():
    matrices = [jnp.asarray(matrix(shape), jnp.float32) for shape in ((1, 9), (9, 1), (1, 1))]
    results = jax.jit(lambda xs: [orthogonalize(each) for each in xs])(matrices)
    for x, result in zip(matrices, results, strict=True):
        # Its length is what the steps make of 1.
        np.testing.assert_allclose(result, x / jnp.linalg.norm(x) * curve(1.0, STANDARD), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_computed_in_float32(dtype):
    x = jnp.asarray(matrix((6, 10)), dtype)
    run = jax.jit(orthogonalize)
    result = run(x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, run(x.astype(jnp.float32)).astype(dtype))


def test_a_batch_is_its_matrices():
    """Of the size at which a CPU takes one after the other, two batch axes."""
    x = jnp.asarray(np.stack([matrix((64, 100), seed=seed) for seed in range(4)]), jnp.float32).reshape(2, 2, 64, 100)
    one = jax.jit(orthogonalize)
    result = one(x)
    for i in np.ndindex(2, 2):
        np.testing.assert_allclose(result[i], one(x[i]), atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(orthogonalize))(x), result, atol=1e-6)


def test_coefficients_may_be_traced():
    x = jnp.asarray(matrix((6, 10)), jnp.float32)
    result = jax.jit(orthogonalize)(x, jnp.array(STANDARD))
    np.testing.assert_allclose(result, newton_schulz(matrix((6, 10)), STANDARD), atol=1e-5)


def test_it_has_a_derivative():
    """That along the gradient, by differences of float64; zeros have one too."""
    x, direction = matrix((4, 9)), matrix((4, 9), seed=1)
    with jax.enable_x64(True):
        run = jax.jit(lambda x: jnp.sum(orthogonalize(x)[0]))
        grad = jax.jit(jax.grad(run))
        both = [run(x + step * direction) for step in (1e-6, -1e-6)]
        # Differences of 1e-6 keep half of float64's digits.
        np.testing.assert_allclose(np.sum(grad(x) * direction), (both[0] - both[1]) / 2e-6, rtol=1e-6)
        assert np.all(np.isfinite(grad(jnp.zeros((4, 9)))))


def products(shape, platform, **options):
    """How many products of matrices are in the program for a platform."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    lowered = jax.jit(partial(orthogonalize, **options)).trace(x).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("dot_general")


def test_which_form_is_taken():
    """Plain: three products a step. Gram, in segments of three and two steps: two and two of the longer side beside
    nine and five of the shorter."""
    assert products((8, 12), "cpu") == products((8, 32), "tpu") == products((8, 32), "cuda") == 15
    assert products((8, 32), "cpu") == products((32, 8), "cpu") == products((8, 12), "cpu", gram=True) == 18
    with jax.default_matmul_precision("highest"):
        assert products((8, 32), "tpu") == 18
    # From one step to the next the spectral norm leaves larger eigenvalues, hence restarts are sooner.
    assert products((8, 32), "cpu", preconditioning="spectral") == 17


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "error", "message"),
    [
        ((3,), jnp.float32, {}, ValueError, r"\(\.\.\., rows, cols\), not \(3,\)"),
        ((3, 3), jnp.int32, {}, TypeError, "floating or complex numbers, not int32"),
        ((3, 3), jnp.float32, {"preconditioning": "frobenious"}, ValueError, "there are frobenius, spectral"),
    ],
)
def test_what_does_not_fit_is_an_error(shape, dtype, options, error, message):
    with pytest.raises(error, match=message):
        jax.eval_shape(partial(orthogonalize, **options), jax.ShapeDtypeStruct(shape, dtype))
