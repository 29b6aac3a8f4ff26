"""Pure functions of matrices `(..., rows, cols)`: polar factors, roots, bases, norms. Leading axes are batch axes.

They know nothing of trees, steps or devices. bfloat16 and float16 are computed in float32, and the result has the
dtype that came; float32, float64 and complex are computed as they are. Each is a `jit` of its own: traced once for a
shape, and compiled once where it is called by hand.
"""

from gradxform.linalg.bases import eigenbasis, orthogonal_iteration
from gradxform.linalg.blocks import block_shape, blocks, filled_up, joined_blocks
from gradxform.linalg.coefficients import newton_schulz_coefficients
from gradxform.linalg.norms import norm_lower_bound, spectral_norm
from gradxform.linalg.polar import orthogonalize
from gradxform.linalg.precision import adjoint, exact_product
from gradxform.linalg.roots import inverse_root
from gradxform.linalg.triangular import right_divide

__all__ = [
    "adjoint",
    "block_shape",
    "blocks",
    "eigenbasis",
    "exact_product",
    "filled_up",
    "inverse_root",
    "joined_blocks",
    "newton_schulz_coefficients",
    "norm_lower_bound",
    "orthogonal_iteration",
    "orthogonalize",
    "right_divide",
    "spectral_norm",
]
