"""Codecs: what is kept of an array is near it, in whatever values and shapes it comes."""

from functools import partial

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.core.keep import is_encoded
from gradxform.core.noise import Noise, salt_of
from gradxform.storage import blocks
from gradxform.storage.codecs import Blockwise

BLOCK, LENGTH = 4, 11
IN_BLOCKS = [
    codec
    for make in (gx.int8, gx.int4, partial(gx.as_dtype, "float8_e4m3fn"))
    for codec in (
        make(BLOCK, stochastic=False),
        make(BLOCK, stochastic=True),
        make(BLOCK, stochastic=False, companded=False),
    )
] + [gx.as_dtype("float8_e5m2", BLOCK)]
WIDE = [gx.as_dtype("bfloat16"), gx.as_dtype("float16")]
every_codec = pytest.mark.parametrize("codec", [*IN_BLOCKS, *WIDE], ids=repr)
every_block_codec = pytest.mark.parametrize("codec", IN_BLOCKS, ids=repr)

TINY = float(np.finfo(np.float32).tiny)
LEAST = blocks.LEAST * TINY
NUMBERS = st.one_of(
    st.floats(-1, 1, width=32), st.floats(width=32), st.sampled_from([0.0, np.nan, np.inf, -np.inf, 3e38, 1e-30, 1e-40])
)
ARRAYS = hnp.arrays(np.float32, LENGTH, elements=NUMBERS)
# Blocks that are taken for 0, and those that are just not.
SMALL = st.sampled_from([sign * many * TINY for sign in (-1, 1) for many in (0, 0.5, 1, 3, 100, 6e4, 7e4, 2e5)])


@partial(jax.jit, static_argnums=(0, 1))
def there_and_back(codec, signed, value, salt=0):
    """What is kept of an array in the place of zeros, at random where the codec is; how it loads; what of that."""
    kept = codec.store(value, codec.first(jnp.zeros_like(value), signed), Noise(salt_of(salt)))
    loaded = codec.load(kept)
    return kept, loaded, codec.store(loaded, kept, Noise(salt_of(salt, 1)))


def assert_same(kept, other):
    """Both keep the same, NaN where the other has one."""
    # NumPy does not know the NaN of small dtypes.
    widened = [jax.tree.map(lambda part: part.astype(np.float64), jax.device_get(each)) for each in (kept, other)]
    jax.tree.map(np.testing.assert_array_equal, *widened)


def scales(value):
    """The largest modulus of the finite numbers of each element's block; 0 where it is near a denormal one."""
    modulus = np.abs(np.where(np.isfinite(value), value, 0))
    largest = [modulus[at : at + BLOCK].max() for at in range(0, LENGTH, BLOCK)]
    return np.repeat([0 if each < LEAST else each for each in largest], BLOCK)[:LENGTH].astype(np.float64)


def bounds(codec, signed, y):
    """Between which numbers a value in units of its block's scale is loaded: a code away, half of one if nearest."""
    if not codec.companded or (signed and hasattr(codec, "dtype")):
        squeezed, stretched = (lambda y: y), (lambda z: z)
    elif signed:
        squeezed, stretched = (lambda y: 2 * y / (1 + np.abs(y))), (lambda z: z / (2 - np.abs(z)))
    else:
        squeezed, stretched = np.sqrt, np.square
    z = squeezed(y)
    if hasattr(codec, "dtype"):
        info = jnp.finfo(codec.dtype)
        least = float(info.smallest_subnormal) / float(info.max)
        step = np.maximum(np.abs(z) * 2.0**-info.nmant, least)
    else:
        step = least = np.asarray(1 / codec.most if signed else 0.5 / codec.most)
    low, high = (stretched(np.clip(z + sign * step / (1 if codec.stochastic else 2), -1, 1)) for sign in (-1, 1))
    if not signed:
        # What is not 0 is never loaded as 0.
        low, high = stretched(np.clip(z - step, 0, 1)), np.where(y > 0, np.maximum(high, stretched(least)), high)
    return low, high


@every_block_codec
@pytest.mark.parametrize("signed", [True, False])
def test_values_beside_denormal_ones_are_near_and_no_larger(codec, signed):
    @hypothesis.given(hnp.arrays(np.float32, LENGTH, elements=SMALL))
    def holds(value):
        value = value if signed else np.abs(value)
        kept, loaded, again = there_and_back(codec, signed, value)
        if isinstance(codec, Blockwise):
            assert_same(again, kept)
        scale = scales(value)
        assert np.all(np.abs(loaded) <= scale)
        y = np.divide(value, scale, out=np.zeros(LENGTH), where=scale > 0)
        low, high = (scale * bound for bound in bounds(codec, signed, y))
        # What is denormal, XLA may take for 0 once it is kept and once it is loaded.
        assert np.all((low - 2 * TINY <= loaded) & (loaded <= high + 2 * TINY))

    holds()


@every_block_codec
@pytest.mark.parametrize("signed", [True, False])
def test_values_are_near_and_what_was_loaded_is_stored_as_it_was(codec, signed):
    @hypothesis.given(ARRAYS, st.integers(0, 2**31 - 1))
    def holds(value, salt):
        value = value if signed else np.abs(value)
        kept, loaded, again = there_and_back(codec, signed, value, salt)
        assert_same(again, kept)
        loaded, finite, scale = np.asarray(loaded), np.isfinite(value), scales(value)
        # What is not finite is NaN, and alone.
        np.testing.assert_array_equal(np.isfinite(loaded), finite)
        y = np.divide(value, scale, out=np.zeros(LENGTH), where=finite & (scale > 0))
        low, high = bounds(codec, signed, y)
        # Three roundings of float32 each way; and what is loaded below the least normal number may be taken for 0.
        slack = 1e-6 * scale + TINY
        assert np.all(np.where(finite, loaded >= low * scale - slack, True)), (value, loaded)
        assert np.all(np.where(finite, loaded <= high * scale + slack, True)), (value, loaded)

    holds()


@pytest.mark.parametrize("codec", WIDE, ids=repr)
def test_sixteen_bits_are_one_of_the_two_nearest_numbers(codec):
    dtype = codec.dtype

    @hypothesis.given(ARRAYS, st.integers(0, 2**31 - 1))
    def holds(value, salt):
        kept, loaded, again = jax.device_get(there_and_back(codec, True, value, salt))
        assert kept.parts["value"].dtype == dtype
        assert_same(again, kept)
        largest = float(jnp.finfo(dtype).max)
        inside = np.abs(value) <= largest
        # Beyond its range float16 has its largest number, so that one step too large spoils nothing.
        expected = np.where(np.isfinite(value), np.sign(value) * largest, value)
        np.testing.assert_array_equal(np.where(inside, 0, loaded), np.where(inside, 0, expected))
        info = jnp.finfo(dtype)
        near, value = (np.where(inside, each, 0).astype(np.float64) for each in (loaded, value))
        step = np.maximum(np.abs(value), float(info.tiny)) * 2.0**-info.nmant
        assert np.all(np.abs(near - value) <= step + TINY)

    holds()


@every_codec
def test_one_huge_value_leaves_the_other_blocks_alone(codec):
    value = np.array([1.0, -0.5, 3e38, 2.0, *[1.0, -0.5, 0.25, 2.0] * 2], np.float32)[:LENGTH]
    small = there_and_back(codec, True, np.where(value > 1e30, 1.0, value).astype(np.float32))[1]
    _, loaded, _ = there_and_back(codec, True, value)
    assert np.all(np.isfinite(loaded))
    np.testing.assert_array_equal(loaded[BLOCK:], small[BLOCK:])
    largest = float(jnp.finfo(codec.dtype).max) if codec in WIDE else np.inf
    np.testing.assert_allclose(loaded[2], min(3e38, largest), rtol=2.0**-7 if codec in WIDE else 1e-6)


@every_codec
def test_zeros_are_zeros(codec):
    for signed in (True, False):
        _, loaded, _ = there_and_back(codec, signed, np.zeros(LENGTH, np.float32))
        np.testing.assert_array_equal(loaded, 0)


@pytest.mark.parametrize("codec", [each for each in [*IN_BLOCKS, *WIDE] if each.stochastic], ids=repr)
@pytest.mark.parametrize("signed", [True, False])
def test_random_rounding_has_the_mean_of_the_value_or_of_its_root(codec, signed):
    rng = np.random.default_rng(0)
    value = rng.uniform(0.01 if not signed else -1, 1, LENGTH).astype(np.float32)
    # Smaller than the least code of 4 bits, a value of no sign is never 0, and so too large in the mean.
    value = value if signed else np.sqrt(value)
    many = 4096
    run = jax.vmap(lambda salt: there_and_back(codec, signed, value, salt)[1])
    loaded = np.asarray(jax.jit(run)(jnp.arange(many)), np.float64)
    if not signed and codec.companded and isinstance(codec, Blockwise):
        loaded, value = np.sqrt(loaded), np.sqrt(value)
    error = loaded.mean(0) - value
    # Of a value that has a code of its own the standard error is 0, and there rounding of float32 is left; what is kept
    # of a code within 2^-13 of the way to the next is that code.
    step = np.abs(loaded - loaded.mean(0)).max(0)
    least = 1e-6 + step * 2.0**-12
    error_of_mean = loaded.std(0) / np.sqrt(many) + least
    # Three standard errors of the mean over all, four of the largest of eleven.
    assert np.abs(np.mean(error / error_of_mean)) < 3 / np.sqrt(LENGTH)
    assert np.abs(error / error_of_mean).max() < 4


@every_codec
def test_axes_and_batches_are_as_one_row_alone(codec):
    rows = np.random.default_rng(1).normal(size=(2, 3, LENGTH)).astype(np.float32)

    @jax.jit
    def each_way(rows):
        alone = jax.lax.map(lambda row: jax.lax.map(partial(first_loaded, codec), row), rows)
        turned = [jnp.moveaxis(rows, -1, axis) for axis in range(3)]
        kept = [codec.replace(axis=axis).first(each, True) for axis, each in enumerate(turned)]
        batched = jax.vmap(jax.vmap(lambda row: codec.first(row, True)))(rows)
        return alone, kept, list(map(gx.decoded, kept)), batched, gx.decoded(batched)

    alone, kept, loaded, batched, of_batch = each_way(rows)
    for axis in range(3):
        shape = np.moveaxis(rows, -1, axis).shape
        assert (kept[axis].shape, kept[axis].dtype, kept[axis].ndim) == (shape, np.float32, 3)
        np.testing.assert_array_equal(np.moveaxis(loaded[axis], axis, -1), alone)
    assert batched.shape == rows.shape
    np.testing.assert_array_equal(of_batch, alone)


def first_loaded(codec, row):
    return codec.load(codec.first(row, True))


def test_blocks_lie_along_the_last_axis_but_one_where_it_has_one_else_along_the_longest():
    shapes = {
        (256, 64): (2, 64),
        (64, 256): (64, 2),
        (3, 128, 5): (3, 1, 5),
        (3, 3, 64, 200): (3, 3, 64, 2),
        (7,): (1,),
    }
    for shape, of_scale in shapes.items():
        assert abstract(gx.int8(), shape).parts["scale"].shape == of_scale
    assert abstract(gx.int4(), (3, 129, 5)).parts["codes"].shape == (3, 128, 5)


def abstract(codec, shape):
    return jax.eval_shape(lambda: codec.first(jnp.zeros(shape), True))


def test_what_cannot_be_in_blocks_stays_as_it_is():
    for codec in (gx.int8(), gx.int4(), gx.as_dtype("float8_e5m2"), gx.as_dtype("bfloat16")):
        for value in (jnp.ones(()), jnp.ones((0, 3)), jnp.ones((3, 0))):
            assert codec.first(value, True) is value
    # To the nearest, 16 bits are plain arrays; and float32 has no more bits than float32.
    assert gx.as_dtype("bfloat16", stochastic=False).first(jnp.ones(3), True).dtype == jnp.bfloat16
    for dtype in ("float32", "bfloat16"):
        value = jnp.ones(3, dtype)
        assert gx.as_dtype("float32").first(value, True) is value
    # A slot of bfloat16 is rounded at random too.
    assert is_encoded(gx.as_dtype("bfloat16").first(jnp.ones(3, jnp.bfloat16), True))


@every_codec
def test_arrays_of_16_bits_are_stored_by_their_values(codec):
    value = np.random.default_rng(2).normal(size=LENGTH)
    narrow = jnp.asarray(value, jnp.bfloat16)
    loaded = [jax.jit(partial(first_loaded, codec))(each) for each in (narrow, narrow.astype(jnp.float32))]
    np.testing.assert_array_equal(*loaded, strict=True)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        value = np.random.default_rng(3).normal(size=LENGTH) * 1e-200
        # A nearest code of softsign is within (1 + y)^2 / 508 of a value, 1/127 at most; of 4 bits within 1/7.
        for codec, error in ((gx.int8(BLOCK), 1 / 127), (gx.int4(BLOCK), 1 / 7), (gx.as_dtype("float8_e5m2"), 1 / 4)):
            kept, loaded, again = there_and_back(codec, True, value)
            assert loaded.dtype == kept.dtype == kept.parts["scale"].dtype == np.float64
            assert np.abs(loaded - value).max() <= error * np.abs(value).max()
            assert_same(again, kept)
        # float32 in the place of float64, at random: its least number is 1e-38.
        kept, loaded, again = there_and_back(gx.as_dtype("float32"), True, value * 1e200)
        assert (kept.parts["value"].dtype, loaded.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(loaded, value * 1e200, rtol=2.0**-23)
        assert_same(again, kept)


def test_an_encoded_array_stands_for_the_array():
    value = jnp.linspace(-1, 1, 12).reshape(3, 4)
    kept = gx.int8(4).first(value, True)
    loaded = gx.decoded(kept)
    assert repr(kept).startswith("<float32[3, 4] by int8(block=4): codes=jnp.int8([[-127, ")
    for function in (jnp.abs, jnp.sum, np.asarray, jnp.linalg.norm):
        np.testing.assert_array_equal(function(kept), function(loaded))
    np.testing.assert_array_equal(jnp.add(kept, 1.0), loaded + 1)
    np.testing.assert_array_equal(np.asarray(kept, np.float64), np.asarray(loaded, np.float64))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(kept)[0]]
    assert paths == [".codes", ".scale"]


def test_errors_say_what_is_wrong():
    for make in (gx.int8, gx.int4, partial(gx.as_dtype, "float8_e5m2")):
        with pytest.raises(ValueError, match="block must be more than 0; got 0"):
            make(block=0)
        for wrong in ({"block": 1.5}, {"block": True}, {"axis": "rows"}, {"seed": 0.5}):
            with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be an integer"):
                make(**wrong)
        with pytest.raises(ValueError, match=r"there is no axis 2 in shape \(3, 4\)"):
            make(axis=2).first(jnp.ones((3, 4)), True)
        with pytest.raises(ValueError, match="keeps real numbers, got complex64"):
            make().first(jnp.ones(3, jnp.complex64), True)
    with pytest.raises(ValueError, match="int4: block must be even, as two elements share a byte; got 33"):
        gx.int4(33)
    with pytest.raises(TypeError, match="as_dtype: dtype must be a dtype or its name; got 'halves'"):
        gx.as_dtype("halves")
    with pytest.raises(TypeError, match=r"as_dtype: dtype must be one of bfloat16, .*; got int8"):
        gx.as_dtype("int8")
    with pytest.raises(TypeError, match="got float8_e8m0fnu"):
        gx.as_dtype("float8_e8m0fnu")
