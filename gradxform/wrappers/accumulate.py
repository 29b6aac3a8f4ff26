"""One step for the gradients of several micro-steps: accumulate, and the rule of optax's MultiSteps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import Dtype
from gradxform.core.registry import register_class
from gradxform.core.rule import TreeRule
from gradxform.core.text import show
from gradxform.core.transform import transform


class Accumulate(TreeRule):
    """Gathers the gradients of `every` micro-steps, and takes one step of a transform for all of them.

        a <- a + g
        at each micro-step whose number `every` divides:   u = the update for a / every,   a <- 0;   else u = 0

    So `every` micro-steps with the mean gradients of equal parts of a batch are one step with that of the whole batch.
    The transform runs when it is due and only then, with the parameters and the extra arguments of that micro-step; its
    counter, and the step of its schedules, are real steps. The sum is kept in float32 at least. Inside `shard_map` and
    `pmap` average the gradients over the devices in front of it, as with `pmean_updates`: the sum must be the same on
    all devices.

    Args:
      inner: the transform, ours or optax's.
      every: how many micro-steps, at least 1; or a function of the real step, from 0 on, such as a schedule, whose
        value is rounded, and is 1 where it is less.
      mean: whether the step is for the mean of the gradients; False for their sum.

    Metrics: `is_due`, whether this micro-step was the last of a real one; `real_steps`, how many there were.

    Raises:
      TypeError: `inner` is no transform, or `every` is neither an integer nor a function.
      ValueError: `every` is less than 1.

    optax: MultiSteps, which runs the transform at every micro-step. torch: none; there `step` is called when it is due.
    """

    inner: GradientTransformation
    every: int | Callable[[Any], Any]
    mean: bool = dataclasses.field(default=True, kw_only=True)

    inner_state = Inner("inner")
    gathered = Slot()
    micro_step = Slot(axes=(), dtype=jnp.int32)
    real_steps = Metric(dtype=jnp.int32)
    is_due = Metric(init=False, dtype=bool)

    def check(self):
        """Raises TypeError or ValueError for what is no transform or no number of micro-steps."""
        self.check_transform("inner")
        check_steps("accumulate: every", self.every)

    def update(self, updates, slots, tree):
        """One micro-step."""
        every = steps_of(self.every, slots.real_steps)
        micro_step = slots.micro_step + 1
        is_due = micro_step >= every
        gathered = tree.map(jnp.add, slots.gathered, updates)

        def step(carry):
            gathered, inner_state = carry
            number = micro_step if self.mean else jnp.ones_like(micro_step)
            whole = tree.map(lambda a: a / number.astype(a.real.dtype), gathered)
            return tree.inner(self.inner, whole, inner_state)

        # One buffer is the update when it is due and the sum while it waits: had each its own, XLA would copy the sum
        # in one branch and write zeros in the other.
        both, inner_state = tree.at_most_once(is_due, step, (gathered, slots.inner_state))
        stepped = tree.map(lambda x: jnp.where(is_due, x, 0), both)
        gathered = tree.map(lambda x: jnp.where(is_due, 0, x), both)
        return stepped, slots._replace(
            inner_state=inner_state,
            gathered=gathered,
            micro_step=jnp.where(is_due, 0, micro_step),
            real_steps=jnp.where(is_due, slots.real_steps + 1, slots.real_steps),
            is_due=is_due,
        )


class MultiSteps(TreeRule):
    """The rule of `gradxform.MultiSteps`: its arguments, and what it remembers under optax's names.

    Where optax asks for float32, `accumulator_dtype` is None, for float32 at least.
    """

    opt: GradientTransformation
    every_k_schedule: int | Callable[[Any], Any]
    use_grad_mean: bool = True
    should_skip_update_fn: Callable[..., Any] | None = None
    accumulator_dtype: Dtype | None = None

    mini_step = Slot(axes=(), dtype=jnp.int32)
    gradient_step = Slot(axes=(), dtype=jnp.int32)
    inner_opt_state = Inner("opt")
    acc_grads = Slot(dtype="accumulator_dtype")
    skip_state = Metric(measure="first_skip_state")

    def check(self):
        """Raises TypeError or ValueError for what is no transform, no number of steps or no function."""
        self.check_transform("opt")
        check_steps("MultiSteps: every_k_schedule", self.every_k_schedule)
        if self.should_skip_update_fn is not None and not callable(self.should_skip_update_fn):
            raise TypeError(
                "MultiSteps: should_skip_update_fn must be a function (updates, gradient_step, params) -> "
                f"(should_skip, skip_state); got {show(self.should_skip_update_fn)}"
            )

    def first_skip_state(self, params):
        """What the function of the user says of gradients of 0."""
        zeros = jax.tree.map(jnp.zeros_like, params)
        return self.judged(zeros, jnp.zeros((), jnp.int32), params)[1]

    def judged(self, updates, gradient_step, params):
        """Whether to skip a mini-step, and what the function of the user reports."""
        if self.should_skip_update_fn is None:
            return jnp.zeros((), bool), ()
        # optax's functions mix integers with floats, which must not fail where promotion is strict.
        with jax.numpy_dtype_promotion("standard"):
            skips, report = self.should_skip_update_fn(updates, gradient_step, params)
        if (jnp.result_type(skips), jnp.shape(skips)) != (jnp.dtype(bool), ()):
            raise ValueError(
                "MultiSteps: should_skip_update_fn must return a bool of shape () and a report; for the bool it "
                f"returned {jnp.result_type(skips)} of shape {jnp.shape(skips)}"
            )
        return jnp.asarray(skips), report

    def update(self, updates, slots, tree):
        """One mini-step."""
        skips, report = self.judged(tree.whole(updates), slots.gradient_step, tree.whole_params)
        if self.should_skip_update_fn is not None:
            skips = tree.on_any_device(skips)
            report = tree.largest_of_devices(report)
        mini_step = slots.mini_step + 1
        is_due = ~skips & (mini_step >= steps_of(self.every_k_schedule, slots.gradient_step))

        def gathered(acc, grad):
            more = (grad - acc) / mini_step.astype(acc.real.dtype) if self.use_grad_mean else grad
            return jnp.where(skips, acc, acc + more)

        def step(carry):
            gathered, inner_state = carry
            return tree.inner(self.opt, gathered, inner_state)

        # One buffer is the update when it is due and the gradients while they wait, as in `accumulate`.
        acc = tree.map(gathered, slots.acc_grads, updates)
        both, inner_state = tree.at_most_once(is_due, step, (acc, slots.inner_opt_state))
        return tree.map(lambda x: jnp.where(is_due, x, 0), both), slots._replace(
            inner_opt_state=inner_state,
            acc_grads=tree.map(lambda x: jnp.where(is_due, 0, x), both),
            mini_step=jnp.where(skips, slots.mini_step, jnp.where(is_due, 0, mini_step)),
            gradient_step=jnp.where(is_due, optax.safe_increment(slots.gradient_step), slots.gradient_step),
            skip_state=report,
        )


def check_steps(what: str, every: Any) -> None:
    """Raises TypeError or ValueError for what is no number of micro-steps and no function."""
    if callable(every):
        return
    if isinstance(every, bool) or not isinstance(every, int):
        raise TypeError(f"{what} must be an integer or a function of the step; got {every!r}")
    if every < 1:
        raise ValueError(f"{what} must be at least 1; got {every}")


def steps_of(every: Any, real_step: jax.Array) -> jax.Array:
    """How many micro-steps the real step has, int32 of shape (), at least 1."""
    value = jnp.asarray(every(real_step) if callable(every) else every)
    # A schedule computes in floating point, where 3 may be 2.9999998.
    return jnp.maximum(jnp.round(value).astype(jnp.int32), 1)


accumulate = transform(Accumulate)
register_class(MultiSteps, MultiSteps.__name__)
