"""Rules that change nothing and report what functions of the user make of the updates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import Decay, Dtype, Positive, check_count
from gradxform.core.placement import mapped_axes, types_tell, varying_axes
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
        if not isinstance(self.measures, dict):
            raise TypeError(f"{self.call_name}: measures must be a dict of functions by name; got {self.measures!r}")
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
    """The running mean of a measurement, for `monitor`: it returns the mean in the place of updates.

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


class RecordNoiseScale(TreeRule):
    """Reports the simple noise scale: about how many examples a batch may have before more of them help little.

        small = mean of |g_j|^2 over n gradients g_j, of b examples each;   big = |mean of g_j|^2
        S = (small - big) / (1 / b - 1 / (n b)),   G = (n b big - b small) / (n b - b)
        noise_scale = mean(S) / mean(G),   running means over the groups of n gradients

    S estimates the trace of the covariance of one example's gradient and G the squared norm of the true gradient, both
    without bias if the g_j are independent and at the same parameters; their quotient is meaningful only once the means
    are of many groups. It belongs in front of a chain. The n gradients are

    - those of `every` steps one after the other: before `accumulate` the micro-steps of one real step; elsewhere the
      parameters move a little between them, which adds to S.
    - with axis_name those of the devices, before `pmean_updates`; of `every` steps of them, if `every` is more than 1.

    Memory: the sum of the gradients, as large as the parameters; with every=1 none.

    Args:
      batch_size: b, the examples of one incoming gradient, on each device.
      every: how many steps one group has.
      axis_name: the mesh axis, or a tuple of several, over which each device has a gradient of its own, inside `pmap`
        or `shard_map`. None: gradients are the same on all devices.
      decay: of the running means, in [0, 1).

    Metrics: `noise_scale`, in examples, infinite where the mean of G is not above 0; `noise`, the mean of S; `signal`,
    the mean of G. All are 0 before the first group. A group with NaN or infinity is left out.

    Raises:
      ValueError: every is no integer of at least 1, or 1 without axis_name; an axis that is not mapped here, or over
        which the type of a gradient says that it is summed already.

    McCandlish et al. 2018, arXiv:1812.06162, appendix A.1. optax: none. torch: none.
    """

    batch_size: Positive
    every: int = dataclasses.field(default=2, kw_only=True)
    axis_name: str | tuple[str, ...] | None = dataclasses.field(default=None, kw_only=True)
    decay: Decay = dataclasses.field(default=0.99, kw_only=True)

    only_looks = True
    gathered = Slot(where="gathers")
    squares = Slot(axes=(), signed=False)
    seen = Slot(axes=(), dtype=jnp.int32)
    groups = Slot(axes=(), dtype=jnp.int32)
    noise_scale = Metric()
    noise = Metric()
    signal = Metric()

    @property
    def gathers(self):
        """Whether a group is of several steps."""
        return self.every > 1

    def check(self):
        check_count(f"{self.call_name}: every", self.every, least=1)
        if self.every == 1 and self.axis_name is None:
            raise ValueError(f"{self.call_name}: every must be at least 2, or axis_name must name the devices' axis")

    def update(self, updates, slots, tree):
        square, joined, count = self.of_step(updates, tree)
        count *= self.every
        squares, seen = slots.squares + square, slots.seen + 1
        is_due = seen == self.every
        gathered = tree.map(jnp.add, slots.gathered, joined) if self.gathers else joined
        zero = jnp.zeros_like(square)
        # The norm of the sum is a pass over it, and asked for only when a group is full.
        big = tree.either(is_due, lambda: jnp.square(tree.norm(gathered) / self.every), lambda: zero)
        small = squares / self.every
        noise = self.batch_size * (small - big) * (count / (count - 1))
        signal = (count * big - small) / (count - 1)
        counted = is_due & jnp.isfinite(noise) & jnp.isfinite(signal)
        # A debiased mean moves by the weight of its newest value, and needs no other memory.
        weight = debias(jnp.asarray(1 - self.decay, zero.dtype), self.decay, slots.groups + 1)
        noise = jnp.where(counted, slots.noise + weight * (noise - slots.noise), slots.noise)
        signal = jnp.where(counted, slots.signal + weight * (signal - slots.signal), slots.signal)
        scale = jnp.where(signal > 0, noise / jnp.where(signal > 0, signal, 1), jnp.where(noise == 0, 0, jnp.inf))
        if self.gathers:
            gathered = tree.map(lambda g: jnp.where(is_due, 0, g), gathered)
            slots = slots._replace(gathered=gathered)
        return updates, slots._replace(
            squares=jnp.where(is_due, 0, squares),
            seen=jnp.where(is_due, 0, seen),
            groups=jnp.where(counted, slots.groups + 1, slots.groups),
            noise_scale=scale,
            noise=noise,
            signal=signal,
        )

    def of_step(self, updates, tree):
        """The mean of the squared norms of a step's gradients, the mean of them, and how many they are."""
        if self.axis_name is None:
            return jnp.square(tree.norm(updates)), updates, 1
        axes = mapped_axes(self.call_name, self.axis_name)
        if types_tell() and (joined := [name for g in updates for name in axes if name not in varying_axes(g)]):
            raise ValueError(
                f"{self.call_name}: expected gradients of each device along {joined[0]!r}, got one that is the same on "
                'all; differentiate with respect to jax.lax.pcast(params, axis_name, to="varying")'
            )
        mean = tree.map(lambda g: lax.pmean(g, axes), updates)
        # Where types tell that gradients differ by device, their norm is that of all devices' together; elsewhere it is
        # each device's own. Per element the mean square is the same.
        per_element = jnp.square(tree.norm(updates)) / max(tree.size(updates), 1)
        return lax.pmean(per_element, axes) * tree.size(mean), mean, math.prod(map(lax.axis_size, axes))


snapshot = transform(Snapshot)
monitor = transform(Monitor)
measure_with_ema = transform(MeasureWithEma)
record_noise_scale = transform(RecordNoiseScale)
