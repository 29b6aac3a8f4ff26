"""Shampoo and KL-Shampoo: a gradient between inverse roots of what its rows and its columns have in common."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp

from gradxform.core.declarations import MatrixSlot
from gradxform.core.fields import Decay, NonNegative, Positive, SumDecay, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import (
    adjoint,
    block_shape,
    blocks,
    eigenbasis,
    exact_product,
    filled_up,
    inverse_root,
    joined_blocks,
    orthogonal_iteration,
)
from gradxform.linalg.roots import RootMethod
from gradxform.maths import abs_sq, debias, ema, length

GRAFTS = ("none", "sgd", "adagrad", "rmsprop", "adam")


class ScaleByShampoo(MatrixRule):
    """Multiplies the mean of the gradient by inverse roots of the sums of g g^T and of g^T g.

        L <- b2 L + (1 - b2) g g^T,   R <- b2 R + (1 - b2) g^T g,   for b2 = 1 L + g g^T and R + g^T g
        m  = debias(b1 m + (1 - b1) g, b1)
        u  = (L' + eps I)^-p m (R' + eps I)^-q,   (p, q) = exponents
        L' = debias(L, b2),   R' = debias(R, b2),   for b2 = 1 L and R;   those of steps 1, k + 1, 2 k + 1, ...
        with a graft:   u |d| / (|u| + 1e-16),   d the step of another method:
          sgd  m;   adagrad  m / (sqrt(sum of g^2) + e);   rmsprop  m / (sqrt(v) + e);   adam  m / (sqrt(debias(v)) + e)
          v <- c v + (1 - c) g^2,   c = graft_b2,   e = graft_eps

    A matrix with a side longer than `block_size` is cut into blocks of at most that from its first corner, and each
    goes its own way, norms of the graft among it.

    Memory for an n x m matrix: m, L, R and their roots, 4 (n m + 2 n^2 + 2 m^2) bytes, and with a graft but sgd 4 n m
    more; 20 and 24 a parameter where n = m, and where a matrix is cut into square blocks. Work: 2 n^2 m + 2 n m^2
    operations for L and R and as many for u; every k steps two roots, of about 25 n^3 each by eigenvalues. bfloat16 is
    computed, and kept, in float32.

    A matrix of zeros has the identity for its roots, and updates of zeros. A NaN makes the matrix (of several blocks:
    the block), and its slots, NaN, and no other. Where nothing was seen L is 0, and its root eps^-p: what first comes
    there after a refresh is multiplied by it until the next. Of 1 x n, and n x 1, the first update is g / |g|.

    Args:
      b1: decay of the mean, in [0, 1). 0: the gradient itself, as in the paper.
      b2: decay of L and R, in [0, 1]. 1: sums.
      eps: added to their eigenvalues, at least 0. At 0 a side that is longer than the other has infinite roots. In
        float32 1e-12 is as 0 beside eigenvalues of 1, which leave rounding errors of 1e-7 in the place of zeros.
      precondition_frequency: k, how many steps lie between refreshes of the roots, at least 1. Published runs have 10
        to 100.
      block_size: the longest side of a block.
      exponents: p and q. (1/2, 0) is the one-sided form; an exponent of 0 leaves out its side.
      graft: "none", "sgd", "adagrad", "rmsprop" or "adam".
      graft_b2, graft_eps: of the graft.
      root: how roots are made: "eigh", or "newton" by products of matrices alone, for p and q that are 1 over a whole
        number; see `inverse_root`.
      debias: whether means are corrected for their pull to 0, but that of the graft, which goes by its name.
      spread: whether each matrix has its own turn in k steps, which spreads the work of a refresh over them; at the
        first step all are due.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: another name, exponents that are not two numbers of at least 0, a block size below 1, or a leaf that
        is no matrix, with its path.

    Gupta, Koren & Singer 2018, arXiv:1802.09568, algorithm 1: b1=0. Shi et al. 2023, arXiv:2309.06497 (means, grafting,
    blocks), An et al. 2025, arXiv:2503.20762 (one-sided), Anil et al. 2020, arXiv:2002.09018 (newton). optax: none.
    torch: none; facebookresearch/optimizers' DistributedShampoo, which renews roots at k, 2 k, ..., takes the graft
    before, merges small axes, and shifts eigenvalues up by the least one where that is below 0. Of JAX:
    google-research/scalable_shampoo, which renews them as here, and has eps relative to the largest eigenvalue.
    """

    b1: Decay = 0.9
    b2: SumDecay = 1.0
    eps: NonNegative = 1e-12
    precondition_frequency: Positive = 1
    block_size: int = 1024
    exponents: tuple[float, float] = (0.25, 0.25)
    graft: str = dataclasses.field(default="none", kw_only=True)
    graft_b2: Decay = dataclasses.field(default=0.999, kw_only=True)
    graft_eps: NonNegative = dataclasses.field(default=1e-8, kw_only=True)
    root: RootMethod = dataclasses.field(default="eigh", kw_only=True)
    debias: bool = dataclasses.field(default=True, kw_only=True)
    spread: bool = dataclasses.field(default=False, kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    mu = MatrixSlot(shape=lambda rule, rows, columns: (rows, columns))
    square = MatrixSlot(shape=lambda rule, rows, columns: (rows, columns) if rule.has_square else None, signed=False)
    left = MatrixSlot(shape=lambda rule, rows, columns: rule.factor(0, rows, columns))
    right = MatrixSlot(shape=lambda rule, rows, columns: rule.factor(1, rows, columns))
    left_root = MatrixSlot(shape=lambda rule, rows, columns: rule.factor(0, rows, columns), init=1.0, diagonal=True)
    right_root = MatrixSlot(shape=lambda rule, rows, columns: rule.factor(1, rows, columns), init=1.0, diagonal=True)

    def check(self):
        for name, known in (("graft", GRAFTS), ("root", get_args(RootMethod))):
            if getattr(self, name) not in known:
                names = ", ".join(map(repr, known))
                raise ValueError(f"scale_by_shampoo: {name} must be one of {names}; got {getattr(self, name)!r}")
        if len(self.exponents) != 2 or min(self.exponents) < 0:
            raise ValueError(f"scale_by_shampoo: exponents must be two numbers of at least 0; got {self.exponents!r}")
        if self.block_size < 1:
            raise ValueError(f"scale_by_shampoo: block_size must be at least 1; got {self.block_size!r}")

    @property
    def has_square(self) -> bool:
        """Whether the graft asks for squares."""
        return self.graft in ("adagrad", "rmsprop", "adam")

    def factor(self, side: int, rows: int, columns: int) -> tuple[int, ...] | None:
        """The shape of the factor of rows, 0, or of columns, 1; None where it is left out."""
        *front, own_rows, own_columns = block_shape(rows, columns, self.block_size)
        return (*front, *((own_rows, own_columns)[side],) * 2) if self.exponents[side] else None

    def update(self, grad, slots, matrix):
        shape = grad.shape[-2:]
        in_blocks = partial(blocks, size=self.block_size)
        decay, grad_blocks = self._decay, in_blocks(grad)
        seen = exact_product(grad_blocks, adjoint(grad_blocks)), exact_product(adjoint(grad_blocks), grad_blocks)
        # A side that is left out has no leaves.
        factors = [
            jax.tree.map(lambda old, new=new: self.b2 * old + (1 - decay) * new, old)
            for old, new in zip((slots.left, slots.right), seen, strict=True)
        ]

        def roots(factors):
            return [jax.tree.map(partial(self._root, side, shape, matrix.step), factors[side]) for side in range(2)]

        left_root, right_root = matrix.refreshed(
            self.precondition_frequency,
            roots,
            factors,
            kept=[slots.left_root, slots.right_root],
            spread=self.spread,
        )
        mu = ema(slots.mu, grad, self.b1)
        mean = update = in_blocks(debias(mu, self.b1, matrix.step) if self.debias else mu)
        for root in jax.tree.leaves(left_root):
            update = root @ update
        for root in jax.tree.leaves(right_root):
            update = update @ root
        square = jax.tree.map(partial(self._squared, grad), slots.square)
        if self.graft != "none":
            update = update * length(self._grafted(mean, square, matrix.step)) / (length(update) + 1e-16)
        return joined_blocks(update, shape[-2], shape[-1], self.block_size), slots._replace(
            mu=mu,
            square=square,
            left=factors[0],
            right=factors[1],
            left_root=left_root,
            right_root=right_root,
        )

    @property
    def _decay(self):
        """The decay of a mean, and 0 for a sum, which begins with all of the first."""
        if isinstance(self.b2, jax.Array):
            return jnp.where(self.b2 == 1, 0, self.b2)
        return 0.0 if self.b2 == 1 else self.b2

    def _root(self, side, shape, step, factor):
        if self.debias:
            factor = debias(factor, self._decay, step)
        factor = filled_up(factor, shape[side], self.block_size, side)
        return inverse_root(factor, 1 / self.exponents[side], ridge=0.0, eps=self.eps, method=self.root)

    def _squared(self, grad, square):
        return square + abs_sq(grad) if self.graft == "adagrad" else ema(square, abs_sq(grad), self.graft_b2)

    def _grafted(self, mean, square, step):
        if self.graft == "sgd":
            return mean
        second = debias(square, self.graft_b2, step) if self.graft == "adam" else square
        return mean / (jnp.sqrt(blocks(second, self.block_size)) + self.graft_eps)


scale_by_shampoo = transform(ScaleByShampoo)


class ScaleByKlShampoo(MatrixRule):
    """Shampoo whose factors each see the gradient without what the other has of it, in bases that QR turns.

        mu <- b1 mu + (1 - b1) g
        u   = Ql [Ql^T mu Qr / (sqrt(l r^T) + eps)] Qr^T,   Q, l and r of before this gradient
        L  <- b2 L + (1 - b2) g Qr diag(1 / r) Qr^T g^T / m,   l <- b2 l + (1 - b2) mean_j c_ij^2 / r_j
        R  <- b2 R + (1 - b2) g^T Ql diag(1 / l) Ql^T g / n,   r <- b2 r + (1 - b2) mean_i c_ij^2 / l_i,   c = Ql^T g Qr
        at steps k + 1, 2 k + 1, ..., for those that follow:   Ql <- QR(L Ql),   Qr <- QR(R Qr)

    for an n x m matrix. The first gradient sets L to (1 - b2) g g^T / m, R alike, and Q to their eigenvectors, and no
    more: its update is 0, mu stays 0, and l and r are `init_factor`. l, and r, are at least 1 / c^2, with c the length
    of the side, but at least 10 and at most `clamp`. Nothing is corrected for its pull to 0. QR takes the columns of Q
    in their order, so that each keeps its l.

    Memory for an n x m matrix: mu, L, R, Ql, Qr, l and r, 4 (n m + 2 n^2 + 2 m^2 + n + m) bytes; 20 a parameter where
    n = m. Work: 2 n^2 m + 2 n m^2 operations for L and R, again for each of three rotations, and half as many for what
    L and R see; every k steps a product and a QR for each basis, about 5 n^3. bfloat16 is computed, and kept, in
    float32.

    A matrix of zeros has an update of zeros. A NaN makes the matrix, and its slots, NaN, and no other matrix. Of 1 x n,
    or wherever one side is longer by two or more, the first basis of the longer side is arbitrary where nothing was
    seen: two backends may differ in it, and in what follows.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the factors and their eigenvalues, in [0, 1); the paper's beta_2 is 1 - b2.
      eps: added to the root, at least 0.
      precondition_frequency: k, how many steps lie between refreshes, at least 1.
      init_factor: what l and r begin with, more than 0.
      clamp: the largest 1 / sqrt(l), of long sides. inf: as long as the side.
      spread: whether each matrix has its own turn in k steps, which spreads the work of a refresh over them; at the
        first step all are due.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: a leaf that is no matrix, with its path.

    Lin et al. 2025, arXiv:2509.03378, the practical form with QR and means of eigenvalues, as in the authors' code,
    github.com/yorkerlin/KL-Methods; not the idealised one with exact roots at every step. optax, torch: none; the
    authors' class KLOpt, which keeps 1 / sqrt(l) in the place of l, and all but QR in bfloat16.
    """

    b1: Decay = 0.9
    b2: Decay = 0.98
    eps: NonNegative = 1e-8
    precondition_frequency: Positive = 10
    init_factor: Positive = 0.1
    clamp: Positive = 4000.0
    spread: bool = dataclasses.field(default=False, kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    mu = MatrixSlot(shape=lambda rule, rows, columns: (rows, columns))
    left = MatrixSlot(shape=lambda rule, rows, columns: (rows, rows))
    right = MatrixSlot(shape=lambda rule, rows, columns: (columns, columns))
    left_basis = MatrixSlot(shape=lambda rule, rows, columns: (rows, rows), init=1.0, diagonal=True)
    right_basis = MatrixSlot(shape=lambda rule, rows, columns: (columns, columns), init=1.0, diagonal=True)
    left_values = MatrixSlot("init_factor", shape=lambda rule, rows, columns: (rows,), signed=False)
    right_values = MatrixSlot("init_factor", shape=lambda rule, rows, columns: (columns,), signed=False)

    def update(self, grad, slots, matrix):
        rows, columns = grad.shape[-2:]
        is_first = matrix.step == 1
        left, right = slots.left_basis, slots.right_basis
        # The first gradient is seen as it is, in bases that still are the identity.
        over_left, over_right = (
            jnp.where(is_first, 1, 1 / jnp.sqrt(values)) for values in (slots.left_values, slots.right_values)
        )
        over_left, over_right = over_left[..., None], over_right[..., None, :]

        mu = ema(slots.mu, grad, self.b1)
        both = over_left * over_right
        update = left @ ((adjoint(left) @ mu @ right) * both / (1 + self.eps * both)) @ adjoint(right)

        seen_left = exact_product(grad, right * over_right)
        seen_right = exact_product(adjoint(grad), left * over_left.mT)
        new_left = ema(slots.left, exact_product(seen_left, adjoint(seen_left)) / columns, self.b2)
        new_right = ema(slots.right, exact_product(seen_right, adjoint(seen_right)) / rows, self.b2)
        # c_ij^2 / r_j of c = Ql^T g Qr, which is half done.
        squared = abs_sq(exact_product(adjoint(left), seen_left))
        left_values = ema(slots.left_values, jnp.mean(squared, axis=-1), self.b2)
        right_values = jnp.mean(squared * over_left**2, axis=-2) * slots.right_values
        right_values = ema(slots.right_values, right_values, self.b2)

        def turned(factors, bases):
            first, later = partial(jax.tree.map, eigenbasis, factors), partial(jax.tree.map, _stepped, factors, bases)
            return matrix.either(is_first, first, later)

        bases = [left, right]
        bases = matrix.refreshed(
            self.precondition_frequency, turned, [new_left, new_right], bases, kept=bases, spread=self.spread
        )
        return jnp.where(is_first, 0, update), slots._replace(
            mu=jnp.where(is_first, 0, mu),
            left=new_left,
            right=new_right,
            left_basis=bases[0],
            right_basis=bases[1],
            left_values=self._kept(is_first, slots.left_values, left_values),
            right_values=self._kept(is_first, slots.right_values, right_values),
        )

    def _kept(self, is_first, old, new):
        largest = jnp.maximum(jnp.minimum(old.shape[-1], self.clamp), 10)
        return jnp.where(is_first, old, jnp.maximum(new, 1 / largest**2))


def _stepped(factor, basis):
    return orthogonal_iteration(factor, basis, sort=False)[0]


scale_by_kl_shampoo = transform(ScaleByKlShampoo)
