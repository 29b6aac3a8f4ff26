"""Where leaves lie: along which of their own axes they are cut, and over which axes of the devices' mesh.

Inside `shard_map` with `check_vma=True` the types of values tell over which mesh axes they vary, though not along which
of their own axes they are cut. Everywhere else on many devices, and for what needs those, the user tells, with specs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from gradxform.core.record import Record

Axes = tuple[str, ...]
# For each axis of a leaf the mesh axes over which it is cut.
Cut = tuple[Axes, ...]


class Placement(Record, is_leaf=True):
    """The specs that a user told: a prefix of the parameters' tree, of PartitionSpecs or None for what is whole."""

    specs: Any

    def cuts(self, what: str, tree: Any) -> list[Cut]:
        """How each leaf of a tree is cut over the mesh axes that are mapped here; outside of a map nothing is.

        Raises:
          ValueError: the specs are no prefix of the tree, or a spec has more axes than its leaf, or one that no mesh
            axis has.
        """
        structure = jax.tree.structure(tree)
        try:
            specs = structure.flatten_up_to(jax.tree.broadcast(self.specs, tree, is_leaf=_is_spec))
        except ValueError as error:
            raise ValueError(f"on_axes: expected specs that are a prefix of the {what}; {error}") from None
        mesh = jax.sharding.get_abstract_mesh()
        there = mesh.axis_names
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
        leaves = jax.tree.leaves(tree)
        cuts = []
        for path, leaf, spec in zip(paths, leaves, specs, strict=True):
            where = jax.tree_util.keystr(path, simple=True, separator="/") or "the root"
            entries = tuple(spec or ())
            if len(entries) > leaf.ndim:
                raise ValueError(f"on_axes: {spec} has more axes than the leaf at {where!r}, of shape {leaf.shape}")
            named = [(entry,) if isinstance(entry, str) else tuple(entry or ()) for entry in entries]
            if unknown := [name for names in named for name in names if there and name not in there]:
                raise ValueError(
                    f"on_axes: there is no mesh axis {unknown[0]!r} for the leaf at {where!r}; "
                    f"here are {', '.join(map(repr, there))}"
                )
            mapped = [tuple(name for name in names if name in mesh.manual_axes) for names in named]
            cuts.append(tuple(mapped) + ((),) * (leaf.ndim - len(mapped)))
        return cuts


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


def spread_axes(rule: str, x: Any, cut: Cut | None) -> Axes:
    """The mesh axes over which a leaf is spread: as told, else as its type tells.

    Raises:
      ValueError: it varies, by its type, over an axis of which the specs do not tell.
    """
    varying = varying_axes(x)
    if cut is None:
        return varying
    axes = tuple(sorted({name for names in cut for name in names}))
    if beyond := [name for name in varying if name not in axes]:
        raise ValueError(
            f"{rule}: a leaf of shape {x.shape} varies over mesh axis {beyond[0]!r}, of which the specs of on_axes do "
            "not tell; if each device has a gradient of its own, take their mean first, as with pmean_updates"
        )
    return axes


def whole_shape(shape: Sequence[int], cut: Cut | None) -> tuple[int, ...]:
    """The shape of a leaf on all devices together."""
    if cut is None:
        return tuple(shape)
    return tuple(size * math.prod(map(lax.axis_size, names)) for size, names in zip(shape, cut, strict=True))


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
