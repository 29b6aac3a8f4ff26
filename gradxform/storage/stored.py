"""stored: a transform whose state is kept by codecs."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradxform.core import keep, shards
from gradxform.core.checks import found
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.keep import Codec
from gradxform.core.placement import leaf_name
from gradxform.core.registry import register
from gradxform.core.route import masked_leaves
from gradxform.core.text import show, written_call
from gradxform.core.transform import Transform, name_stages


class Stored(Node):
    """A transform whose slots are kept by codecs; see `stored`."""

    any_dtype = True
    is_foreign = True

    inner: optax.GradientTransformation
    codec: Codec | None = None
    where: Any = None
    min_size: int = 4096
    fused: bool | None = None
    slots: dict[str, Codec | None] = dataclasses.field(default_factory=dict)

    def check(self) -> None:
        """Raises TypeError for what is no transform, no codec, or no size."""
        self.check_transform("inner")
        for name, codec in {"codec": self.codec, **self.slots}.items():
            if codec is not None and not isinstance(codec, Codec):
                hint = "; call it to make the codec" if callable(codec) else ""
                raise TypeError(f"stored: {name} must be a codec, such as int8(); got {show(codec)}{hint}")
        if self.codec is None and not self.slots and self.fused is None:
            raise TypeError("stored: expected a codec for all slots, or one for some, by their names, as mu=int8()")
        if not isinstance(self.min_size, int) or isinstance(self.min_size, bool):
            raise TypeError(f"stored: min_size must be an integer; got {show(self.min_size)}")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform, with its slots as they are kept.

        Raises:
          ValueError: a codec that cannot keep a slot, with the path; a name that no slot has.
        """
        chosen = self._chosen(params)
        around: keep.First = keep.first_keeper() or _as_it_is
        names: dict[str, None] = {}

        def first(slot: keep.Beginning) -> Any:
            names[slot.name] = None
            # Of a copy of the parameters, what 8 bits lose is lost for good.
            codec = self.slots.get(slot.name, None if slot.is_copy else self.codec)
            is_large = shards.whole_size(slot.value, slot.cut) >= self.min_size
            is_large &= jnp.issubdtype(slot.value.dtype, jnp.inexact)
            kept = slot.value
            if codec is not None and is_large and chosen.get(slot.path, True):
                try:
                    kept = shards.first(codec, slot.value, slot.signed, slot.cut)
                except ValueError as error:
                    where = f"slot {slot.name} at {slot.path}"
                    raise ValueError(f"stored: {where}: {error}; leave it out with where=") from None
            # What is around may keep what is left, but for what was said to stay as it is.
            is_left = kept is slot.value and self.slots.get(slot.name, self) is not None
            return around(slot) if is_left else kept

        with keep.keeping(first):
            state = as_node(self.inner).begin(params, step)
        if params.updates:
            for name in self.slots:
                found("stored", name, list(names))
        return state

    def parts(self) -> dict[str, Any]:
        """The arguments of the call."""
        fields = self.fields()
        slots = fields.pop("slots")
        return fields | slots

    def with_parts(self, **parts: Any) -> Any:
        """A record with other arguments, checked."""
        fields = {**self.parts(), **parts}
        given = {name: fields.pop(name) for name in self.fields() if name != "slots"}
        return type(self)(**given, slots=fields)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of the transform, which loads and stores as its state says."""
        fuses = flow.fuses
        flow, state = as_node(self.inner).advance(flow.replace(fuses=self.fused), record, step)
        return flow.replace(fuses=fuses), state

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: those of the transform."""
        return as_node(self.inner).judge(params, record, step)

    def _chosen(self, params: Flow) -> dict[str, bool]:
        """Whether the slots of the leaf at a path are kept by codecs."""
        if self.where is None:
            return {}
        told = masked_leaves("stored", self.where, params.structure, params.updates)
        paths = jax.tree_util.tree_flatten_with_path(params.structure.unflatten(params.updates))[0]
        return {leaf_name(path): bool(chosen) for (path, _), chosen in zip(paths, told, strict=True)}

    def __repr__(self) -> str:
        given = [] if self.codec is None else [show(self.codec)]
        given += [f"{name}={show(codec)}" for name, codec in self.slots.items()]
        given += [] if self.where is None else [f"where={show(self.where)}"]
        given += [] if self.min_size == 4096 else [f"min_size={self.min_size}"]
        given += [] if self.fused is None else [f"fused={self.fused}"]
        return written_call("stored", [show(self.inner), *given])


def _as_it_is(slot: keep.Beginning) -> Any:
    return slot.value


def stored(
    inner: optax.GradientTransformation,
    codec: Codec | None = None,
    *,
    where: Any = None,
    min_size: int = 4096,
    fused: bool | None = None,
    **slots: Codec | None,
) -> Transform:
    """Keeps the state of a transform in fewer bits between steps; it computes in float32 all the same.

        tx = gx.stored(gx.adamw(3e-4), gx.int8())                     # 2.06 bytes a parameter in the place of 8
        tx = gx.stored(gx.adamw(3e-4), mu=gx.int4(), nu=gx.int8())    # 1.56

    It encodes the slots of rules, however deep in wrappers, and the arrays of optax transforms. `state.mu` then holds
    `Encoded` values, which functions of jax.numpy take as arrays; `decoded(state)` has arrays in their place. A slot
    that begins as a copy of the parameters, as `z` of schedule_free, is encoded only where it is named, since what
    rounding takes from it never comes back. Of a `stored` within a `stored` the inner one decides first.

    On many devices codes and scales are sharded as the parameters are. Blocks are those of the whole array, so that the
    numbers are those of one device, and a checkpoint can be restored onto any mesh. A block that would belong to two
    shards is an error in `state_specs`, `state_shardings` and `init_sharded`, and in `init` where types or `on_axes`
    say how the leaf is sharded. In `shard_map` with `check_vma=True` types say that a leaf is sharded, but not along
    which axis: there it is an error if the blocks depend on the axis. Random rounding is that of one device under
    `jit`, and in maps with `on_axes`; in maps without specs each shard has random numbers of its own. Replicas stay
    equal.

    Args:
      inner: a transform, ours or optax's.
      codec: of all slots that are not named. None: these stay as they are.
      where: of which leaves: a pytree of bools, a prefix of the parameters, or a function of them, such as
        `by_path("*/kernel")`. None: of all.
      min_size: slots with fewer elements stay as they are.
      fused: whether the step of a leaf may be one kernel (on a CPU one loop over blocks). None: where slots are in
        blocks, for which plain operations would take several kernels; True: for all leaves with two axes or more;
        False: for none. Rules that take elements together, leaves that blocks do not divide, and meshes whose axes are
        not mapped use plain operations.
      **slots: codecs by the names of slots, such as `mu=gx.int4()`; None keeps a slot as it is.

    Returns:
      A Transform. Its state is that of `inner`, with another keeping.

    Raises:
      TypeError: what is no transform, or no codec; no codec at all.
      ValueError: in `init`, a name that no slot has, or a slot that its codec cannot keep, with its path; blocks that
        would belong to two shards.

    Gonzalez Ortiz et al. 2026, arXiv:2602.23349. Dettmers et al. 2021, arXiv:2110.02861. optax: mu_dtype of some
    methods. torch: torchao.optim, bitsandbytes.
    """
    return Transform(name_stages([(None, Stored(inner, codec, where, min_size, fused, slots))]))


register(Stored, Stored.call_name, Stored)


def decoded(tree: Any) -> Any:
    """A state, or a part of one, with arrays in the place of what codecs keep.

    Args:
      tree: any pytree.

    Returns:
      The tree with arrays in the dtypes that they have without codecs.

    optax: none. torch: none.
    """
    return keep.decoded(tree)
