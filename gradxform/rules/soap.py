"""SOAP: Adam in the eigenvectors of Shampoo's factors."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from gradxform.core.declarations import MatrixSlot
from gradxform.core.fields import Decay, NonNegative, Positive, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import adjoint, eigenbasis, exact_product, orthogonal_iteration
from gradxform.maths import abs_sq, debias, ema


class ScaleBySoap(MatrixRule):
    """Adam in the bases in which the mean products g g^T and g^T g of each matrix are nearly diagonal.

        L   <- b L + (1 - b) g g^T,   R <- b R + (1 - b) g^T g,   b = shampoo_beta, or b2
        mu  <- b1 mu + (1 - b1) g,    nu <- b2 nu + (1 - b2) (Ql^T g Qr)^2
        u    = Ql [debias(Ql^T mu Qr, b1) sqrt(1 - b2^t) / (sqrt(nu) + eps)] Qr^T
        at steps k + 1, 2 k + 1, ..., for those that follow:   Ql <- QR(L Ql),   Qr <- QR(R Qr)

    The first gradient sets L and R, and Q to their eigenvectors, and no more: its update is 0, and t and the means
    count from the second. QR takes the columns in the order of diag(Q^T L Q), and each comes back to its place, so that
    nu, which stays as it is, belongs to the same column. eps is added to a root without correction, so that at first it
    counts more than Adam's.

    Memory for an n x m matrix: mu, nu, L, R, Ql and Qr, 4 (2 n m + 2 n^2 + 2 m^2) bytes; 24 a parameter where n = m.
    Work: 2 n^2 m + 2 n m^2 operations three times for the rotations and once for L and R; every k steps a product and a
    QR for each basis, about 5 n^3. bfloat16 is computed, and kept, in float32.

    A matrix of zeros has an update of zeros. A NaN makes the matrix, and its slots, NaN, and no other matrix. Of 1 x n,
    or wherever one side is longer by two or more, the first basis of the longer side is arbitrary where nothing was
    seen: two backends may differ in it, and in what follows.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: added to the root, at least 0.
      precondition_frequency: k, how many steps lie between refreshes, at least 1.
      max_precond_dim: a side longer than this has no factor and no basis: I is in the place of its Q. 0: Adam,
        from the second gradient on.
      shampoo_beta: decay of L and R, in [0, 1). None: b2.
      debias: whether the means are corrected for their pull to 0.
      spread: whether each matrix has its own turn in k steps, which spreads the work of a refresh over them; at the
        first step all are due.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: a leaf that is no matrix, with its path.

    Vyas et al. 2024, arXiv:2409.11321, algorithms 3 and 4, and where they are silent the authors' code,
    github.com/nikhilvyas/SOAP: the first step, the order of the columns, eps, bias corrections. optax: none. torch:
    none; the authors' class SOAP, without its merging of axes and its normalize_grads.
    """

    b1: Decay = 0.95
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    precondition_frequency: Positive = 10
    max_precond_dim: int = 10000
    shampoo_beta: Decay | None = None
    debias: bool = dataclasses.field(default=True, kw_only=True)
    spread: bool = dataclasses.field(default=False, kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    # One array of a leaf goes to the device that has its matrices, and L and nu ask for the gradient itself. The mean,
    # made where the leaf lies, would have to be a second one; so it is a slot that moves there and back as others do.
    mu = MatrixSlot(shape=lambda rule, rows, columns: (rows, columns))
    nu = MatrixSlot(shape=lambda rule, rows, columns: (rows, columns), signed=False)
    left = MatrixSlot(shape=lambda rule, rows, columns: rule.side(rows))
    right = MatrixSlot(shape=lambda rule, rows, columns: rule.side(columns))
    left_basis = MatrixSlot(shape=lambda rule, rows, columns: rule.side(rows), init=1.0, diagonal=True)
    right_basis = MatrixSlot(shape=lambda rule, rows, columns: rule.side(columns), init=1.0, diagonal=True)

    def side(self, length: int) -> tuple[int, int] | None:
        """The shape of the factor of a side of a length; None where it has none."""
        return None if length > self.max_precond_dim else (length, length)

    def update(self, grad, slots, matrix):
        beta = self.b2 if self.shampoo_beta is None else self.shampoo_beta
        is_first, bases = matrix.step == 1, (slots.left_basis, slots.right_basis)
        mu, nu = ema(slots.mu, grad, self.b1), ema(slots.nu, abs_sq(_turned(grad, *bases)), self.b2)
        update = _turned(mu, *bases) / (jnp.sqrt(nu) + self.eps)
        if self.debias:
            # Of the steps with an update.
            step = jnp.maximum(matrix.step - 1, 1)
            update = debias(update, self.b1, step) / jnp.sqrt(debias(jnp.ones((), nu.dtype), self.b2, step))
        update = _turned(update, *jax.tree.map(adjoint, bases))

        # A side without a factor has no leaves.
        left = jax.tree.map(lambda old: ema(old, exact_product(grad, adjoint(grad)), beta), slots.left)
        right = jax.tree.map(lambda old: ema(old, exact_product(adjoint(grad), grad), beta), slots.right)

        def turned(factors, bases):
            first, later = partial(jax.tree.map, eigenbasis, factors), partial(jax.tree.map, _stepped, factors, bases)
            return matrix.either(is_first, first, later)

        bases = matrix.refreshed(
            self.precondition_frequency, turned, (left, right), bases, kept=bases, spread=self.spread
        )
        update, mu, nu = (jnp.where(is_first, 0, new) for new in (update, mu, nu))
        return update, slots._replace(mu=mu, nu=nu, left=left, right=right, left_basis=bases[0], right_basis=bases[1])


def _turned(x, left, right):
    """Ql^H x Qr, or x itself on a side that has no basis."""
    for basis in jax.tree.leaves(left):
        x = adjoint(basis) @ x
    for basis in jax.tree.leaves(right):
        x = x @ basis
    return x


def _stepped(factor, basis):
    """A basis after a step towards the eigenvectors of a factor, with its columns in their places."""
    new, order = orthogonal_iteration(factor, basis)
    return jnp.take_along_axis(new, jnp.argsort(order, axis=-1)[..., None, :], axis=-1)


scale_by_soap = transform(ScaleBySoap)
