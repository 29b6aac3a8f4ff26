"""A rule of a user's that a decorator makes a transform: checked by pyright alone, never run.

mypy leaves out what the decorator of a class returns, and takes `Double` for the class.
"""

from typing import Any, assert_type

import jax

import gradxform as gx


@gx.transform
class Double(gx.LeafRule):
    """A decorator is evaluated before its class is complete: the checker knows what is made, not from what."""

    times: int = 1

    def update(self, grad: jax.Array, slots: Any, leaf: Any) -> tuple[jax.Array, Any]:
        return grad * 2**self.times, slots


assert_type(Double(times=2), gx.Transform)
assert_type(Double(times=2).init({}), gx.State)
gx.chain(Double(times=2))
