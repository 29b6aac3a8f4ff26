"""offloaded: a transform whose state is in the host's memory between steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradxform.core import keep, shards
from gradxform.core.declarations import Rule
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.placement import leaf_name
from gradxform.core.registry import register
from gradxform.core.route import masked_leaves
from gradxform.core.text import show, written_call
from gradxform.core.transform import Transform, name_stages
from gradxform.storage.params import ParamsKept
from gradxform.storage.stored import Stored

HOST = jax.memory.Space.Host
# What JAX calls the memory of a host from which its devices copy by themselves.
KIND = "pinned_host"


class Offloaded(Node):
    """A transform whose state lies in the host's memory; see `offloaded`."""

    any_dtype = True
    is_foreign = True

    inner: optax.GradientTransformation
    where: Any = None
    min_size: int = 4096

    def check(self) -> None:
        """Raises TypeError for what is no transform, or no size."""
        self.check_transform("inner")
        if not isinstance(self.min_size, int) or isinstance(self.min_size, bool):
            raise TypeError(f"offloaded: min_size must be an integer; got {show(self.min_size)}")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform, its large arrays in the host's memory.

        Raises:
          RuntimeError: the devices have no such memory.
        """
        check_memory(jax.local_devices()[0])
        state = as_node(self.inner).begin(params, step)
        chosen = self._chosen(params)

        def put(path: tuple[Any, ...], kept: Any) -> Any:
            # The longest end of the path that is the path of a parameter.
            ends = (path[start:] for start in range(len(path) + 1))
            if not next((chosen[end] for end in ends if end in chosen), True):
                return kept
            return jax.tree.map(self._put, kept)

        return jax.tree_util.tree_map_with_path(put, state, is_leaf=keep.is_encoded)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of the transform with its state on the devices.

        Raises:
          ValueError: the state has large arrays, and none of them is in the host's memory.
        """
        self._check_state(record)
        if _loads(self.inner):
            return as_node(self.inner).advance(flow, record, step)
        flow, new = as_node(self.inner).advance(flow, jax.tree.map(keep.on_device, record), step)
        return flow, jax.tree.map(keep.in_memory_of, new, record)

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: those of the transform."""
        return as_node(self.inner).judge(params, jax.tree.map(keep.on_device, record), step)

    def _put(self, array: Any) -> Any:
        # Numbers and random keys are read before leaves are loaded.
        if not isinstance(array, jax.Array) or not array.ndim or array.dtype == jnp.uint32:
            return array
        return jax.device_put(array, HOST) if shards.whole_size(array, None) >= self.min_size else array

    def _chosen(self, params: Flow) -> dict[tuple[Any, ...], bool]:
        """Whether what is kept of the leaf at a path goes to the host."""
        if self.where is None:
            return {}
        told = masked_leaves("offloaded", self.where, params.structure, params.updates)
        paths = jax.tree_util.tree_leaves_with_path(params.structure.unflatten(params.updates))
        return {path: chosen for (path, _), chosen in zip(paths, told, strict=True)}

    def _check_state(self, record: Any) -> None:
        leaves = jax.tree_util.tree_leaves_with_path(record)
        large = [path for path, leaf in leaves if jnp.size(leaf) >= self.min_size]
        if self.where is None and large and not any(keep.is_on_host(leaf) for _, leaf in leaves):
            raise ValueError(
                f"offloaded: expected a state in memory of the kind {KIND!r}; that at {leaf_name(large[0])} is on the "
                "device, as are all others; put a restored one there with jax.device_put(state, state_shardings(tx, "
                "params)); pmap returns nothing in that memory: use jit or shard_map"
            )

    def __repr__(self) -> str:
        given = [] if self.where is None else [f"where={show(self.where)}"]
        given += [] if self.min_size == 4096 else [f"min_size={self.min_size}"]
        return written_call("offloaded", [show(self.inner), *given])


def offloaded(inner: optax.GradientTransformation, *, where: Any = None, min_size: int = 4096) -> Transform:
    """Keeps the state of a transform in the host's memory between steps; a step copies it to the devices and back.

        tx = gx.offloaded(gx.adamw(3e-4))
        tx = gx.offloaded(gx.stored(gx.adamw(3e-4), gx.int8()))       # a quarter of the bytes to copy

    The arrays of the state are of the memory kind "pinned_host", by their types: `init` makes them there, under `jit`
    and by hand; a step, with `update` or `step`, loads them, computes on the devices, and stores them. The numbers are
    those of the transform. A row of rules, in `stored` or not, copies the slots of a few leaves at a time, while it
    works on others; a wrapper, an optax transform or a tree rule has all of them on the devices while it steps. It is
    for accelerators: a CPU has the memory kind, but one memory.

    It works under `jit`, donation, `scan`, `cond` and `shard_map`, and over sharded arrays, where each host has the
    shards of its devices. Shardings with the memory kind, for `out_shardings` and to restore a checkpoint, are those of
    `state_shardings`. Under `pmap`, which returns no arrays in this memory, it is an error. The compiler for TPUs that
    came with JAX 0.10 refuses int8 arrays of several axes there; that of JAX 0.12 takes them.

    Args:
      inner: a transform, ours or optax's.
      where: of which leaves: a pytree of bools, a prefix of the parameters, or a function of them, such as
        `by_path("*/kernel")`. None: of all.
      min_size: arrays with fewer elements stay on the device.

    Returns:
      A Transform. Its state is that of `inner`.

    Raises:
      TypeError: what is no transform, or no size.
      RuntimeError: in `init`, devices without such memory.
      ValueError: in `update`, a state of which nothing is in that memory.

    Ren et al. 2021, arXiv:2101.06840. optax: none. torch: torchao.optim.CPUOffloadOptimizer, which steps on the CPU.
    """
    return Transform(name_stages([(None, Offloaded(inner, where, min_size))]))


register(Offloaded, Offloaded.call_name, Offloaded)


def _loads(transform: Any) -> bool:
    """Whether nobody but rules, who load what they keep leaf by leaf, sees the state of a transform."""
    if not isinstance(transform, Transform):
        return False
    nodes = [stage.node for stage in transform.stages]
    return all(
        isinstance(node, Rule) or (isinstance(node, Stored | ParamsKept) and _loads(node.inner)) for node in nodes
    )


def check_memory(device: Any) -> None:
    """Raises RuntimeError for a device that has no memory of the host from which it copies."""
    kinds = [memory.kind for memory in device.addressable_memories()]
    if KIND not in kinds:
        there = ", ".join(map(repr, kinds)) or "none"
        raise RuntimeError(
            f"offloaded: the devices of the platform {device.platform!r} have no memory of the kind {KIND!r}, in which "
            f"the state would lie; the kinds that there are: {there}"
        )
