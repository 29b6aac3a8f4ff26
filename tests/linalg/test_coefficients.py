"""The coefficient sets of Newton-Schulz iterations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradxform.linalg import newton_schulz_coefficients
from tests.linalg.matrices import curve

STANDARD = (3.4445, -4.7750, 2.0315)


def best_quintic(low, high):
    """The odd quintic nearest to 1 on [low, high]: of equal errors of alternating sign at four points (Remez)."""
    points = np.array([low, (3 * low + high) / 4, (low + 3 * high) / 4, high])
    for _ in range(100):
        rows = np.stack([points, points**3, points**5, [1, -1, 1, -1]], axis=1)
        a, b, c, _ = np.linalg.solve(rows, np.ones(4))
        # The two in the middle move to where the derivative is 0.
        points[1:3] = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a])))
    return np.array([a, b, c])


def test_polar_express_is_the_best_polynomial_for_each_step():
    # Amsel et al. 2025, algorithm 1 and its appendix: from singular values of 1e-3 on, and the cushion of the authors.
    low, high, cushion, safety = 1e-3, 1.0, 0.02407327424182761, 1.01
    triples = newton_schulz_coefficients("polar_express", 8)
    for step, triple in enumerate(triples):
        found = best_quintic(max(low, cushion * high), high) if low / high < 1 - 5e-6 else [15 / 8, -10 / 8, 3 / 8]
        found = np.array(found) * 2 / (curve(low, [found]) + curve(high, [found]))
        low, high = curve(low, [found]), 2 - curve(low, [found])
        if step < 7:
            found = found / safety ** np.array([1, 3, 5])
        # Near convergence the equations are nearly singular, and keep about half of their digits.
        np.testing.assert_allclose(triple, found, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [("standard", 3, 3), ("dion", 3, 5), ("polar_express", 3, 3), ("polar_express", 12, 12), ("deepseek", 5, 10)],
)
def test_the_number_of_steps(name, steps, expected):
    assert len(newton_schulz_coefficients(name, steps)) == expected


def test_sets_are_those_that_were_published():
    assert newton_schulz_coefficients("deepseek") == (STANDARD,) * 8 + ((2, -1.5, 0.5),) * 2
    assert newton_schulz_coefficients("polar_express", 10)[8:] == ((1.875, -1.25, 0.375),) * 2
    assert newton_schulz_coefficients("dion")[-1] == (2.8366, -3.0525, 1.2012)


def test_triples_of_ones_own():
    assert newton_schulz_coefficients(STANDARD, 2) == newton_schulz_coefficients("standard", 2) == (STANDARD,) * 2
    # One triple for each step says how many steps there are, as in optax, whose muon takes fewer than ns_steps.
    own = (STANDARD, (2, -1.5, 0.5))
    for given in (own, list(own), np.array(own), np.array(own, np.float32).astype(float).round(4)):
        assert newton_schulz_coefficients(given, 5) == own
    assert all(type(number) is float for triple in newton_schulz_coefficients(np.array(own)) for number in triple)


def test_triples_may_be_traced():
    def total(coeffs):
        return sum(sum(triple) for triple in newton_schulz_coefficients(coeffs, 3))

    np.testing.assert_allclose(jax.jit(total)(jnp.array(STANDARD)), 3 * sum(STANDARD), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(total)(jnp.array([STANDARD] * 2)), 2 * sum(STANDARD), rtol=1e-6)


@pytest.mark.parametrize(
    ("coeffs", "steps", "message"),
    [
        ("dijon", 5, "no coefficients are named 'dijon'; there are standard, dion"),
        ((1.0, 2.0), 5, r"shape \(3,\) or \(steps, 3\), not \(2,\)"),
        (1.0, 5, r"not \(\)"),
        (STANDARD, -1, "at least 0, not -1"),
    ],
)
def test_what_does_not_fit_is_an_error(coeffs, steps, message):
    with pytest.raises(ValueError, match=message):
        newton_schulz_coefficients(coeffs, steps)
