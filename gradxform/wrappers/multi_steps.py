"""MultiSteps: a transform that steps once for several micro-steps, with the methods of optax's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.transform import Transform, name_stages
from gradxform.wrappers import accumulate


class MultiSteps(Transform):
    """Gathers the gradients of k mini-steps, and takes one step of a transform for all of them.

        a <- a + (g - a) / n   for the mean,   a <- a + g   for the sum,   n the number of the mini-step
        at the k-th mini-step:   u = the update for a,   a <- 0,   n <- 0;   else u = 0

    It is a transform as others are. The one within runs when it is due and only then. Its state has the `mini_step`,
    `gradient_step`, `inner_opt_state`, `acc_grads` and `skip_state` of optax's, and so has that of a chain around it.

    Args:
      opt: the transform, ours or optax's.
      every_k_schedule: k, an integer of at least 1; or a function of the real step, from 0 on, such as a schedule,
        whose value is rounded, and is 1 where it is less.
      use_grad_mean: whether the step is for the mean of the gradients; False for their sum.
      should_skip_update_fn: (updates, gradient_step, params) -> (a bool of shape (), any pytree of arrays), of the
        trees of this mini-step, such as `optax.skip_not_finite`. A mini-step that is skipped is as if it had not been;
        what one device skips all skip. The pytree is `skip_state`, over many devices the largest value of each.
      accumulator_dtype: what the gradients are gathered in. None, and float32: float32 at least, complex for complex
        gradients.

    Metrics: `skip_state`.

    Raises:
      TypeError: `opt` is no transform, or `every_k_schedule` neither an integer nor a function.
      ValueError: `every_k_schedule` is less than 1; in `init`, `should_skip_update_fn` returns no bool of shape ().

    optax: MultiSteps, which runs the transform at every mini-step. torch: none; there `step` is called when it is due.
    """

    def __new__(
        cls,
        opt: GradientTransformation,
        every_k_schedule: int | Callable[[Any], Any],
        use_grad_mean: bool = True,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: Any = jnp.float32,
    ) -> Self:
        """The transform."""
        # What is gathered in float32 by default is float64 where the gradients are, as everywhere in the library.
        dtype = None if accumulator_dtype is not None and _is_float32(accumulator_dtype) else accumulator_dtype
        rule = accumulate.MultiSteps(opt, every_k_schedule, use_grad_mean, should_skip_update_fn, dtype)
        return Transform.__new__(cls, name_stages([(None, rule)]))

    @property
    def inner_opt(self) -> GradientTransformation:
        """The transform that steps once in k mini-steps."""
        return self.stages[0].node.opt

    def has_updated(self, state: Any) -> jax.Array:
        """Whether the last mini-step was the last of a real one, a bool of shape ().

        Args:
          state: that of this transform, of a chain with it in it, or optax's.
        """
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> Transform:
        """The transform itself; optax's class is none, and makes one."""
        return self


def _is_float32(dtype: Any) -> bool:
    try:
        return jnp.dtype(dtype) == jnp.float32
    except TypeError:
        # The rule says what is wrong with it.
        return False
