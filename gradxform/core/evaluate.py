"""The parameters that a run is judged by, where they are not those that it trains."""

from __future__ import annotations

from typing import Any

from gradxform.core.calls import Calls
from gradxform.core.text import show
from gradxform.core.transform import Transform
from gradxform.core.types import Params


def eval_params(tx: Transform, state: Any, params: Params) -> Params:
    """The parameters to evaluate a run with, and to keep: averages and the like, where the transform has them.

    The row is asked from its last rule to its first, and each for the transforms within it: `average_params` gives its
    average, `schedule_free` x, `lookahead` the slow parameters, `sam` those that are not moved against the loss. Of
    other transforms they are the parameters as they are.

    Args:
      tx: a transform of gradxform's.
      state: its state.
      params: the parameters that are trained.

    Returns:
      A pytree like the parameters, in their dtypes; of `LookaheadParams` like one of the two.

    Raises:
      TypeError: no transform of gradxform's.
      ValueError: the state of another transform, or parameters that do not fit it.

    optax: contrib.schedule_free_eval_params, and `params.slow` of lookahead. torch: the module of
    torch.optim.swa_utils.AveragedModel.
    """
    if not isinstance(tx, Transform):
        raise TypeError(f"eval_params takes a transform of gradxform's; got {show(tx)}")
    return Calls(tx.stages, tx.placement).evaluated(params, state)
