"""Which parameters are matrices: labels by their axes, as values."""

from __future__ import annotations

from typing import Any

from gradxform.core.fields import WeightAxes
from gradxform.core.matrix_axes import axes_labels
from gradxform.core.record import Record, factory


class LabelsByAxes(Record, is_leaf=True):
    """Labels for `partition`: one for the parameters whose matrix axes are told, another for all others.

    Args:
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: matrices are what has two
        axes.
      matrices, rest: the labels.

    Raises:
      TypeError, ValueError: as `scale_by_muon`, when called.

    optax: inside contrib.muon. torch: none; there parameters are parted into groups by hand.
    """

    weight_dimension_numbers: WeightAxes | None = None
    matrices: str = "matrices"
    rest: str = "rest"

    def __call__(self, params: Any) -> Any:
        """The tree of labels for a tree of arrays."""
        return axes_labels(self.call_name, self.weight_dimension_numbers, params, self.matrices, self.rest)


labels_by_axes = factory(LabelsByAxes, lambda record: record, LabelsByAxes)
