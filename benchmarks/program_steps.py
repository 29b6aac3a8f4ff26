"""The steps whose programs are looked at: chains that people use, ours beside optax's, and how they are laid out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from measuring import gpt

import gradxform as gx

Tx = optax.GradientTransformation

_WORDS = 8192
PARAMETERS = sum(math.prod(shape) for shape in gpt(_WORDS))
LAYOUTS = {
    "one": "one device",
    "fsdp": "four devices, everything sharded along its longest axis",
    "zero": "four devices, parameters replicated, each its own gradients: zero beside optax's after a mean",
}


class Step(NamedTuple):
    """What is compiled: a step under `jax.jit`, and the shapes and shardings that it is given."""

    jitted: Any
    args: tuple[Any, ...]


class Chain(NamedTuple):
    """A chain that people use.

    Attributes:
      ours: the transform.
      theirs: optax's counterpart.
      theirs_low: what it is compared with where the gradients have fewer bits than the parameters; None for `theirs`.
    """

    ours: gx.Transform
    theirs: Tx
    theirs_low: Tx | None = None


def _of_parameters(tx: Tx) -> Any:
    """A step as users take it: ours by `step`, optax's by `update` and `apply_updates`."""
    if isinstance(tx, gx.Transform):

        def stepped(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            return tx.step(grads, state, params)

        return stepped
    return _plain(tx)


class _NormState(NamedTuple):
    norm: jax.Array


def _norm_kept() -> Tx:
    """What users of optax write to report the norm of their gradients."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return updates, _NormState(optax.global_norm(updates))

    return optax.GradientTransformation(lambda params: _NormState(jnp.zeros(())), update)


_CLIP_ADAMW = Chain(
    gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
)
CHAINS = {
    "adamw": Chain(gx.adamw(1e-3), optax.adamw(1e-3)),
    "sgd": Chain(gx.sgd(1e-3, 0.9), optax.sgd(1e-3, 0.9)),
    "clip": _CLIP_ADAMW,
    # apply_if_finite fails with such gradients, as its branches differ in dtype: without it, a step moves the least.
    "guard": Chain(gx.guard(_CLIP_ADAMW.ours), optax.apply_if_finite(_CLIP_ADAMW.theirs, 5), _CLIP_ADAMW.theirs),
    "normalize": Chain(
        gx.chain(gx.normalize_by_global_norm(), gx.adamw(1e-3)),
        optax.chain(optax.normalize_by_update_norm(), optax.adamw(1e-3)),
    ),
    "norms": Chain(gx.chain(gx.record_norms(), gx.adamw(1e-3)), optax.chain(_norm_kept(), optax.adamw(1e-3))),
    "accumulate": Chain(
        gx.accumulate(gx.adamw(1e-3), 4), optax.MultiSteps(optax.adamw(1e-3), 4).gradient_transformation()
    ),
    "int8": Chain(gx.stored(gx.adamw(1e-3), gx.int8()), optax.adamw(1e-3)),
    "int4": Chain(gx.stored(gx.adamw(1e-3), gx.int4()), optax.adamw(1e-3)),
    "int8 lion": Chain(gx.stored(gx.lion(1e-3), gx.int8()), optax.lion(1e-3)),
    "int8 ademamix": Chain(gx.stored(gx.ademamix(1e-3), gx.int8()), optax.contrib.ademamix(1e-3)),
    "int8 adopt": Chain(gx.stored(gx.adopt(1e-3), gx.int8()), optax.contrib.adopt(1e-3)),
    "fused adamw": Chain(gx.stored(gx.adamw(1e-3), fused=True), optax.adamw(1e-3)),
    "lean": Chain(gx.split_weights(gx.stored(gx.adamw(1e-3), gx.int8())), optax.adamw(1e-3)),
}
# Of parameters in bfloat16 alone.
LOW = {"lean"}


def step_of(tx: Tx, devices: Sequence[Any], layout: str, dtypes: tuple[Any, Any]) -> Step:
    """A step of a transform over the GPT-like tree; what it donates it returns, in the same order.

    Args:
      tx: a transform of ours or of optax's.
      devices: four of them.
      layout: one of `LAYOUTS`.
      dtypes: of the parameters and of the gradients.
    """
    params, grads = ([jax.ShapeDtypeStruct(shape, dtype) for shape in gpt(_WORDS)] for dtype in dtypes)
    if layout == "zero":
        return _replicated(tx, params, grads, devices)
    mesh = Mesh(np.asarray(devices), ("data",))

    def sharding(leaf: Any) -> jax.sharding.Sharding:
        return SingleDeviceSharding(devices[0]) if layout == "one" else NamedSharding(mesh, _longest(leaf))

    params, grads = (jax.tree.map(lambda leaf: _placed(leaf, sharding(leaf)), tree) for tree in (params, grads))
    # A slot has its parameter's shape, so it is sharded as its parameter is; what has no axes is replicated.
    state = jax.tree.map(lambda leaf: _placed(leaf, sharding(leaf)), jax.eval_shape(tx.init, params))
    out = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
    return Step(jax.jit(_of_parameters(tx), donate_argnums=(0, 1), out_shardings=out), (params, state, grads))


def _plain(tx: Tx) -> Any:
    update = optax.with_extra_args_support(tx).update
    apply = gx.apply_updates if isinstance(tx, gx.Transform) else optax.apply_updates

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = update(grads, state, params)
        return apply(params, updates), state

    return step


def _replicated(tx: Tx, params: Any, grads: Any, devices: Sequence[Any]) -> Step:
    """Each device has gradients of its own: here the shards of arrays that are so many times as long."""
    mesh = Mesh(np.asarray(devices), ("data",))
    ours = isinstance(tx, gx.Transform)
    tx = gx.zero(tx, "data") if ours else tx
    specs = gx.state_specs(tx, params, PartitionSpec(), mesh)
    plain = _plain(tx)

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        return plain(params, state, grads if ours else jax.lax.pmean(grads, "data"))

    whole, parted = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(PartitionSpec(), specs, parted.spec), out_specs=(PartitionSpec(), specs)
    )
    init = jax.shard_map(tx.init, mesh=mesh, in_specs=PartitionSpec(), out_specs=specs)
    state = jax.eval_shape(init, params)
    placed = jax.tree.map(lambda leaf, spec: _placed(leaf, NamedSharding(mesh, spec)), state, specs)
    all_grads = jax.tree.map(lambda leaf: leaf.update(shape=(len(devices) * leaf.shape[0], *leaf.shape[1:])), grads)
    args = (
        jax.tree.map(lambda leaf: _placed(leaf, whole), params),
        placed,
        jax.tree.map(lambda leaf: _placed(leaf, parted), all_grads),
    )
    return Step(jax.jit(mapped, donate_argnums=(0, 1)), args)


def _placed(leaf: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _longest(leaf: Any) -> PartitionSpec:
    """A spec that shards the longest axis; () for a number."""
    if not leaf.shape:
        return PartitionSpec()
    axis = int(np.argmax(leaf.shape))
    return PartitionSpec(*[None] * axis, "data")
