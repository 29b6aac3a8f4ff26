"""The hyperparameters of a transform at a step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core.engine import State
from gradxform.core.rule import Rule
from gradxform.core.transform import Transform


def hyperparams(tx: Transform, state: State) -> dict[str, jax.Array]:
    """The value of every numeric hyperparameter in the next update, by `stage.name`; schedules at the state's count.

    Args:
      tx: a gradxform transform.
      state: its state; only its count is read.

    Returns:
      Arrays of shape (). A hyperparameter that is None is left out.

    Raises:
      TypeError: not a gradxform transform, or not the state of one.

    optax: inject_hyperparams, whose state holds them. torch: `param_groups`.
    """
    if not isinstance(tx, Transform) or not isinstance(state, State):
        raise TypeError(
            f"hyperparams takes a gradxform transform and its state, got {type(tx).__name__} and {type(state).__name__}"
        )
    values = {}
    for name, node in tx.stages:
        for field in node.numeric if isinstance(node, Rule) else ():
            value: Any = getattr(node, field)
            for path, number in jax.tree_util.tree_flatten_with_path(value, is_leaf=callable)[0]:
                # Of a pair of numbers, such as betas, each has its index behind the name.
                key = ".".join([name, field, *(str(part.idx) for part in path)])
                values[key] = jnp.asarray(number(state.count) if callable(number) else number)
    return values
