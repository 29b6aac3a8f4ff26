"""Wrappers that lay the leaves out in another way for the transform within: one vector, or pairs of real numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from optax import GradientTransformation
from optax.contrib import SplitRealAndImaginaryState

from gradxform.core import keep, placement as placing
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.placement import Placement, spread_axes
from gradxform.core.precision import is_complex, wider
from gradxform.core.transform import transform

_VECTOR = jax.tree.structure(0)


class Flatten(Node):
    """Shows a transform all leaves as one vector, in their order and in the dtype that holds them all.

    The state is that of the transform for this vector, so that what a rule does to a leaf it does to the whole tree.
    Each leaf of the update has the dtype that it had before.

    Args:
      inner: the transform, ours or optax's.

    Raises:
      TypeError: `inner` is no transform.
      ValueError: in `init` and `update`, inside `shard_map`, leaves that are sharded over different mesh axes: in one
        vector they would all be taken to be sharded over the same.

    optax: flatten. torch: parameters_to_vector.
    """

    inner: GradientTransformation

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        self.check_transform("inner")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform, of the vector."""
        flat, step = self._flat(params, step)
        with placing.told(step.placement):
            return as_node(self.inner).begin(flat, step)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step of the vector."""
        flow = flow.whole()
        flat, step = self._flat(flow, step)
        with placing.told(step.placement):
            flat, new = as_node(self.inner).advance(flat, record, step)
        ends = list(itertools.accumulate(leaf.size for leaf in flow.updates))
        parts = jnp.split(flat.whole().updates[0], ends[:-1]) if ends else []
        return flow.replace(updates=list(map(_like, parts, flow.updates))), new

    def _flat(self, flow: Flow, step: Step) -> tuple[Flow, Step]:
        """The flow of the vector, and the step as it looks to who knows of nothing else."""
        spread = {
            spread_axes(self.call_name, leaf, cut)
            for leaf, cut in zip(flow.updates, flow.cuts, strict=True)
            if leaf.size
        }
        if len(spread) > 1:
            raise ValueError(
                f"{self.call_name}: leaves are sharded over different mesh axes, {sorted(spread)}, and one vector of "
                "them all would mix them; give each kind a flatten of its own, with partition"
            )
        params = None if flow.params is None else [_vector(keep.decoded(flow.params))]
        size = sum(leaf.size for leaf in flow.updates)
        came = jax.ShapeDtypeStruct((size,), wider(*(jnp.result_type(leaf) for leaf in flow.came), *_none(flow.came)))
        flat = Flow([_vector(flow.updates)], _VECTOR, [came], params, None if params is None else _VECTOR, [None])
        if step.placement is None:
            return flat, step
        placement = Placement(PartitionSpec(next(iter(spread), ()) or None))
        return flat.replace(cuts=placement.cuts("updates", flat.updates[0])), step._replace(placement=placement)


class SplitRealAndImaginaryArrays(NamedTuple):
    """The parts of a complex array, as optax names them."""

    real: Any
    imaginary: Any


class SplitRealAndImaginary(Node):
    """Shows a transform each complex leaf as a pair of real ones, and joins the pairs of its update.

        re(u), im(u) = the update of the transform for the pair re(g), im(g)

    Real leaves pass as they are. What a transform squares is then each part, and no modulus.

    Args:
      inner: the transform, ours or optax's.

    Raises:
      TypeError: `inner` is no transform.

    optax: contrib.split_real_and_imaginary. torch: torch.view_as_real.
    """

    inner: GradientTransformation

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        self.check_transform("inner")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform, of pairs."""
        return SplitRealAndImaginaryState(as_node(self.inner).begin(_in_pairs(params), step))

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """One step of the pairs."""
        flow = flow.whole()
        pairs, new = as_node(self.inner).advance(_in_pairs(flow), record.inner_state, step)
        parts = iter(pairs.whole().updates)
        joined = [
            lax.complex(next(parts), next(parts)) if jnp.iscomplexobj(leaf) else next(parts) for leaf in flow.updates
        ]
        return flow.replace(updates=joined), SplitRealAndImaginaryState(new)


def _in_pairs(flow: Flow) -> Flow:
    def in_pairs(leaves: Sequence[Any], structure: Any) -> Any:
        return structure.unflatten(
            SplitRealAndImaginaryArrays(leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else leaf for leaf in leaves
        )

    params = None if flow.params is None else in_pairs(keep.decoded(flow.params), flow.params_structure)
    pairs = Flow.of(in_pairs(flow.updates, flow.structure), params)
    cuts = [cut for leaf, cut in zip(flow.updates, flow.cuts, strict=True) for _ in range(1 + jnp.iscomplexobj(leaf))]
    return pairs.replace(came=jax.tree.leaves(in_pairs(flow.came, flow.structure)), cuts=cuts)


def _vector(leaves: Sequence[jax.Array]) -> jax.Array:
    dtype = wider(*(leaf.dtype for leaf in leaves), *_none(leaves))
    return jnp.concatenate([leaf.astype(dtype).reshape(-1) for leaf in leaves] or [jnp.zeros(0, dtype)])


def _none(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """The dtype of a vector of no leaves."""
    return () if leaves else (jnp.float32,)


def _like(part: jax.Array, leaf: jax.Array) -> jax.Array:
    """A part of the vector in the place of a leaf, which may be real where the vector is complex."""
    return (part if is_complex(leaf) else part.real).reshape(leaf.shape)


flatten = transform(Flatten)
split_real_and_imaginary = transform(SplitRealAndImaginary)
