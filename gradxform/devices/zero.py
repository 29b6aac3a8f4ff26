"""ZeRO by hand, inside pmap and shard_map."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from gradxform.core import checks, placement as placing
from gradxform.core.checks import path_of
from gradxform.core.evaluate import eval_params
from gradxform.core.flow import Flow, Step
from gradxform.core.guest import Guest
from gradxform.core.keep import Encoded, is_encoded
from gradxform.core.placement import Cut, Placement, longest_axis, mapped_axes, types_tell, varying_axes
from gradxform.core.registry import register
from gradxform.core.shards import longest_to_divide
from gradxform.core.transform import Transform, name_stages


class Zero(Guest):
    """A transform that sees of each leaf the part of its device."""

    inner: Transform
    axis_name: str
    mean: bool = True
    min_size: int = 1024

    @property
    def name(self) -> str:
        """What it is called in a chain."""
        return "zero"

    def check(self) -> None:
        """Raises TypeError for what is no transform of ours, or no name of an axis."""
        if not isinstance(self.inner, Transform):
            raise TypeError(
                f"zero: inner must be a gradxform transform; put an optax one in a chain; got {self.inner!r}"
            )
        if not isinstance(self.axis_name, str):
            raise TypeError(f"zero: axis_name must be the name of a mesh axis; got {self.axis_name!r}")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform within, whose rules know how it is kept."""
        return self.init(params.tree())

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of the transform within, whose rules load and store.

        Where the updates are added next, each device adds those of its parts, and the parameters are put together.
        """
        came, params = flow.tree(), flow.params_tree()
        if not flow.lands or flow.params is None or any(map(is_encoded, flow.params)):
            updates, state = self.update(came, record, params, step.extra)
            return flow.with_tree(updates), state
        new, state = self._by_parts("step", came, record, params, step.extra)
        return flow.with_tree(came).replace(landed=jax.tree.leaves(new)), state

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: outside of a map of the whole state, else of the parts, put together."""
        if not jax.sharding.get_abstract_mesh().manual_axes:
            return self.inner.judge(params, record, step)
        tree = params.tree()
        parts = self._parts(tree, record)
        own = eval_params(self._told(tree, parts), record, self._sliced(tree, parts))
        return params.with_tree(_map(self._gathered, own, parts))

    def init(self, params: Any) -> Any:
        """The state of the device's part; outside of a map of the whole, cut by its type where types are explicit."""
        params = _admitted("parameters", params)
        if not jax.sharding.get_abstract_mesh().manual_axes:
            return self.inner.init(self._typed(params))
        whole = jax.eval_shape(self._told(params, [None] * len(jax.tree.leaves(params))).init, params)
        parts = self._parts(params, whole)
        return self._told(params, parts).init(self._sliced(params, parts))

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """Reduce-scatter, a step of the part, all-gather."""
        return self._by_parts("update", updates, state, params, extra)

    def _by_parts(self, method: str, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """What `update` or `step` of the transform within returns of the parts, put together, and the state."""
        (axis,) = mapped_axes("zero", self.axis_name)
        updates = _admitted("updates", updates)
        parts = self._parts(updates, state)
        typed = types_tell()

        def scattered(grad: jax.Array, dim: int | None) -> jax.Array:
            is_reduced = typed and axis not in varying_axes(grad)
            if dim is None:
                return grad if is_reduced else (lax.pmean if self.mean else lax.psum)(grad, axis)
            if is_reduced:
                return _slice(grad, dim, axis)
            total = lax.psum_scatter(grad, axis, scatter_dimension=dim, tiled=True)
            return total / lax.axis_size(axis) if self.mean else total

        own = _map(scattered, updates, parts)
        # By their own parts, so that parameters that do not fit are found where all are.
        params = None if params is None else _admitted("parameters", params)
        own_params = None if params is None else self._sliced(params, self._parts(params, state))
        result, state = getattr(self._told(updates, parts), method)(own, state, own_params, **extra)
        return _map(self._gathered, result, parts), state

    def _gathered(self, own: jax.Array, dim: int | None) -> jax.Array:
        if dim is None:
            return own
        kind = "invarying" if types_tell() else "varying"
        return lax.all_gather(own, self.axis_name, axis=dim, tiled=True, to=kind)

    def _parts(self, tree: Any, state: Any) -> list[int | None]:
        """Along which of its axes each leaf is cut: the longest that the devices divide; None for small leaves.

        Args:
          tree: the leaves.
          state: the state, or its shapes: no block of what codecs keep there may be cut.
        """
        (axis,) = mapped_axes("zero", self.axis_name)
        devices, cuts = lax.axis_size(axis), self._cuts(tree)
        kept = _kept_of(tree, state)
        return [
            self._part(tree, index, leaf.shape, [not names for names in cut], devices, kept[index])
            for index, (leaf, cut) in enumerate(zip(jax.tree.leaves(tree), cuts, strict=True))
        ]

    def _part(
        self,
        tree: Any,
        index: int,
        shape: tuple[int, ...],
        whole: list[bool],
        devices: int,
        kept: list[Encoded],
    ) -> int | None:
        """As `_parts`, of one leaf of a shape on each device, and of which some axes are whole there."""
        if math.prod(shape) < self.min_size:
            return None
        if longest_axis(shape, whole, devices) is None:
            raise ValueError(
                f"zero: {devices} devices along {self.axis_name!r} divide no whole axis of the leaf at "
                f"{path_of(tree, index)}, of shape {shape}; a min_size above {math.prod(shape)} leaves it whole"
            )
        return longest_to_divide(shape, whole, devices, kept)

    def _cuts(self, tree: Any) -> list[Cut]:
        told = self.inner.placement or placing.current()
        if told is not None:
            return told.cuts("parameters", tree)
        leaves = jax.tree.leaves(tree)
        for index, leaf in enumerate(leaves):
            if others := [name for name in varying_axes(leaf) if name != self.axis_name]:
                raise ValueError(
                    f"zero: the leaf at {path_of(tree, index)} varies over mesh axis {others[0]!r} too, and its type "
                    "does not tell along which of its own axes it is cut; tell it with on_axes"
                )
        return [((),) * leaf.ndim for leaf in leaves]

    def _told(self, tree: Any, parts: list[int | None]) -> Transform:
        """The transform, told how its leaves are cut."""
        specs = []
        for cut, dim in zip(self._cuts(tree), parts, strict=True):
            entries = [names if i != dim else (*names, self.axis_name) for i, names in enumerate(cut)]
            specs.append(PartitionSpec(*(names or None for names in entries)))
        return Transform(self.inner.stages, Placement(jax.tree.unflatten(jax.tree.structure(tree), specs)))

    def _sliced(self, tree: Any, parts: list[int | None]) -> Any:
        return _map(lambda leaf, dim: leaf if dim is None else _slice(leaf, dim, self.axis_name), tree, parts)

    def _typed(self, tree: Any) -> Any:
        """Leaves that their types cut along the axis, where a mesh with explicit axes is."""
        leaves, structure = jax.tree.flatten(tree)
        kept, cut = _kept_of(tree, jax.eval_shape(self.inner.init, tree)), []
        for index, leaf in enumerate(leaves):
            sharding = jax.typeof(leaf).sharding
            mesh, entries = sharding.mesh, [*sharding.spec]
            if AxisType.Explicit not in mesh.axis_types:
                cut.append(leaf)
                continue
            if self.axis_name not in mesh.axis_names:
                there = ", ".join(map(repr, mesh.axis_names))
                raise ValueError(f"zero: there is no mesh axis {self.axis_name!r}; there are {there}")
            shape = sharding.shard_shape(leaf.shape)
            whole = [entry is None for entry in entries]
            dim = self._part(tree, index, shape, whole, mesh.shape[self.axis_name], kept[index])
            if dim is not None:
                entries[dim] = self.axis_name
            cut.append(jax.sharding.reshard(leaf, PartitionSpec(*entries)))
        return structure.unflatten(cut)


def zero(inner: Transform, axis_name: str, *, mean: bool = True, min_size: int = 1024) -> Transform:
    """Shards the state of a transform over a data-parallel axis, inside `shard_map` or `pmap` (ZeRO, stage 1).

    Each device gets its shard of the mean gradients (reduce-scatter), updates its shard of the slots, and all devices
    get all updates (all-gather). Norms are those of the whole leaf and the whole tree; the numbers are those of
    `chain(pmean_updates(axis_name), inner)`. Leaves are sharded along their longest axis that the number of devices
    divides; where a codec keeps slots in blocks (`stored`), along the longest one on which no block would belong to two
    shards, and a leaf without such an axis stays replicated.

    Call `init` inside the map as well; or outside, with `state_specs` for the specs of the state. All rules belong in
    `inner`, clipping too: a rule before it would see the gradients of one device. Use `on_axes` for leaves that are
    sharded over another mesh axis. An optax transform in `inner` sees shards, so it must be elementwise.

    Args:
      inner: a gradxform transform.
      axis_name: the mesh axis over which the data are sharded and the parameters are replicated.
      mean: whether the step is for the mean of the devices' gradients; False for their sum.
      min_size: leaves with fewer elements stay replicated.

    Returns:
      A Transform.

    Raises:
      TypeError: `inner` is no gradxform transform, or axis_name no string.
      ValueError: an axis that is not mapped; devices that divide no axis of a leaf, with its path; an optax transform
        in `inner` that takes the elements of a leaf together, as `muon` and optax's norms do.

    Rajbhandari et al. 2020, arXiv:1910.02054, stage 1. optax: none. torch: ZeroRedundancyOptimizer.
    """
    return Transform(name_stages([(None, Zero(inner, axis_name, mean, min_size))]))


register(Zero, Zero.call_name, Zero)


def _admitted(what: str, tree: Any) -> Any:
    """A tree of arrays. Raises TypeError for what is none, with its path; which dtypes will do, the rules say."""
    leaves = checks.arrays(what, tree, jax.tree.leaves(tree), any_dtype=True, real_only=None)
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _kept_of(tree: Any, state: Any) -> list[list[Encoded]]:
    """What codecs keep in a state for each leaf of a tree: what lies at its path, in a tree like it."""
    found = [pair for pair in jax.tree_util.tree_leaves_with_path(state, is_leaf=is_encoded) if is_encoded(pair[1])]
    return [
        [kept for path, kept in found if path[len(path) - len(own) :] == own and kept.ndim == leaf.ndim]
        for own, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _map(function: Any, tree: Any, parts: list[int | None]) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([function(leaf, dim) for leaf, dim in zip(leaves, parts, strict=True)])


def _slice(leaf: jax.Array, dim: int, axis: str) -> jax.Array:
    size = leaf.shape[dim] // lax.axis_size(axis)
    return lax.dynamic_slice_in_dim(leaf, lax.axis_index(axis) * size, size, dim)
