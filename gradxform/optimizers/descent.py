"""How optimizers end: with the learning rate, and with weight decay before or after it."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask
from gradxform.core.transform import Transform
from gradxform.rules.decay import add_decayed_weights, descend_with_corrected_decay
from gradxform.rules.scaling import scale_by_learning_rate


def descent(
    learning_rate: Hyper,
    weight_decay: Hyper | None,
    mask: Mask | None,
    independent: bool,
    cautious: bool,
    max_learning_rate: Hyper | None = None,
) -> Transform:
    """The learning rate with decoupled weight decay.

        u = -learning_rate (g + weight_decay p),   with independent u = -learning_rate g - weight_decay p

    Args:
      learning_rate: the step size; a number or a schedule.
      weight_decay, mask, independent, cautious: as in `decayed`.
      max_learning_rate: as in `descend_with_corrected_decay`. None: the decay follows the rate, not its square.

    Raises:
      ValueError: as `decayed`; max_learning_rate without weight_decay, or with independent.
    """
    if max_learning_rate is None:
        return decayed(scale_by_learning_rate(learning_rate), weight_decay, mask, independent, cautious)
    if weight_decay is None or independent:
        raise ValueError("max_learning_rate says how decay follows the rate: give weight_decay, and no independent")
    return descend_with_corrected_decay(learning_rate, max_learning_rate, weight_decay, mask, cautious=cautious)


def decayed(
    descend: Transform, weight_decay: Hyper | None, mask: Mask | None, independent: bool, cautious: bool
) -> Transform:
    """A transform that steps downhill, with weight decay.

    Args:
      descend: the transform.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before the transform: what is done to the gradient is
        done to the decay. None: no decay.
      independent: after the transform instead, so that weights decay by weight_decay p and no more.

    Raises:
      ValueError: mask, independent or cautious without weight_decay.
    """
    if weight_decay is None:
        if mask is not None or independent or cautious:
            raise ValueError("mask, independent and cautious say how weights decay: give weight_decay with them")
        return descend
    decay = add_decayed_weights(weight_decay, mask, flip_sign=independent, cautious=cautious)
    return chain(descend, decay) if independent else chain(decay, descend)


def one_mask(mask: Mask | None, weight_decay_mask: Mask | None) -> Mask | None:
    """The mask that was given under one of its two names. Raises ValueError for both."""
    if mask is not None and weight_decay_mask is not None:
        raise ValueError("expected one of mask and weight_decay_mask, which mean the same; got both")
    return weight_decay_mask if mask is None else mask
