"""What holds of schedules for all numbers."""

import numpy as np
from hypothesis import given, settings, strategies as st

from gradxform import schedules
from tests.schedules.cases import close, values

numbers = st.floats(2.0**-20, 2.0**10)
# Without those that XLA takes for 0 in float32.
fractions = st.just(0.0) | st.floats(2.0**-20, 1)
lengths = st.integers(1, 10**6)
SHAPES = {
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + np.cos(np.pi * p)) / 2,
    "mirror-cosine": lambda p: 2 * (1 - p) - (1 + np.cos(np.pi * p)) / 2,
    "1-sqrt": lambda p: 1 - p**0.5,
    "1-square": lambda p: 1 - p**2,
}
shapes = st.sampled_from(list(SHAPES))
# Values are exact to a few units in the last place of the largest.
slack = 4 * 2**-23


def assert_within(found, low, high):
    """Asserts low <= found <= high, but for rounding."""
    assert found.min() >= low - slack * high
    assert found.max() <= high + slack * high


@given(init=numbers, length=lengths, alpha=fractions, exponent=st.floats(0.5, 4))
def test_cosine_decay_falls_from_first_to_last(init, length, alpha, exponent):
    schedule = schedules.cosine_decay_schedule(init, length, alpha, exponent)
    found = values(schedule, np.linspace(0, length, 50).astype(int))
    assert_within(found, alpha * init, init)
    assert np.diff(found).max(initial=0) <= slack * init
    np.testing.assert_allclose(found[[0, -1]], [init, alpha * init], rtol=0, atol=slack * init)


@given(peak=numbers, init=fractions, end=fractions, phases=st.tuples(lengths, lengths, lengths), shape=shapes)
def test_warmup_stable_decay_is_of_one_piece(peak, init, end, phases, shape):
    init, end, (warm, stable, decay) = init * peak, end * peak, phases
    schedule = schedules.warmup_stable_decay(peak, warm, stable, decay, init, end, shape)
    decays, ends = warm + stable, warm + stable + decay
    assert_within(values(schedule, np.linspace(0, ends, 50).astype(int)), min(init, end), peak)
    expected = [init, peak, peak, end, end]
    np.testing.assert_array_equal(values(schedule, [0, warm, decays, ends, 2 * ends]), np.float32(expected))
    # Beside a joint, the value differs by at most what one step makes: the root falls fastest at its start, the square
    # and the mirrored cosine at their end.
    before_and_after = values(schedule, [warm - 1, decays - 1, decays + 1, ends - 1])
    largest = np.asarray([1 / warm, 0, max(decay**-0.5, 2 / decay), 2 / decay]) * peak
    assert np.all(np.abs(before_and_after - [peak, peak, peak, end]) <= largest + slack * peak)


@given(warm=st.integers(0, 3), stable=st.integers(0, 3), decay=st.integers(0, 3), shape=shapes)
def test_warmup_stable_decay_of_short_phases(warm, stable, decay, shape):
    def by_hand(step):
        if step < warm:
            return 0.5 + 1.5 * step / warm
        passed = min((step - warm - stable) / decay, 1) if decay else 0
        return 0.25 + 1.75 * SHAPES[shape](max(passed, 0))

    schedule = schedules.warmup_stable_decay(2.0, warm, stable, decay, 0.5, 0.25, shape)
    close(values(schedule, range(12)), [by_hand(step) for step in range(12)])


@given(boundaries=st.lists(st.integers(0, 30), max_size=3).map(sorted), rates=st.lists(numbers, min_size=4, max_size=4))
def test_join_is_its_pieces(boundaries, rates):
    pieces = [schedules.exponential_decay(rate, 9, 0.5) for rate in rates[: len(boundaries) + 1]]
    found = values(schedules.join_schedules(pieces, boundaries), range(32))
    for step in range(32):
        piece = sum(step >= boundary for boundary in boundaries)
        since = step - (boundaries[piece - 1] if piece else 0)
        np.testing.assert_allclose(found[step], pieces[piece](since), rtol=slack)


# Boundaries are static, so that each example is compiled anew.
@settings(max_examples=15)
@given(init=numbers, pieces=st.dictionaries(st.integers(0, 30), st.floats(0, 2), max_size=4))
def test_interpolation_meets_the_constants_at_the_boundaries(init, pieces):
    constants = values(schedules.piecewise_constant_schedule(init, pieces), [*sorted(pieces), 40])
    for curve in ("linear", "cosine"):
        schedule = schedules.piecewise_interpolate_schedule(curve, init, pieces)
        np.testing.assert_allclose(values(schedule, [*sorted(pieces), 40]), constants, rtol=slack)
