"""The parameters to judge a run by, where they are not those that it trains."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from gradxform.core.precision import compute_dtype


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The averaged parameters of a run of `schedule_free`, for evaluation.

        x = (y - (1 - b1) z) / b1,   y the parameters that are trained

    Args:
      state: the state of `schedule_free`, `schedule_free_adamw` or `schedule_free_sgd`, or any pytree with one such
        state in it, as that of a chain.
      params: the parameters that are trained.

    Returns:
      A pytree like the parameters, computed in float32 at least.

    Raises:
      ValueError: no such state, or more than one.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1. optax: contrib.schedule_free_eval_params, which takes the
    wrapper's own state only. torch: none.
    """
    found = [part for part in jax.tree.leaves(state, is_leaf=_is_schedule_free) if _is_schedule_free(part)]
    if len(found) != 1:
        raise ValueError(
            f"schedule_free_eval_params: expected a state with one ScheduleFreeState in it, got {len(found)}"
        )
    b1, fast = found[0].b1, found[0].z

    def evaluated(y: Any, z: Any) -> jax.Array:
        dtype = compute_dtype(y.dtype, z.dtype)
        beta = jnp.asarray(b1, dtype)
        return ((y.astype(dtype) - (1 - beta) * z.astype(dtype)) / beta).astype(y.dtype)

    return jax.tree.map(evaluated, params, fast)


def _is_schedule_free(part: Any) -> bool:
    return isinstance(part, optax.contrib.ScheduleFreeState)
