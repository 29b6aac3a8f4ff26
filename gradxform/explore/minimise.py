"""A function is minimised, and all that happened on the way is kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gradxform.core import checks, reductions
from gradxform.core.apply import apply_updates
from gradxform.core.chain import chain
from gradxform.core.fields import check_count
from gradxform.core.text import described
from gradxform.core.transform import Transform
from gradxform.explore.landscapes import Landscape
from gradxform.explore.progress import progress
from gradxform.reading.metrics import metrics

Function = Callable[[Any], jax.Array]

# Why a run ended, by the number that the compiled loop has for it.
REASONS = ("step limit", "converged", "diverged", "not finite")
GOES_ON, CONVERGED, DIVERGED, NOT_FINITE = range(4)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Minimisation:
    """A run of `minimise`, in NumPy's arrays; it prints how the run ended.

    Attributes:
      x: where it ended, as x0.
      value: the function there.
      steps: how many steps were taken.
      reason: "converged", "diverged", "not finite" or "step limit".
      path: x before the first step and after each, stacked along axis 0; None if it was not kept.
      losses: the function along the path, of shape (steps + 1,).
      grad_norms: the L2 norms of the gradient along the path, of shape (steps + 1,).
      metrics: by name, what the rules reported at each step, stacked along axis 0.
      message: how it ended, in a sentence.

    optax: none. torch: none.
    """

    x: Any
    value: float
    steps: int
    reason: str
    path: Any
    losses: np.ndarray[Any, Any]
    grad_norms: np.ndarray[Any, Any]
    metrics: dict[str, np.ndarray[Any, Any]]
    message: str

    def __repr__(self) -> str:
        return f"<Minimisation: {self.message}>"


class Descent(NamedTuple):
    """What `descend` returns.

    Attributes:
      path: x before the first step and after each, stacked along axis 0.
      losses: the function along the path, of shape (steps + 1,).

    optax: none. torch: none.
    """

    path: Any
    losses: jax.Array


class _Point(NamedTuple):
    x: Any
    state: Any
    value: jax.Array
    grads: Any


class _Run(NamedTuple):
    """The carry of the loop; row k of the records is of the k-th point, or of the k-th step."""

    step: jax.Array
    reason: jax.Array
    point: _Point
    along: Any
    by_step: dict[str, jax.Array]


def minimise(
    fun: Function,
    x0: Any,
    tx: optax.GradientTransformation,
    steps: int = 1000,
    tol: float = 1e-6,
    *,
    blow_up: float = 1e6,
    keep_path: bool = True,
) -> Minimisation:
    """Minimises a function from a start, in one compiled loop, until it converges, diverges or has taken all steps.

        converged    |grad f(x)| <= tol, in the L2 norm over all leaves
        diverged     f(x) - f(x0) > blow_up max(1, |f(x0)|)
        not finite   f(x) is NaN, or the gradient is not finite

    A run of more than a second shows a progress bar, if tqdm is installed.

    Args:
      fun: x -> a real number of shape ().
      x0: an array or a pytree of arrays, floating-point or complex; for a landscape its `start` will do.
      tx: ours or optax's; it gets `value`, `grad` and `value_fn` as extra arguments, for those that take them.
      steps: the most that are taken, at least 1.
      tol: the norm of a gradient that is taken for 0. With 0 it goes on till the gradient is 0.
      blow_up: how far the function may rise.
      keep_path: whether to keep x at each step, steps + 1 times the size of x0.

    Returns:
      A Minimisation.

    Raises:
      TypeError: x0 is not of floating-point arrays, or tx is no transform.
      ValueError: fun does not take x0 or does not return a real number; steps, tol or blow_up make no sense.

    optax: none. torch: none.
    """
    check_count("minimise: steps", steps, 1)
    for name, number in (("tol", tol), ("blow_up", blow_up)):
        if not number >= 0:
            raise ValueError(f"minimise: {name} must be at least 0; got {number!r}")
    x0, tx = _checked("minimise", fun, x0, tx)
    # A landscape does not change; of another function nobody knows what it reads, so it is compiled anew each time.
    loop = _kept_loop(fun) if isinstance(fun, Landscape) else _Loop(fun)
    run = loop.begin(tx, x0, steps, keep_path)
    first, bounds = float(run.point.value), (float(tol), float(blow_up))
    run = _judge(run, first, bounds)
    # In a hundred parts, for the bar, which begins behind the first: that one compiles the loop.
    ends = [round(steps * part / 100) for part in range(1, 101)]
    run = loop.advance(tx, run, ends[0], first, bounds)
    with progress("minimise", steps) as bar:
        bar.update(ends[0])
        for begin, end in pairwise(ends):
            if run.reason != GOES_ON:
                break
            run = loop.advance(tx, run, end, first, bounds)
            bar.update(end - begin)
    return _reported(jax.tree.map(np.asarray, run), tol, first)


def descend(fun: Function, x0: Any, tx: optax.GradientTransformation, steps: int) -> Descent:
    """Takes a given number of steps from a start, whatever happens; it is pure, for `jit`, `vmap` and `sweep`.

        losses = sweep(adam, {"learning_rate": rates})(lambda tx: descend(fun, x0, tx, 100).losses)

    Args:
      fun, x0, tx: as in `minimise`.
      steps: how many are taken.

    Returns:
      The path and the losses along it, of steps + 1 points.

    Raises:
      TypeError, ValueError: as `minimise` does.

    optax: none. torch: none.
    """
    x0, tx = _checked("descend", fun, x0, tx)

    def body(point: _Point, _: None) -> tuple[_Point, tuple[Any, jax.Array]]:
        return _step(fun, tx, point), (point.x, point.value)

    last, (path, losses) = lax.scan(body, _first(fun, tx, x0), None, steps)
    return Descent(*jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), (path, losses), last[0:3:2]))


def _checked(who: str, fun: Function, x0: Any, tx: Any) -> tuple[Any, Transform]:
    """The start as arrays, and the transform as one of ours."""
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"{who}: expected a transform, as gx.adam(0.1); got {tx!r}")
    if isinstance(fun, Landscape) and isinstance(x0, tuple):
        x0 = jnp.array(x0, float)
    leaves = checks.arrays(f"{who}: the start", x0, jax.tree.leaves(x0), any_dtype=False, real_only=None)
    # Copies, as the loop donates what it moves.
    x0 = jax.tree.structure(x0).unflatten([jnp.array(leaf, copy=True) for leaf in leaves])
    shapes = jax.tree.map(described, x0)
    try:
        value = jax.eval_shape(fun, x0)
    except Exception as error:
        # What fun raises may be anything; the reader is to know of which call it is.
        raise ValueError(f"{who}: the function does not take a start of {shapes}: {error}") from error
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = described(value)
        raise ValueError(f"{who}: the function must return one real number, of shape (); for {shapes} it returns {got}")
    return x0, tx if isinstance(tx, Transform) else chain(tx)


def _first(fun: Function, tx: Transform, x0: Any) -> _Point:
    return _Point(x0, tx.init(x0), *jax.value_and_grad(fun)(x0))


def _step(fun: Function, tx: Transform, point: _Point) -> _Point:
    # JAX's gradient of a real function of complex numbers is the conjugate of the direction of steepest ascent.
    grads = jax.tree.map(jnp.conj, point.grads)
    extra = {"value": point.value, "grad": grads, "value_fn": fun}
    updates, state = tx.update(grads, point.state, point.x, **extra)
    x = apply_updates(point.x, updates)
    return _Point(x, state, *jax.value_and_grad(fun)(x))


def _seen(point: _Point, keep_path: bool) -> tuple[Any, jax.Array, jax.Array]:
    grads = jax.tree.leaves(point.grads)
    return point.x if keep_path else None, point.value, reductions.norm(grads, [()] * len(grads), 2)


def _written(records: Any, row: Any, index: jax.Array) -> Any:
    return jax.tree.map(lambda rows, values: rows.at[index].set(values), records, row)


def _judge(run: _Run, first: float, bounds: tuple[float, float]) -> _Run:
    tol, blow_up = bounds
    _, values, norms = run.along
    value, norm = values[run.step], norms[run.step]
    reason = jnp.where(norm <= tol, CONVERGED, GOES_ON)
    reason = jnp.where(value - first > blow_up * jnp.maximum(jnp.abs(first), 1), DIVERGED, reason)
    # A value that is inf has diverged; a gradient that is none tells that the function is broken here.
    broken = jnp.isnan(value) | (jnp.isfinite(value) & ~jnp.isfinite(norm))
    return run._replace(reason=jnp.where(broken, NOT_FINITE, reason).astype(jnp.int32))


class _Loop:
    """The compiled parts of a run over a function."""

    def __init__(self, fun: Function) -> None:
        self.begin = jax.jit(partial(_begin, fun), static_argnames=("steps", "keep_path"))
        self.advance = jax.jit(partial(_advance, fun), donate_argnames="run")


_kept_loop = functools.cache(_Loop)


def _begin(fun: Function, tx: Transform, x0: Any, steps: int, keep_path: bool) -> _Run:
    def empty(tree: Any, rows: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), tree)

    point = _first(fun, tx, x0)
    seen, reported = _seen(point, keep_path), metrics(point.state)
    zero = jnp.zeros((), jnp.int32)
    return _Run(zero, zero, point, _written(empty(seen, steps + 1), seen, zero), empty(reported, steps))


def _advance(fun: Function, tx: Transform, run: _Run, until: int, first: float, bounds: tuple[float, float]) -> _Run:
    def body(run: _Run) -> _Run:
        point = _step(fun, tx, run.point)
        step = run.step + 1
        along = _written(run.along, _seen(point, run.along[0] is not None), step)
        by_step = _written(run.by_step, metrics(point.state), run.step)
        return _judge(_Run(step, run.reason, point, along, by_step), first, bounds)

    return lax.while_loop(lambda run: (run.step < until) & (run.reason == GOES_ON), body, run)


def _reported(run: _Run, tol: float, first: float) -> Minimisation:
    steps, reason = int(run.step), REASONS[int(run.reason)]
    path, losses, norms = jax.tree.map(lambda rows: rows[: steps + 1], run.along)
    value, norm = float(run.point.value), float(norms[-1])
    taken = f"{steps} step{'s' * (steps != 1)}"
    at_end = f"f = {value:.6g}, and the gradient's norm is {norm:.3g}"
    if reason == "converged":
        message = f"converged after {taken}: {at_end}, at most {tol:g}"
    elif reason == "step limit":
        message = f"stopped at the limit of {taken}: {at_end}, more than {tol:g}"
    elif reason == "diverged":
        message = f"diverged at step {steps}: f rose from {first:.6g} to {value:.6g}; a smaller learning rate may help"
    elif steps == 0:
        message = f"not finite at the start: {at_end}"
    else:
        message = f"not finite at step {steps}: {at_end}; before it they were {losses[-2]:.6g} and {norms[-2]:.3g}"
    by_step = {name: np.asarray(rows[:steps]) for name, rows in run.by_step.items()}
    return Minimisation(run.point.x, value, steps, reason, path, losses, norms, by_step, message)
