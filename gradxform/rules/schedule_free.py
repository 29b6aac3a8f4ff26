"""Averages that take part in the training: gradients are taken between the steps of an optimizer and their average.

Three sequences, of which two are kept: z has the steps, x is their average, and y, between them, is what is trained.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib
from optax import GradientTransformation

from gradxform.core.declarations import Extra, Inner, Metric, Slot
from gradxform.core.fields import Decay, DecayMask, Dtype, Hyper, NonNegative, Positive, check_count
from gradxform.core.precision import compute_dtype, rounded
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import debias, ema

# Of a Gaussian vector, its L2 norm over its L1 norm times the root of its size.
L1_TO_L2 = math.sqrt(math.pi / 2)


class ScheduleFree(TreeRule):
    """Trains at a point between the steps of an optimizer and their average, in place of a decaying learning rate.

        z <- z + the update of base_optimizer, for the gradient at y
        m <- max(m, learning_rate),   s <- s + m^weight_lr_power,   c = m^weight_lr_power / s
        x <- (1 - c) x + c z
        y <- (1 - b1) z + b1 x,   u = the way of y

    y are the parameters that are trained; `eval_params` gives x, which is not kept: x = (y - (1 - b1) z) / b1. So
    nothing is to change the update after it, and y must not be rounded much: in bfloat16 x is lost in y's rounding.

    Args:
      base_optimizer: the transform whose updates are added to z, ours or optax's, without momentum, which b1 takes the
        place of.
      learning_rate: that of base_optimizer, a number or a schedule with a warm-up and without a decay; it weighs the
        average alone.
      b1: how far y is from z to x, more than 0 and at most 1.
      weight_lr_power: how much more later steps of a warm-up weigh in the average.
      state_dtype: what z is kept in. None: the parameters' dtype, float32 at least.

    Extra arguments of `update`: those of base_optimizer.

    Raises:
      ValueError: b1 out of its range, or `update` was called without parameters.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1, with the largest rate so far in the weight, as in the authors'
    code. optax: contrib.schedule_free, which takes a schedule a step ahead, and sums the weights in the dtype of the
    parameters: in bfloat16 the sum of ones stays at 256. torch: none; the package schedulefree.
    """

    base_optimizer: GradientTransformation
    learning_rate: Hyper
    b1: Positive = 0.9
    weight_lr_power: NonNegative = 2.0
    state_dtype: Dtype | None = None

    # `schedule_free_eval_params` reads it in the state, where scripts of optax's do too.
    mix = Slot(init="b1", axes=(), called="b1")
    weight_sum = Slot(axes=(), signed=False)
    max_lr = Slot(axes=(), signed=False)
    base_optimizer_state = Inner("base_optimizer")
    z = Slot(copy=True, dtype="state_dtype")

    def check(self):
        self.check_transform("base_optimizer", may_keep_params=False)
        _check_share(self.call_name, "b1", self.b1)

    def update(self, updates, slots, tree):
        params = tree.params
        base, base_state = tree.inner(self.base_optimizer, updates, slots.base_optimizer_state)
        max_lr = jnp.maximum(slots.max_lr, self.learning_rate)
        weight_sum, c = _weighed(slots.weight_sum, max_lr**self.weight_lr_power)
        fast = _stepped(tree, slots.z, base, self.state_dtype)
        b1 = jnp.ones_like(slots.b1) * self.b1
        new = slots._replace(b1=b1, weight_sum=weight_sum, max_lr=max_lr, base_optimizer_state=base_state, z=fast)
        return _way(tree, params, slots.z, fast, slots.b1, self.b1, c), new

    def evaluated(self, params, slots, tree):
        return tree.map(lambda y, z: _average(y, z, slots.b1), params, slots.z)


class ScheduleFreePlus(TreeRule):
    """Schedule-free learning whose step comes from the value of the loss, for whole runs of large models.

        l <- polyak_beta l + (1 - polyak_beta) sqrt(pi / 2) |g|_1
        a  = learning_rate max(0, f + b1 <g, z - x>) / debias(l, polyak_beta)
        z <- z + a (the update of base_optimizer, for the gradient at y) - a^2 weight_decay y
        m <- max(m, a),   s <- s + t^r m^weight_lr_power,   c = t^r m^weight_lr_power / s
        x <- (1 - c) x + c z
        y <- (1 - b1) z + b1 x,   u = the way of y

    with |.|_1 and <,> over all leaves, and f the loss at y: call `update(updates, state, params, value=f)`. In the
    first c_warmup steps c is 1, and s stays. y are the parameters that are trained; `eval_params` gives x, as of
    `schedule_free`. While all gradients were 0, a is 0. The authors' optimizer is
    `schedule_free_plus(adam(1.0, 0.9, 0.95))`.

    Args:
      base_optimizer: a transform with a learning rate of 1, ours or optax's, whose updates are multiplied by a; unlike
        that of `schedule_free` with momentum.
      learning_rate: what the step is multiplied by; 1, or a schedule with a warm-up to it.
      b1: how far y is from z to x, more than 0 and at most 1. The paper's annealing is a schedule,
        `1 + -1.0 * warmup_stable_decay(1 - 0.9, 0, 0, steps, end_value=1 - 0.965, shape="exponential")`.
      weight_decay: of y, times the square of the step, so that it is far larger than AdamW's: 20 or 50.
      r: how much more later steps weigh in the average; 0, or 2 for long runs.
      polyak_beta: the decay of the running mean of |g|_1; 0 for that of this step.
      c_warmup: for how many steps x is z, once or twice as many as the rate rises.
      weight_lr_power: how much more steps with a large a weigh in the average.
      state_dtype: what z is kept in. None: the parameters' dtype, float32 at least.
      mask: True for the leaves that decay, as in `add_decayed_weights`. None: all.

    Metrics: `step_size`, a.

    Extra arguments of `update`: value, and those of base_optimizer.

    Raises:
      ValueError: b1 or c_warmup out of its range, or `update` was called without parameters or without value.

    Defazio 2026, arXiv:2605.19095, as its author's code has it: AdamCScheduleFreePlusPaper of the package schedulefree,
    which keeps x too, and with a polyak_beta above 0 takes the debiased l in the place of l at the next step; here l is
    a running mean as its comments say. For gradients of 0 it divides by 0. optax: none. torch: none.
    """

    base_optimizer: GradientTransformation
    learning_rate: NonNegative = 1.0
    b1: Positive = 0.9
    weight_decay: NonNegative = 0.0
    r: NonNegative = 0.0
    polyak_beta: Decay = 0.0
    c_warmup: int = 0
    weight_lr_power: NonNegative = 2.0
    state_dtype: Dtype | None = None
    mask: DecayMask | None = dataclasses.field(default=None, kw_only=True)

    mix = Slot(init="b1", axes=(), called="b1")
    weight_sum = Slot(axes=(), signed=False)
    max_lr = Slot(axes=(), signed=False)
    grad_l1 = Slot(axes=(), signed=False)
    base_optimizer_state = Inner("base_optimizer")
    z = Slot(copy=True, dtype="state_dtype")
    value = Extra()
    step_size = Metric()

    def check(self):
        self.check_transform("base_optimizer", may_keep_params=False)
        _check_share(self.call_name, "b1", self.b1)
        check_count(f"{self.call_name}: c_warmup", self.c_warmup)

    def update(self, updates, slots, tree):
        params = tree.params
        base, base_state = tree.inner(self.base_optimizer, updates, slots.base_optimizer_state)
        # z - x, as y lies between them.
        apart = tree.map(lambda y, z: (z - y) / slots.b1, params, slots.z)
        gap = jnp.asarray(tree.extra["value"]).astype(slots.max_lr.dtype) + self.b1 * tree.vdot(updates, apart)
        grad_l1 = ema(slots.grad_l1, L1_TO_L2 * tree.norm(updates, 1), self.polyak_beta)
        norm = debias(grad_l1, self.polyak_beta, tree.step)
        step = self.learning_rate * jnp.where(norm == 0, 0, jnp.maximum(gap, 0) / jnp.where(norm == 0, 1, norm))
        decay = step**2 * self.weight_decay
        ways = tree.map(lambda decays, u, y: step * u - (decay * y if decays else 0), tree.decays, base, params)
        fast = _stepped(tree, slots.z, ways, self.state_dtype)

        max_lr, follows = jnp.maximum(slots.max_lr, step), tree.step <= self.c_warmup
        weight = tree.step.astype(max_lr.dtype) ** self.r * max_lr**self.weight_lr_power
        weight_sum, share = _weighed(slots.weight_sum, jnp.where(follows, 0, weight))
        b1 = jnp.ones_like(slots.b1) * self.b1
        new = slots._replace(
            b1=b1,
            weight_sum=weight_sum,
            max_lr=max_lr,
            grad_l1=grad_l1,
            z=fast,
            base_optimizer_state=base_state,
            step_size=step,
        )
        return _way(tree, params, slots.z, fast, slots.b1, self.b1, jnp.where(follows, 1, share)), new

    def evaluated(self, params, slots, tree):
        return tree.map(lambda y, z: _average(y, z, slots.b1), params, slots.z)


class GPA(TreeRule):
    """Generalized primal averaging: gradients are taken between the steps of an optimizer and their running mean.

        z <- z + the update of base_optimizer, for the gradient at y and the parameters z
        x <- mu_x x + (1 - mu_x) z
        y <- mu_y x + (1 - mu_y) z,   u = the way of y

    y are the parameters that are trained; `eval_params` gives x, which is not kept: x = (y - (1 - mu_y) z) / mu_y. So
    nothing is to change the update after it, and y must not be rounded much. With a mu_x of 0 it is base_optimizer; a
    mean that counts all steps the same, in place of mu_x, is `schedule_free`.

    Args:
      base_optimizer: a whole optimizer, ours or optax's, with its momentum, schedule and weight decay, which decays z.
      mu_x: how much of the mean stays, at least 0 and less than 1; 0.9934, 0.9967 and 0.9984 do what 16, 32 and 64
        local steps of DiLoCo do (the paper's table 4).
      mu_y: how far y is from z to x, more than 0 and at most 1.
      state_dtype: what z is kept in. None: the parameters' dtype, float32 at least.

    Extra arguments of `update`: those of base_optimizer.

    Raises:
      ValueError: mu_x or mu_y out of its range, or `update` was called without parameters.

    Defazio et al. 2025, arXiv:2512.17131, as the authors' code states it: GPAAdamW of facebookresearch/optimizers.
    Where that decays z, it leaves y where it is, which moves x away from z; here x, y and z are always as above.
    optax: none. torch: none.
    """

    base_optimizer: GradientTransformation
    mu_x: Decay = 0.9967
    mu_y: Positive = 0.7
    state_dtype: Dtype | None = None

    mix = Slot(init="mu_y", axes=(), called="mu_y")
    base_optimizer_state = Inner("base_optimizer")
    z = Slot(copy=True, dtype="state_dtype")

    def check(self):
        self.check_transform("base_optimizer", may_keep_params=False)
        _check_share(self.call_name, "mu_y", self.mu_y)

    def update(self, updates, slots, tree):
        params = tree.params
        base, base_state = tree.inner(self.base_optimizer, updates, slots.base_optimizer_state, slots.z)
        fast = _stepped(tree, slots.z, base, self.state_dtype)
        new = slots._replace(mu_y=jnp.ones_like(slots.mu_y) * self.mu_y, base_optimizer_state=base_state, z=fast)
        return _way(tree, params, slots.z, fast, slots.mu_y, self.mu_y, 1 - self.mu_x), new

    def evaluated(self, params, slots, tree):
        return tree.map(lambda y, z: _average(y, z, slots.mu_y), params, slots.z)


def _check_share(name: str, field: str, value: Any) -> None:
    if isinstance(value, int | float) and value > 1:
        raise ValueError(f"{name}: {field} must be more than 0 and at most 1; got {value!r}")


def _average(y: Any, z: Any, share: Any) -> Any:
    """x, where y is the share of the way from z to it."""
    return (y - (1 - share) * z) / share


def _weighed(total: Any, weight: Any) -> tuple[Any, Any]:
    """The new sum of weights, and what share of it the last one is; 0 while there is none, as a warm-up begins at 0."""
    total = total + weight
    return total, weight / jnp.where(total == 0, 1, total)


def _stepped(tree: Any, old: Any, steps: Any, dtype: Any) -> Any:
    """z after a step, as it will be kept."""

    def moved(z: Any, step: Any) -> Any:
        return z + step if dtype is None else rounded(z + step, dtype)

    return tree.map(moved, old, steps)


def _way(tree: Any, params: Any, old: Any, new: Any, was: Any, share: Any, c: Any) -> Any:
    """The way of y where z goes from `old` to `new`, x the part c of the way to that, and y to a share of that to x."""

    def way(y: Any, z: Any, next_z: Any) -> Any:
        # y is where the share of the step before has put it.
        x = _average(y, z, was)
        return share * c * (next_z - x) + (1 - share) * (next_z - z) + (share - was) * (x - z)

    return tree.map(way, params, old, new)


schedule_free = transform(ScheduleFree)
schedule_free_plus = transform(ScheduleFreePlus)
gpa = transform(GPA)


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The averaged parameters of a run of `schedule_free`, for evaluation.

        x = (y - (1 - b1) z) / b1,   y the parameters that are trained

    Args:
      state: the state of `schedule_free`, `schedule_free_adamw` or `schedule_free_sgd`, or any pytree with one such
        state in it, as that of a chain.
      params: the parameters that are trained.

    Returns:
      A pytree like the parameters, computed in float32 at least.

    Raises:
      ValueError: no such state, or more than one.

    Defazio et al. 2024, arXiv:2405.15682, algorithm 1. optax: contrib.schedule_free_eval_params, which takes the
    wrapper's own state only. torch: none.
    """
    found = [part for part in jax.tree.leaves(state, is_leaf=_is_schedule_free) if _is_schedule_free(part)]
    if len(found) != 1:
        raise ValueError(
            f"schedule_free_eval_params: expected a state with one ScheduleFreeState in it, got {len(found)}"
        )
    b1, fast = found[0].b1, found[0].z

    def evaluated(y: Any, z: Any) -> jax.Array:
        dtype = compute_dtype(y.dtype, z.dtype)
        beta = jnp.asarray(b1, dtype)
        return ((y.astype(dtype) - (1 - beta) * z.astype(dtype)) / beta).astype(y.dtype)

    return jax.tree.map(evaluated, params, fast)


def _is_schedule_free(part: Any) -> bool:
    return isinstance(part, optax.contrib.ScheduleFreeState | schedule_free.State)
