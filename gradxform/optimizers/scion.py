"""Scion: each kind of layer by the norm that fits it."""

from __future__ import annotations

from typing import Any

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, WeightAxes
from gradxform.core.hints import hinting
from gradxform.core.matrix_axes import MatrixAxes
from gradxform.core.transform import Transform
from gradxform.linalg.coefficients import STANDARD
from gradxform.matrix_labels import hidden_matrices, layer_kinds
from gradxform.optimizers.descent import descent
from gradxform.rules.momentum import ema
from gradxform.rules.scaling import scale
from gradxform.rules.scion import normalize_vectors, scale_by_scion
from gradxform.wrappers.route import partition


@hinting
def scion(
    learning_rate: Hyper,
    radius: Hyper = 50.0,
    head_radius: Hyper = 3000.0,
    beta: Hyper = 0.9,
    ns_coeffs: Any = STANDARD,
    ns_steps: int = 5,
    mu_dtype: Dtype | None = None,
    *,
    constrained: bool = True,
    embedding_norm: str = "rows",
    embedding_radius: Hyper | None = None,
    head_norm: str = "sign",
    weight_dimension_numbers: WeightAxes = hidden_matrices,
    param_labels: Any = layer_kinds,
    gram: bool | None = None,
    batched: bool = False,
) -> Transform:
    """Scion: the steepest direction, in the spectral norm for hidden layers, and in others' own norms for the rest.

        u = -learning_rate d,   constrained u = -learning_rate (d + p),   with d by the kind of layer
        hidden:      scale_by_scion("spectral", radius)
        embeddings:  scale_by_scion(embedding_norm, embedding_radius)
        heads:       scale_by_scion(head_norm, head_radius)
        vectors:     radius normalize_vectors(ema(g, beta))

    Constrained, weights that begin in the ball of their norm and radius stay in it. There is no Adam in it, and no
    second moment.

    Args:
      learning_rate: the step size, relative to the ball; a number or a schedule. The authors' is 2^-12 for a GPT of
        124M parameters.
      radius, head_radius, embedding_radius: of the balls; embedding_radius is radius where it is None.
      beta, ns_coeffs, ns_steps, mu_dtype, gram, batched: as in `scale_by_scion`.
      constrained: whether weights are kept in the balls.
      embedding_norm, head_norm: as `norm` in `scale_by_scion`.
      weight_dimension_numbers: the matrix axes of what is hidden, as in `scale_by_muon`. Embeddings and heads are (...,
        in, out).
      param_labels: as in `partition`, with the labels "hidden", "embeddings", "heads" and "vectors".

    Raises:
      ValueError: as `scale_by_scion`, `hidden_matrices`.

    Pethick et al. 2025, arXiv:2502.07529, algorithm 2, unconstrained algorithm 1; radii of their nanoGPT. optax: none.
    torch: none; the class Scion in github.com/LIONS-EPFL/scion, whose momentum is 1 - beta.
    """
    end = descent(learning_rate, 1.0 if constrained else None, None, False, False)

    def by(norm: str, radius: Hyper, axes: WeightAxes) -> Transform:
        rule = scale_by_scion(
            norm,
            radius,
            beta,
            ns_coeffs,
            ns_steps,
            mu_dtype=mu_dtype,
            weight_dimension_numbers=axes,
            gram=gram,
            batched=batched,
        )
        return chain(rule, end)

    embeddings = by(embedding_norm, radius if embedding_radius is None else embedding_radius, MatrixAxes())
    mean = ema(beta, debias=False, accumulator_dtype=mu_dtype)
    groups = {
        "hidden": by("spectral", radius, weight_dimension_numbers),
        "embeddings": embeddings,
        "heads": by(head_norm, head_radius, MatrixAxes()),
        "vectors": chain(mean, normalize_vectors(), scale(radius), end),
    }
    return partition(groups, param_labels)
