"""A first look at which learning rates a loss bears."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import optax

from gradxform.core.apply import apply_updates
from gradxform.core.fields import check_count
from gradxform.core.text import described
from gradxform.explore.progress import progress
from gradxform.schedules import exponential_decay


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """What `learning_rate_range_test` found, in NumPy's arrays of shape (steps,), up to where it stopped.

    Attributes:
      rates: the learning rate of each step.
      losses: the loss before each step.
      smoothed: their running mean.
      suggestion: the rate at which the smoothed loss falls fastest, by its slope against the logarithm of the rate.
      diverged_at: the rate at which the loss blew up; None if it did not. Training may have ended to be of use long
        before, as in a network whose units died: the curve shows it.

    optax: none. torch: none.
    """

    rates: np.ndarray[Any, Any]
    losses: np.ndarray[Any, Any]
    smoothed: np.ndarray[Any, Any]
    suggestion: float
    diverged_at: float | None

    def __repr__(self) -> str:
        end = "did not diverge" if self.diverged_at is None else f"diverged at {self.diverged_at:.3g}"
        rates = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"<RangeTest of rates {rates}: falls fastest at {self.suggestion:.3g}, {end}>"


def learning_rate_range_test(
    loss: Callable[..., jax.Array],
    params: Any,
    make: Callable[[Any], optax.GradientTransformation],
    batches: Iterable[Any] | None = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    blow_up: float = 4.0,
) -> RangeTest:
    """Trains for some steps while the learning rate grows from one that is too small to one that is too large.

        lr_k = low (high / low)^(k / (steps - 1))
        m_k  = the bias-corrected running mean of the losses
        stops when m_k - min m > (blow_up - 1) |min m|, or m_k is not finite

    A good learning rate lies between the rate at which the loss begins to fall and that at which it rises again.
    The parameters are not changed. A test of more than a second shows a progress bar, if tqdm is installed.

    Args:
      loss: (params, batch) -> a real number of shape (); without batches, params -> a real number.
      params: the parameters.
      make: learning rate -> transform, such as `adam`; it is called with a schedule.
      batches: any iterable of batches, from its beginning again when it ends; an iterator must hold enough of them.
        None for a loss of the parameters alone.
      low, high: the first and the last learning rate, more than 0.
      steps: how many rates, at least 2.
      smoothing: the decay of the running mean, in [0, 1).
      blow_up: how many times the least smoothed loss ends the test, more than 1.

    Returns:
      A RangeTest.

    Raises:
      TypeError: `make` is a transform.
      ValueError: bounds that make no sense, batches that end too early, a loss that is no real number of shape (), or
        one that is not finite from the first step on.

    Smith 2017, arXiv:1506.01186, section 3.3. optax: none. torch: none.
    """
    if not 0 < low < high:
        raise ValueError(f"learning_rate_range_test: expected 0 < low < high; got low={low}, high={high}")
    check_count("learning_rate_range_test: steps", steps, 2)
    if not 0 <= smoothing < 1:
        raise ValueError(f"learning_rate_range_test: smoothing must be at least 0 and less than 1; got {smoothing}")
    if not blow_up > 1:
        raise ValueError(f"learning_rate_range_test: blow_up must be more than 1; got {blow_up}")
    schedule = exponential_decay(low, steps - 1, high / low)
    if isinstance(make, optax.GradientTransformation):
        raise TypeError("learning_rate_range_test: make must be a function of the rate, as gx.adam; got a transform")
    tx = optax.with_extra_args_support(make(schedule))

    @jax.jit
    def step(params: Any, state: Any, batch: tuple[Any, ...]) -> tuple[jax.Array, Any, Any]:
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, state = tx.update(grads, state, params, value=value)
        return value, apply_updates(params, updates), state

    given = _endless(batches, steps)
    state, first = tx.init(params), next(given)
    losses: list[float] = []
    smoothed: list[float] = []
    mean, diverged = 0.0, False
    _check_loss(loss, params, first)
    # The first step compiles, and a bar that stands still says nothing.
    value, params, state = step(params, state, first)
    with progress("learning rates", steps) as bar:
        for k in range(steps):
            losses.append(float(value))
            mean = smoothing * mean + (1 - smoothing) * losses[-1]
            smoothed.append(mean / (1 - smoothing ** (k + 1)))
            bar.update()
            mark = min(smoothed) + (blow_up - 1) * abs(min(smoothed))
            diverged = not smoothed[-1] <= mark
            if diverged or k == steps - 1:
                break
            value, params, state = step(params, state, next(given))
    if not np.isfinite(losses[0]):
        raise ValueError(f"learning_rate_range_test: the loss is {losses[0]} before the first step")
    rates = low * (high / low) ** (np.arange(len(losses)) / (steps - 1))
    suggestion = _steepest(rates, smoothed, settled=round(1 / (1 - smoothing)))
    return RangeTest(rates, np.array(losses), np.array(smoothed), suggestion, float(rates[-1]) if diverged else None)


def _endless(batches: Iterable[Any] | None, steps: int) -> Iterator[tuple[Any, ...]]:
    """The arguments of the loss behind the parameters, as often as they are asked for."""
    if batches is None:
        while True:
            yield ()
    count = 0
    while True:
        before = count
        for batch in batches:
            count += 1
            yield (batch,)
        if count == before:
            raise ValueError(
                f"learning_rate_range_test: the batches ended after {count} of {steps} steps; give more, or a list, "
                "which begins again"
            )


def _check_loss(loss: Callable[..., Any], params: Any, batch: tuple[Any, ...]) -> None:
    value = jax.eval_shape(loss, params, *batch)
    if getattr(value, "shape", None) != ():
        got = described(value)
        raise ValueError(f"learning_rate_range_test: the loss must be one real number, of shape (); got {got}")


def _steepest(rates: np.ndarray[Any, Any], smoothed: list[float], settled: int) -> float:
    """The rate of the steepest fall before the least loss, from where the running mean is of enough losses."""
    end = int(np.nanargmin(smoothed)) + 1
    begin = min(settled, max(end - 2, 0))
    if end - begin < 2:
        return float(rates[begin])
    slopes = np.gradient(np.array(smoothed[begin:end]), np.log(rates[begin:end]))
    return float(rates[begin + int(np.argmin(slopes))])
