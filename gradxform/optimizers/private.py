"""Gradient descent with differential privacy."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask, Seed
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import descent
from gradxform.rules.momentum import trace
from gradxform.rules.private import differentially_private_aggregate


@hinting
def dpsgd(
    learning_rate: Hyper,
    l2_norm_clip: Hyper,
    noise_multiplier: Hyper,
    seed: Seed,
    momentum: Hyper | None = None,
    nesterov: bool = False,
    *,
    per_layer: bool = False,
    uniform: bool = True,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """DP-SGD: descent along the noisy mean of clipped gradients of single examples.

    It takes gradients of shape (batch, *shape of the parameter), as `jax.vmap(jax.grad(loss), (None, 0))` gives them.

    Args:
      learning_rate: the step size; a number or a schedule.
      l2_norm_clip, noise_multiplier, per_layer, uniform: as in `differentially_private_aggregate`.
      seed: an integer or a key of `jax.random`.
      momentum, nesterov: as `decay` and `nesterov` in `trace`. None: no momentum.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Abadi et al. 2016, arXiv:1607.00133, algorithm 1. optax: contrib.dpsgd, which draws other numbers from the same
    seed. torch: none; PrivacyEngine of the package opacus with torch.optim.SGD.
    """
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed, per_layer=per_layer, uniform=uniform),
        *([] if momentum is None else [trace(momentum, nesterov)]),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )
