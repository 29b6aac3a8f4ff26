"""The metrics of a state."""

from __future__ import annotations

import jax

from gradxform.core.engine import State


def metrics(state: State) -> dict[str, jax.Array]:
    """The scalars that the rules of a transform report, by `stage.metric`; the same keys at every step.

    Args:
      state: the state that `init` or `update` returned; its metrics are those of the last step.

    Returns:
      Arrays of shape (), but for what `snapshot` measured. A metric that a rule reports for each leaf has the leaf's
      path in its key, as in `"zero_nans.found_nan/dense/kernel"`.

    Raises:
      TypeError: not the state of a gradxform transform.

    optax: none; torch: none.
    """
    if not isinstance(state, State):
        raise TypeError(f"metrics takes the state of a gradxform transform, got {type(state).__name__}")
    found = {}
    for stage, record in state.stages.items():
        for name in getattr(record, "metrics", ()):
            for path, value in jax.tree_util.tree_flatten_with_path(getattr(record, name))[0]:
                leaf = jax.tree_util.keystr(path, simple=True, separator="/")
                found[f"{stage}.{name}/{leaf}" if path else f"{stage}.{name}"] = value
    return found
