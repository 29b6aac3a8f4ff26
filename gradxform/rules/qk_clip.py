"""QK-Clip: query and key weights that shrink where attention's logits grow."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.declarations import Extra, Metric
from gradxform.core.fields import Positive
from gradxform.core.rule import TreeRule
from gradxform.core.text import show
from gradxform.core.transform import transform

Patterns = str | tuple[str, ...]


class QkClip(TreeRule):
    """Shrinks the queries and keys of those attention heads whose largest logit is more than `max_logit`.

        gamma_h = max_logit / S_h where S_h > max_logit, else 1
        query_h        <- gamma_h^alpha query_h
        key_h          <- gamma_h^(1 - alpha) key_h
        rotary_query_h <- gamma_h rotary_query_h

    of the parameters after the step: u = gamma (p + g) - p. It stands last in a chain, and is told at each step the
    largest logits S of the forward pass, max over batch and positions of q k / sqrt(depth), signed:

        tx = gx.chain(gx.muon(0.02), gx.qk_clip("*/query/kernel", "*/key/kernel"))
        updates, state = tx.update(grads, state, params, logits={"layers_0/attention": S})

    A layer is what the stars of its patterns stand for, joined by slashes: `logits` is a tree whose paths are these, or
    begin with them; with one layer, stacked ones among them, it may be an array. An array of logits is (heads,), and
    (layers, heads) where layers are stacked along the first axes of their kernels. What is nan is not clipped.

    Args:
      query, key: patterns of the paths of kernels, in which `*` is any characters; tuples of them for kernels and
        biases.
      max_logit: the largest logit, tau.
      rotary_query: the same for queries of latent attention whose keys all heads share, and which stay.
      heads_axis: the axis of a kernel, or bias, that counts heads: -2 for (in, heads, depth), -1 for (in, heads depth).
      key_heads: how many heads keys have, where several query heads share one: it takes the least of their gammas.
        None: as many as queries.
      alpha: how much of gamma queries take, 0 to 1.

    Metrics:
      clipped: how many heads were clipped.

    Raises:
      TypeError: patterns that are no strings.
      ValueError: alpha is out of range; in `update`, no `logits`, a pattern that fits no leaf, a layer without query,
        key or logits, logits without a layer, or shapes that do not fit, with their paths.

    Kimi Team 2025, arXiv:2507.20534, section 2.1 and algorithm 1, lines 8 to 17 (MuonClip), which speaks of kernels
    without biases, and of no shared keys. optax: none. torch: none.
    """

    query: Patterns
    key: Patterns
    max_logit: Positive = 100.0
    rotary_query: Patterns | None = dataclasses.field(default=None, kw_only=True)
    heads_axis: int = dataclasses.field(default=-2, kw_only=True)
    key_heads: int | None = dataclasses.field(default=None, kw_only=True)
    alpha: float = dataclasses.field(default=0.5, kw_only=True)

    stands_last = True
    logits = Extra()
    clipped = Metric()

    def check(self):
        for name in ("query", "key", "rotary_query"):
            patterns = getattr(self, name)
            if patterns is not None and not all(isinstance(each, str) for each in _several(patterns)):
                raise TypeError(f"qk_clip: {name} must be a pattern of paths or a tuple of them; got {show(patterns)}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"qk_clip: alpha must be at least 0 and at most 1; got {self.alpha}")

    def update(self, updates, slots, tree):
        params = tree.params
        names = _names(tree.whole(params))
        logits = _logits(tree.extra["logits"], self._layers(names))
        gammas = {layer: self._gamma(jnp.asarray(of)) for layer, of in logits.items()}
        powers = {"query": self.alpha, "key": 1 - self.alpha, "rotary_query": 1.0}
        clipped = list(updates)
        for part, power in powers.items():
            for layer, index in _found(getattr(self, part), names):
                param, new = params[index], params[index] + updates[index]
                least = self._shared(gammas[layer], names[index]) if part == "key" else gammas[layer]
                factor = self._fitted(least, param.shape, names[index]).astype(param.real.dtype) ** power
                clipped[index] = jnp.where(factor == 1, updates[index], factor * new - param)
        counts = [jnp.sum(gamma < 1) for gamma in gammas.values()]
        return clipped, slots._replace(clipped=sum(counts[1:], counts[0]).astype(slots.clipped.dtype))

    def _layers(self, names):
        """The layers. ValueError for patterns that fit nothing, and for a layer without a query or a key."""
        found = {}
        for part in ("query", "key", "rotary_query"):
            found[part] = {layer for layer, _ in _found(getattr(self, part), names)}
            if not found[part] and getattr(self, part) is not None:
                raise ValueError(f"qk_clip: {part}={getattr(self, part)!r} fits no leaf; there are {_listed(names)}")
        for part, layers in found.items():
            for layer in sorted(layers ^ found["query"] if part == "key" else layers - found["query"]):
                other = "key" if layer in found["query"] else "query"
                raise ValueError(f"qk_clip: layer {layer!r} has no {other} that {getattr(self, other)!r} fits")
        return sorted(found["query"])

    def _gamma(self, logits):
        over = logits > self.max_logit
        return jnp.where(over, self.max_logit / jnp.where(over, logits, 1), 1)

    def _shared(self, gamma, name):
        """For each head of keys the least gamma of the query heads that share it."""
        heads = gamma.shape[-1]
        if self.key_heads is None or self.key_heads == heads:
            return gamma
        if heads % self.key_heads:
            raise ValueError(f"qk_clip: {self.key_heads} heads of the key at {name!r} do not divide {heads} of logits")
        return jnp.min(gamma.reshape(*gamma.shape[:-1], self.key_heads, -1), axis=-1)

    def _fitted(self, gamma, shape, name):
        """A number for each head in a shape that fits a kernel."""
        axis, stacked, heads = self.heads_axis % max(len(shape), 1), gamma.ndim - 1, gamma.shape[-1]
        fits = self.heads_axis >= -len(shape) and axis >= stacked and shape[:stacked] == gamma.shape[:-1]
        if not fits or shape[axis] % heads or (axis != len(shape) - 1 and shape[axis] != heads):
            raise ValueError(
                f"qk_clip: the leaf at {name!r}, of shape {tuple(shape)}, does not have the heads of its logits, of "
                f"shape {gamma.shape}, along axis {self.heads_axis}"
            )
        each = jnp.repeat(gamma, shape[axis] // heads, axis=-1)
        return each.reshape(*shape[:stacked], *(n if i == axis else 1 for i, n in enumerate(shape) if i >= stacked))


def _several(patterns: Patterns) -> tuple[str, ...]:
    return patterns if isinstance(patterns, tuple) else (patterns,)


def _found(patterns: Patterns | None, names: Sequence[str]) -> list[tuple[str, int]]:
    """The layer, and the index, of each leaf whose path one of the patterns fits."""
    found = []
    for index, name in enumerate(names):
        for pattern in () if patterns is None else _several(patterns):
            fit = re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), name)
            if fit:
                found.append(("/".join(fit.groups()), index))
                break
    return found


def _logits(given: Any, layers: Sequence[str]) -> Mapping[str, Any]:
    """The logits of each layer. ValueError for a layer without, and for logits without a layer."""
    leaves = jax.tree.leaves(given)
    if len(layers) == 1 and len(leaves) == 1 and np.ndim(leaves[0]):
        return {layers[0]: leaves[0]}
    found, names = {}, _names(given)
    for name, leaf in zip(names, leaves, strict=True):
        fitting = [layer for layer in layers if name == layer or name.startswith(f"{layer}/")]
        if not fitting:
            raise ValueError(f"qk_clip: got logits at {name!r}, where there is no layer; there are {_listed(layers)}")
        # Of two layers one of which is within the other, the inner.
        found[max(fitting, key=len)] = leaf
    if missing := [layer for layer in layers if layer not in found]:
        raise ValueError(f"qk_clip: got no logits for layer {missing[0]!r}; got them for {_listed(names)}")
    if flat := [layer for layer, leaf in found.items() if not np.ndim(leaf)]:
        raise ValueError(f"qk_clip: expected logits of shape (heads,) for layer {flat[0]!r}, got a number")
    return found


def _names(tree: Any) -> list[str]:
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


qk_clip = transform(QkClip)
