"""What a type checker and an editor know of the library: checked by pyright, never run.

A line whose comment ignores an error must have that error, or pyright reports the comment.
"""

from typing import Any, assert_type

import jax
import optax

import gradxform as gx

tx = gx.scale_by_adam(0.9, b2=0.99, mu_dtype="bfloat16", nesterov=True)
assert_type(tx, gx.Transform)
pair: optax.GradientTransformationExtraArgs = gx.chain(tx, optax.scale(1.0))

gx.scale_by_adam(b3=0.9)  # pyright: ignore[reportCallIssue]: no such hyperparameter
gx.scale_by_adam(0.9, 0.99, 1e-8, 0.0, None, True)  # pyright: ignore[reportCallIssue]: nesterov is keyword-only
gx.trace()  # pyright: ignore[reportCallIssue]: decay is required
gx.trace(0.9, nesterov="yes")  # pyright: ignore[reportArgumentType]: nesterov is a bool
gx.chain(gx.adam)  # pyright: ignore[reportArgumentType]: the function, not a transform
gx.adamw(1e-3, weight_decays=0.1)  # pyright: ignore[reportCallIssue]: a typing error


class Halve(gx.LeafRule):
    """A rule of one's own."""

    times: int = 1

    memory = gx.Slot()

    def update(self, grad: jax.Array, slots: Any, leaf: Any) -> tuple[jax.Array, Any]:
        """Halves some times."""
        return grad / 2**self.times, slots


halve = gx.transform(Halve)
assert_type(halve(times=2), gx.Transform)
halve(time=2)  # pyright: ignore[reportCallIssue]: no such field


@gx.transform
class Double(gx.LeafRule):
    """A decorator is evaluated before its class is complete: the checker knows what is made, not from what."""

    times: int = 1

    def update(self, grad: jax.Array, slots: Any, leaf: Any) -> tuple[jax.Array, Any]:
        """Doubles some times."""
        return grad * 2**self.times, slots


assert_type(Double(times=2), gx.Transform)

assert_type(gx.cosine_decay_schedule(1e-3, decay_steps=10)(3), jax.Array)
gx.cosine_decay_schedule(1e-3, decay=10)  # pyright: ignore[reportCallIssue]: no such field

tx = gx.masked(gx.adam(1e-3), gx.by_ndim(at_least=2) & ~gx.by_path("*/embedding"))
gx.partition({"a": tx}, gx.labels({"*/bias": "a", gx.by_ndim(2): "a"}))
assert_type(gx.from_json(gx.to_json(tx)), gx.Transform)

assert_type(gx.metrics(tx.init({}))["norm"], jax.Array)
record: dict[str, float] = gx.metrics(tx.init({}), host=True)
assert_type(gx.program(jax.jit(tx.update), {}, {}), gx.Program)
