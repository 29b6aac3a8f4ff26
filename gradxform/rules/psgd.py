"""PSGD with Kronecker factors: preconditioners that are learnt by whitening the gradient."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.declarations import Key, MatrixSlot, Slot
from gradxform.core.fields import Decay, NonNegative, Positive, Seed, WeightAxes
from gradxform.core.matrix_context import normal_of_each
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform
from gradxform.linalg import exact_product, norm_lower_bound, right_divide
from gradxform.maths import debias, ema, shrink_factor

# How much noise is beside the mean, as a part of its size: it keeps apart what would be 0 / 0 in the whitening.
_DAMPING = float(np.sqrt(np.finfo(np.float32).eps))


class ScaleByPsgdKron(MatrixRule):
    """Multiplies the mean of the gradient by Ql^T Ql and Qr^T Qr, which are learnt so that what results is white.

        m  = debias(b1 m + (1 - b1) g, b1)
        at steps 1, k + 1, 2 k + 1, ..., with n ~ N(0, 1) and h = m + sqrt(2^-23) mean|m| n:
          a = Ql h Qr^T,   b = Ql^-T n Qr^-1
          Ql <- Ql - precond_lr triu(a a^T - b b^T) Ql / bound(a a^T + b b^T)
          Qr <- Qr - precond_lr triu(a^T a - b^T b) Qr / bound(a^T a + b^T b)
        u  = Ql^T Ql m Qr^T Qr,   shrunk to a root mean square of at most max_rms

    Q are upper triangular and begin as sqrt(precond_init_scale) I; bound is `norm_lower_bound`. A long side has a
    diagonal Q, a vector, and for its bound the largest element of the diagonal. At each refresh both Q are brought to
    one largest modulus, which does not change u.

    Memory for an n x m matrix: m, and n^2 and m^2 (n and m where they are diagonal), 4 bytes each; 12 a parameter where
    n = m. Work: 4 n^2 m + 4 n m^2 operations for u; every k steps as many for a, half as many for b, as many for the
    products of both, and 4 n^3 for the changes. bfloat16 is computed, and kept, in float32.

    A matrix of zeros has an update of zeros, and leaves Q as they are, which noise alone would make grow without end. A
    NaN makes the matrix, and its slots, NaN, and no other matrix. A side of length 1 is diagonal.

    Args:
      b1: decay of the mean, in [0, 1). 0: the gradient itself is whitened.
      precondition_frequency: k, how many steps lie between refreshes, at least 1. `psgd_kron` has a schedule.
      precond_lr: the step size of Q, at least 0.
      max_size_triangular: a side longer than this is diagonal.
      max_skew: a side longer than so many times the other is diagonal, as in psgd_torch, which has 1. None: none is.
      precond_init_scale: by whose square the mean is multiplied before the first refresh, more than 0.
      max_rms: the largest root mean square of an update. None: it is not bounded.
      key: the seed of the noise, an integer or a key of `jax.random`. Each matrix draws its own, in float32
        whatever its dtype.
      spread: whether each matrix has its own turn in k steps, which spreads the work of a refresh over them; at the
        first step all are due.
      weight_dimension_numbers, batched: as in `scale_by_muon`.

    Raises:
      ValueError: a scale that is not above 0, or a leaf that is no matrix, with its path.
      TypeError: a complex leaf.

    Li 2015, arXiv:1512.04202, and 2024, arXiv:2402.11858, dQ = E Q; as in github.com/evanatyourservice/psgd_jax, kron,
    which counts the steps since the last refresh by itself, and balances Q at one refresh of a hundred. optax:
    none. torch: none; lixilinx/psgd_torch, whose default now is dQ = Q^0.5 E Q^1.5, without triangles, of the gradient.
    """

    b1: Decay = 0.9
    precondition_frequency: Positive = 1
    precond_lr: NonNegative = 0.1
    max_size_triangular: int = 8192
    max_skew: float | None = None
    precond_init_scale: float = 1.0
    max_rms: Positive | None = 1.1
    key: Seed = 0
    spread: bool = dataclasses.field(default=False, kw_only=True)
    weight_dimension_numbers: WeightAxes | None = dataclasses.field(default=None, kw_only=True)
    batched: bool = dataclasses.field(default=False, kw_only=True)

    real_only = True
    mu = Slot()
    left = MatrixSlot("first", shape=lambda rule, rows, columns: rule.side(rows, columns), diagonal=True)
    right = MatrixSlot("first", shape=lambda rule, rows, columns: rule.side(columns, rows), diagonal=True)
    noise = Key()

    def check(self):
        if not self.precond_init_scale > 0:
            raise ValueError(
                f"scale_by_psgd_kron: precond_init_scale must be more than 0; got {self.precond_init_scale!r}"
            )

    @property
    def first(self) -> float:
        """What is on the diagonals of both Q at first."""
        return self.precond_init_scale**0.5

    def side(self, length: int, other: int) -> tuple[int, ...]:
        """The shape of Q of a side: a vector where it is diagonal."""
        is_long = length > self.max_size_triangular or (self.max_skew is not None and length > self.max_skew * other)
        return (length,) if length == 1 or is_long else (length, length)

    def prepare(self, grad, slots, leaf):
        mu = ema(slots.mu, grad, self.b1)
        return debias(mu, self.b1, leaf.step), slots._replace(mu=mu)

    def update(self, grad, slots, matrix):
        left, right = matrix.refreshed(
            self.precondition_frequency,
            self._whitening,
            grad,
            matrix.keys(slots.noise),
            [slots.left, slots.right],
            kept=[slots.left, slots.right],
            spread=self.spread,
        )
        update = _squared(right, _squared(left, grad).mT).mT
        if self.max_rms is not None:
            rms = jnp.sqrt(jnp.mean(jnp.square(update), axis=(-2, -1), keepdims=True))
            update = update * shrink_factor(rms, self.max_rms)
        return update, slots._replace(left=left, right=right)

    def _whitening(self, mean, keys, factors):
        """The new Q of both sides."""
        noise = normal_of_each(keys, jax.ShapeDtypeStruct(mean.shape, jnp.float32)).astype(mean.dtype)
        left, right = _balanced(factors, mean.ndim - 2)
        damped = mean + _DAMPING * jnp.mean(jnp.abs(mean), axis=(-2, -1), keepdims=True) * noise
        white = _times(right, _times(left, damped).mT).mT
        inverse = _over(right, _over(left, noise.mT).mT)
        is_zero = jnp.all(mean == 0, axis=(-2, -1))

        def moved(factor, white, inverse):
            new = factor - self.precond_lr * _change(factor, white, inverse)
            return jnp.where(_beside(is_zero, factor), factor, new)

        return [moved(left, white, inverse), moved(right, white.mT, inverse.mT)]


def _change(factor, white, inverse):
    """By how much Q moves for a learning rate of 1."""
    if _is_diagonal(factor, white):
        one, other = (jnp.sum(jnp.square(x), axis=-1) for x in (white, inverse))
        return (one - other) * factor / jnp.max(one + other, axis=-1, keepdims=True)
    one, other = (exact_product(x, x.mT) for x in (white, inverse))
    return exact_product(jnp.triu(one - other), factor) / norm_lower_bound(one + other)[..., None, None]


def _balanced(factors, front):
    """Q of one largest modulus, the geometric mean of both, of which products of the two do not change."""
    sizes = [jnp.max(jnp.abs(factor.reshape(*factor.shape[:front], -1)), axis=-1) for factor in factors]
    both = jnp.sqrt(sizes[0]) * jnp.sqrt(sizes[1])
    return [factor * _beside(both / size, factor) for factor, size in zip(factors, sizes, strict=True)]


def _beside(number, factor):
    """A number of each matrix in a shape that fits Q."""
    return number.reshape(number.shape + (1,) * (factor.ndim - number.ndim))


def _is_diagonal(factor, x):
    return factor.ndim < x.ndim


def _times(factor, x):
    """Q x."""
    return factor[..., None] * x if _is_diagonal(factor, x) else exact_product(factor, x)


def _over(factor, x):
    """x Q^-1."""
    return x / factor[..., None, :] if _is_diagonal(factor, x) else right_divide(x, factor)


def _squared(factor, x):
    """Q^T Q x."""
    return jnp.square(factor)[..., None] * x if _is_diagonal(factor, x) else factor.mT @ (factor @ x)


scale_by_psgd_kron = transform(ScaleByPsgdKron)
