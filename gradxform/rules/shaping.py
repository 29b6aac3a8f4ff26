"""Rules that shape updates: centred, gathered over steps, kept from making parameters negative."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import input_axes


class Centralize(LeafRule):
    """Subtracts from each leaf of two axes or more its mean over all axes but the first.

        u = g - mean(g)   over `axis`

    The paper's mean is over the inputs of each output. That is over all axes but the first where weights are (out, in),
    as in torch; for the kernels (in, out) and (height, width, in, out) of JAX's libraries it is `axis="inputs"`. It
    stands in front of any optimizer; for convolutions alone it is `masked(centralize(axis="inputs"), by_ndim(4))`.

    Args:
      axis: the axes of the mean. None: all but the first. "inputs": those of the inputs of JAX's kernels, all but the
        last of leaves with four axes or more, else the first, as in `adaptive_grad_clip`. Of stacked layers
        (layers, in, out) it is -2.

    Raises:
      ValueError: axis is another word, or a leaf is sharded and no specs of `on_axes` say along which axes.

    Yong et al. 2020, arXiv:2004.01461, equation 1. optax: centralize, which has no axis. torch: none.
    """

    axis: int | tuple[int, ...] | str | None = dataclasses.field(default=None, kw_only=True)

    def check(self):
        if isinstance(self.axis, str) and self.axis != "inputs":
            raise ValueError(f"centralize: axis must be axes or 'inputs'; got {self.axis!r}")

    def update(self, grad, slots, leaf):
        if grad.ndim < 2:
            return grad, slots
        if isinstance(self.axis, str):
            axis = input_axes(grad.ndim)
        else:
            axis = tuple(range(1, grad.ndim)) if self.axis is None else self.axis
        return grad - leaf.mean_along(grad, axis), slots


class ApplyEvery(LeafRule):
    """Sums the updates of k steps: at the last of them it returns the sum, at the others 0.

        s <- g at the first of k steps, else s + g
        u  = s at the last of k steps, else 0

    Args:
      k: how many steps, at least 1.

    Raises:
      TypeError: k is not an int.
      ValueError: k is less than 1.

    optax: apply_every, which keeps a NaN for ever. torch: none; there `zero_grad` is called every k steps.
    """

    k: int = 1

    grad_acc = Slot()

    def check(self):
        if not isinstance(self.k, int) or isinstance(self.k, bool):
            raise TypeError(f"apply_every: k must be an int; got {self.k!r}")
        if self.k < 1:
            raise ValueError(f"apply_every: k must be at least 1; got {self.k}")

    def update(self, grad, slots, leaf):
        place = (leaf.step - 1) % self.k
        total = jnp.where(place == 0, 0, slots.grad_acc) + grad
        return jnp.where(place == self.k - 1, total, 0), slots._replace(grad_acc=total)


class KeepParamsNonnegative(LeafRule):
    """Shortens updates so that no parameter that begins at 0 or more becomes negative.

        u = -p where p + g < 0, else g

    Put it after the learning rate, last in a chain.

    Raises:
      ValueError: `update` was called without parameters.
      TypeError: complex leaves, which have no order.

    optax: keep_params_nonnegative. torch: none; there parameters are clamped after the step.
    """

    real_only = True

    def update(self, grad, slots, leaf):
        return jnp.where(leaf.param + grad < 0, -leaf.param, grad), slots


centralize = transform(Centralize)
apply_every = transform(ApplyEvery)
keep_params_nonnegative = transform(KeepParamsNonnegative)
