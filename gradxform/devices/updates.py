"""Reductions of the gradients over devices, as the first rule of a chain."""

from __future__ import annotations

from jax import lax

from gradxform.core.placement import mapped_axes, types_tell, varying_axes
from gradxform.core.rule import LeafRule
from gradxform.core.transform import transform


class PmeanUpdates(LeafRule):
    """Averages the gradients of all devices along mesh axes, inside `pmap` or `shard_map`.

        u = sum_d g_d / D   over the D devices

    Under `shard_map` with `check_vma=True` a gradient whose type says that it is replicated stays as it is. JAX sums
    gradients of replicated parameters over the devices by itself, and the mean of equal sums is that sum. For the mean,
    take the mean of the loss over devices inside of the function that is differentiated; or differentiate with respect
    to `jax.lax.pcast(params, axis_name, to="varying")`, which gives each device a gradient of its own.

    Args:
      axis_name: the mesh axis, or a tuple of several.

    Raises:
      ValueError: `axis_name` is not a mapped axis here, or `on_axes` says that the leaf is sharded over it.

    optax: none. torch: torch.nn.parallel.DistributedDataParallel.
    """

    axis_name: str | tuple[str, ...]

    def update(self, grad, slots, leaf):
        return lax.pmean(grad, reduced_axes(self, leaf)), slots


class PsumUpdates(LeafRule):
    """Sums the gradients of all devices along mesh axes, inside `pmap` or `shard_map`.

        u = sum_d g_d

    Under `shard_map` with `check_vma=True` a gradient whose type says that it is replicated stays as it is: JAX has
    summed it already.

    Args:
      axis_name: the mesh axis, or a tuple of several.

    Raises:
      ValueError: `axis_name` is not a mapped axis here, or `on_axes` says that the leaf is sharded over it.

    optax: none. torch: torch.distributed.all_reduce.
    """

    axis_name: str | tuple[str, ...]

    def update(self, grad, slots, leaf):
        axes = reduced_axes(self, leaf)
        if types_tell():
            axes = tuple(name for name in axes if name in varying_axes(grad))
        return (lax.psum(grad, axes) if axes else grad), slots


def reduced_axes(rule, leaf):
    """The mesh axes of a rule, all of them mapped and none that cuts the leaf."""
    axes = mapped_axes(rule.call_name, rule.axis_name)
    if cutting := [name for name in axes if name in leaf.cut_over]:
        raise ValueError(
            f"{rule.call_name}: a leaf of shape {leaf.shape} is cut over {cutting[0]!r}, as on_axes tells; its parts "
            "are not to be added up"
        )
    return axes


pmean_updates = transform(PmeanUpdates)
psum_updates = transform(PsumUpdates)
