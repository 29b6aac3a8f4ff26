"""GaLore: any transform of matrices' gradients in subspaces of few dimensions."""

from __future__ import annotations

from optax import GradientTransformation

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.rules.adaptive import scale_by_adam
from gradxform.rules.decay import add_decayed_weights
from gradxform.rules.scaling import scale_by_learning_rate
from gradxform.wrappers.galore import scale_by_galore as around


@hinting
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: WeightAxes | None = None,
    *,
    side: str = "longer",
) -> Transform:
    """Shows a transform each matrix's gradient in a subspace of `rank` dimensions, that of its largest singular values.

        at steps 1, 1 + update_proj_gap, ...:  P <- the first `rank` left singular vectors of g
        u = scale P (base_optimizer's update of P^H g)

    With more outputs than inputs P is of right singular vectors, and u = scale (base_optimizer's update of g P) P^H;
    side="shorter" turns that round. What is no matrix goes to base_optimizer as it is. The largest entry of each
    singular vector is positive, so that what base_optimizer remembers fits the next P as well as it can.

    Memory: P, 4 bytes for rank numbers a row (or column), and what base_optimizer keeps of rank x outputs numbers, not
    of inputs x outputs. With side="longer" it keeps least, and P is largest; with "shorter" the other way round. Work:
    a singular value decomposition of each matrix every update_proj_gap steps; of sharded matrices XLA gathers them.

    Args:
      rank: at most; a matrix whose shorter side is shorter has that.
      update_proj_gap: how many steps lie between two decompositions.
      scale: a factor of the updates of matrices.
      base_optimizer: a transform, ours or optax's, which is shown no parameters. None: `scale_by_adam()`.
      weight_dimension_numbers: as in `scale_by_muon`, or optax's GaLoreDimensionNumbers, with None for what is no
        matrix. One value for all is for all leaves of two axes or more. None: each leaf of two axes is a matrix.
      side: "longer" or "shorter": which side of a matrix is projected; of a square one the inputs.

    Raises:
      TypeError, ValueError: another rank, gap or side, or axes that a leaf has not, with its path; in `shard_map`,
        matrices of which each device has a part.

    Zhao et al. 2024, arXiv:2403.03507, algorithm 2, which projects the shorter side, as their code does. optax:
    contrib.scale_by_galore, which projects the longer, decomposes in float32 and leaves the signs to LAPACK. torch:
    none; github.com/jiaweizzhao/GaLore, with rank 128, scale 0.25 and eps 1e-6.
    """
    base = scale_by_adam() if base_optimizer is None else base_optimizer
    return around(rank, update_proj_gap, scale, base, weight_dimension_numbers, side=side)


@hinting
def galore(
    learning_rate: Hyper,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    weight_dimension_numbers: WeightAxes | None = None,
    *,
    side: str = "longer",
    cautious: bool = False,
) -> Transform:
    """GaLore: Adam, or another, of matrices' gradients in subspaces of few dimensions, so that it keeps little.

    Args:
      learning_rate: the step size; a number or a schedule.
      rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers, side: as in `scale_by_galore`.
      weight_decay, mask, cautious: as in `adamw`, of whole parameters.

    Raises:
      TypeError, ValueError: as `scale_by_galore`.

    Zhao et al. 2024, arXiv:2403.03507, algorithm 2. optax: contrib.galore. torch: none; see `scale_by_galore`.
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers, side=side),
        add_decayed_weights(weight_decay, mask, cautious=cautious),
        scale_by_learning_rate(learning_rate),
    )
