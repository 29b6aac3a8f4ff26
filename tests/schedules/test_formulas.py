"""Schedules that optax has not, against the papers' formulas in plain NumPy: traced, compiled and in 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform import schedules
from tests.schedules.cases import CASES, LINE, LOW, by_root, close, compiled, for_optax, values

STEPS = range(40)
COSINE = lambda p: (1 + np.cos(np.pi * p)) / 2  # noqa: E731, beside the shapes that it is one of


def wsd(shape, peak, warmup, stable, decay, init=0.0, end=0.0):
    """`wsd_schedule` of the code of Hägele et al. 2024, with lengths in the place of fractions."""
    shapes = {
        "linear": lambda p: 1 - p,
        "cosine": COSINE,
        "mirror-cosine": lambda p: 2 * (1 - p) - COSINE(p),
        "1-sqrt": lambda p: 1 - np.sqrt(p),
        "1-square": lambda p: 1 - p**2,
    }

    def at(step):
        if step < warmup:
            return init + (peak - init) * step / warmup
        over = min(max((step - warmup - stable) / decay, 0), 1)
        return peak * (end / peak) ** over if shape == "exponential" else end + (peak - end) * shapes[shape](over)

    return at


def rsqrt(peak, warmup, rsqrt_steps, cooldown, timescale, init):
    """`create_learning_rate_schedule` of big_vision, decay_type "rsqrt", whose warm-up begins at 0."""
    total = warmup + rsqrt_steps + cooldown

    def at(step):
        if step < warmup:
            return init + (peak - init) * step / warmup
        rate = peak / np.sqrt(1 + (step - warmup) / timescale)
        return rate * min(1, max(total - step, 0) / cooldown) if cooldown else rate

    return at


def power(largest, amplitude, exponent, warmup, power_steps, decay, tokens, end):
    """Shen et al. 2024, equations 7 and 8, with the decay by ratios."""

    def of_tokens(step):
        return min(largest, amplitude * (tokens * step) ** exponent) if step else largest

    def at(step):
        if step < warmup:
            return step / warmup * of_tokens(warmup)
        begin = warmup + power_steps
        if step < begin or not decay:
            return of_tokens(step)
        start = of_tokens(begin)
        return start * (end / start) ** min((step - begin) / decay, 1)

    return at


def cyclic(base, peak, rise, fall, scale):
    """Smith 2017, section 3.1, with a fall of its own length as torch has it."""

    def at(step):
        cycle, since = divmod(step, rise + fall)
        height = since / rise if since < rise else 1 - (since - rise) / fall
        return base + (peak - base) * height * scale(cycle, step)

    return at


FORMULAS = {
    **{
        shape: (
            lambda shape=shape: schedules.warmup_stable_decay(1.5, 4, 10, 9, 0.25, 0.125, shape=shape),
            wsd(shape, 1.5, 4, 10, 9, 0.25, 0.125),
        )
        for shape in ("linear", "cosine", "mirror-cosine", "1-sqrt", "1-square", "exponential")
    },
    "halved every T steps": (
        # MiniCPM's 0.5^((s - S) / T), with T = 3.
        lambda: schedules.warmup_stable_decay(1.5, 4, 10, 9, end_value=1.5 / 8, shape="exponential"),
        lambda step: 1.5 * step / 4 if step < 4 else 1.5 * 0.5 ** (min(max(step - 14, 0), 9) / 3),
    ),
    "rsqrt": (lambda: schedules.rsqrt_schedule(1.5, 4, timescale=7.0), rsqrt(1.5, 4, 0, 0, 7.0, 0.0)),
    "rsqrt, cooled down": (
        lambda: schedules.rsqrt_schedule(1.5, 4, 20, 10, 7.0, 0.25),
        rsqrt(1.5, 4, 20, 10, 7.0, 0.25),
    ),
    "power": (
        lambda: schedules.power_schedule(0.02, 4.0 * 8, -0.51, 5, tokens_per_step=2.0**20),
        power(0.02, 32.0, -0.51, 5, 0, 0, 2.0**20, 0.0),
    ),
    "power, decayed": (
        lambda: schedules.power_schedule(0.5, 2.0, -0.51, 5, 20, 10, 3.0, end_value=1e-3, shape="exponential"),
        power(0.5, 2.0, -0.51, 5, 20, 10, 3.0, 1e-3),
    ),
    "power, from the start": (
        lambda: schedules.power_schedule(0.5, 2.0, -0.51, 0, 20, 10, 3.0, end_value=1e-3, shape="exponential"),
        power(0.5, 2.0, -0.51, 0, 20, 10, 3.0, 1e-3),
    ),
    "triangular": (lambda: schedules.cyclic_schedule(0.5, 1.5, 4), cyclic(0.5, 1.5, 4, 4, lambda n, t: 1)),
    "triangular2": (
        lambda: schedules.cyclic_schedule(0.5, 1.5, 3, 7, "triangular2"),
        cyclic(0.5, 1.5, 3, 7, lambda n, t: 0.5**n),
    ),
    "exp_range": (
        lambda: schedules.cyclic_schedule(0.5, 1.5, 3, 7, "exp_range", 0.97),
        cyclic(0.5, 1.5, 3, 7, lambda n, t: 0.97**t),
    ),
    "product": (
        lambda: LINE.of(schedules) * by_root * 0.5,
        lambda step: (1 - 0.75 * min(step / 10, 1)) / np.sqrt(1 + step) / 2,
    ),
    "sum": (
        lambda: 0.5 + LINE.of(schedules) + by_root,
        lambda step: 1.5 - 0.75 * min(step / 10, 1) + 1 / np.sqrt(1 + step),
    ),
    "then": (
        lambda: LINE.of(schedules).then(by_root, at=7).then(0.125, at=20),
        lambda step: 1 - 0.075 * step if step < 7 else 1 / np.sqrt(step - 6) if step < 20 else 0.125,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_the_formula(name):
    make, formula = FORMULAS[name]
    expected = np.asarray([formula(step) for step in STEPS])
    close(values(make(), STEPS), expected)
    close(compiled(make(), STEPS), expected)
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(make())(jnp.asarray(STEPS)))
        assert found.dtype == np.float64
        # A few operations, each of which rounds to one in 2^53; powers by a logarithm lose a digit more.
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_every_schedule_that_optax_has_not_has_a_formula():
    ours = {case.public_name for case in CASES} - set(vars(optax))
    made = {make().call_name for make, _ in FORMULAS.values()}
    assert ours == made - {"join_schedules"}


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_a_decay_ends_at_its_end_under_jit(shape):
    # XLA multiplies by 1 / 41, and takes powers by logarithms.
    schedule = schedules.warmup_stable_decay(0.3, 0, 5, 41, end_value=0.007, shape=shape)
    np.testing.assert_array_equal(compiled(schedule, [5, 46, 47]), np.float32([0.3, 0.007, 0.007]))


def test_derivatives_are_finite_where_a_power_begins():
    def of_exponent(exponent):
        return schedules.power_schedule(0.5, 2.0, exponent, 0, tokens_per_step=8.0)(jnp.arange(3)).sum()

    assert np.isfinite(jax.grad(of_exponent)(-0.5))


def test_operators_make_the_schedules_that_print():
    line, low = LINE.of(schedules), LOW.of(schedules)
    assert line * 2 * low == schedules.multiply_schedules([line, 2, low])
    assert 2 * (line * low) == schedules.multiply_schedules([2, line, low])
    assert 1 + line + low == schedules.add_schedules([1, line, low])
    assert (line + low) * 2 == schedules.multiply_schedules([schedules.add_schedules([line, low]), 2])
    assert line.then(low, at=4).then(line, at=9) == schedules.join_schedules([line, low, line], [4, 9])
    assert line.then(low.then(line, at=5), at=4) != line.then(low, at=4).then(line, at=9)


def test_numbers_of_any_kind_and_plain_functions_stand_on_either_side():
    line, plain = LINE.of(schedules), optax.cosine_decay_schedule(2.0, 10)
    for half in (0.5, np.float32(0.5), np.float64(0.5), np.asarray(0.5), jnp.float32(0.5), jnp.bfloat16(0.5)):
        for made in (half * line, line * half):
            close(made(4), 0.35)
        for made in (half + line, line + half):
            close(made(4), 1.2)
    with for_optax():
        for made in (plain * line, line * plain):
            close(made(4), 0.7 * plain(4))
        close((plain + line)(4), 0.7 + plain(4))
        close(line.then(plain, at=10)(12), plain(2))


def test_numbers_in_schedules_of_schedules_are_found():
    peak = gx.warmup_cosine_decay_schedule(0.0, 0.1, 3, 9)
    tx = gx.adamw(peak.then(1e-3, at=9) * 2.0, weight_decay=peak * 0.5)
    assert gx.from_json(gx.to_json(tx)) == tx
    swept = jax.tree.map(lambda number: jnp.stack([number, number]), tx)
    assert jax.tree.structure(swept) == jax.tree.structure(tx)
    again = gx.replace(tx, weight_decay=peak * 0.25)
    assert jax.tree.structure(again) == jax.tree.structure(tx)
    state = tx.init(jnp.ones(2))
    close(gx.hyperparams(tx, state._replace(count=jnp.int32(2)))["scale_by_learning_rate.learning_rate"], 2 * peak(2))


def test_decay_by_the_square_of_the_rate():
    """Defazio 2025, arXiv:2506.02285: the decay of AdamC is 0.1 times rate^2 over the largest rate."""
    rates = gx.warmup_cosine_decay_schedule(0.0, 0.01, 2, 6)
    tx = gx.adamw(rates, weight_decay=rates * (0.1 / 0.01))
    params = jnp.asarray([1.0, -2.0])
    zeros, state = jnp.zeros(2), tx.init(params)
    step = jax.jit(tx.update)
    for count in range(6):
        updates, state = step(zeros, state, params)
        # Without a gradient what is left is the decay.
        np.testing.assert_allclose(updates, -(np.float32(rates(count)) ** 2) / 0.01 * 0.1 * params, rtol=1e-5)
