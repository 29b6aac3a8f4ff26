"""Where leaves lie: along which of their own axes they are cut, and over which axes of the devices' mesh.

Inside `shard_map` with `check_vma=True` the types of values tell over which mesh axes they vary, though not along which
of their own axes they are cut. Everywhere else on many devices, and for what needs those, the user tells, with specs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec

from gradxform.core.record import Record

Axes = tuple[str, ...]
# For each axis of a leaf the mesh axes over which it is cut.
Cut = tuple[Axes, ...]


class Placement(Record, is_leaf=True):
    """The specs that a user told: a prefix of the parameters' tree, of PartitionSpecs or None for what is whole."""

    specs: Any

    def check(self) -> None:
        """Raises TypeError for what is no spec."""
        for spec in jax.tree.leaves(self.specs, is_leaf=_is_spec):
            if not _is_spec(spec):
                raise TypeError(f"on_axes: expected PartitionSpecs in the specs, got {spec!r}")

    def cuts(self, what: str, tree: Any) -> list[Cut]:
        """How each leaf of a tree is cut over the mesh axes that are mapped here; outside of a map nothing is.

        Raises:
          ValueError: as `cuts_of`.
        """
        mesh = jax.sharding.get_abstract_mesh()
        cuts = cuts_of("on_axes", self.specs, what, tree, mesh.axis_names)
        return [tuple(tuple(name for name in names if name in mesh.manual_axes) for names in cut) for cut in cuts]


def cuts_of(who: str, specs: Any, what: str, tree: Any, there: Axes) -> list[Cut]:
    """How specs, a prefix of a tree, cut each of its leaves.

    Args:
      who: what is to be named in errors.
      specs: PartitionSpecs or None, in a prefix of the tree.
      what: what the tree is, for errors.
      tree: arrays, or their shapes.
      there: the axes of the mesh; if there are none, any will do.

    Raises:
      ValueError: the specs are no prefix of the tree, or a spec has more axes than its leaf, names a mesh axis twice,
        or one that is not there. The error has the leaf's path.
    """
    cuts = []
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    for (path, leaf), spec in zip(leaves, one_a_leaf(who, specs, what, tree), strict=True):
        where = f"the leaf at {leaf_name(path)}, of shape {tuple(leaf.shape)}"
        entries = [(entry,) if isinstance(entry, str) else tuple(entry or ()) for entry in spec or ()]
        names = [name for entry in entries for name in entry]
        if len(entries) > len(leaf.shape):
            raise ValueError(f"{who}: {spec} has more axes than {where}")
        if unknown := [name for name in names if there and name not in there]:
            here = ", ".join(map(repr, there))
            raise ValueError(f"{who}: there is no mesh axis {unknown[0]!r} for {where}; here are {here}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{who}: {spec} names the mesh axis {twice[0]!r} twice, for {where}")
        cuts.append(tuple(entries) + ((),) * (len(leaf.shape) - len(entries)))
    return cuts


def one_a_leaf(who: str, specs: Any, what: str, tree: Any, noun: str = "specs") -> list[Any]:
    """A spec, or a sharding, for each leaf.

    Raises:
      ValueError: they are no prefix of the tree, with the first path that parts.
    """
    masked = {path for path, node in _flat(tree, _is_masked) if _is_masked(node)}
    if masked:
        # optax's wrappers may leave out a branch whole, of whose leaves the specs tell one by one.
        specs = jax.tree_util.tree_map_with_path(
            lambda path, spec: None if path in masked else spec,
            specs,
            is_leaf=lambda path, node: path in masked or _is_spec(node),
            is_leaf_takes_path=True,
        )
    try:
        return jax.tree.structure(tree).flatten_up_to(jax.tree.broadcast(specs, tree, is_leaf=_is_spec))
    except ValueError as error:
        told, leaves = ([path for path, _ in _flat(each, _is_spec)] for each in (specs, tree))
        detail = str(error)
        if missing := [leaf for leaf in leaves if not any(leaf[: len(path)] == path for path in told)]:
            detail = f"got none for the leaf at {leaf_name(missing[0])}"
        elif surplus := [path for path in told if not any(leaf[: len(path)] == path for leaf in leaves)]:
            detail = f"got one at {leaf_name(surplus[0])}, where there is no leaf"
        raise ValueError(f"{who}: expected {noun} that are a prefix of the {what}; {detail}") from None


def _flat(tree: Any, is_leaf: Callable[[Any], bool]) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]


def leaf_name(path: Any) -> str:
    """The path of a leaf as errors have it, as 'dense/kernel'."""
    return repr(jax.tree_util.keystr(path, simple=True, separator="/")) if path else "the root"


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


_current: ContextVar[Placement | None] = ContextVar("placement", default=None)


@contextmanager
def told(placement: Placement | None) -> Iterator[None]:
    """For transforms within a transform: they are told what it was told."""
    if placement is None:
        yield
        return
    token = _current.set(placement)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Placement | None:
    """What the transform around this one was told."""
    return _current.get()


def varying_axes(x: Any) -> Axes:
    """The mesh axes over which a value differs, as its type tells; none outside `shard_map`."""
    aval = jax.typeof(x)
    # JAX 0.10 keeps the set in `vma`, newer releases in `mat.varying`.
    varying = aval.mat.varying if hasattr(aval, "mat") else aval.vma
    return tuple(sorted(varying))


def union(groups: Iterable[Axes]) -> Axes:
    """The mesh axes that are in any of some groups, each once."""
    return tuple(sorted({name for names in groups for name in names}))


def spread_axes(rule: str, x: Any, cut: Cut | None) -> Axes:
    """The mesh axes over which a leaf is spread: as told, else as its type tells.

    Raises:
      ValueError: it varies, by its type, over an axis of which the specs do not tell.
    """
    varying = varying_axes(x)
    if cut is None:
        return varying
    axes = union(cut)
    if beyond := [name for name in varying if name not in axes]:
        raise ValueError(
            f"{rule}: a leaf of shape {x.shape} varies over mesh axis {beyond[0]!r}, of which the specs of on_axes do "
            "not tell; if each device has a gradient of its own, take their mean first, as with pmean_updates"
        )
    return axes


def longest_axis(shape: Sequence[int], is_whole: Sequence[bool], devices: int) -> int | None:
    """The longest of the axes that are whole and that so many devices divide; None if there is none."""
    free = [axis for axis, size in enumerate(shape) if is_whole[axis] and size % devices == 0]
    return max(free, key=lambda axis: shape[axis]) if free else None


def whole_shape(rule: str, leaf: Any, cut: Cut | None, where: Callable[[], str] | None = None) -> tuple[int, ...]:
    """The shape of a leaf on all devices together.

    Args:
      rule: what asks for it, for the error.
      leaf: the array, or the part of it on this device.
      cut: along which of its axes it is cut, None where nobody told.
      where: the path of the leaf, for the error.

    Raises:
      ValueError: its type says that it varies over mesh axes, and nobody told along which of its own axes it is cut.
    """
    if cut is not None:
        return tuple(size * math.prod(map(lax.axis_size, names)) for size, names in zip(leaf.shape, cut, strict=True))
    if varying := varying_axes(leaf):
        at = f"the leaf at {where()}" if where else "a leaf"
        raise ValueError(
            f"{rule} decides by the shape of {at}, of which each device has {tuple(leaf.shape)}; it varies over mesh "
            f"axes {varying}, and its type does not tell along which of its own axes it is cut; tell it with on_axes"
        )
    return tuple(leaf.shape)


def _is_spec(value: Any) -> bool:
    return value is None or isinstance(value, PartitionSpec)


def mapped_axes(what: str, names: str | Sequence[str]) -> Axes:
    """Mesh axes as a tuple. Raises ValueError for one over which nothing is mapped here."""
    axes = (names,) if isinstance(names, str) else tuple(names)
    there = jax.sharding.get_abstract_mesh().manual_axes
    if missing := [name for name in axes if name not in there]:
        here = f"mapped are {', '.join(map(repr, there))}" if there else "nothing is: call it inside shard_map or pmap"
        raise ValueError(f"{what}: there is no mapped axis {missing[0]!r} here; {here}")
    return axes


def types_tell() -> bool:
    """Whether the types of values tell over which axes they vary, as in `shard_map` with `check_vma=True`."""
    axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    return bool(axes) and bool(varying_axes(lax.pcast(jnp.zeros(()), axes, to="varying")))


def place_among(names: Axes) -> jax.Array:
    """The number of this device along mesh axes, the last of which counts fastest; int32 of shape ()."""
    place = jnp.zeros((), jnp.int32)
    for name in names:
        place = place * lax.axis_size(name) + lax.axis_index(name)
    return place
