"""How an array lies in memory between steps: the one place where slots are loaded and stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

Fit = Callable[[jax.Array], jax.Array]


class Keep:
    """How a slot is kept: what is in the state, and what a rule computes with.

    `store(load(kept)) == kept` for every `kept`, so that a slot that a rule returns as it was stays as it is.
    """

    def load(self, kept: Any, fit: Fit) -> jax.Array:
        """The array of computation; `fit` casts to its dtype."""
        raise TypeError(f"{type(self).__name__} has no load(self, kept, fit)")

    def store(self, value: jax.Array, kept: Any) -> Any:
        """What is kept of a new value, in the shapes and dtypes of what was kept before."""
        raise TypeError(f"{type(self).__name__} has no store(self, value, kept)")


class InDtype(Keep):
    """As it is, in the dtype that it was given in `init`: the policy of precision."""

    def load(self, kept: Any, fit: Fit) -> jax.Array:
        """The cast."""
        return fit(kept)

    def store(self, value: jax.Array, kept: Any) -> Any:
        """The cast back."""
        return lax.convert_element_type(value, kept.dtype)


IN_DTYPE = InDtype()
