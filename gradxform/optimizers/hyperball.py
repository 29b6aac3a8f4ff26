"""hyperball: any optimizer, whose matrices keep their norms; adamh: Adam."""

from __future__ import annotations

from optax import GradientTransformation

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.matrix_labels import labels_by_axes
from gradxform.optimizers.classic import adam
from gradxform.rules.hyperball import scale_by_hyperball
from gradxform.rules.scaling import identity
from gradxform.wrappers.route import partition


@hinting
def hyperball(
    inner: GradientTransformation,
    learning_rate: Hyper,
    weight_dimension_numbers: WeightAxes | None = None,
    *,
    radius: str = "present",
) -> Transform:
    """Any optimizer, of whose steps matrices take the direction and keep their norms.

        gx.hyperball(gx.adam(3e-4), 0.01, gx.hidden_matrices)

        matrices:  u = R n(p + learning_rate R n(inner's update)) - p,   n(x) = x / |x|,   R = |p|
        the rest:  inner's update

    Of matrices the size of inner's update is of no matter, nor its learning rate; the rest has both. Weight decay
    within would turn matrices, and is best left out.

    Args:
      inner: an optimizer, ours or optax's, whose updates descend. What has no learning rate yet, as `scale_by_adam`, is
        followed by `scale_by_hyperball` in a chain instead.
      learning_rate: the step of matrices, relative to their norms; a number or a schedule. The authors' is 0.0025 to
        0.02, or the root of learning rate times weight decay of a run with decay.
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: each parameter with two
        axes is one. The authors' are all matrices but embeddings.
      radius: as in `scale_by_hyperball`.

    Raises:
      ValueError: as `scale_by_hyperball`.

    Wen et al. 2026, arXiv:2606.16899: AdamH, MuonH. optax: none. torch: none.
    """
    axes = weight_dimension_numbers
    ball = scale_by_hyperball(learning_rate, axes, radius=radius, flip_sign=False)
    return chain(inner, partition({"matrices": ball, "rest": identity()}, labels_by_axes(axes)))


@hinting
def adamh(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    adam_learning_rate: Hyper | None = None,
    weight_dimension_numbers: WeightAxes | None = None,
    radius: str = "present",
) -> Transform:
    """AdamH: Adam, of whose steps matrices take the direction and keep their norms.

        gx.adamh(0.01, adam_learning_rate=3e-4, weight_dimension_numbers=gx.hidden_matrices)

    It is `hyperball(adam(adam_learning_rate, ...), learning_rate, ...)`. Matrices need no weight decay.

    Args:
      learning_rate: the step of matrices, relative to their norms, as in `hyperball`; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, nesterov: as in `scale_by_adam`, of all parameters.
      adam_learning_rate: the step size of the rest. None: learning_rate.
      weight_dimension_numbers, radius: as in `hyperball`.

    Raises:
      ValueError: as `scale_by_hyperball`.

    Wen et al. 2026, arXiv:2606.16899: AdamH. optax: none. torch: none; adamh.py in github.com/marin-community/levanter.
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    inner = adam(rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return hyperball(inner, learning_rate, weight_dimension_numbers, radius=radius)
