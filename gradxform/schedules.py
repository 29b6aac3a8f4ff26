"""Schedules: functions of the step that are values. They print, compare, pickle, and are pytrees of their numbers.

Called with the step, from 0 on, they compute in the default real dtype: float32 unless x64 is on, which counts steps
exactly up to 2^24. Lengths are in steps; numbers may be traced, or arrays of shape (). torch: torch.optim.lr_scheduler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Concatenate

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.record import Factory, Hyper, P, Record, factory
from gradxform.core.text import show
from gradxform.maths import safe_root


class Schedule(Record):
    """What schedules share. A subclass has a formula, and what its fields must be: those in a tuple together."""

    formula: ClassVar[Callable[..., Any]]
    required: ClassVar[dict[str, Sequence[str]]] = {}

    def __post_init__(self) -> None:
        """Takes iterables as tuples."""
        for name, value in self.fields().items():
            if isinstance(value, Iterable) and not isinstance(value, str | dict | jax.Array | np.ndarray):
                object.__setattr__(self, name, tuple(value))
        super().__post_init__()

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        dtype, name = jnp.result_type(float), self.call_name
        # Python's own numbers stay: they meet each other in Python's precision, and XLA folds them.
        numbers = jax.tree.map(
            lambda x: float(x) if isinstance(x, int | float) else checks.scalar(name, jnp.asarray(x, dtype)), self
        )
        return type(self).formula(jnp.asarray(step, dtype), **numbers.fields())

    def check(self) -> None:
        """Raises ValueError for fields that are not as required."""
        for requirement, names in {"numbers": list(self.numeric), **self.required}.items():
            expected, holds = _REQUIREMENTS[requirement]
            for group in [names] if isinstance(names, tuple) else zip(names, strict=True):
                values = [getattr(self, name) for name in group]
                if not holds(*values):
                    got = " and ".join(map(show, values))
                    raise ValueError(f"{self.call_name}: {' and '.join(group)} must be {expected}; got {got}")


def _schedule(**required: Sequence[str]) -> Callable[[Callable[Concatenate[Any, P], Any]], Factory[P, Schedule]]:
    """Makes a formula `f(step, *fields)` a subclass of Schedule, and returns the function that makes its values.

    A field without annotation is a number, which the formula gets as a Python float or an array of the step's dtype.
    """

    def make(formula: Callable[Concatenate[Any, P], Any]) -> Factory[P, Schedule]:
        fields = list(inspect.signature(formula).parameters.values())[1:]
        numbers = {field.name: "Hyper | None" if field.default is None else "Hyper" for field in fields}
        others = {field.name: field.annotation for field in fields if field.annotation is not field.empty}
        body = {field.name: field.default for field in fields if field.default is not field.empty}
        body |= {"__annotations__": numbers | others, "__doc__": formula.__doc__, "__module__": formula.__module__}
        # By this qualified name pickle finds the function, and through it the class.
        body |= {"__qualname__": formula.__name__, "formula": staticmethod(formula), "required": required}
        record: Any = type(formula.__name__.title().replace("_", ""), (Schedule,), body)
        return factory(record, lambda schedule: schedule, Schedule)

    return make


def _rising(*values: Any, strictly: bool = False) -> bool:
    """Whether those of the values that are known rise."""
    known = [value for value in values if isinstance(value, int | float | np.number)]
    return all(a < b if strictly else a <= b for a, b in pairwise(known))


# In words, and as a function of the fields.
_REQUIREMENTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "numbers": ("made of numbers", lambda x: not any(map(callable, jax.tree.leaves(x, is_leaf=callable)))),
    "positive": ("more than 0", lambda x: _rising(0, x, strictly=True)),
    "not_negative": ("at least 0", lambda x: all(_rising(0, y) for y in jax.tree.leaves(x))),
    "mapping": ("a dict or None", lambda x: x is None or isinstance(x, dict)),
    "fractions": ("from 0 to 1, in order", lambda *xs: _rising(0, *xs, 1)),
    "increasing": ("a number and a larger one", lambda x, y: _rising(x, y, strictly=True)),
    "shape": ("'linear', 'cosine' or '1-sqrt'", lambda x: x in _LEFT),
    "curve": ("'linear' or 'cosine'", lambda x: x in ("linear", "cosine")),
    "cycles": ("one dict or more", lambda x: [warmup_cosine_decay_schedule(**cycle) for cycle in x]),
    "functions": ("functions of the step", lambda functions: all(map(callable, functions))),
    "joined": ("n + 1 and n, the steps in order", lambda fs, steps: len(fs) == len(steps) + 1 and _rising(*steps)),
}

# What is left of a transition, from 1 to 0, by how much of it is over, from 0 to 1.
_LEFT: dict[str, Callable[[Any], Any]] = {
    "linear": lambda over: 1 - over,
    "cosine": lambda over: (1 + jnp.cos(jnp.pi * over)) / 2,
    "1-sqrt": lambda over: 1 - safe_root(over, 2),
}


def _left(shape: str, step: Any, begin: Any, steps: Any) -> Any:
    """What is left of a transition; 1 for ever if it has no steps."""
    elapsed = jnp.maximum(step - jnp.maximum(begin, 0), 0)
    # The end is not left to the division, which XLA may make a product: 41 (1 / 41) is less than 1 in float32.
    over = jnp.where(elapsed < steps, elapsed / jnp.where(steps > 0, steps, 1), 1)
    return _LEFT[shape](jnp.where(steps > 0, over, 0))


def _between(start: Any, end: Any, left: Any) -> Any:
    """From `start` to `end`, where `left` of the way is left; exact at both."""
    return start * left + end * (1 - left)


def _warm(step: Any, init_value: Any, peak_value: Any, warmup_steps: Any, after: Any) -> Any:
    """A line from `init_value` to `peak_value`, and then what comes after."""
    left = _left("linear", step, 0, warmup_steps)
    return jnp.where(step < warmup_steps, _between(init_value, peak_value, left), after)


def _through(step: Any, shape: str, init_value: Any, knots: Iterable[tuple[Any, Any]]) -> Any:
    """The curve from `init_value` at step 0 through knots (step, value), constant after the last."""
    begin, value, curve = 0, init_value, jnp.full_like(step, init_value)
    for end, next_value in knots:
        left = _left(shape, step - begin, 0, end - begin)
        curve = jnp.where(step >= begin, _between(value, next_value, left), curve)
        begin, value = end, next_value
    return jnp.where(step >= begin, value, curve)


def _knots(value: Any, boundaries_and_scales: dict[int, Any] | None) -> Iterable[tuple[float, Any]]:
    """The boundaries in order, and the value from each of them on."""
    for boundary, scale in sorted((boundaries_and_scales or {}).items()):
        value = value * scale
        yield float(boundary), value


@_schedule()
def constant_schedule(step, value):
    """One value for ever.

    optax: constant_schedule, which returns the number as it came; here it is an array, as with every schedule.
    """
    return jnp.full_like(step, value)


@_schedule()
def polynomial_schedule(step, init_value, end_value, power, transition_steps, transition_begin=0):
    """From one value to another, along a power of the time that is left.

        end_value + (init_value - end_value) (1 - p)^power,   p = (t - transition_begin) / transition_steps in [0, 1]

    Args:
      init_value, end_value: the values before and after the transition.
      power: 1 for a line; more changes early, less changes late.
      transition_steps: the length of the transition; at 0 or less, init_value stays.
      transition_begin: the step from which on the value changes; less than 0 counts as 0.

    optax: polynomial_schedule. torch: PolynomialLR, which ends at 0.
    """
    return _between(init_value, end_value, _left("linear", step, transition_begin, transition_steps) ** power)


@_schedule()
def linear_schedule(step, init_value, end_value, transition_steps, transition_begin=0):
    """From one value to another, along a line: `polynomial_schedule` with power 1, and otherwise its arguments.

    optax: linear_schedule, which under `jit` may miss end_value by rounding. torch: LinearLR.
    """
    return _between(init_value, end_value, _left("linear", step, transition_begin, transition_steps))


@_schedule(not_negative=["decay_rate"])
def exponential_decay(
    step, init_value, transition_steps, decay_rate, transition_begin=0, staircase: bool = False, end_value=None
):
    """Multiplies by a rate every so many steps, smoothly or in a staircase.

        init_value decay_rate^p,   p = max(t - transition_begin, 0) / transition_steps,   rounded down for a staircase

    Args:
      init_value, transition_begin: as in `polynomial_schedule`.
      transition_steps: the steps in which the value changes by decay_rate; at 0 or less, init_value stays.
      decay_rate: the factor, at least 0; at 0, init_value stays.
      staircase: whether to change at multiples of transition_steps only.
      end_value: where to stop: a lower bound if decay_rate < 1, else an upper bound. None: nowhere.

    optax: exponential_decay; its staircase is a step late under `jit` for transition_steps such as 41, and its smooth
    powers of a negative decay_rate are NaN. torch: ExponentialLR; staircase: StepLR.
    """
    elapsed = jnp.maximum(step - jnp.maximum(transition_begin, 0), 0)
    divisor = jnp.where(transition_steps > 0, transition_steps, 1)
    # Not floor(elapsed / divisor), for the reason that `_left` gives.
    periods = jnp.floor_divide(elapsed, divisor) if staircase else elapsed / divisor
    value = init_value * jnp.where(decay_rate == 0, 1, decay_rate) ** periods
    if end_value is not None:
        value = jnp.where(decay_rate < 1, jnp.maximum(value, end_value), jnp.minimum(value, end_value))
    return jnp.where((transition_steps > 0) & (decay_rate != 0), value, init_value)


@_schedule(positive=["decay_steps"])
def cosine_decay_schedule(step, init_value, decay_steps, alpha=0.0, exponent=1.0):
    """Falls along half a cosine, to a fraction of the first value, and stays there.

        init_value (alpha + (1 - alpha) c^exponent),   c = (1 + cos(pi min(t / decay_steps, 1))) / 2

    Args:
      init_value: the first value.
      decay_steps: the length of the fall, more than 0.
      alpha: the last value as a fraction of the first.
      exponent: more falls early, less falls late.

    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5. optax: cosine_decay_schedule. torch:
    CosineAnnealingLR, which rises again after T_max.
    """
    return _between(init_value, alpha * init_value, _left("cosine", step, 0, decay_steps) ** exponent)


@_schedule(mapping=["boundaries_and_scales"], not_negative=["boundaries_and_scales"])
def piecewise_constant_schedule(step, init_value, boundaries_and_scales=None):
    """Multiplies by a scale at each boundary: init_value times every scale whose boundary <= t.

    Args:
      init_value: the first value.
      boundaries_and_scales: {step: scale}, scales of at least 0. None: the value stays.

    optax: piecewise_constant_schedule. torch: MultiStepLR, with one scale for all.
    """
    value = jnp.full_like(step, init_value)
    for boundary, scaled in _knots(init_value, boundaries_and_scales):
        value = jnp.where(step < boundary, value, scaled)
    return value


@_schedule(curve=["interpolate_type"], mapping=["boundaries_and_scales"], not_negative=["boundaries_and_scales"])
def piecewise_interpolate_schedule(step, interpolate_type: str, init_value, boundaries_and_scales=None):
    """Takes the values of `piecewise_constant_schedule` at 0 and at each boundary, and interpolates in between.

    Args:
      interpolate_type: "linear" or "cosine".
      init_value, boundaries_and_scales: as in `piecewise_constant_schedule`.

    optax: piecewise_interpolate_schedule. torch: none.
    """
    return _through(step, interpolate_type, init_value, _knots(init_value, boundaries_and_scales))


@_schedule(positive=["transition_steps", "div_factor", "final_div_factor"], fractions=("pct_start", "pct_final"))
def linear_onecycle_schedule(
    step, transition_steps, peak_value, pct_start=0.3, pct_final=0.85, div_factor=25.0, final_div_factor=1e4
):
    """One cycle of three lines: up to the peak at pct_start, back to the first value at pct_final, on to the last.

    Args:
      transition_steps: the length of the cycle, more than 0.
      peak_value: the largest value.
      pct_start, pct_final: the ends of rise and fall, as fractions in order; cut to a step, in float32 if traced.
      div_factor, final_div_factor: peak over first value and first over last value, more than 0.

    Smith & Topin 2017, arXiv:1708.07120. optax: linear_onecycle_schedule, which never rises if the fall has no
    steps. torch: OneCycleLR with three_phase=True, anneal_strategy="linear".
    """
    first, last = peak_value / div_factor, peak_value / div_factor / final_div_factor
    rise, fall = pct_start * transition_steps // 1, pct_final * transition_steps // 1
    return _through(step, "linear", first, [(rise, peak_value), (fall, first), (transition_steps, last)])


@_schedule(positive=["transition_steps", "div_factor", "final_div_factor"], fractions=["pct_start"])
def cosine_onecycle_schedule(step, transition_steps, peak_value, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    """One cycle of two half cosines: up to the peak at pct_start, down to the last value.

    Args: as in `linear_onecycle_schedule`.

    Smith & Topin 2017, arXiv:1708.07120. optax: cosine_onecycle_schedule, which never rises if pct_start is 1.
    torch: OneCycleLR, whose peak is a step earlier.
    """
    first, last = peak_value / div_factor, peak_value / div_factor / final_div_factor
    return _through(step, "cosine", first, [(pct_start * transition_steps // 1, peak_value), (transition_steps, last)])


@_schedule()
def warmup_constant_schedule(step, init_value, peak_value, warmup_steps):
    """Rises along a line, and stays.

    Args:
      init_value, peak_value: the values at 0 and from warmup_steps on.
      warmup_steps: the length of the rise; at 0, the value is peak_value from the start.

    Goyal et al. 2017, arXiv:1706.02677. optax: warmup_constant_schedule, which for warmup_steps=0 stays at init_value
    for ever. torch: LinearLR.
    """
    return _warm(step, init_value, peak_value, warmup_steps, peak_value)


@_schedule(increasing=("warmup_steps", "decay_steps"))
def warmup_cosine_decay_schedule(step, init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0):
    """Rises along a line, and falls as `cosine_decay_schedule` does.

    Args:
      init_value, peak_value, end_value: the values at 0, at warmup_steps and from decay_steps on; after a peak of 0, 0.
      warmup_steps, decay_steps: the length of the rise, and of rise and fall together, which is more.
      exponent: as in `cosine_decay_schedule`.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: warmup_cosine_decay_schedule. torch: SequentialLR.
    """
    left = _left("cosine", step, warmup_steps, decay_steps - warmup_steps) ** exponent
    fallen = _between(peak_value, jnp.where(peak_value == 0, 0, end_value), left)
    return _warm(step, init_value, peak_value, warmup_steps, fallen)


@_schedule(not_negative=["decay_rate"])
def warmup_exponential_decay_schedule(
    step,
    init_value,
    peak_value,
    warmup_steps,
    transition_steps,
    decay_rate,
    transition_begin=0,
    staircase: bool = False,
    end_value=None,
):
    """Rises along a line from init_value to peak_value, and goes on from there with `exponential_decay`.

    Args:
      init_value, peak_value, warmup_steps: as in `warmup_constant_schedule`.
      transition_steps, decay_rate, transition_begin, staircase, end_value: as in `exponential_decay`.

    optax: warmup_exponential_decay_schedule. torch: SequentialLR.
    """
    since, decay = step - warmup_steps, exponential_decay.record.formula
    decayed = decay(since, peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _warm(step, init_value, peak_value, warmup_steps, decayed)


@_schedule(not_negative=["warmup_steps", "stable_steps", "decay_steps"], shape=["shape"])
def warmup_stable_decay(
    step, peak_value, warmup_steps, stable_steps, decay_steps, init_value=0.0, end_value=0.0, shape: str = "1-sqrt"
):
    """Rises along a line, stays, and decays at the end.

        end_value + (peak_value - end_value) d(p),   p = (t - warmup_steps - stable_steps) / decay_steps in [0, 1]
        d(p) = 1 - p for "linear",   (1 + cos(pi p)) / 2 for "cosine",   1 - sqrt(p) for "1-sqrt"

    Args:
      init_value, peak_value, end_value: the values at 0, between rise and decay, and after it.
      warmup_steps, stable_steps, decay_steps: the lengths of the phases, at least 0. Without decay, the peak stays.
      shape: of the decay: "linear", "cosine" or "1-sqrt".

    Hu et al. 2024, arXiv:2404.06395; "1-sqrt": Hägele et al. 2024, arXiv:2405.18392. optax: none. torch: none.
    """
    decayed = _between(peak_value, end_value, _left(shape, step, warmup_steps + stable_steps, decay_steps))
    return _warm(step, init_value, peak_value, warmup_steps, decayed)


@_schedule(cycles=["cosine_kwargs"])
def sgdr_schedule(step, cosine_kwargs: Iterable[dict[str, Hyper]]):
    """Rises and falls in cycles, each a `warmup_cosine_decay_schedule` that begins where the last one ends.

    Args:
      cosine_kwargs: for each cycle, the arguments of `warmup_cosine_decay_schedule` by name; at least one.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: sgdr_schedule. torch: CosineAnnealingWarmRestarts.
    """
    value, begin = jnp.zeros_like(step), 0
    for cycle in cosine_kwargs:
        value = jnp.where(step < begin, value, warmup_cosine_decay_schedule.record.formula(step - begin, **cycle))
        begin = begin + cycle["decay_steps"]
    return value


class JoinSchedules(Schedule):
    """Applies schedules one after another, each to the steps since its boundary.

    Args:
      schedules: functions of the step; they receive integers where the step and the boundaries are integers.
      boundaries: the steps at which the second schedule and those after it begin, in order.

    optax: join_schedules, which drops schedules that have no boundary. torch: SequentialLR.
    """

    schedules: Sequence[Hyper]
    boundaries: Sequence[Hyper]
    required: ClassVar = {"numbers": ["boundaries"], "functions": ["schedules"], "joined": ("schedules", "boundaries")}

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of steps."""
        value = jnp.asarray(self.schedules[0](step), jnp.result_type(float))
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            with jax.numpy_dtype_promotion("standard"):
                begun, since = step >= boundary, jnp.maximum(step, boundary) - boundary
            value = jnp.where(begun, jnp.asarray(schedule(since), value.dtype), value)
        return value


join_schedules = factory(JoinSchedules, lambda record: record, JoinSchedules)
