"""Differential privacy: gradients of single examples are clipped, summed and drowned in noise."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core import checks, reductions
from gradxform.core.declarations import Key, Metric
from gradxform.core.fields import NonNegative, Seed
from gradxform.core.precision import compute_dtype, is_inexact
from gradxform.core.rule import TreeRule
from gradxform.core.transform import Transform, transform
from gradxform.maths import shrink_factor


class DifferentiallyPrivateAggregate(TreeRule):
    """Clips the gradient of each example, sums them, adds Gaussian noise, and divides by the number of examples.

        u = (sum_i g_i min(1, C / |g_i|) + sigma C n) / B,   n ~ N(0, 1),   |g_i| over all leaves

    Args:
      l2_norm_clip: C, the bound on the norm of each example's gradient.
      noise_multiplier: sigma, the noise's standard deviation over C.
      key: the seed, an integer or a key of `jax.random`.
      per_layer: clip each leaf alone, as `per_example_layer_norm_clip` does.
      uniform: whether then all leaves have one bound, or each one by its size.

    Metrics: `clipped`, the share of the examples that were clipped; with per_layer of the examples of all leaves.

    Abadi et al. 2016, arXiv:1607.00133, algorithm 1. optax: contrib.differentially_private_aggregate. torch: none.
    """

    l2_norm_clip: NonNegative
    noise_multiplier: NonNegative
    key: Seed = 0
    per_layer: bool = dataclasses.field(default=False, kw_only=True)
    uniform: bool = dataclasses.field(default=True, kw_only=True)

    rng_key = Key(seed="key")
    clipped = Metric()

    per_example = True

    def update(self, updates, slots, tree):
        if self.per_layer:
            total, clipped = per_example_layer_norm_clip(updates, self.l2_norm_clip, self.uniform)
        else:
            total, clipped = per_example_global_norm_clip(updates, self.l2_norm_clip)
        # Without noise the bound may be infinite, and 0 times infinity is no number.
        deviation = jnp.where(self.noise_multiplier == 0, 0, self.noise_multiplier * self.l2_norm_clip)
        noise, batch = tree.random_normal(slots.rng_key, total), tree.count_examples(updates)
        mean = tree.map(lambda s, n: (s + deviation * n) / batch, total, noise)
        counts = max(len(jax.tree.leaves(clipped)), 1)
        return mean, slots._replace(clipped=tree.sum(clipped) / (batch * counts))


_differentially_private_aggregate = transform(DifferentiallyPrivateAggregate)


def differentially_private_aggregate(
    l2_norm_clip: NonNegative,
    noise_multiplier: NonNegative,
    key: Seed | None = None,
    *,
    seed: int | None = None,
    per_layer: bool = False,
    uniform: bool = True,
) -> Transform:
    """Clips the gradient of each example, sums them, adds Gaussian noise, and divides by the number of examples.

        u = (sum_i g_i min(1, C / |g_i|) + sigma C n) / B,   n ~ N(0, 1),   |g_i| over all leaves

    It takes gradients of single examples, of shape (B, *shape of the parameter), as `jax.vmap(jax.grad(loss), (None,
    0))(params, batch)` gives them, and must be the first of its chain; what leaves has the parameters' shapes. A
    complex element has that noise in each of its parts. Each leaf and each step has noise of its own.

    Inside `shard_map` and `pmap` each device must have all examples. `jit` over sharded arrays is right as it is.

    Args:
      l2_norm_clip: C, the bound on the norm of each example's gradient, at least 0; infinity only without noise.
      noise_multiplier: sigma, the noise's standard deviation over C, at least 0.
      key: the seed, an integer or a key of `jax.random`. None: 0. Whoever knows it can take the noise away again.
      seed: optax's old name for key.
      per_layer: clip each leaf alone, as `per_example_layer_norm_clip` does.
      uniform: whether then all leaves have one bound, or each one by its size.

    Metrics: `clipped`, the share of the examples that were clipped; with per_layer of the examples of all leaves.

    Raises:
      ValueError: key and seed together, updates without the axis of the examples, or one that is spread over devices
        inside `shard_map`.

    Abadi et al. 2016, arXiv:1607.00133, algorithm 1, with the batch in the place of the lot. optax:
    contrib.differentially_private_aggregate, which draws other numbers from the same key, warns unless one is given,
    and adds half of the variance to the parts of complex numbers. torch: none; PrivacyEngine of the package opacus.
    """
    if key is not None and seed is not None:
        raise ValueError("differentially_private_aggregate: expected one of key and seed, got both")
    chosen = seed if key is None else key
    return _differentially_private_aggregate(
        l2_norm_clip, noise_multiplier, 0 if chosen is None else chosen, per_layer=per_layer, uniform=uniform
    )


def per_example_global_norm_clip(grads: Any, l2_norm_clip: Any) -> tuple[Any, jax.Array]:
    """Sums the gradients of a batch's examples, each shrunk until its norm over all leaves is at most a bound.

        sum_i g_i min(1, l2_norm_clip / |g_i|)

    Sums are taken in float32 at least. An example with NaN makes every sum NaN, so that it shows. Inside `shard_map`
    the examples are those of the device, which must have every parameter whole.

    Args:
      grads: a pytree of arrays of shape (batch, *shape of the parameter).
      l2_norm_clip: the bound, a number or an array of shape (); infinity clips nothing.

    Returns:
      The sums, in the dtypes in which the gradients came, of integers in float32; and how many examples were clipped,
      an int32 of shape ().

    Raises:
      ValueError: a leaf without examples or with another number of them, or a negative bound.

    Abadi et al. 2016, arXiv:1607.00133, algorithm 1. optax: per_example_global_norm_clip. torch: none.
    """
    return _clipped_sum("per_example_global_norm_clip", grads, l2_norm_clip)


def per_example_layer_norm_clip(grads: Any, global_l2_norm_clip: Any, uniform: bool = True) -> tuple[Any, Any]:
    """Sums the gradients of a batch's examples, each leaf shrunk alone so that their joint norm is at most a bound.

        sum_i g_i min(1, C_k / |g_i|)   for each leaf k
        C_k = C / sqrt(K) of K leaves;   without uniform C sqrt(D_k / D),   D_k of all D elements being in leaf k

    All else is as in `per_example_global_norm_clip`.

    Args:
      grads: a pytree of arrays of shape (batch, *shape of the parameter).
      global_l2_norm_clip: C, a number or an array of shape ().
      uniform: whether all leaves have one bound, or each one by its size.

    Returns:
      The sums, in the dtypes in which the gradients came, of integers in float32; and in a tree of the same structure
      how many examples were clipped, an int32 of shape () for each leaf.

    Raises:
      ValueError: a leaf without examples or with another number of them, or a negative bound.

    McMahan et al. 2018, arXiv:1710.06963, its per-layer clipping. optax: per_example_layer_norm_clip. torch: none.
    """
    name = "per_example_layer_norm_clip"
    leaves, structure = jax.tree.flatten(_examples(name, grads))
    sizes = [1 if uniform else math.prod(leaf.shape[1:]) for leaf in leaves]
    shares = [(size / max(sum(sizes), 1)) ** 0.5 for size in sizes]
    results = [_clipped_sum(name, g, global_l2_norm_clip * share) for g, share in zip(leaves, shares, strict=True)]
    sums, counts = zip(*results, strict=True) if results else ((), ())
    return structure.unflatten(sums), structure.unflatten(counts)


def _examples(name: str, grads: Any) -> Any:
    """The gradients as arrays, integers in float32, or an error."""
    leaves = checks.arrays(name, grads, jax.tree.leaves(grads), any_dtype=True, real_only=None)
    leaves = list(map(jnp.asarray, leaves))
    checks.examples(name, grads, leaves)
    inexact = [leaf if is_inexact(leaf) else leaf.astype(compute_dtype(leaf.dtype)) for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(grads), inexact)


def _clipped_sum(name: str, grads: Any, bound: Any) -> tuple[Any, jax.Array]:
    if isinstance(bound, int | float) and not bound >= 0:
        raise ValueError(f"{name}: expected a bound of at least 0, got {bound!r}")
    leaves, structure = jax.tree.flatten(_examples(name, grads))
    if not leaves:
        return structure.unflatten(()), jnp.zeros((), jnp.int32)
    norms = reductions.example_norms(leaves)
    factors = shrink_factor(norms, jnp.asarray(bound, norms.dtype))
    sums = [reductions.example_sum(leaf, factors).astype(leaf.dtype) for leaf in leaves]
    return structure.unflatten(sums), jnp.sum(factors < 1, dtype=jnp.int32)
