"""The metrics of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from gradxform.core.engine import State
from gradxform.reading import parts


def metrics(state: Any) -> dict[str, jax.Array]:
    """The scalars that the rules of a transform report, by `stage.metric`; the same keys at every step.

    Of transforms within transforms, such as those of `masked` and `partition`, each has its path before its names, as
    in `"partition.matrices.clip_by_global_norm.norm"`.

    Args:
      state: the state that `init` or `update` returned, whose metrics are those of the last step; or any pytree with
        such states in it, as optax's wrappers make them.

    Returns:
      Arrays of shape (), but for what `snapshot` and `monitor` measured. A metric that a rule reports for each leaf has
      the leaf's path in its key, as in `"zero_nans.found_nan/dense/kernel"`. Where two have one name, the second has
      `_2` behind it.

    Raises:
      TypeError: no state of a gradxform transform, nor one in it.

    optax: none; torch: none.
    """
    held = list(parts.states(state))
    if not held:
        raise TypeError(f"metrics takes the state of a gradxform transform, got {type(state).__name__}")
    found: dict[str, jax.Array] = {}
    for path, inner in held:
        for name, value in _reported(inner, path):
            key, number = name, 1
            while key in found:
                number += 1
                key = f"{name}_{number}"
            found[key] = value
    return found


def _reported(state: State, path: parts.Path) -> Iterator[tuple[str, jax.Array]]:
    for stage, record in state.stages.items():
        inside = (*path, stage)
        if not parts.is_record_of_a_rule(record):
            yield from _within(record, inside)
            continue
        for name, metric in record.metrics.items():
            value = getattr(record, name)
            for key, measured in value.items() if metric.named else ((name, value),):
                for keys, leaf in jax.tree_util.tree_flatten_with_path(measured)[0]:
                    of_leaf = jax.tree_util.keystr(keys, simple=True, separator="/")
                    yield ".".join((*inside, key)) + (f"/{of_leaf}" if keys else ""), leaf
        for name in record.inners:
            yield from _within(getattr(record, name), inside)


def _within(tree: Any, path: parts.Path) -> Iterator[tuple[str, jax.Array]]:
    for inside, state in parts.states(tree, path):
        yield from _reported(state, inside)
