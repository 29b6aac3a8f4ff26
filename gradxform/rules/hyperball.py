"""Hyperball: steps on the sphere of matrices of one norm."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core.declarations import MatrixSlot
from gradxform.core.fields import NonNegative, WeightAxes
from gradxform.core.rule import MatrixRule
from gradxform.core.transform import transform

RADII = ("present", "first")


def one_a_matrix(rule: Any, rows: int, columns: int) -> tuple[int, int] | None:
    """The shape of the first norm, if it is kept."""
    return (1, 1) if rule.radius == "first" else None


class ScaleByHyperball(MatrixRule):
    """Turns each matrix by a learning rate, so that its norm stays.

        u = R n(p - learning_rate R n(g)) - p,   n(x) = x / |x|,   R = |p|

    Norms are Frobenius norms of a matrix. An orthogonal g turns p by atan(learning_rate). The size of g is of no
    matter, and a g of 0 leaves p. It stands at the end of a chain, in the place of `scale_by_learning_rate`:

        gx.chain(gx.scale_by_adam(), gx.scale_by_hyperball(0.01))

    Memory: none; with radius="first" a number a matrix.

    Args:
      learning_rate: the step, relative to the norm; a number or a schedule.
      weight_dimension_numbers: as in `scale_by_muon`.
      radius: "present": R is the norm before the step, as the authors' code has it; of bfloat16 parameters, whose norm
        rounding changes at each step, it drifts. "first": R is the norm before the first step.
      flip_sign: whether the step goes against g; False for a g that descends already.

    Raises:
      ValueError: another radius, or a leaf that is no matrix, with its path; a leaf is spread over devices, and
        `on_axes` does not tell how.

    Wen et al. 2026, arXiv:2606.16899. optax: none. torch: none; adamh.py and muonh.py in
    github.com/marin-community/levanter.
    """

    learning_rate: NonNegative
    weight_dimension_numbers: WeightAxes | None = None
    radius: str = dataclasses.field(default="present", kw_only=True)
    flip_sign: bool = dataclasses.field(default=True, kw_only=True)

    stands_last = True
    norm = MatrixSlot(shape=one_a_matrix, prepared=True, signed=False)

    def check(self):
        if self.radius not in RADII:
            known = ", ".join(map(repr, RADII))
            raise ValueError(f"scale_by_hyperball: radius must be one of {known}; got {self.radius!r}")

    def prepare(self, grad, slots, leaf):
        present = leaf.norms(leaf.param)
        radius = present
        if self.radius == "first":
            radius = jax.tree.map(lambda now, kept: jnp.where(leaf.step == 1, now, kept), present, slots.norm)
            slots = slots._replace(norm=radius)
        present, radius, length = map(leaf.spread, (present, radius, leaf.norms(grad)))
        direction, place = grad / _or_one(length), leaf.param / _or_one(present)
        size = leaf.of_each(lambda rows, columns: rows * columns)
        cosine = size * leaf.spread(leaf.means((place.conj() * direction).real))
        rate, ratio = self.learning_rate if self.flip_sign else -self.learning_rate, present / _or_one(radius)
        # |p - rate R n(g)|^2 / R^2 - 1, from which the step comes without being the difference of two like p.
        more = (ratio - 1) * (ratio + 1) + rate * (rate - 2 * ratio * cosine)
        root = jnp.sqrt(jnp.maximum(1 + more, 0))
        step = -(more / (1 + root) * leaf.param + rate * radius * direction) / _or_one(root)
        return jnp.where((length == 0) | (root == 0), 0, step), slots


def _or_one(x):
    return jnp.where(x == 0, 1, x)


scale_by_hyperball = transform(ScaleByHyperball)
