"""Whole matrices for each device: dealt out as evenly as their work allows, and given back.

Matrices of one kind are a group. Of k of them each of D devices gets k // D; those that are left over go to devices
next to each other that have had least to do so far, and the others do nothing meanwhile. A matrix moves twice, there
and back, and nothing is exchanged between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from gradxform.core.branches import either
from gradxform.core.placement import Axes, Cut, place_among, types_tell, union

Arrays = list[jax.Array]


class Group(NamedTuple):
    """Matrices that one call can take.

    Attributes:
      leaves: of each leaf the arrays that go to the work, with an axis in front that counts matrices; what comes back
        is of the shapes of all but the first.
      cuts: how each of a leaf's arrays is cut along its other axes, alike for all leaves.
      free: the mesh axes over which the arrays are alike on all devices.
      cost: of one matrix, in any unit.
      work: a function of such arrays of all leaves, joined, and with the matrices whole; and of what all share.
    """

    leaves: list[Arrays]
    cuts: list[Cut]
    free: Axes
    cost: int
    work: Callable[[Arrays, Any], Arrays]

    @property
    def matrices(self) -> int:
        """How many matrices there are."""
        return sum(len(arrays[0]) for arrays in self.leaves)


class Share(NamedTuple):
    """Who gets what of a group.

    Attributes:
      devices: how many share.
      each: how many matrices each of them gets.
      rest: how many are left over.
      first: the first of the devices that get one of these.
    """

    devices: int
    each: int
    rest: int
    first: int


def shares(groups: Sequence[tuple[Hashable, int, int, int]]) -> list[Share]:
    """Deals out groups, each of (who shares it, how many they are, how many matrices, the cost of one)."""
    loads: dict[Hashable, np.ndarray[Any, Any]] = {}
    found: dict[int, Share] = {}
    # What costs most is dealt out first, so that the smaller fill up what is uneven.
    for index in sorted(range(len(groups)), key=lambda index: -groups[index][3]):
        who, devices, count, cost = groups[index]
        load = loads.setdefault(who, np.zeros(devices, dtype=np.int64))
        each, rest = divmod(count, devices)
        starts = range(devices - rest + 1) if rest else [0]
        first = min(starts, key=lambda start: (load[start : start + rest].max(initial=0), start))
        load[first : first + rest] += cost
        found[index] = Share(devices, each, rest, first)
    return [found[index] for index in range(len(groups))]


def meshed(arrays: Sequence[jax.Array]) -> Any:
    """The mesh over which arrays may be cut, as their types tell; None where there is none."""
    for array in arrays:
        mesh = jax.typeof(array).sharding.mesh
        if not mesh.empty and not mesh.manual_axes:
            return mesh
    return None


def on_mesh(groups: Sequence[Group], shared: Any, mesh: Any) -> list[list[Arrays]]:
    """The work of all groups under `jit`, over all devices of a mesh: what comes back, for each leaf of each group.

    The partitioner is told where matrices are to lie, and finds by itself where they come from.
    """
    devices = math.prod(mesh.axis_sizes)
    dealt = shares([(None, devices, group.matrices, group.cost) for group in groups])

    return [_on_mesh(group, shared, share, mesh) for group, share in zip(groups, dealt, strict=True)]


def _on_mesh(group: Group, shared: Any, share: Share, mesh: Any) -> list[Arrays]:
    names = tuple(mesh.axis_names)
    # The partitioner moves what is cut over one mesh axis to another axis of the array; of two at once it gathers all.
    # At first and at last matrices lie as they came, or it would cut what is before and behind as they are dealt out.
    stages = [names[:count] for count in range(len(names) + 1)]
    split = share.devices * share.each

    def there(array: jax.Array) -> jax.Array:
        return reduce(partial(_constrained, mesh, whole=names), stages, array)

    def back(array: jax.Array) -> jax.Array:
        return reduce(partial(_constrained, mesh), stages[-2::-1], array)

    whole = [_joined(column) for column in zip(*group.leaves, strict=True)]
    even = [there(array[:split]) for array in whole] if share.each else None
    rest = [there(_around(array[split:], share)) for array in whole] if share.rest else None
    spec = PartitionSpec(names)
    done = jax.shard_map(
        lambda even, rest, shared: _worked(_with(group, shared), even, rest, share, place_among(names)),
        mesh=mesh,
        in_specs=(spec, spec, PartitionSpec()),
        out_specs=spec,
        check_vma=False,
    )(even, rest, shared)
    even, rest = (None if arrays is None else list(map(back, arrays)) for arrays in done)
    return _parted(_together(even, None if rest is None else [_own(array, share) for array in rest]), group)


def on_axes(groups: Sequence[Group], shared: Any) -> list[list[Arrays]]:
    """The work of all groups within `shard_map` or `pmap`: what comes back, for each leaf of each group.

    The arrays of the groups are each device's parts.
    """
    order = jax.sharding.get_abstract_mesh().axis_names
    workers = []
    for group in groups:
        cutting = union(names for cut in group.cuts for names in cut)
        workers.append(tuple(name for name in order if name in {*cutting, *group.free}))
    counts = [math.prod(map(lax.axis_size, names)) for names in workers]
    costs = [
        (who, count, group.matrices, group.cost) for who, count, group in zip(workers, counts, groups, strict=True)
    ]
    return [
        _on_axes(group, shared, names, share)
        for group, names, share in zip(groups, workers, shares(costs), strict=True)
    ]


def _on_axes(group: Group, shared: Any, workers: Axes, share: Share) -> list[Arrays]:
    split = share.devices * share.each
    turns = share.each + bool(share.rest)

    def slots(whole: jax.Array) -> jax.Array:
        """The matrices in the order of the devices that get them."""
        even = whole[:split].reshape(share.devices, share.each, *whole.shape[1:])
        return jnp.concatenate([even, _around(whole[split:], share)[:, None]], 1) if share.rest else even

    def unslotted(slots: jax.Array) -> jax.Array:
        slots = slots.reshape(share.devices, turns, *slots.shape[1:])
        even = slots[:, : share.each].reshape(split, *slots.shape[2:])
        return jnp.concatenate([even, _own(slots[:, -1], share)]) if share.rest else even

    columns = [slots(_joined(column)) for column in zip(*group.leaves, strict=True)]
    whole = [_gathered(column, workers, cut) for column, cut in zip(columns, group.cuts, strict=True)]
    even = [array[: share.each] for array in whole] if share.each else None
    rest = [array[share.each :] for array in whole] if share.rest else None
    done = _together(*_worked(_with(group, shared), even, rest, share, place_among(workers)))
    back = [_given_back(array, workers, cut) for array, cut in zip(done, group.cuts[1:], strict=True)]
    return _parted([unslotted(array) for array in back], group)


def _with(group: Group, shared: Any) -> Callable[[Arrays], Arrays]:
    return lambda arrays: group.work(arrays, shared)


def _worked(
    work: Callable[[Arrays], Arrays], even: Arrays | None, rest: Arrays | None, share: Share, device: jax.Array
) -> tuple[Arrays | None, Arrays | None]:
    """A device's own work: that of all, and of what is left over, if it has one of these; None for none."""
    if even is not None:
        even = work(even)
    if rest is not None:
        left = rest
        shapes = jax.eval_shape(work, left)
        is_mine = (device >= share.first) & (device < share.first + share.rest)
        rest = either(is_mine, lambda: work(left), lambda: [jnp.zeros(each.shape, each.dtype) for each in shapes])
    return even, rest


def _together(even: Arrays | None, rest: Arrays | None) -> Arrays:
    """What all had and what was left over, behind it."""
    parts = [arrays for arrays in (even, rest) if arrays is not None]
    return [_joined(arrays) for arrays in zip(*parts, strict=True)]


def _gathered(slots: jax.Array, workers: Axes, cut: Cut) -> jax.Array:
    """Of matrices in the order of the devices that get them, of which each device has parts, one's own, whole."""
    sizes, cutting = tuple(map(lax.axis_size, workers)), union(cut)
    turns, rest = slots.shape[1], slots.shape[2:]
    parts = slots.reshape(*sizes, turns, *rest)
    for axis in reversed(range(len(workers))):
        if workers[axis] not in cutting:
            parts = lax.dynamic_index_in_dim(parts, lax.axis_index(workers[axis]), axis, keepdims=False)
    names = tuple(name for name in workers if name in cutting)
    if not names:
        return parts
    parts = lax.all_to_all(parts.reshape(-1, turns, *rest), names, 0, 0, tiled=True)
    parts = parts.reshape(*map(lax.axis_size, names), turns, *rest)
    order = [len(names)]
    for axis, along in enumerate(cut):
        order += [*(names.index(name) for name in along), len(names) + 1 + axis]
    whole = [size * math.prod(map(lax.axis_size, along)) for size, along in zip(rest, cut, strict=True)]
    return parts.transpose(order).reshape(turns, *whole)


def _given_back(whole: jax.Array, workers: Axes, cut: Cut) -> jax.Array:
    """What `_gathered` made of matrices, in the order of the devices that had them."""
    cutting, turns = union(cut), len(whole)
    names = tuple(name for name in workers if name in cutting)
    others = tuple(name for name in workers if name not in cutting)
    split, places = [turns], {}
    for size, along in zip(whole.shape[1:], cut, strict=True):
        for name in along:
            places[name] = len(split)
            split.append(lax.axis_size(name))
        places[len(places)] = len(split)
        split.append(size // math.prod(map(lax.axis_size, along)))
    own = [place for key, place in places.items() if isinstance(key, int)]
    parts = whole.reshape(split).transpose(*(places[name] for name in names), 0, *own)
    local = parts.shape[len(names) :]
    if names:
        parts = lax.all_to_all(parts.reshape(-1, *local), names, 0, 0, tiled=True)
    parts = parts.reshape(*map(lax.axis_size, names), *local)
    if others:
        parts = lax.all_gather(parts, others, to="invarying" if types_tell() else "varying")
        parts = parts.reshape(*map(lax.axis_size, others), *parts.shape[1:])
    found = [*others, *names]
    parts = parts.transpose(*(found.index(name) for name in workers), *range(len(found), parts.ndim))
    return parts.reshape(-1, *local[1:])


def _around(rest: jax.Array, share: Share) -> jax.Array:
    """What is left over in the places of the devices that get it, and zeros in those of the others."""
    after = share.devices - share.first - share.rest
    return jnp.pad(rest, [(share.first, after), *[(0, 0)] * (rest.ndim - 1)])


def _own(placed: jax.Array, share: Share) -> jax.Array:
    """What `_around` placed."""
    return placed[share.first : share.first + share.rest]


def together(groups: Sequence[Group], shared: Any) -> list[list[Arrays]]:
    """The work of all groups on one device, each in one call: what comes back, for each leaf of each group."""
    return [
        _parted(group.work([_joined(column) for column in zip(*group.leaves, strict=True)], shared), group)
        for group in groups
    ]


def _joined(arrays: Sequence[jax.Array]) -> jax.Array:
    return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays)


def _parted(columns: Arrays, group: Group) -> list[Arrays]:
    """Joined arrays as those of the leaves."""
    ends = np.cumsum([len(arrays[0]) for arrays in group.leaves])[:-1].tolist()
    return [list(leaf) for leaf in zip(*(jnp.split(column, ends) for column in columns), strict=True)]


def _constrained(mesh: Any, array: jax.Array, names: Axes, whole: Axes | None = None) -> jax.Array:
    """An array that is cut along its first axis over some mesh axes; along the others only if these are not `whole`."""
    others = [None if names == whole else PartitionSpec.UNCONSTRAINED] * (array.ndim - 1)
    return lax.with_sharding_constraint(array, NamedSharding(mesh, PartitionSpec(names or None, *others)))
