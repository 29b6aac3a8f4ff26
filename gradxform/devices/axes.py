"""Telling a transform where the parameters lie."""

from __future__ import annotations

from typing import Any

from gradxform.core.placement import Placement
from gradxform.core.transform import Transform


def on_axes(tx: Transform, specs: Any) -> Transform:
    """Tells a transform how parameters and gradients are cut over the devices, where their types do not.

    Norms, means and sums are then those of the whole leaf and of the whole tree: inside `pmap`, inside `shard_map` with
    `check_vma=False`, and for rules that reduce along axes (factored means, units of a weight, centred gradients) with
    `check_vma=True` too. For all else in `shard_map` with `check_vma=True` the types tell, and nothing need be told.
    Outside of a map, where arrays are whole, it changes nothing.

    Under `pmap` and with `check_vma=False` a leaf that is cut and of which nothing is told is taken to be whole: its
    norm is that of each device's part. Gradients that differ between devices on leaves that do not are to be averaged
    first, as with `pmean_updates`.

    Args:
      tx: a gradxform transform.
      specs: as `in_specs` of `shard_map`: a prefix of the parameters' tree, of PartitionSpecs; P() or None for leaves
        that are whole on each device.

    Returns:
      A Transform. In a chain it tells of all.

    Raises:
      TypeError: not a gradxform transform, or specs that hold something else.
      ValueError: other specs were told already; in `init` and `update`, specs that do not fit the tree or name a mesh
        axis that is not there, with the leaf's path.

    optax: none; there each device has a norm of its own. torch: DTensor, which knows its placements.
    """
    if not isinstance(tx, Transform):
        raise TypeError(f"on_axes takes a gradxform transform, got {type(tx).__name__}; put an optax one in a chain")
    placement = Placement(specs)
    if tx.placement not in (None, placement):
        raise ValueError("on_axes: other specs were told already")
    return Transform(tx.stages, placement)
