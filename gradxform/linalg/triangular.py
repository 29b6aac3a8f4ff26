"""Systems of equations with triangular matrices."""

from __future__ import annotations

import jax

from gradxform.linalg.precision import computed


@jax.jit
def right_divide(x: jax.Array, upper: jax.Array) -> jax.Array:
    """x upper^(-1), where `upper` is upper triangular; what is beneath its diagonal is not read.

    Args:
      x: (..., rows, n), of any floating or complex dtype.
      upper: (..., n, n), of the same dtype and the same leading axes. A zero on its diagonal gives infinities.

    Returns:
      (..., rows, n), in the dtype of x.

    PSGD asks for it: Li 2015, arXiv:1512.04202. torch: torch.linalg.solve_triangular with left=False.
    """
    solved = jax.lax.linalg.triangular_solve(computed(upper), computed(x), left_side=False, lower=False)
    return solved.astype(x.dtype)
