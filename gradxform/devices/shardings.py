"""Shardings for the arrays of a state, and a state that is made with them."""

from __future__ import annotations

import math
from typing import Any

import jax
import optax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from gradxform.core import checks, keep
from gradxform.core.placement import cuts_of, one_a_leaf
from gradxform.core.shards import longest_to_divide


def state_specs(
    tx: optax.GradientTransformation,
    params: Any,
    specs: Any,
    mesh: Any,
    *,
    zero: str | None = None,
    min_size: int = 1024,
) -> Any:
    """How each array of a state is sharded, as PartitionSpecs for `in_specs` and `out_specs` of `shard_map`.

    A slot is sharded as its parameter is, along the axes that it has of it; counters, scalars and keys are replicated.

    Args:
      tx: a transform, ours or optax's.
      params: the parameters, or their shapes as jax.ShapeDtypeStruct.
      specs: a prefix of the parameters' tree, of PartitionSpecs or None.
      mesh: the mesh, or its jax.sharding.AbstractMesh.
      zero: a mesh axis over which slots are sharded as well (ZeRO, stage 1). None: none. Each slot is sharded along
        its longest axis that is not sharded yet, that the number of devices divides, and along which no block of a
        codec would belong to two shards.
      min_size: arrays with fewer elements are not sharded over `zero`.

    Returns:
      A tree like the state, of PartitionSpecs.

    Raises:
      TypeError: `tx` is no transform, or a parameter no array.
      ValueError: specs that are no prefix of the parameters, or one that does not fit its leaf, a mesh axis that does
        not exist, a number of devices that does not divide a leaf, or a block of a codec that would belong to two
        shards, with the path.

    optax: none; optax.tree.map_params. torch: none.
    """
    return _specs(_types(tx, params, specs, mesh, zero), mesh, zero, min_size)


def state_shardings(
    tx: optax.GradientTransformation,
    params: Any,
    shardings: Any = None,
    *,
    zero: str | None = None,
    min_size: int = 1024,
) -> Any:
    """The sharding of each array of a state, for `in_shardings`, `out_shardings` and `jax.device_put`.

        state = jax.jit(tx.init, out_shardings=state_shardings(tx, params))(params)  # or: init_sharded(tx, params)

    With `zero` the slots are sharded over a data-parallel axis as well (ZeRO, stage 1): a step under `jit` whose state
    has these shardings as `out_shardings` gives the same numbers, and each device keeps a part of the state. Give
    `out_shardings` for the parameters too, or XLA may leave them sharded as the updates are; with them it gathers each
    new parameter once, and no slot. What `offloaded` keeps on the host has the host's memory kind.

    Args:
      tx: a transform, ours or optax's.
      params: the parameters, or their shapes as jax.ShapeDtypeStruct.
      shardings: a prefix of the parameters' tree, of NamedShardings over one mesh. None: those of the parameters.
      zero, min_size: as in `state_specs`.

    Returns:
      A tree like the state, of NamedShardings.

    Raises:
      TypeError: a parameter without a NamedSharding.
      ValueError: shardings over several meshes, or as in `state_specs`.

    Rajbhandari et al. 2020, arXiv:1910.02054, stage 1. optax: none. torch: ZeroRedundancyOptimizer.
    """
    shardings = jax.tree.map(lambda leaf: getattr(leaf, "sharding", leaf), params) if shardings is None else shardings
    found = one_a_leaf("state_shardings", shardings, "parameters", params, "shardings")
    shardings = jax.tree.unflatten(jax.tree.structure(params), found)
    leaves = jax.tree.leaves(shardings)
    for index, sharding in enumerate(leaves):
        if not isinstance(sharding, NamedSharding):
            raise TypeError(
                f"expected a NamedSharding for the parameter at {checks.path_of(shardings, index)}, got {sharding}"
            )
    meshes = {sharding.mesh for sharding in leaves}
    if len(meshes) != 1:
        raise ValueError(f"expected shardings over one mesh, got {len(meshes)}")
    mesh = meshes.pop()
    specs = jax.tree.map(lambda sharding: sharding.spec, shardings)
    types = _types(tx, params, specs, mesh, zero)
    of_state = _specs(types, mesh, zero, min_size)
    return jax.tree.map(lambda spec, array: _placed_in(mesh, spec, array), of_state, types, is_leaf=_is_spec)


def init_sharded(
    tx: optax.GradientTransformation,
    params: Any,
    shardings: Any = None,
    *,
    zero: str | None = None,
    min_size: int = 1024,
) -> Any:
    """The state before the first update, each array made on its own devices, with the shardings of `state_shardings`.

    No device ever has more than its shards. A plain `jax.jit(tx.init)` loses the shardings of the parameters on a mesh
    with automatic axes, since the zeros of which it makes slots depend on no array.

    Args:
      tx, params, shardings, zero, min_size: as in `state_shardings`; params are arrays.

    Returns:
      The state.

    Raises:
      TypeError, ValueError: as in `state_shardings`.

    optax: none. torch: none.
    """
    return jax.jit(tx.init, out_shardings=state_shardings(tx, params, shardings, zero=zero, min_size=min_size))(params)


def _types(tx: Any, params: Any, specs: Any, mesh: Any, zero: str | None) -> Any:
    """The types of the arrays of a state: shapes, dtypes, shardings and memory."""
    # optax.MultiSteps is no GradientTransformation, and has a state all the same.
    if not callable(getattr(tx, "init", None)):
        raise TypeError(f"state_specs: expected a transform, ours or optax's, got {type(tx).__name__}")
    abstract = mesh.abstract_mesh if isinstance(mesh, jax.sharding.Mesh) else mesh
    abstract = abstract.update_axis_types(dict.fromkeys(abstract.axis_names, AxisType.Explicit))
    if zero is not None and zero not in mesh.axis_names:
        raise ValueError(f"zero: there is no mesh axis {zero!r}; there are {', '.join(map(repr, mesh.axis_names))}")
    # In a mesh with explicit axes the types carry the shardings: `init` says by itself where its arrays lie.
    with jax.sharding.use_abstract_mesh(abstract):
        program, shapes = jax.make_jaxpr(tx.init, return_shape=True)(_placed(params, specs, abstract))
    return jax.tree.unflatten(jax.tree.structure(shapes), program.out_avals)


def _specs(types: Any, mesh: Any, zero: str | None, min_size: int) -> Any:
    """How each array of a state is cut, of its type; what a codec keeps of an array is all cut along one axis of it."""

    def cut(kept: Any) -> Any:
        specs = jax.tree.map(lambda array: array.sharding.spec, kept)
        if zero is None or math.prod(kept.shape) < min_size:
            return specs
        spec, *_ = jax.tree.leaves(specs, is_leaf=_is_spec)
        more = _more(kept, spec, zero, mesh.shape[zero])
        return jax.tree.map(lambda _: more, specs, is_leaf=_is_spec)

    return keep.each(cut, types)


def _placed_in(mesh: Any, spec: PartitionSpec, array: Any) -> NamedSharding:
    """The sharding of an array of a type, in the memory that the type tells."""
    if array.memory_space == jax.memory.Space.Host:
        return NamedSharding(mesh, spec, memory_kind="pinned_host")
    return NamedSharding(mesh, spec)


def _placed(params: Any, specs: Any, mesh: AbstractMesh) -> Any:
    """The shapes of parameters with their shardings in their types."""
    structure = jax.tree.structure(params)
    leaves = checks.arrays("parameters", params, jax.tree.leaves(params), any_dtype=True, real_only=None)
    params = structure.unflatten(leaves)
    cuts = cuts_of("state_specs", specs, "parameters", params, mesh.axis_names)
    placed = []
    for index, (leaf, cut) in enumerate(zip(leaves, cuts, strict=True)):
        for axis, (size, names) in enumerate(zip(leaf.shape, cut, strict=True)):
            if size % (devices := math.prod(mesh.shape[name] for name in names)):
                raise ValueError(
                    f"state_specs: {devices} devices along {', '.join(map(repr, names))} do not divide axis {axis} of "
                    f"the leaf at {checks.path_of(params, index)}, of shape {tuple(leaf.shape)}"
                )
        sharding = NamedSharding(mesh, PartitionSpec(*(names or None for names in cut)))
        placed.append(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding))
    return structure.unflatten(placed)


def _more(kept: Any, spec: PartitionSpec, axis: str, devices: int) -> PartitionSpec:
    """A spec that cuts an array, or what a codec keeps of it, over one more mesh axis, if one of its axes can be."""
    entries = [*spec, *[None] * (len(kept.shape) - len(spec))]
    if any(axis in ((entry,) if isinstance(entry, str) else entry or ()) for entry in entries):
        return spec
    encoded = [kept] if keep.is_encoded(kept) else []
    longest = longest_to_divide(kept.shape, [entry is None for entry in entries], devices, encoded)
    if longest is None:
        return spec
    entries[longest] = axis
    return PartitionSpec(*entries)


def _is_spec(value: Any) -> bool:
    return value is None or isinstance(value, PartitionSpec)
