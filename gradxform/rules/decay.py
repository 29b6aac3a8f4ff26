"""Weight decay."""

from __future__ import annotations

import dataclasses

from gradxform.core.declarations import Slot
from gradxform.core.fields import DecayMask, Mask, NonNegative, Positive
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform
from gradxform.maths import where_aligned


class AddDecayedWeights(LeafRule):
    """Adds the parameters, times a number, to the update.

        u = g + weight_decay p,   with flip_sign g - weight_decay p;   at weight_decay=0 the update as it is
        cautious: only those elements of p where p g >= 0,   with flip_sign p g <= 0

    First in a chain this is the gradient of an L2 penalty; after an adaptive rule and before the learning rate it is
    decoupled decay, as in AdamW; after the learning rate, with flip_sign, it does not follow the rate.

    Args:
      weight_decay: the number; a schedule if it changes.
      mask: bools, a prefix of the parameters' tree, or a function of the tree that returns them: True where weights
        decay. None: everywhere.
      flip_sign: whether the update is already a step downhill, so that decay is to be taken from it.
      cautious: whether an element decays only where the update, as it comes in, does not move it the other way. Of
        complex numbers p g is the real part of conj(p) g.

    Raises:
      ValueError: `update` was called without parameters.

    Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; with flip_sign the independent decay of Wortsman et al.
    2023, arXiv:2309.14322; cautious: Chen et al. 2025, arXiv:2510.12402, algorithm 1. optax: add_decayed_weights, which
    knows no caution. torch: `weight_decay` of torch.optim.AdamW (decoupled) and of torch.optim.SGD and Adam (L2).
    """

    weight_decay: NonNegative = 0.0
    mask: Mask | None = None
    flip_sign: bool = dataclasses.field(default=False, kw_only=True)
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    def update(self, grad, slots, leaf):
        if is_zero(self.weight_decay):
            return grad, slots
        excess = self.excess(slots, leaf)
        if self.cautious:
            excess = where_aligned(excess, -grad if self.flip_sign else grad)
        decay = self.weight_decay * excess
        return grad - decay if self.flip_sign else grad + decay, slots

    def excess(self, slots, leaf):
        """What is to become smaller."""
        return leaf.param


class AddDecayTowardFirst(AddDecayedWeights):
    """Adds the way from the first parameters to the present ones, times a number, to the update: for fine-tuning.

        u = g + weight_decay (p - first p),   with flip_sign g - weight_decay (p - first p)
        cautious: only those elements of d = p - first p where d g >= 0,   with flip_sign d g <= 0

    The first parameters are those with which the transform was initialised. What is new in the network decays by
    `add_decayed_weights` with another mask.

    Memory: a copy of the parameters that decay, in float32 at least.

    Args:
      weight_decay, mask, flip_sign, cautious: as in `add_decayed_weights`.

    Raises:
      ValueError: `update` was called without parameters.

    Li, Grandvalet & Davoine 2018, arXiv:1802.01483: L2-SP, with alpha for weight_decay. optax, torch: none.
    """

    first = Slot(copy=True)

    def excess(self, slots, leaf):
        """The way from the first parameter."""
        return leaf.param - slots.first


class DescendWithCorrectedDecay(LeafRule):
    """The learning rate with decoupled weight decay that follows its square, for layers that are normalised.

        u = -learning_rate (g + weight_decay (learning_rate / max_learning_rate) p)
        cautious: only those elements of p where p g >= 0

    What the weights of a layer tend to, whose output is normalised, depends on the decay over the rate: with AdamW's
    decay it falls with the rate, and gradients grow towards the end of a run. It stands at the end of a chain, in the
    place of `add_decayed_weights` and `scale_by_learning_rate`; the rate of both is one, live or not.

    In the paper all layers but the output are normalised, and this one decays as in AdamW:

        normalised, output = gx.adamw(rate, max_learning_rate=peak), gx.adamw(rate)
        gx.partition({"normalised": normalised, "output": output}, gx.labels({"head/*": "output"}, "normalised"))

    Args:
      learning_rate: the step size; a number or a schedule.
      max_learning_rate: the largest learning rate of the run.
      weight_decay: that of steps with max_learning_rate.
      mask: True for the leaves that decay, as in `add_decayed_weights`; the others follow the rate alone. None: all.
      cautious: as in `add_decayed_weights`.

    Raises:
      ValueError: `update` was called without parameters.

    Defazio 2025, arXiv:2506.02285: AdamC, after an Adam. optax, torch: none.
    """

    learning_rate: NonNegative
    max_learning_rate: Positive
    weight_decay: NonNegative = 0.0
    mask: DecayMask | None = None
    cautious: bool = dataclasses.field(default=False, kw_only=True)

    def update(self, grad, slots, leaf):
        decays = leaf.decays and not is_zero(self.weight_decay)
        if decays:
            excess = where_aligned(leaf.param, grad) if self.cautious else leaf.param
            grad = grad + self.weight_decay * (self.learning_rate / self.max_learning_rate) * excess
        return -self.learning_rate * grad, slots


def is_zero(weight_decay):
    """Whether a decay is known to be 0, so that parameters need not be there."""
    return isinstance(weight_decay, int | float) and weight_decay == 0


add_decayed_weights = transform(AddDecayedWeights)
add_decay_toward_first = transform(AddDecayTowardFirst)
descend_with_corrected_decay = transform(DescendWithCorrectedDecay)
