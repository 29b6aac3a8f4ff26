"""A user's file, of what users write and of their slips: checked by pyright and mypy, never run.

A line with a slip says which error it must have; both checkers report such a comment where none comes.
"""

from collections.abc import Iterable
from typing import Any, assert_type

import jax
import jax.numpy as jnp

import gradxform as gx
import gradxform.as_optax as optax

# What is made.
tx = gx.scale_by_adam(0.9, b2=0.99, mu_dtype="bfloat16", nesterov=True)
assert_type(tx, gx.Transform)
assert_type(gx.chain(tx, optax.scale(1.0)), gx.Transform)
assert_type(gx.cosine_decay_schedule(1e-3, decay_steps=10)(3), jax.Array)
pair: optax.GradientTransformationExtraArgs = gx.named_chain(("clip", gx.clip(1.0)), ("adam", gx.adam(1e-3)))

# Numbers, arrays, schedules, and functions of the step.
gx.sgd(jnp.float32(0.1), momentum=1 - 0.9)
gx.lion(gx.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000), weight_decay=0.1, mask=gx.by_ndim(at_least=2))
gx.adamw(lambda step: 1e-3 / (step + 1), mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
gx.adam(gx.Live(1e-3))
jax.vmap(gx.sgd)(jnp.logspace(-3, 0, 4))

# Wrappers.
decayed = gx.masked(gx.adam(1e-3), gx.by_ndim(at_least=2) & ~gx.by_path("*/embedding"))
parted = gx.partition({"a": tx, "b": optax.sgd(0.1)}, gx.labels({"*/bias": "a", gx.by_ndim(2): "b"}))
guarded = gx.guard(gx.accumulate(gx.chain(decayed, parted), every=4), max_norm=100.0)
assert_type(guarded, gx.Transform)
assert_type(gx.live(guarded, "learning_rate"), gx.Transform)
assert_type(gx.replace(guarded, max_norm=1.0), gx.Transform)
assert_type(gx.from_json(gx.to_json(tx)), gx.Transform)
assert_type(gx.inject_hyperparams(gx.adamw)(learning_rate=1e-3), gx.Transform)

# The state.
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
state = tx.init(params)
assert_type(state, gx.State)
assert_type(state.count, jax.Array)
assert_type(state.stages, dict[str, Any])
assert_type(state.live, dict[str, jax.Array])
rate: jax.Array = state.hyperparams["learning_rate"]
state.hyperparams["learning_rate"] = 1e-4
assert_type(gx.adjust(state, learning_rate=1e-4), gx.State)
assert_type(gx.metrics(state)["norm"], jax.Array)
record: dict[str, float] = gx.metrics(state, host=True)
assert_type(gx.hyperparams(tx, state), dict[str, jax.Array])


def loss(params: Any, batch: jax.Array) -> jax.Array:
    return jnp.mean((batch @ params["w"] + params["b"]) ** 2)


@jax.jit
def step(params: Any, state: gx.State, batch: jax.Array) -> tuple[Any, gx.State]:
    updates, state = tx.update(jax.grad(loss)(params, batch), state, params, value=loss(params, batch))
    assert_type(state, gx.State)
    return gx.apply_updates(params, updates), state


def train(params: Any, batches: Iterable[jax.Array]) -> gx.State:
    state = tx.init(params)
    for batch in batches:
        params, state = step(params, state, batch)
    return state


assert_type(gx.program(jax.jit(tx.update), params, state), gx.Program)


# Rules of one's own.
class Halve(gx.LeafRule):
    times: int = 1
    share: gx.Hyper = 0.5

    memory = gx.Slot()

    def update(self, grad: jax.Array, slots: Any, leaf: Any) -> tuple[jax.Array, Any]:
        return grad * (1 - self.share) ** self.times, slots


halve = gx.transform(Halve)
assert_type(halve(times=2), gx.Transform)
gx.chain(halve(2, 0.3), gx.scale(-1.0))

# Schedules of schedules.
rates = gx.cosine_decay_schedule(1e-3, 10)
gx.adamw(0.5 * rates.then(1e-4, at=8) + 1e-5, weight_decay=rates * 100)

# Slips: numbers.
gx.adamw("0.1")  # type: ignore[arg-type]  # text
gx.scale_by_adam("0.9")  # type: ignore[arg-type]
gx.clip_by_global_norm(None)  # type: ignore[arg-type]  # it is required
gx.sgd(0.1, gx.trace(0.9))  # pyright: ignore[reportArgumentType]  # to mypy a transform may be anything, as optax is
gx.cosine_decay_schedule(gx.constant_schedule(0.1), 10)  # type: ignore[arg-type]  # a schedule of schedules
gx.schedule_free(gx.sgd(0.1), learning_rate="0.1")  # type: ignore[arg-type]

# Slips: names and arguments.
gx.adamm(0.1)  # type: ignore[attr-defined]
gx.adamw(0.1, b3=0.9)  # type: ignore[call-arg]
gx.adamw()  # type: ignore[call-arg]
gx.scale_by_adam(0.9, 0.99, 1e-8, 0.0, None, True)  # type: ignore[call-arg]  # nesterov is keyword-only
gx.trace(0.9, nesterov="yes")  # type: ignore[arg-type]
gx.cosine_decay_schedule(1e-3, decay=10)  # type: ignore[call-arg]
gx.masked(gx.adam(1e-3))  # type: ignore[call-arg]
halve(time=2)  # type: ignore[call-arg]

# Slips: what is no transform.
gx.chain(gx.adamw)  # type: ignore[arg-type]  # the function
gx.chain([gx.adam(0.1)])  # type: ignore[arg-type]  # a list
gx.named_chain(("adam", gx.adam))  # type: ignore[arg-type]
gx.guard(gx.adam)  # type: ignore[arg-type]
gx.masked(gx.adam, True)  # type: ignore[arg-type]
gx.partition({"a": gx.adam}, "a")  # type: ignore[dict-item]

# Slips: states.
print(state.stages.mu)  # type: ignore[attr-defined]
tx.init()  # type: ignore[call-arg]
tx.update(params)  # type: ignore[call-arg]
