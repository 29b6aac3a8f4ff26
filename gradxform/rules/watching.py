"""Rules that change nothing and report what functions of the user make of the updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import Decay, Dtype
from gradxform.core.precision import compute_dtype
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias, ema


class Snapshot(TreeRule):
    """Measures the updates that pass, and keeps the measurement in the state.

        u = g

    The measurement is `metrics(state)["snapshot." + measure_name]`; `optax.tree.get(state, measure_name)` finds it too.
    Before the first step it is that of the parameters.

    Args:
      measure_name: what the measurement is called.
      measure: the tree of updates, in the dtype of computation -> any pytree of arrays, of one shape for ever.

    Metrics: one, called `measure_name`.

    optax: snapshot. torch: none; there hooks do so.
    """

    measure_name: str
    measure: Callable[[Any], Any]

    only_looks = True
    measurement = Metric(measure="named", named=True)

    def named(self, tree):
        """The measurement of a tree under its name."""
        return {self.measure_name: self.measure(tree)}

    def update(self, updates, slots, tree):
        return updates, slots._replace(measurement=self.named(tree.whole(updates)))


class Monitor(TreeRule):
    """Takes measurements of the updates that pass, with a memory if they want one, and keeps them in the state.

        u = g

    The measurement `name` is `metrics(state)["monitor." + name]`; `optax.tree.get(state, name)` finds it too. Before
    the first step it is 0, in the shapes and dtypes that it has for ever.

    Args:
      measures: for each name a function, the tree of updates in the dtype of computation -> any pytree of arrays; or a
        transform that returns the measurement in the place of updates, such as `measure_with_ema(...)`. It is tried
        with the parameters in `init`, for shapes and dtypes, so it can take no extra arguments.

    Metrics: one for each name.

    Raises:
      TypeError: a name that is no string, or a measure that is neither; at the first step, a transform whose state
        does not keep its dtypes.

    optax: monitor, whose measurements come into the state with the first step, so that `jit` traces twice and `scan`
    fails. torch: none; there hooks do so.
    """

    measures: dict[str, Any]

    measure_states = Inner("measures")
    only_looks = True
    measurements = Metric(measure="first", named=True)

    def check(self):
        for name, measure in self.measures.items():
            if not isinstance(name, str):
                raise TypeError(f"{self.call_name}: expected strings as names of measures; got {name!r}")
            if not callable(measure) and not isinstance(measure, GradientTransformation):
                raise TypeError(f"{self.call_name}: {name} must be a function or a transform; got {measure!r}")

    def first(self, params):
        """Zeros in the shapes and dtypes of what is measured."""

        def measured(params):
            return {
                name: measure(params) if callable(measure) else measure.update(params, measure.init(params), params)[0]
                for name, measure in self.measures.items()
            }

        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measured, params))

    def update(self, updates, slots, tree):
        measurements, states = {}, dict(slots.measure_states)
        for name, measure in self.measures.items():
            if callable(measure):
                measurements[name] = measure(tree.whole(updates))
            else:
                state = f"{name}_state"
                measurements[name], states[state] = tree.measured(measure, updates, states[state])
        return updates, slots._replace(measure_states=states, measurements=measurements)


class MeasureWithEma(TreeRule):
    """The running mean of a measurement, for `monitor`: what leaves is the mean and no update.

        m <- decay m + (1 - decay) measure(g)
        m / (1 - decay^t),   without debias m

        gx.monitor({"share_clipped": gx.measure_with_ema(lambda tree: optax.tree.norm(tree) > 1.0, 0.99)})

    Args:
      measure: the tree of updates, in the dtype of computation -> any pytree of arrays; bools and integers are averaged
        as numbers.
      decay: how much of the mean stays from step to step, in [0, 1).
      debias: undo the pull to 0 of the first steps, t from 1 on.
      accumulator_dtype: what m is kept in. None: the dtype of the measurement, float32 at least.

    Raises:
      ValueError: anything stands after it in a chain.
      TypeError: a real accumulator_dtype for a complex measurement.

    Kingma & Ba 2015, arXiv:1412.6980, section 3. optax: measure_with_ema, whose mean of a bool changes its dtype with
    the first step, and of a bfloat16 number sticks. torch: none.
    """

    measure: Callable[[Any], Any]
    decay: Decay
    debias: bool = True
    accumulator_dtype: Dtype | None = None

    accumulator = Slot(measure="first")
    is_measure = True

    def first(self, params):
        """Zeros in the shapes of what is measured and in the dtype of the mean."""

        def zeros(x):
            dtype = compute_dtype(x.dtype) if self.accumulator_dtype is None else self.accumulator_dtype
            if jnp.issubdtype(x.dtype, jnp.complexfloating) and not jnp.issubdtype(dtype, jnp.complexfloating):
                raise TypeError(
                    f"{self.call_name}: expected a complex accumulator_dtype, as the measurement's; got {dtype}"
                )
            return jnp.zeros(x.shape, dtype)

        return jax.tree.map(zeros, jax.eval_shape(self.measure, params))

    def update(self, updates, slots, tree):
        measured = self.measure(tree.whole(updates))
        mean = tree.map(lambda m, x: ema(m, jnp.asarray(x, m.dtype), self.decay), slots.accumulator, measured)
        seen = tree.map(lambda m: debias(m, self.decay, tree.step), mean) if self.debias else mean
        return seen, slots._replace(accumulator=mean)


snapshot = transform(Snapshot)
monitor = transform(Monitor)
measure_with_ema = transform(MeasureWithEma)
