"""Telling a transform how the parameters are sharded."""

from __future__ import annotations

from typing import Any

from gradxform.core.placement import Placement
from gradxform.core.transform import Transform


def on_axes(tx: Transform, specs: Any) -> Transform:
    """Tells a transform how parameters and gradients are sharded over mesh axes, where their types do not say so.

    Norms, means and sums are then those of the whole leaf and of the whole tree: inside `pmap`, inside `shard_map` with
    `check_vma=False`, and for rules that reduce along some axes of a leaf (factored means, units of a weight, centred
    gradients) with `check_vma=True` too. All other rules need no specs in `shard_map` with `check_vma=True`, where the
    types say over which mesh axes a leaf is sharded. Outside of a map, where arrays are whole, it changes nothing.

    Under `pmap` and with `check_vma=False` a sharded leaf without a spec is taken to be replicated: its norm is then
    that of each device's shard alone. Where parameters are replicated and their gradients differ between devices,
    average the gradients first, as with `pmean_updates`.

    Args:
      tx: a gradxform transform.
      specs: as `in_specs` of `shard_map`: a prefix of the parameters' tree, of PartitionSpecs; P() or None for
        replicated leaves.

    Returns:
      A Transform. Within a chain, the specs hold for the whole chain.

    Raises:
      TypeError: not a gradxform transform, or specs that are no PartitionSpecs.
      ValueError: the transform has other specs already; in `init` and `update`, specs that do not fit the tree or name
        a mesh axis that does not exist, with the leaf's path.

    optax: none; there each device has a norm of its own. torch: DTensor, which knows its placements.
    """
    if not isinstance(tx, Transform):
        raise TypeError(f"on_axes takes a gradxform transform, got {type(tx).__name__}; put an optax one in a chain")
    placement = Placement(specs)
    if tx.placement not in (None, placement):
        raise ValueError("on_axes: the transform has other specs already")
    return Transform(tx.stages, placement)
