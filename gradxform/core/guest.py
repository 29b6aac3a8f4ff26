"""An optax transform inside a gradxform chain."""

from __future__ import annotations

from typing import Any

import optax

from gradxform.core.record import Record


class Guest(Record):
    """Holds a transform that is not ours; it keeps its own state and gets the extra arguments if it takes them."""

    pair: optax.GradientTransformation

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        if not isinstance(self.pair, optax.GradientTransformation):
            got = type(self.pair).__name__
            hint = "; call it to make the transform" if callable(self.pair) else ""
            raise TypeError(f"chain takes transforms, ours or optax's; got {self.pair!r} of type {got}{hint}")

    @property
    def name(self) -> str:
        """The name of the function that made it, as far as its `update` tells: 'scale_by_lion'."""
        made_by = getattr(self.pair.update, "__qualname__", "").split(".")[0]
        return made_by if made_by.isidentifier() else "guest"

    def init(self, params: Any) -> Any:
        """The guest's own state."""
        return self.pair.init(params)

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """The guest's own step."""
        return optax.with_extra_args_support(self.pair).update(updates, state, params, **extra)

    def __repr__(self) -> str:
        package = getattr(self.pair.update, "__module__", "").split(".")[0]
        return f"<{package}.{self.name}>" if package else f"<{self.name}>"
