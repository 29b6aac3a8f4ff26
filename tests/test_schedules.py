"""Schedules: optax's values, and what it means that they are values themselves."""

import contextlib
import dataclasses
import inspect
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import gradxform as gx
from gradxform import schedules

# The phases of the cases below end before step 30; the last steps are those of a long run.
STEPS = [*range(32), 1000, 10**6]
# Relative to the largest value, and to 1. Formulas are of a few operations, in another order than optax's, and each of
# them adds half a unit in the last place.
TOLERANCE = 8 * 2**-23


@dataclasses.dataclass(frozen=True)
class Case:
    """A schedule: the public name, after a colon what is special, and the arguments, which may be cases again."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self):
        return self.name

    def of(self, library):
        """The schedule as a library makes it."""
        args = [[item.of(library) if isinstance(item, Case) else item for item in _listed(arg)] for arg in self.args]
        args = [made if isinstance(arg, list) else made[0] for arg, made in zip(self.args, args, strict=True)]
        return getattr(library, self.name.split(":")[0])(*args, **self.kwargs)


def _listed(arg):
    return arg if isinstance(arg, list) else [arg]


def case(name, *args, **kwargs):
    """A case, written like the call."""
    return Case(name, args, kwargs)


def by_root(step):
    """A schedule that is a plain function."""
    return 1 / (1.0 + step) ** 0.5


CYCLES = [
    {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 8},
    {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 6, "end_value": 0.1, "exponent": 2.0},
    {"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 3, "decay_steps": 9},
]
LINE = case("linear_schedule", 1.0, 0.25, 10)
LOW = case("constant_schedule:low", 0.1)
OPTAX_CASES = [
    case("constant_schedule", 0.3),
    case("cosine_decay_schedule", 1.5, 20),
    case("cosine_decay_schedule:alpha", 1.5, 20, alpha=0.1, exponent=2.0),
    case("cosine_onecycle_schedule", 25, 2.0),
    case("cosine_onecycle_schedule:factors", 20, 2.0, 0.5, div_factor=10.0, final_div_factor=3.0),
    case("exponential_decay", 1.0, 7, 0.5),
    case("exponential_decay:staircase", 1.0, 7, 0.5, staircase=True),
    case("exponential_decay:lower bound", 1.0, 7, 0.5, end_value=0.2),
    case("exponential_decay:upper bound", 1.0, 7, 1.2, end_value=1.6),
    case("exponential_decay:late", 1.0, 7, 0.5, transition_begin=5),
    case("exponential_decay:early", 1.0, 7, 0.5, transition_begin=-5),
    case("exponential_decay:no steps", 1.0, 0, 0.5, end_value=2.0),
    case("exponential_decay:rate 0", 1.0, 7, 0, end_value=2.0),
    LINE,
    case("linear_schedule:up", 0.0, 2.0, 10, transition_begin=4),
    case("linear_schedule:no steps", 1.0, 0.25, 0),
    case("linear_onecycle_schedule", 25, 2.0),
    case("linear_onecycle_schedule:fractions", 20, 2.0, 0.1, 0.5),
    case("piecewise_constant_schedule", 2.0),
    case("piecewise_constant_schedule:scales", 0.5, {20: 0.5, 5: 4, 12: 0.0}),
    case("piecewise_interpolate_schedule", "linear", 2.0),
    case("piecewise_interpolate_schedule:linear", "linear", 0.5, {20: 0.5, 5: 4, 12: 0.1}),
    case("piecewise_interpolate_schedule:cosine", "cosine", 0.5, {0: 2.0, 20: 0.5, 6: 2}),
    case("polynomial_schedule", 1.0, 0.1, 2, 10),
    case("polynomial_schedule:root", 0.0, 2.0, 0.5, 9, transition_begin=3),
    case("polynomial_schedule:early", 1.0, 0.1, 3.0, 9, transition_begin=-3),
    case("polynomial_schedule:no steps", 1.0, 0.1, 2, -1),
    case("warmup_constant_schedule", 0.1, 1.0, 5),
    case("warmup_cosine_decay_schedule", 0.1, 1.0, 5, 20),
    case("warmup_cosine_decay_schedule:no rise", **CYCLES[1]),
    case("warmup_cosine_decay_schedule:peak 0", 0.1, 0.0, 5, 20, end_value=0.5),
    case("warmup_exponential_decay_schedule", 0.1, 1.0, 5, 6, 0.5),
    case("warmup_exponential_decay_schedule:staircase", 0.1, 1.0, 5, 6, 0.5, 2, staircase=True, end_value=0.2),
    case("sgdr_schedule", CYCLES),
    case("join_schedules", [LINE, by_root, LOW], [7, 20]),
    case("join_schedules:one", [LINE], []),
]
CASES = [
    *OPTAX_CASES,
    case("warmup_stable_decay", 1.5, 4, 10, 9, end_value=0.1),
    case("warmup_stable_decay:linear", 1.5, 4, 0, 9, init_value=0.5, shape="linear"),
    case("warmup_stable_decay:cosine", 1.5, 0, 5, 9, shape="cosine"),
]
# Those whose value is proportional to a number that comes first.
SCALABLE = [case for case in OPTAX_CASES if not case.name.startswith(("join", "sgdr"))]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_optax_case = pytest.mark.parametrize("case", OPTAX_CASES, ids=str)


@contextlib.contextmanager
def for_optax():
    """Optax's schedules mix dtypes and ranks, which JAX forbids in these tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def close(actual, desired):
    """Asserts that values agree to rounding."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=TOLERANCE * max(1, np.abs(desired).max()))


@jax.jit
def at(schedule, steps):
    """The values at each of some steps, with the schedule's numbers traced."""
    return jax.vmap(schedule)(steps)


def values(schedule, steps=STEPS):
    """The values at each of some steps, traced once for all schedules that differ in their numbers."""
    return np.asarray(at(schedule, jnp.asarray(steps)))


def compiled(schedule, steps=STEPS):
    """The values at each of some steps, where XLA knows the schedule's numbers."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps)))


# Optax's values.


@every_optax_case
def test_values_are_those_of_optax(case):
    schedule = case.of(schedules)
    with for_optax():
        theirs = np.asarray([case.of(optax)(step) for step in STEPS], np.float32)
    close([schedule(step) for step in STEPS], theirs)
    close(values(schedule), theirs)
    close(compiled(schedule), theirs)


@pytest.mark.parametrize("case", SCALABLE, ids=str)
def test_derivatives_are_those_of_optax(case):
    fields = case.of(schedules).fields()
    name = next(name for name in ("init_value", "peak_value", "value") if name in fields)
    step = 6

    def value(library, number):
        return getattr(library, case.name.split(":")[0])(**{**fields, name: number})(step)

    slope = jax.grad(lambda number: value(schedules, number))(fields[name] * 1.0)
    with for_optax():
        close(slope, jax.grad(lambda number: jnp.asarray(value(optax, number)))(fields[name] * 1.0))


@pytest.mark.parametrize("name", sorted({case.name.split(":")[0] for case in OPTAX_CASES}))
def test_arguments_are_those_of_optax(name):
    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in (schedules, optax))
    assert [(key, field.default) for key, field in ours.items()] == [(key, arg.default) for key, arg in theirs.items()]


def test_every_schedule_of_optax_is_here():
    theirs = {name for name in vars(optax) if name.endswith(("_schedule", "_schedules")) or name == "exponential_decay"}
    theirs -= {name for name in theirs if not callable(getattr(optax, name)) or name.startswith("scale_by")}
    assert theirs == {case.name.split(":")[0] for case in OPTAX_CASES}


# What optax gets wrong.


@pytest.mark.parametrize("length", [41, 47, 55, 82])
def test_staircase_is_not_late_under_jit(length):
    steps = [length - 1, length, 2 * length - 1, 2 * length]
    np.testing.assert_array_equal(
        compiled(schedules.exponential_decay(1.0, length, 0.5, staircase=True), steps), [1, 0.5, 0.5, 0.25]
    )


@pytest.mark.parametrize("length", [41, 47, 55, 82])
def test_transition_ends_at_its_end_under_jit(length):
    for schedule in (
        schedules.linear_schedule(1.0, 0.0, length),
        schedules.polynomial_schedule(1.0, 0.0, 0.25, length),
    ):
        np.testing.assert_array_equal(compiled(schedule, [0, length, length + 1]), [1, 0, 0])


def test_warmup_of_no_steps_is_at_the_peak():
    np.testing.assert_array_equal(compiled(schedules.warmup_constant_schedule(0.0, 1.0, 0)), np.ones(len(STEPS)))


def test_onecycle_rises_without_a_fall():
    close(
        compiled(schedules.cosine_onecycle_schedule(10, 1.0, 1.0, final_div_factor=2.0), [0, 5, 9, 10]),
        [0.04, 0.52, 0.9765072, 0.02],
    )
    close(compiled(schedules.linear_onecycle_schedule(10, 1.0, 0.5, 0.5), [0, 4, 5, 10]), [0.04, 0.808, 0.04, 4e-6])


# Values of their own.


@every_case
def test_is_a_value(case):
    schedule, twin = case.of(schedules), case.of(schedules)
    assert schedule == twin
    assert hash(schedule) == hash(twin)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule != LOW.of(schedules)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.transition_steps = 1


@every_case
def test_prints_as_the_call_that_makes_it(case):
    schedule = case.of(schedules)
    text = repr(schedule).replace(f"<{__name__}.by_root>", "by_root")
    assert text.startswith(f"{case.name.split(':')[0]}(")
    assert eval(text, {**vars(schedules), "by_root": by_root}) == schedule


@every_case
def test_is_a_pytree_of_its_numbers(case):
    schedule = case.of(schedules)
    leaves, structure = jax.tree.flatten(schedule)
    assert leaves
    assert all(isinstance(leaf, int | float) for leaf in leaves)
    again = structure.unflatten(leaves)
    assert again == schedule
    assert repr(again) == repr(schedule)


@every_case
def test_is_an_argument_of_jit(case):
    schedule, traced = case.of(schedules), []

    @jax.jit
    def at_steps(schedule, steps):
        traced.append(schedule)
        return schedule(steps)

    # A plain function in the case takes steps one by one as well as together.
    close(at_steps(schedule, jnp.asarray(STEPS)), [schedule(step) for step in STEPS])
    other = jax.tree.map(lambda number: number * 2, schedule)
    assert other != schedule
    close(at_steps(other, jnp.asarray(STEPS)), values(other))
    assert len(traced) == 1


@every_case
def test_is_an_argument_of_vmap(case):
    schedule = case.of(schedules)
    factors = jnp.asarray([1.0, 2.0, 3.0])
    swept = jax.tree.map(lambda number: number * factors, schedule)
    together = jax.vmap(lambda schedule: schedule(jnp.arange(32)))(swept)
    close(together, [values(jax.tree.map(lambda number, k=k: number * k, schedule), range(32)) for k in (1, 2, 3)])


def test_vmap_over_one_number():
    schedule = LINE.of(schedules)
    swept = schedule.replace(init_value=jnp.asarray([1.0, 2.0]))
    axes = jax.tree.map(lambda _: None, schedule).replace(init_value=0)
    close(jax.vmap(lambda schedule: schedule(5), in_axes=(axes,))(swept), [0.625, 1.125])


def test_functions_are_compared_by_identity():
    first, second = (schedules.join_schedules([lambda step: 0.5], []) for _ in range(2))
    assert first == first.replace()
    assert first != second


# Steps and numbers of every kind.


@every_case
@pytest.mark.parametrize("step", [6, 6.0, np.int32(6), np.int64(6), np.uint8(6), np.asarray(6), jnp.int32(6)], ids=repr)
def test_a_step_of_any_kind_gives_a_real_scalar(case, step):
    value = case.of(schedules)(step)
    assert isinstance(value, jax.Array)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    close(value, values(case.of(schedules), [6])[0])


@every_case
def test_many_steps_at_once(case):
    schedule = case.of(schedules)
    steps = np.arange(30, dtype=np.int32).reshape(5, 6)
    if case.name != "join_schedules":
        assert schedule(steps).shape == (5, 6)
    close(schedule(steps), values(schedule, range(30)).reshape(5, 6))


@pytest.mark.parametrize(
    "number", [np.float32(0.5), np.float64(0.5), jnp.bfloat16(0.5), np.asarray(0.5), np.int64(2)], ids=repr
)
def test_numbers_of_any_kind(number):
    schedule = schedules.cosine_decay_schedule(number, np.int64(10), alpha=number)
    close(jax.jit(schedule)(5), schedules.cosine_decay_schedule(float(number), 10, float(number))(5))


def test_float64_where_it_is_on():
    with jax.enable_x64(True):
        value = schedules.cosine_decay_schedule(1.0, 10)(jnp.int32(3))
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, (1 + np.cos(0.3 * np.pi)) / 2, rtol=1e-15)


def test_lengths_beyond_int32():
    last = jnp.int32(2**31 - 1)
    close(jax.jit(schedules.cosine_decay_schedule(1.0, 2**33))(last), (1 + np.cos(np.pi / 4)) / 2)
    close(jax.jit(schedules.piecewise_constant_schedule(1.0, {2**40: 0.5}))(last), 1.0)
    close(jax.jit(schedules.linear_schedule(1.0, 0.0, 2**31 - 2))(last), 0.0)


def test_joined_functions_get_whole_steps():
    table = jnp.asarray([3.0, 1.0, 2.0])
    schedule = schedules.join_schedules([lambda step: 0.5, lambda step: table[step]], [2**25 + 1])
    close(values(schedule, [0, 2**25, 2**25 + 1, 2**25 + 2]), [0.5, 0.5, 3.0, 1.0])


def test_join_at_a_fraction_of_a_step():
    close(values(schedules.join_schedules([LINE.of(schedules), jnp.asarray], [2.5]), [2, 3, 5]), [0.85, 0.5, 2.5])


# In an optimizer.


@every_case
def test_is_a_learning_rate(case):
    schedule = case.of(schedules)
    tx = gx.sgd(schedule)
    params = jnp.asarray([1.0, 2.0])
    step = jax.jit(tx.update)
    state = tx.init(params)
    for count in range(4):
        rate = np.float32(schedule(count))
        close(gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"], rate)
        updates, state = step(jnp.asarray([1.0, -0.5]), state, params)
        close(updates, [-rate, rate / 2])


def test_an_optimizer_with_a_new_schedule_is_not_traced_again():
    traced, grad = [], jnp.ones(2)

    @jax.jit
    def first_update(tx):
        traced.append(tx)
        return tx.update(grad, tx.init(grad))[0]

    for peak in (0.1, 0.2):
        close(first_update(gx.sgd(schedules.warmup_cosine_decay_schedule(peak, 2 * peak, 3, 9))), [-peak, -peak])
    assert len(traced) == 1


# What holds for all numbers.

# Learning rates, and lengths of runs; float32 makes a number that is less than 2^-126 of another one a zero.
numbers = st.floats(2.0**-20, 2.0**10)
lengths = st.integers(1, 10**6)
shapes = st.sampled_from(["linear", "cosine", "1-sqrt"])
# Values are exact to a few units in the last place of the largest.
slack = 4 * 2**-23


def assert_within(found, low, high):
    """Asserts low <= found <= high, but for rounding."""
    assert found.min() >= low - slack * high
    assert found.max() <= high + slack * high


@given(init=numbers, length=lengths, alpha=st.floats(0, 1), exponent=st.floats(0.5, 4))
def test_cosine_decay_falls_from_first_to_last(init, length, alpha, exponent):
    schedule = schedules.cosine_decay_schedule(init, length, alpha, exponent)
    found = values(schedule, np.linspace(0, length, 50).astype(int))
    assert_within(found, alpha * init, init)
    assert np.diff(found).max(initial=0) <= slack * init
    assert found[0] == np.float32(init)
    assert found[-1] == np.float32(alpha * init)


@given(
    peak=numbers, init=st.floats(0, 1), end=st.floats(0, 1), phases=st.tuples(lengths, lengths, lengths), shape=shapes
)
def test_warmup_stable_decay_is_of_one_piece(peak, init, end, phases, shape):
    init, end, (warm, stable, decay) = init * peak, end * peak, phases
    schedule = schedules.warmup_stable_decay(peak, warm, stable, decay, init, end, shape)
    decays, ends = warm + stable, warm + stable + decay
    assert_within(values(schedule, np.linspace(0, ends, 50).astype(int)), min(init, end), peak)
    expected = [init, peak, peak, end, end]
    np.testing.assert_array_equal(values(schedule, [0, warm, decays, ends, 2 * ends]), np.float32(expected))
    # Beside a joint, the value differs by at most what one step makes: the root falls fastest, at its start.
    before_and_after = values(schedule, [warm - 1, decays - 1, decays + 1, ends - 1])
    largest = np.asarray([1 / warm, 0, decay**-0.5, (np.pi / 2) / decay]) * peak
    assert np.all(np.abs(before_and_after - [peak, peak, peak, end]) <= largest + slack * peak)


@given(warm=st.integers(0, 3), stable=st.integers(0, 3), decay=st.integers(0, 3), shape=shapes)
def test_warmup_stable_decay_of_short_phases(warm, stable, decay, shape):
    left = {"linear": lambda p: 1 - p, "cosine": lambda p: (1 + np.cos(np.pi * p)) / 2, "1-sqrt": lambda p: 1 - p**0.5}

    def by_hand(step):
        if step < warm:
            return 0.5 + 1.5 * step / warm
        passed = min((step - warm - stable) / decay, 1) if decay else 0
        return 0.25 + 1.75 * left[shape](max(passed, 0))

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


@given(init=numbers, pieces=st.dictionaries(st.integers(0, 30), st.floats(0, 2), max_size=4))
def test_interpolation_meets_the_constants_at_the_boundaries(init, pieces):
    constants = values(schedules.piecewise_constant_schedule(init, pieces), [*sorted(pieces), 40])
    for curve in ("linear", "cosine"):
        schedule = schedules.piecewise_interpolate_schedule(curve, init, pieces)
        np.testing.assert_allclose(values(schedule, [*sorted(pieces), 40]), constants, rtol=slack)


# Errors.

LINES = [schedules.linear_schedule(1.0, 0.0, 10), schedules.linear_schedule(0.5, 0.0, 10)]


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "message"),
    [
        ("cosine_decay_schedule", (1.0, 0), {}, "decay_steps must be more than 0; got .*decay_steps=0"),
        ("cosine_decay_schedule", (1.0, float("nan")), {}, "decay_steps must be more than 0; got .*decay_steps=nan"),
        (
            "cosine_decay_schedule",
            (LINES[0], 10),
            {},
            "init_value must be made of numbers; got .*init_value=linear_sch",
        ),
        ("cosine_onecycle_schedule", (0, 1.0), {}, "transition_steps must be more than 0; got .*transition_steps=0"),
        ("cosine_onecycle_schedule", (9, 1.0, 1.5), {}, "pct_start must be from 0 to 1, in order; got .*pct_start=1.5"),
        ("exponential_decay", (1.0, 10, -0.5), {}, "decay_rate must be at least 0; got .*decay_rate=-0.5"),
        (
            "join_schedules",
            (LINES, []),
            {},
            "schedules and boundaries must be n \\+ 1 and n, .*; got .*boundaries=\\(\\)",
        ),
        ("join_schedules", (LINES, [5, 9]), {}, "schedules and boundaries must be n \\+ 1 and n, .*; got .*\\(5, 9\\)"),
        ("join_schedules", ([*LINES, *LINES], [5, 9, 7]), {}, "the steps in order; got .*boundaries=\\(5, 9, 7\\)"),
        ("join_schedules", ([LINES[0], 0.1], [5]), {}, "schedules must be functions of the step; got .*0.1"),
        ("linear_onecycle_schedule", (-1, 1.0), {}, "transition_steps must be more than 0; got .*transition_steps=-1"),
        ("linear_onecycle_schedule", (9, 1.0, 0.9, 0.1), {}, "pct_start and pct_final must be from 0 to 1, in order"),
        ("linear_onecycle_schedule", (9, 1.0), {"div_factor": 0}, "div_factor must be more than 0; got .*div_factor=0"),
        (
            "piecewise_constant_schedule",
            (1.0, {5: -1.0}),
            {},
            "boundaries_and_scales must be at least 0; got .*5: -1.0",
        ),
        ("piecewise_constant_schedule", (1.0, [5]), {}, "boundaries_and_scales must be a dict or None; got .*\\(5,\\)"),
        ("piecewise_interpolate_schedule", ("linear", 1.0, {5: -1.0}), {}, "boundaries_and_scales must be at least 0"),
        (
            "piecewise_interpolate_schedule",
            ("cubic", 1.0),
            {},
            "interpolate_type must be 'linear' or 'cosine'; got .*cubic",
        ),
        ("sgdr_schedule", ([],), {}, "cosine_kwargs must be one dict or more; got sgdr_schedule"),
        (
            "warmup_cosine_decay_schedule",
            (0.0, 1.0, 9, 9),
            {},
            "warmup_steps and decay_steps must be a number and a lar",
        ),
        ("warmup_exponential_decay_schedule", (0.0, 1.0, 5, 9, -1), {}, "decay_rate must be at least 0; got .*rate=-1"),
        ("warmup_stable_decay", (1.0, -1, 5, 5), {}, "warmup_steps must be at least 0; got .*warmup_steps=-1"),
        ("warmup_stable_decay", (1.0, 5, -1, 5), {}, "stable_steps must be at least 0; got .*stable_steps=-1"),
        ("warmup_stable_decay", (1.0, 5, 5, -1), {}, "decay_steps must be at least 0; got .*decay_steps=-1"),
        (
            "warmup_stable_decay",
            (1.0, 5, 5, 5),
            {"shape": "root"},
            "shape must be 'linear', 'cosine' or '1-sqrt'; got .*root",
        ),
    ],
)
def test_numbers_that_make_no_sense(name, args, kwargs, message):
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        getattr(schedules, name)(*args, **kwargs)


def test_a_cycle_that_makes_no_sense():
    with pytest.raises(ValueError, match=r"^warmup_cosine_decay_schedule: warmup_steps and decay_steps"):
        schedules.sgdr_schedule([CYCLES[0], {**CYCLES[0], "warmup_steps": 8}])
    with pytest.raises(TypeError, match=r"warmup_cosine_decay_schedule.*'power'"):
        schedules.sgdr_schedule([{**CYCLES[0], "power": 2}])


def test_a_string_for_a_number():
    with pytest.raises(TypeError, match=r"cosine_decay_schedule: decay_steps must be a number.*; got 'ten'"):
        schedules.cosine_decay_schedule(1.0, "ten")


def test_many_numbers_for_one():
    with pytest.raises(ValueError, match=r"cosine_decay_schedule: .*shape \(\), got shape \(3,\).*jax.vmap"):
        schedules.cosine_decay_schedule(jnp.ones(3), 10)(0)


def test_traced_numbers_are_not_checked():
    found = jax.jit(lambda steps: schedules.cosine_decay_schedule(1.0, steps)(5))
    close([found(10), found(0)], [0.5, 1.0])
