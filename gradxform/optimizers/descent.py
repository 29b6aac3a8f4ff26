"""How optimizers end: with the learning rate, and with weight decay before or after it."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask
from gradxform.core.transform import Transform
from gradxform.rules.decay import add_decayed_weights
from gradxform.rules.scaling import scale_by_learning_rate


def descent(learning_rate: Hyper, weight_decay: Hyper | None, mask: Mask | None, independent: bool) -> Transform:
    """The learning rate with decoupled weight decay.

        u = -learning_rate (g + weight_decay p),   with independent u = -learning_rate g - weight_decay p

    Args:
      learning_rate: the step size; a number or a schedule.
      weight_decay, mask, independent: as in `decayed`.
    """
    return decayed(scale_by_learning_rate(learning_rate), weight_decay, mask, independent)


def decayed(descend: Transform, weight_decay: Hyper | None, mask: Mask | None, independent: bool) -> Transform:
    """A transform that steps downhill, with weight decay.

    Args:
      descend: the transform.
      weight_decay, mask: as in `add_decayed_weights`, before the transform: what is done to the gradient is done to the
        decay. None: no decay.
      independent: after the transform instead, so that weights decay by weight_decay p and no more.

    Raises:
      ValueError: mask or independent without weight_decay.
    """
    if weight_decay is None:
        if mask is not None or independent:
            raise ValueError("mask and independent say how weights decay: give weight_decay with them")
        return descend
    decay = add_decayed_weights(weight_decay, mask, flip_sign=independent)
    return chain(descend, decay) if independent else chain(decay, descend)


def one_mask(mask: Mask | None, weight_decay_mask: Mask | None) -> Mask | None:
    """The mask that was given under one of its two names. Raises ValueError for both."""
    if mask is not None and weight_decay_mask is not None:
        raise ValueError("expected one of mask and weight_decay_mask, which mean the same; got both")
    return weight_decay_mask if mask is None else mask
