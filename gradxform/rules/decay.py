"""Weight decay."""

from __future__ import annotations

from gradxform.core.record import Mask, NonNegative
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class AddDecayedWeights(LeafRule):
    """Adds the parameters, times a number, to the update.

        u = g + weight_decay p

    First in a chain this is the gradient of an L2 penalty; after an adaptive rule and before the learning rate it is
    decoupled decay, as in AdamW.

    Args:
      weight_decay: the number; a schedule if it changes.
      mask: bools, a prefix of the parameters' tree, or a function of the tree that returns them: True where weights
        decay. None: everywhere.

    Raises:
      ValueError: `update` was called without parameters.

    Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2. optax: add_decayed_weights. torch: `weight_decay` of
    torch.optim.AdamW (decoupled) and of torch.optim.SGD and Adam (L2).
    """

    weight_decay: NonNegative = 0.0
    mask: Mask | None = None

    def update(self, grad, slots, leaf):
        if isinstance(self.weight_decay, int | float) and self.weight_decay == 0:
            return grad, slots
        return grad + self.weight_decay * leaf.param, slots


add_decayed_weights = transform(AddDecayedWeights)
