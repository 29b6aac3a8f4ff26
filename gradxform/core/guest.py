"""An optax transform inside a gradxform chain."""

from __future__ import annotations

from typing import Any

import optax

from gradxform.core.record import Record
from gradxform.core.text import maker


class Guest(Record):
    """A transform that is not ours; it keeps its own state and gets the extra arguments if it takes them.

    A subclass has `pair`, optax's pair, and `name`, under which the state keeps its state.
    """

    @property
    def pair(self) -> optax.GradientTransformation:
        """Optax's pair."""
        raise TypeError(f"{type(self).__name__} has no pair")

    @property
    def name(self) -> str:
        """What it is called in a chain."""
        raise TypeError(f"{type(self).__name__} has no name")

    def init(self, params: Any) -> Any:
        """The guest's own state."""
        return self.pair.init(params)

    def hyperparams(self, state: Any) -> dict[str, Any]:
        """The hyperparameters that the guest's state holds, as they are in the next update."""
        return {}

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """The guest's own step."""
        return optax.with_extra_args_support(self.pair).update(updates, state, params, **extra)


class Stranger(Guest):
    """A guest of which nothing is known but its two functions."""

    given: Any

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        if not isinstance(self.given, optax.GradientTransformation):
            got = type(self.given).__name__
            hint = "; call it to make the transform" if callable(self.given) else ""
            raise TypeError(f"chain takes transforms, ours or optax's; got {self.given!r} of type {got}{hint}")

    def parts(self) -> dict[str, Any]:
        """Nothing: functions do not tell."""
        return {}

    @property
    def pair(self) -> optax.GradientTransformation:
        """Optax's pair."""
        return self.given

    @property
    def name(self) -> str:
        """The name of the function that made it, as far as its `update` tells: 'scale_by_lion'."""
        return maker(self.given)[1]

    def __repr__(self) -> str:
        package, _ = maker(self.given)
        return f"<{package}.{self.name}>" if package else f"<{self.name}>"
