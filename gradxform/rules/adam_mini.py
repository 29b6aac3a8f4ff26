"""Adam-mini: Adam with one mean square for each block of parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from gradxform.core.declarations import Slot
from gradxform.core.fields import Decay, Dtype, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.text import show
from gradxform.core.transform import transform
from gradxform.maths import Axis, abs_sq, corrected_mean, debias, ema


def block_axes(rule: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that count blocks, in order; none of a leaf that has not all of them."""
    told = (rule.blocks,) if isinstance(rule.blocks, int) else rule.blocks or ()
    if not all(-len(shape) <= axis < len(shape) for axis in told):
        return ()
    return tuple(sorted({axis % len(shape) for axis in told}))


class ScaleByAdamMini(LeafRule):
    """Adam that divides each block of a leaf by one number: the root of the running mean of its mean square.

        mu   <- b1 mu + (1 - b1) g
        nu_b <- b2 nu_b + (1 - b2) mean(|g_b|^2)   for each block b
        u_b   = m_b / (sqrt(nu_b / (1 - b2^t) + eps_root) + eps)
        m     = mu / (1 - b1^t),   with nesterov b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    The blocks of a transformer are a token of an embedding (vocabulary, width), blocks=0; a head of queries and keys
    (in, heads, depth), blocks=1; an output of all other matrices (in, out) and each number of a bias, blocks=-1, which
    is Adam; and the whole of a norm's gain. With a block for each output of queries and keys too, and Adam for gains:

        tokens, outputs = gx.scale_by_adam_mini(blocks=0), gx.scale_by_adam_mini(blocks=-1)
        blocks = {"embeddings": tokens, "hidden": outputs, "heads": outputs, "vectors": outputs}
        gx.chain(gx.partition(blocks, gx.layer_kinds), gx.scale_by_learning_rate(1e-3))

    Memory: mu, and a number a block; half of Adam's.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added outside the root, after the bias correction.
      eps_root: added inside the root, which makes derivatives through the update finite at g = 0.
      mu_dtype: what mu is kept in. None: the parameter's dtype, float32 at least.
      nesterov: look ahead by one step.
      blocks: the axis, or axes, of a leaf along which each place is a block; a leaf that has not all of them is one
        block. None: each leaf is one block.

    Raises:
      TypeError: blocks is something else.
      ValueError: a leaf is spread over devices and `on_axes` does not tell how.

    Zhang et al. 2024, arXiv:2406.16793, algorithm 1. The blocks above are those of the authors' code, version 1.1
    (github.com/zyushun/Adam-mini), which finds them by the names of parameters. optax: none. torch: none.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: Dtype | None = None
    nesterov: bool = dataclasses.field(default=False, kw_only=True)
    blocks: Axis = dataclasses.field(default=None, kw_only=True)

    mu = Slot(dtype="mu_dtype")
    nu = Slot(axes=block_axes, signed=False)

    def check(self):
        each = self.blocks if isinstance(self.blocks, tuple) else () if self.blocks is None else (self.blocks,)
        if not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in each):
            raise TypeError(f"scale_by_adam_mini: blocks must be an axis or a tuple of axes; got {show(self.blocks)}")

    def update(self, grad, slots, leaf):
        kept = block_axes(self, leaf.shape)
        others = tuple(axis for axis in range(grad.ndim) if axis not in kept)
        square = leaf.mean_along(abs_sq(grad), others)
        mu = ema(slots.mu, grad, self.b1)
        nu = ema(jnp.expand_dims(slots.nu, others), square, self.b2)
        mean = corrected_mean(mu, grad, self.b1, leaf.step, self.nesterov)
        root = jnp.sqrt(debias(nu, self.b2, leaf.step) + self.eps_root)
        return mean / (root + self.eps), slots._replace(mu=mu, nu=jnp.squeeze(nu, others))


scale_by_adam_mini = transform(ScaleByAdamMini)
