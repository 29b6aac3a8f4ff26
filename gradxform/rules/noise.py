"""Rules that add noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform.core.declarations import Key
from gradxform.core.fields import Hyper, NonNegative, Seed
from gradxform.core.rule import LeafRule
from gradxform.core.transform import Transform, transform


class AddNoise(LeafRule):
    """Adds Gaussian noise whose variance falls over the steps.

        u = g + n,   n ~ N(0, eta / t^gamma),   t from 1 on

    The noise of a complex element has that variance in all, half of it in each part.

    Args:
      eta: the variance at the first step.
      gamma: how fast it falls.
      key: the seed, an integer or a key of `jax.random`.

    Neelakantan et al. 2015, arXiv:1511.06807, equation 1. optax: add_noise. torch: none.
    """

    eta: NonNegative
    gamma: Hyper
    key: Seed = 0

    rng_key = Key(seed="key")

    def update(self, grad, slots, leaf):
        deviation = jnp.sqrt(self.eta / leaf.step.astype(grad.real.dtype) ** self.gamma)
        return grad + deviation * jax.random.normal(slots.rng_key, grad.shape, grad.dtype), slots


_add_noise = transform(AddNoise)


def add_noise(eta: Hyper, gamma: Hyper, key: Seed | None = None, *, seed: int | None = None) -> Transform:
    """Adds Gaussian noise whose variance falls over the steps.

        u = g + n,   n ~ N(0, eta / t^gamma),   t from 1 on

    The noise of a complex element has that variance in all, half of it in each part. Each leaf has noise of its own,
    and two transforms of the same key have the same.

    Args:
      eta: the variance at the first step.
      gamma: how fast it falls.
      key: the seed, an integer or a key of `jax.random`. None: 0.
      seed: optax's old name for key.

    Raises:
      ValueError: key and seed together.

    Neelakantan et al. 2015, arXiv:1511.06807, equation 1. optax: add_noise, which draws other numbers from the same
    key, and warns unless one is given. torch: none.
    """
    if key is not None and seed is not None:
        raise ValueError("add_noise: expected one of key and seed, got both")
    chosen = seed if key is None else key
    return _add_noise(eta, gamma, 0 if chosen is None else chosen)
