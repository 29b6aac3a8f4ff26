"""Matrices by a transform of their own, and all other parameters by adamw."""

from __future__ import annotations

from gradxform.core.fields import Hyper, WeightAxes
from gradxform.core.transform import Transform
from gradxform.matrix_labels import labels_by_axes
from gradxform.optimizers.classic import adamw
from gradxform.wrappers.route import partition


def beside_adamw(
    label: str,
    matrices: Transform,
    weight_dimension_numbers: WeightAxes | None,
    learning_rate: Hyper,
    adam_b1: Hyper,
    adam_b2: Hyper,
    adam_eps: Hyper,
    adam_weight_decay: Hyper,
    adam_learning_rate: Hyper | None,
) -> Transform:
    """A partition.

    Args:
      label: of the matrices; that of the rest is "adam".
      matrices: the transform of the matrices, which ends with its learning rate.
      weight_dimension_numbers: which parameters are matrices, as in `scale_by_muon`.
      learning_rate: that of the matrices.
      adam_b1, adam_b2, adam_eps, adam_weight_decay: as in `adamw`.
      adam_learning_rate: that of the rest. None: that of the matrices.
    """
    rest = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        adam_eps,
        weight_decay=adam_weight_decay,
    )
    return partition({label: matrices, "adam": rest}, labels_by_axes(weight_dimension_numbers, label, "adam"))
