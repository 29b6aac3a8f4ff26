"""The metrics of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradxform.core.state import State
from gradxform.reading import parts


@overload
def metrics(state: Any, *, host: Literal[False] = False) -> dict[str, jax.Array]: ...


@overload
def metrics(state: Any, *, host: bool) -> dict[str, Any]: ...


def metrics(state: Any, *, host: bool = False) -> dict[str, Any]:
    """The scalars that the rules of a transform report, by `stage.metric`; the same keys at every step.

        writer.write(json.dumps(metrics(state, host=True)))

    Of transforms within transforms, such as those of `masked` and `partition`, each has its path before its names, as
    in `"partition.matrices.clip_by_global_norm.norm"`.

    Args:
      state: the state that `init` or `update` returned, whose metrics are those of the last step; or any pytree with
        such states in it, as optax's wrappers and Flax's `nnx.Optimizer` make them.
      host: whether to return Python's numbers, for loggers and JSON: floats, integers and bools, all brought from the
        devices at once, and nested lists of them where there are more than one. NaN stays NaN.

    Returns:
      Arrays of shape (), but for what `snapshot` and `monitor` measured. A metric that a rule reports for each leaf has
      the leaf's path in its key, as in `"zero_nans.found_nan/dense/kernel"`. Where two have one name, the second has
      `_2` behind it.

    Raises:
      TypeError: no state of a gradxform transform, nor one in it; with `host`, a state inside of `jit`, whose numbers
        are not known yet.

    optax: none; torch: none.
    """
    held = list(parts.states(parts.arrays(state)))
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
    return _on_host(found) if host else found


def _on_host(found: dict[str, jax.Array]) -> dict[str, Any]:
    if traced := [key for key, value in found.items() if isinstance(value, Tracer)]:
        raise TypeError(
            f"metrics: host=True takes the state that a step returned, got {traced[0]} traced; inside of jit take "
            "metrics(state), and return it"
        )
    # As a list: JAX would sort a dict.
    values = jax.device_get(list(found.values()))
    return {key: _python(np.asarray(value)) for key, value in zip(found, values, strict=True)}


def _python(array: np.ndarray[Any, Any]) -> Any:
    # NumPy's own numbers become Python's; those that it does not know, such as bfloat16, first become its own.
    is_own = array.dtype.kind != "V"
    return (array if is_own else array.astype(float if jnp.issubdtype(array.dtype, jnp.floating) else int)).tolist()


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
