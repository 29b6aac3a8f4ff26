"""Parameters that a step has nothing to do with, because their update is None."""

from __future__ import annotations

from typing import Any

import jax


def beside(updates: Any, params: Any) -> Any:
    """The parameters without those whose update is None: whatever these are, a step has nothing to do with them."""
    try:
        return jax.tree.map(lambda update, param: None if update is None else param, updates, params, is_leaf=_is_none)
    except ValueError:
        # Where they part in another way is for `same_structure` to say.
        return params


def joined(updates: Any, new: Any, params: Any) -> Any:
    """New parameters, with the old ones in the places where the update is None."""
    if jax.tree.structure(new) == jax.tree.structure(params):
        return new
    return jax.tree.map(lambda update, new, old: old if update is None else new, updates, new, params, is_leaf=_is_none)


def _is_none(value: Any) -> bool:
    return value is None
