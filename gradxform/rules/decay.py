"""Weight decay."""

from __future__ import annotations

import dataclasses

from gradxform.core.fields import Mask, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class AddDecayedWeights(LeafRule):
    """Adds the parameters, times a number, to the update.

        u = g + weight_decay p,   with flip_sign g - weight_decay p;   at weight_decay=0 the update as it is

    First in a chain this is the gradient of an L2 penalty; after an adaptive rule and before the learning rate it is
    decoupled decay, as in AdamW; after the learning rate, with flip_sign, it does not follow the rate.

    Args:
      weight_decay: the number; a schedule if it changes.
      mask: bools, a prefix of the parameters' tree, or a function of the tree that returns them: True where weights
        decay. None: everywhere.
      flip_sign: whether the update is already a step downhill, so that decay is to be taken from it.

    Raises:
      ValueError: `update` was called without parameters.

    Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; with flip_sign the independent decay of Wortsman et al.
    2023, arXiv:2309.14322. optax: add_decayed_weights. torch: `weight_decay` of
    torch.optim.AdamW (decoupled) and of torch.optim.SGD and Adam (L2).
    """

    weight_decay: NonNegative = 0.0
    mask: Mask | None = None
    flip_sign: bool = dataclasses.field(default=False, kw_only=True)

    def update(self, grad, slots, leaf):
        if isinstance(self.weight_decay, int | float) and self.weight_decay == 0:
            return grad, slots
        decay = self.weight_decay * leaf.param
        return grad - decay if self.flip_sign else grad + decay, slots


add_decayed_weights = transform(AddDecayedWeights)
