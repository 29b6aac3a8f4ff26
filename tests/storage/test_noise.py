"""Random numbers without a state: even, independent of each other, and the same wherever they are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform.core.noise import Noise, mixed, salt_of

SHAPE = (64, 128)


@pytest.fixture(scope="module")
def numbers():
    """Of six salts that differ in one count, or in the order of two."""

    @jax.jit
    def uniform():
        noise = Noise(salt_of(1, 2))
        others = [noise.of(0), noise.of(1), noise.of(0, 1), noise.of(1, 0), Noise(salt_of(2, 1))]
        return jnp.stack([each.uniform(SHAPE) for each in (noise, *others)])

    return np.asarray(uniform(), np.float64)


def test_they_are_even(numbers):
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Multiples of 2^-24, of which float32 has each.
    np.testing.assert_array_equal(numbers * 2.0**24 % 1, 0)
    for each in numbers:
        counts = np.histogram(each, bins=64, range=(0, 1))[0]
        expected = each.size / 64
        # Pearson's statistic, of mean 63 and deviation sqrt(126): four deviations.
        assert np.sum((counts - expected) ** 2 / expected) < 63 + 4 * np.sqrt(126)


def test_neighbours_rows_and_salts_have_nothing_in_common(numbers):
    centred = (numbers - 0.5) * np.sqrt(12)
    pairs = {(i, j): centred[i] * centred[j] for i in range(6) for j in range(i)}
    pairs |= {("along", axis): centred * np.roll(centred, 1, axis) for axis in (1, 2)}
    for place, products in pairs.items():
        # Four standard errors.
        assert abs(products.mean()) < 4 / np.sqrt(products.size), place


def test_a_part_of_a_leaf_has_the_numbers_that_it_has_in_the_whole():
    noise = Noise(salt_of(7))
    whole = noise.uniform(SHAPE)
    part = noise._replace(start=(jnp.int32(16), 32), whole=SHAPE).uniform((8, 16))
    np.testing.assert_array_equal(part, whole[16:24, 32:48])


def test_counts_are_whatever_integers():
    # A seed may be more than 32 bits, less than 0, and an array.
    assert salt_of(2**40 + 3) == salt_of(3) == salt_of(jnp.int32(3)) != salt_of(-3)
    assert salt_of() != salt_of(0) != salt_of(0, 0)


def test_mixing_loses_nothing_and_changes_half_of_the_bits():
    x = jnp.arange(2**16, dtype=jnp.uint32)
    y = np.asarray(mixed(x))
    assert np.unique(y).size == x.size
    for bit in (0, 7, 31):
        changed = np.bitwise_count(y ^ np.asarray(mixed(x ^ jnp.uint32(1 << bit))))
        # Of 32 bits 16, within 1%.
        assert abs(changed.mean() - 16) < 0.16
