"""Schedules: functions of the step that are values. They print, compare, pickle, and are pytrees of their numbers.

A schedule is called with the step, from 0 on, and computes in the default real dtype, float32 unless x64 is on; float32
counts steps exactly up to 2^24. Its numbers may be arrays of shape () too, or traced. Those that are known when it is
made raise ValueError when they are outside of what `Args` says; all lengths and boundaries are in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.record import Factory, Hyper, P, Record, T, factory, show
from gradxform.maths import safe_root


def _between(start: Any, end: Any, left: Any) -> Any:
    """From `start` to `end`, where `left` of the way is left; exact at both."""
    return start * left + end * (1 - left)


def _elapsed(step: Any, begin: Any, steps: Any) -> tuple[Any, Any]:
    """The steps since `begin`, and by what to divide them."""
    return jnp.maximum(step - jnp.maximum(begin, 0), 0), jnp.where(steps > 0, steps, 1)


def _progress(step: Any, begin: Any, steps: Any) -> Any:
    """How much of a transition is done, from 0 to exactly 1; 0 for ever if it has no steps.

    The 1 is written out because XLA may multiply by a rounded 1 / steps, and 41 (1 / 41) is less than 1 in float32.
    """
    elapsed, divisor = _elapsed(step, begin, steps)
    return jnp.where(steps > 0, jnp.where(elapsed < steps, elapsed / divisor, 1), 0)


def _cosine(progress: Any) -> Any:
    return (1 + jnp.cos(jnp.pi * progress)) / 2


# What is left of the way, from 1 to 0, by how much of the time is over, from 0 to 1.
_LEFT: dict[str, Callable[[Any], Any]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": _cosine,
    "1-sqrt": lambda progress: 1 - safe_root(progress, 2),
}


def _through(step: Any, shape: str, init_value: Any, knots: Sequence[tuple[Any, Any]]) -> Any:
    """The curve from `init_value` at step 0 through knots (step, value), constant after the last."""
    begin, value, curve = 0, init_value, jnp.full_like(step, init_value)
    for end, next_value in knots:
        left = _LEFT[shape](_progress(step - begin, 0, jnp.maximum(end - begin, 1)))
        curve = jnp.where(step >= begin, _between(value, next_value, left), curve)
        begin, value = end, next_value
    return jnp.where(step >= begin, value, curve)


def _warm(step: Any, init_value: Any, peak_value: Any, warmup_steps: Any, after: Any) -> Any:
    """A line from `init_value` to `peak_value`, and then what comes after."""
    return jnp.where(step < warmup_steps, _between(init_value, peak_value, 1 - _progress(step, 0, warmup_steps)), after)


def _warm_cosine(step, init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0):
    left = _cosine(_progress(step - warmup_steps, 0, decay_steps - warmup_steps)) ** exponent
    decayed = _between(peak_value, jnp.where(peak_value == 0, 0, end_value), left)
    return _warm(step, init_value, peak_value, warmup_steps, decayed)


def _exponential(step: Any, init_value: Any, decay: Any) -> Any:
    """The value of `decay`, an `exponential_decay` or one with a warm-up, from `init_value` on."""
    steps, rate, end_value = decay.transition_steps, decay.decay_rate, decay.end_value
    elapsed, divisor = _elapsed(step, decay.transition_begin, steps)
    # Not floor(elapsed / divisor): multiplied by a rounded 1 / divisor, it is one step late at 41.
    periods = jnp.floor_divide(elapsed, divisor) if decay.staircase else elapsed / divisor
    value = init_value * jnp.where(rate == 0, 1, rate) ** periods
    if end_value is not None:
        value = jnp.where(rate < 1, jnp.maximum(value, end_value), jnp.minimum(value, end_value))
    return jnp.where((steps > 0) & (rate != 0), value, init_value)


def _pieces(schedule: Any) -> list[tuple[float, Any]]:
    return [(float(boundary), scale) for boundary, scale in sorted((schedule.boundaries_and_scales or {}).items())]


def _truncated(number: Any) -> Any:
    return float(int(number)) if isinstance(number, float) else jnp.trunc(number)


def _known(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _rising(*values: Any, strictly: bool = False) -> bool:
    """Whether those of the values that are known rise."""
    return all(a < b if strictly else a <= b for a, b in pairwise(filter(_known, values)))


class Schedule(Record):
    """What schedules share: a subclass has one `formula`, and names the fields that must be positive, or at least 0."""

    positive: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()

    def __call__(self, step: Any) -> jax.Array:
        """The value at a step, or at each of an array of them."""
        dtype = jnp.result_type(float)

        def real(path: Any, value: Any) -> Any:
            # Python's own numbers stay: they are taken together in Python's precision, and XLA folds them.
            where = f"{self.call_name}: {jax.tree_util.keystr(path).removeprefix('.')}"
            return float(value) if isinstance(value, int | float) else checks.scalar(where, jnp.asarray(value, dtype))

        return jax.tree_util.tree_map_with_path(real, self).formula(jnp.asarray(step, dtype))

    def formula(self, step: jax.Array) -> jax.Array:
        """The value, in the dtype of the step; numbers are Python floats, or arrays of that dtype and shape ()."""
        raise TypeError(f"{type(self).__name__} has no formula(self, step)")

    def check(self) -> None:
        for name in self.numeric:
            for value in jax.tree.leaves(getattr(self, name), is_leaf=callable):
                if callable(value) or jnp.iscomplexobj(value):
                    raise TypeError(f"{self.call_name}: {name} must be made of real numbers; got {show(value)}")
                self.require(name not in self.positive or _rising(0, value, strictly=True), name, "more than 0")
                self.require(name not in self.not_negative or _rising(0, value), name, "at least 0")

    def require(self, holds: bool, name: str, expected: str) -> None:
        """Raises ValueError about a field unless what is expected of it holds."""
        if not holds:
            raise ValueError(f"{self.call_name}: {name} must be {expected}; got {show(getattr(self, name))}")


class ConstantSchedule(Schedule):
    """One value for ever.

    optax: constant_schedule, which returns the number as it came; here it is an array, as with every schedule.
    """

    value: Hyper

    def formula(self, step):
        return jnp.full_like(step, self.value)


class PolynomialSchedule(Schedule):
    """From one value to another, along a power of the time that is left.

        end_value + (init_value - end_value) (1 - p)^power
        p = (t - transition_begin) / transition_steps, from 0 to 1

    Args:
      init_value, end_value: the values before and after the transition.
      power: 1 for a line; more changes early, less changes late.
      transition_steps: the length of the transition; at 0 or less, init_value stays.
      transition_begin: the step from which on the value changes; less than 0 counts as 0.

    optax: polynomial_schedule. torch: torch.optim.lr_scheduler.PolynomialLR, which ends at 0.
    """

    init_value: Hyper
    end_value: Hyper
    power: Hyper
    transition_steps: Hyper
    transition_begin: Hyper = 0

    def formula(self, step):
        left = (1 - _progress(step, self.transition_begin, self.transition_steps)) ** self.power
        return _between(self.init_value, self.end_value, left)


class LinearSchedule(Schedule):
    """From one value to another, along a line: `polynomial_schedule` with power 1, and otherwise its arguments.

        end_value + (init_value - end_value) (1 - p)

    optax: linear_schedule, whose end is off by rounding under `jit`. torch: torch.optim.lr_scheduler.LinearLR.
    """

    init_value: Hyper
    end_value: Hyper
    transition_steps: Hyper
    transition_begin: Hyper = 0

    def formula(self, step):
        left = 1 - _progress(step, self.transition_begin, self.transition_steps)
        return _between(self.init_value, self.end_value, left)


class ExponentialDecay(Schedule):
    """Multiplies by a rate every so many steps, smoothly or in a staircase.

        init_value decay_rate^p,   p = max(t - transition_begin, 0) / transition_steps,   rounded down for a staircase

    Args:
      init_value: the first value.
      transition_steps: the steps in which the value changes by decay_rate; at 0 or less, init_value stays.
      decay_rate: the factor, at least 0; at 0, init_value stays.
      transition_begin: the step from which on the value changes; less than 0 counts as 0.
      staircase: whether to change at multiples of transition_steps only.
      end_value: where to stop: a lower bound if decay_rate < 1, else an upper bound. None: nowhere.

    optax: exponential_decay; its staircase is a step late under `jit` for transition_steps such as 41, and a negative
    decay_rate gives NaN. torch: torch.optim.lr_scheduler.ExponentialLR, and StepLR for a staircase.
    """

    init_value: Hyper
    transition_steps: Hyper
    decay_rate: Hyper
    transition_begin: Hyper = 0
    staircase: bool = False
    end_value: Hyper | None = None

    not_negative = ("decay_rate",)

    def formula(self, step):
        return _exponential(step, self.init_value, self)


class CosineDecaySchedule(Schedule):
    """Falls along half a cosine, to a fraction of the first value, and stays there.

        init_value (alpha + (1 - alpha) c^exponent),   c = (1 + cos(pi min(t / decay_steps, 1))) / 2

    Args:
      init_value: the first value.
      decay_steps: the length of the fall, more than 0.
      alpha: the last value as a fraction of the first.
      exponent: more falls early, less falls late.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: cosine_decay_schedule. torch:
    torch.optim.lr_scheduler.CosineAnnealingLR, which rises again after T_max.
    """

    init_value: Hyper
    decay_steps: Hyper
    alpha: Hyper = 0.0
    exponent: Hyper = 1.0

    positive = ("decay_steps",)

    def formula(self, step):
        left = _cosine(_progress(step, 0, self.decay_steps)) ** self.exponent
        return _between(self.init_value, self.alpha * self.init_value, left)


class PiecewiseConstantSchedule(Schedule):
    """Multiplies by a scale at each boundary: init_value times all scales whose boundary <= t.

    Args:
      init_value: the first value.
      boundaries_and_scales: {step: scale}, scales at least 0. None: the value stays.

    optax: piecewise_constant_schedule. torch: torch.optim.lr_scheduler.MultiStepLR, with one scale for all.
    """

    init_value: Hyper
    boundaries_and_scales: dict[int, Hyper] | None = None

    not_negative = ("boundaries_and_scales",)

    def formula(self, step):
        value = jnp.full_like(step, self.init_value)
        for boundary, scale in _pieces(self):
            value *= jnp.where(step < boundary, 1, scale)
        return value


class PiecewiseInterpolateSchedule(Schedule):
    """Takes the values of `piecewise_constant_schedule` at 0 and at each boundary, and interpolates in between.

    Args:
      interpolate_type: "linear" or "cosine".
      init_value, boundaries_and_scales: as in `piecewise_constant_schedule`.

    optax: piecewise_interpolate_schedule. torch: none.
    """

    interpolate_type: str
    init_value: Hyper
    boundaries_and_scales: dict[int, Hyper] | None = None

    not_negative = ("boundaries_and_scales",)

    def check(self):
        super().check()
        self.require(self.interpolate_type in ("linear", "cosine"), "interpolate_type", "'linear' or 'cosine'")

    def formula(self, step):
        value, knots = self.init_value, []
        for boundary, scale in _pieces(self):
            value = value * scale
            knots.append((boundary, value))
        return _through(step, self.interpolate_type, self.init_value, knots)


class LinearOnecycleSchedule(Schedule):
    """One cycle of three lines: up to the peak, back to the first value, on to the last.

        peak_value / div_factor at 0,   peak_value at pct_start transition_steps,   peak_value / div_factor at
        pct_final transition_steps,   peak_value / div_factor / final_div_factor from transition_steps on

    Args:
      transition_steps: the length of the cycle, more than 0.
      peak_value: the largest value.
      pct_start, pct_final: where rise and fall end, as fractions of the cycle, rounded down to a step. When they are
        traced, that step is computed in float32.
      div_factor, final_div_factor: peak over first value and first over last value, more than 0.

    Smith & Topin 2017, arXiv:1708.07120. optax: linear_onecycle_schedule, which loses the peak when a phase has no
    steps. torch: torch.optim.lr_scheduler.OneCycleLR with three_phase=True and anneal_strategy="linear".
    """

    transition_steps: Hyper
    peak_value: Hyper
    pct_start: Hyper = 0.3
    pct_final: Hyper = 0.85
    div_factor: Hyper = 25.0
    final_div_factor: Hyper = 1e4

    positive = ("transition_steps", "div_factor", "final_div_factor")

    def check(self):
        super().check()
        self.require(_rising(0, self.pct_start, 1), "pct_start", "from 0 to 1")
        self.require(_rising(self.pct_start, self.pct_final, 1), "pct_final", "from pct_start to 1")

    def formula(self, step):
        first, steps = self.peak_value / self.div_factor, self.transition_steps
        rise, fall = _truncated(self.pct_start * steps), _truncated(self.pct_final * steps)
        knots = [(rise, self.peak_value), (fall, first), (steps, first / self.final_div_factor)]
        return _through(step, "linear", first, knots)


class CosineOnecycleSchedule(Schedule):
    """One cycle of two half cosines: up to the peak, down to the last value.

        peak_value / div_factor at 0,   peak_value at pct_start transition_steps,
        peak_value / div_factor / final_div_factor from transition_steps on

    Args: as in `linear_onecycle_schedule`.

    Smith & Topin 2017, arXiv:1708.07120. optax: cosine_onecycle_schedule, which loses the peak at pct_start=1. torch:
    torch.optim.lr_scheduler.OneCycleLR, which counts from the peak at pct_start total_steps - 1.
    """

    transition_steps: Hyper
    peak_value: Hyper
    pct_start: Hyper = 0.3
    div_factor: Hyper = 25.0
    final_div_factor: Hyper = 1e4

    positive = ("transition_steps", "div_factor", "final_div_factor")

    def check(self):
        super().check()
        self.require(_rising(0, self.pct_start, 1), "pct_start", "from 0 to 1")

    def formula(self, step):
        first, steps = self.peak_value / self.div_factor, self.transition_steps
        knots = [(_truncated(self.pct_start * steps), self.peak_value), (steps, first / self.final_div_factor)]
        return _through(step, "cosine", first, knots)


class WarmupConstantSchedule(Schedule):
    """Rises along a line, and stays.

    Args:
      init_value, peak_value: the values at 0 and from warmup_steps on.
      warmup_steps: the length of the rise; at 0, the value is peak_value from the start.

    Goyal et al. 2017, arXiv:1706.02677. optax: warmup_constant_schedule, which stays at init_value for ever if
    warmup_steps is 0. torch: torch.optim.lr_scheduler.LinearLR.
    """

    init_value: Hyper
    peak_value: Hyper
    warmup_steps: Hyper

    def formula(self, step):
        return _warm(step, self.init_value, self.peak_value, self.warmup_steps, self.peak_value)


class WarmupCosineDecaySchedule(Schedule):
    """Rises along a line, and falls along half a cosine.

    Args:
      init_value, peak_value, end_value: the values at 0, at warmup_steps and from decay_steps on; at peak_value 0,
        end_value counts as 0.
      warmup_steps: the length of the rise.
      decay_steps: the length of rise and fall together, more than warmup_steps.
      exponent: as in `cosine_decay_schedule`.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: warmup_cosine_decay_schedule. torch: SequentialLR of LinearLR
    and CosineAnnealingLR.
    """

    init_value: Hyper
    peak_value: Hyper
    warmup_steps: Hyper
    decay_steps: Hyper
    end_value: Hyper = 0.0
    exponent: Hyper = 1.0

    def check(self):
        super().check()
        holds = _rising(self.warmup_steps, self.decay_steps, strictly=True)
        self.require(holds, "decay_steps", f"more than warmup_steps={show(self.warmup_steps)}, which it includes")

    def formula(self, step):
        return _warm_cosine(step, **self.fields())


class WarmupExponentialDecaySchedule(Schedule):
    """Rises along a line, and goes on with `exponential_decay` from the peak.

    Args:
      init_value, peak_value: the values at 0 and at warmup_steps.
      warmup_steps: the length of the rise, from the end of which on `exponential_decay` counts its steps.
      transition_steps, decay_rate, transition_begin, staircase, end_value: as in `exponential_decay`.

    optax: warmup_exponential_decay_schedule. torch: SequentialLR of LinearLR and ExponentialLR.
    """

    init_value: Hyper
    peak_value: Hyper
    warmup_steps: Hyper
    transition_steps: Hyper
    decay_rate: Hyper
    transition_begin: Hyper = 0
    staircase: bool = False
    end_value: Hyper | None = None

    not_negative = ("decay_rate",)

    def formula(self, step):
        after = _exponential(step - self.warmup_steps, self.peak_value, self)
        return _warm(step, self.init_value, self.peak_value, self.warmup_steps, after)


class WarmupStableDecay(Schedule):
    """Rises along a line, stays, and decays at the end.

        end_value + (peak_value - end_value) d(p),   p = (t - warmup_steps - stable_steps) / decay_steps, from 0 to 1
        d(p) = 1 - p for "linear",   (1 + cos(pi p)) / 2 for "cosine",   1 - sqrt(p) for "1-sqrt"

    Args:
      peak_value: the value after the rise.
      warmup_steps, stable_steps, decay_steps: the lengths of the three phases, at least 0; with decay_steps 0, the
        value stays at the peak.
      init_value, end_value: the values at 0 and after the decay.
      shape: of the decay: "linear", "cosine" or "1-sqrt".

    Hu et al. 2024, arXiv:2404.06395, section 4; "1-sqrt": Hägele et al. 2024, arXiv:2405.18392. optax: none; torch: none.
    """

    peak_value: Hyper
    warmup_steps: Hyper
    stable_steps: Hyper
    decay_steps: Hyper
    init_value: Hyper = 0.0
    end_value: Hyper = 0.0
    shape: str = "1-sqrt"

    not_negative = ("warmup_steps", "stable_steps", "decay_steps")

    def check(self):
        super().check()
        self.require(self.shape in _LEFT, "shape", " or ".join(map(repr, _LEFT)))

    def formula(self, step):
        left = _LEFT[self.shape](_progress(step, self.warmup_steps + self.stable_steps, self.decay_steps))
        decayed = _between(self.peak_value, self.end_value, left)
        return _warm(step, self.init_value, self.peak_value, self.warmup_steps, decayed)


class SgdrSchedule(Schedule):
    """Rises and falls in cycles, each a `warmup_cosine_decay_schedule` that begins where the one before ends.

    Args:
      cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay_schedule` by name; at least one.

    Loshchilov & Hutter 2017, arXiv:1608.03983. optax: sgdr_schedule. torch:
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, whose cycles grow by a factor.
    """

    cosine_kwargs: Iterable[dict[str, Hyper]]

    def __post_init__(self):
        object.__setattr__(self, "cosine_kwargs", tuple(map(dict, self.cosine_kwargs)))
        super().__post_init__()

    def check(self):
        super().check()
        self.require(len(self.cosine_kwargs) > 0, "cosine_kwargs", "one dict or more")
        for index, cycle in enumerate(self.cosine_kwargs):
            try:
                WarmupCosineDecaySchedule(**cycle)
            except (TypeError, ValueError) as error:
                raise type(error)(f"sgdr_schedule: cosine_kwargs[{index}]: {error}") from None

    def formula(self, step):
        value, begin = jnp.zeros_like(step), 0
        for cycle in self.cosine_kwargs:
            value = jnp.where((step >= begin) | (begin == 0), _warm_cosine(step - begin, **cycle), value)
            begin = begin + cycle["decay_steps"]
        return value


class JoinSchedules(Schedule):
    """Applies schedules one after another, each to the steps since its boundary.

        schedules[i](t - boundaries[i - 1])   from boundaries[i - 1] until boundaries[i]

    Args:
      schedules: functions of the step; they receive integers where the step and the boundaries are integers.
      boundaries: the steps at which the second schedule and those after it begin, one each, in order.

    optax: join_schedules, which drops schedules that have no boundary. torch: torch.optim.lr_scheduler.SequentialLR.
    """

    schedules: Sequence[Hyper]
    boundaries: Sequence[Hyper]

    def __post_init__(self):
        object.__setattr__(self, "schedules", tuple(self.schedules))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        super().__post_init__()

    def check(self):
        for index, schedule in enumerate(self.schedules):
            if not callable(schedule):
                raise TypeError(f"join_schedules: schedules[{index}] must be a function; got {show(schedule)}")
        expected = f"one fewer than the {len(self.schedules)} schedules, and in order"
        holds = len(self.schedules) == len(self.boundaries) + 1 and _rising(*self.boundaries)
        self.require(holds, "boundaries", expected)

    def __call__(self, step):
        dtype = jnp.result_type(float)
        value = jnp.asarray(self.schedules[0](step), dtype)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            with jax.numpy_dtype_promotion("standard"):
                begun, elapsed = step >= boundary, step - boundary
            value = jnp.where(begun, jnp.asarray(schedule(elapsed), dtype), value)
        return value


def _public(schedule: Callable[P, T]) -> Factory[P, T]:
    return factory(schedule, lambda record: record, Schedule)


constant_schedule = _public(ConstantSchedule)
polynomial_schedule = _public(PolynomialSchedule)
linear_schedule = _public(LinearSchedule)
exponential_decay = _public(ExponentialDecay)
cosine_decay_schedule = _public(CosineDecaySchedule)
piecewise_constant_schedule = _public(PiecewiseConstantSchedule)
piecewise_interpolate_schedule = _public(PiecewiseInterpolateSchedule)
linear_onecycle_schedule = _public(LinearOnecycleSchedule)
cosine_onecycle_schedule = _public(CosineOnecycleSchedule)
warmup_constant_schedule = _public(WarmupConstantSchedule)
warmup_cosine_decay_schedule = _public(WarmupCosineDecaySchedule)
warmup_exponential_decay_schedule = _public(WarmupExponentialDecaySchedule)
warmup_stable_decay = _public(WarmupStableDecay)
sgdr_schedule = _public(SgdrSchedule)
join_schedules = _public(JoinSchedules)
