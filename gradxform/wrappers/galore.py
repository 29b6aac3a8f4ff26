"""GaLore: a transform that sees each matrix's gradient in a subspace of few dimensions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from optax import GradientTransformation
from optax.contrib import GaLoreDimensionNumbers, GaLoreState

from gradxform.core.branches import either
from gradxform.core.fields import WeightAxes
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.matrix_axes import MatrixAxes, View, axes_of, is_axes
from gradxform.core.placement import leaf_name, spread_axes
from gradxform.core.precision import fitting, mixing
from gradxform.core.text import show
from gradxform.core.transform import transform
from gradxform.linalg.bases import leading_vectors

SIDES = ("longer", "shorter")


class ScaleByGalore(Node):
    """Shows a transform each matrix's gradient in a subspace of `rank` dimensions; see `gradxform.scale_by_galore`."""

    rank: int = 128
    update_proj_gap: int = 200
    scale: float = 1.0
    base_optimizer: GradientTransformation | None = None
    weight_dimension_numbers: WeightAxes | None = None
    side: str = dataclasses.field(default="longer", kw_only=True)

    def check(self) -> None:
        """Raises TypeError or ValueError for other ranks, gaps, sides, and for what is no transform."""
        for name in ("rank", "update_proj_gap"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"scale_by_galore: {name} must be an int; got {show(value)}")
            if value <= 0:
                raise ValueError(f"scale_by_galore: {name} must be more than 0; got {value}")
        if self.side not in SIDES:
            raise ValueError(f"scale_by_galore: side must be one of 'longer', 'shorter'; got {self.side!r}")
        self.check_transform("base_optimizer", may_keep_params=False)

    def begin(self, params: Flow, step: Step) -> GaLoreState:
        """Projectors of zeros, and the state of the transform, of the gradients that it will see."""
        views = self._views(params)
        fits = [fitting(jnp.result_type(leaf)) for leaf in params.updates]
        found = [self._projector(fit(leaf), view) for fit, leaf, view in zip(fits, params.updates, views, strict=True)]
        projectors = [jnp.zeros(like.shape, like.dtype) for like in found]
        low = [
            self._low(fit(leaf), projector, view)
            for fit, leaf, projector, view in zip(fits, params.updates, projectors, views, strict=True)
        ]
        inner = as_node(self.base_optimizer).begin(Flow.of(params.structure.unflatten(low)), step)
        return GaLoreState(jnp.zeros((), jnp.int32), inner, params.structure.unflatten(projectors))

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, GaLoreState]:
        """One step of the transform, there and back."""
        flow = flow.whole()
        views = self._views(flow)
        kept = flow.structure.flatten_up_to(record.projector)
        updates = [
            fitting(jnp.result_type(leaf), old.dtype)(leaf) for leaf, old in zip(flow.updates, kept, strict=True)
        ]
        is_due = record.count % self.update_proj_gap == 0
        projectors, low = [], []
        for leaf, view, old in zip(updates, views, kept, strict=True):
            with mixing(leaf):
                new = old if view is None else self._renewed(is_due, leaf, old, view)
                projectors.append(new)
                low.append(self._low(leaf, new.astype(leaf.dtype), view))
        # Parameters have other shapes, so that the transform sees none.
        within = Flow.of(flow.structure.unflatten(low))
        within, inner = as_node(self.base_optimizer).advance(within, record.base_optimizer_state, step)
        back = []
        for came, leaf, projector, view in zip(updates, within.whole().updates, projectors, views, strict=True):
            with mixing(came):
                back.append(
                    leaf
                    if view is None
                    else self.scale * self._back(leaf, projector.astype(leaf.dtype), view, came.shape)
                )
        state = GaLoreState(record.count + 1, inner, flow.structure.unflatten(projectors))
        return flow.replace(updates=back), state

    def _views(self, flow: Flow) -> list[View | None]:
        """How each leaf is matrices, None where it is none. ValueError for axes that it has not, and for parts."""
        given = self.weight_dimension_numbers
        told = _in_matrix_axes(given(flow.tree()) if callable(given) else given)
        if told is None or isinstance(told, MatrixAxes):
            # As in optax, what has one axis or none is no matrix, whatever is told of all.
            axes = MatrixAxes() if told is None else told
            least = [leaf.ndim == 2 if told is None else leaf.ndim >= 2 for leaf in flow.updates]
            found: list[Any] = [axes if is_matrix else None for is_matrix in least]
        else:
            found = axes_of(self.call_name, told, flow.structure, flow.updates)
        views: list[View | None] = []
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(flow.structure.unflatten(flow.updates))[0]]
        for path, leaf, cut, axes in zip(paths, flow.updates, flow.cuts, found, strict=True):
            try:
                view = None if axes is None else View(leaf.shape, axes)
            except ValueError as error:
                raise ValueError(f"{self.call_name}: for the leaf at {leaf_name(path)}, {error}") from None
            if view is not None and (spread := spread_axes(self.call_name, leaf, cut)):
                raise ValueError(
                    f"{self.call_name} needs whole matrices, and each device has a part of the leaf at "
                    f"{leaf_name(path)}, over mesh axes {spread}; take this step outside shard_map, with jit over "
                    "sharded arrays"
                )
            if view is not None and not view.is_even:
                raise ValueError(
                    f"{self.call_name}: for the leaf at {leaf_name(path)}, parts are to be of one size; got {axes}"
                )
            views.append(view)
        return views

    def _is_left(self, view: View) -> bool:
        """Whether rows are projected, which for square matrices they are."""
        *_, rows, columns = view.pieces[0]
        return rows >= columns if self.side == "longer" else rows <= columns

    def _projector(self, leaf: Any, view: View | None) -> jax.ShapeDtypeStruct:
        if view is None:
            return jax.ShapeDtypeStruct((0, 0), leaf.dtype)
        *front, rows, columns = view.pieces[0]
        side, rank = rows if self._is_left(view) else columns, min(self.rank, rows, columns)
        return jax.ShapeDtypeStruct((*_batch(view), *front, side, rank), leaf.dtype)

    def _matrices(self, leaf: Any, view: View) -> Any:
        (matrices,) = view.matrices(view.stacked(leaf))
        return matrices.reshape(*_batch(view), *matrices.shape[bool(view.batch) :])

    def _renewed(self, is_due: jax.Array, leaf: Any, old: Any, view: View) -> Any:
        return either(is_due, lambda: self._basis(leaf, view).astype(old.dtype), lambda: old)

    def _basis(self, leaf: Any, view: View) -> Any:
        matrices = self._matrices(leaf, view)
        matrices = matrices if self._is_left(view) else matrices.conj().mT
        return leading_vectors(matrices, min(self.rank, *matrices.shape[-2:]))

    def _low(self, leaf: Any, projector: Any, view: View | None) -> Any:
        if view is None:
            return leaf
        matrices = self._matrices(leaf, view)
        if self._is_left(view):
            return jnp.matmul(projector.conj().mT, matrices, precision=lax.Precision.HIGHEST)
        return jnp.matmul(matrices, projector, precision=lax.Precision.HIGHEST)

    def _back(self, low: Any, projector: Any, view: View, shape: tuple[int, ...]) -> Any:
        if self._is_left(view):
            whole = jnp.matmul(projector, low, precision=lax.Precision.HIGHEST)
        else:
            whole = jnp.matmul(low, projector.conj().mT, precision=lax.Precision.HIGHEST)
        batch = (math.prod(_batch(view)),) if view.batch else ()
        return view.unstacked(view.joined([whole.reshape(*batch, *whole.shape[len(view.batch) :])]), shape)


def _batch(view: View) -> tuple[int, ...]:
    return tuple(view.shape[axis] for axis in view.batch)


def _in_matrix_axes(told: Any) -> Any:
    """What is told, with MatrixAxes in the place of optax's GaLoreDimensionNumbers."""

    def as_axes(each: Any) -> Any:
        if isinstance(each, GaLoreDimensionNumbers) or (is_axes(each) and isinstance(each, tuple)):
            return MatrixAxes(*cast(Any, each))
        return each

    def is_told(each: Any) -> bool:
        return is_axes(each) or isinstance(each, GaLoreDimensionNumbers)

    return jax.tree.map(as_axes, told, is_leaf=is_told)


scale_by_galore = transform(ScaleByGalore)
