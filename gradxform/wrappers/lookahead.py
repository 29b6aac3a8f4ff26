"""lookahead: fast parameters run ahead, and slow ones follow."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import GradientTransformation

from gradxform.core import alike, keep
from gradxform.core.branches import either
from gradxform.core.declarations import Inner, Slot
from gradxform.core.fields import Hyper
from gradxform.core.flow import Flow, Step, admitted
from gradxform.core.guest import as_node
from gradxform.core.hyperparameters import split
from gradxform.core.precision import fitting, mixing, real_dtype
from gradxform.core.record import factory
from gradxform.core.rule import TreeRule
from gradxform.core.slots import stored
from gradxform.core.transform import Transform, name_stages


class Lookahead(TreeRule):
    """Steps fast parameters by an optimizer, and every sync_period steps moves slow ones to them and them back.

        fast <- fast + the update of fast_optimizer
        every sync_period steps:   slow <- slow + slow_step_size (fast - slow),   fast <- slow

    Parameters and updates are `optax.LookaheadParams(fast, slow)`, which `optax.LookaheadParams.init_synced(params)`
    makes; gradients are taken at `params.fast` and like it. `eval_params` gives `params.slow`. It stands first in a
    chain, and nothing is to change the updates after it.

    Args:
      fast_optimizer: the transform of the fast parameters, ours or optax's.
      sync_period: how many steps there are from one meeting to the next.
      slow_step_size: how far the slow parameters go, from 0, nowhere, to 1, to the fast ones.
      reset_state: whether fast_optimizer begins anew after each meeting.

    Extra arguments of `update`: those of fast_optimizer.

    Raises:
      TypeError: `fast_optimizer` is no transform, `sync_period` no integer, or the parameters no LookaheadParams.
      ValueError: `sync_period` is less than 1, or `update` was called without parameters.

    Zhang et al. 2019, arXiv:1907.08610, algorithm 1. optax: lookahead. torch: none.
    """

    fast_optimizer: GradientTransformation
    sync_period: int
    slow_step_size: Hyper
    reset_state: bool = False

    fast_state = Inner("fast_optimizer")
    steps_since_sync = Slot(axes=(), dtype=jnp.int32)
    # Updates are like one of the two parameters, and leave in pairs: it looks at them itself.
    is_foreign = True

    def check(self):
        """Raises TypeError or ValueError for what is no transform or no number of steps."""
        self.check_transform("fast_optimizer")
        if isinstance(self.sync_period, bool) or not isinstance(self.sync_period, int):
            raise TypeError(f"lookahead: sync_period must be an integer; got {self.sync_period!r}")
        if self.sync_period < 1:
            raise ValueError(f"lookahead: sync_period must be at least 1; got {self.sync_period}")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the fast optimizer, for pairs or for the fast parameters alone."""
        tree = params.tree()
        fast = Flow.of(tree.fast if isinstance(tree, optax.LookaheadParams) else tree)
        return super().begin(admitted([self], fast, step.placement, "parameters"), step)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of the fast parameters, and when it is due a meeting."""
        both = _pair(flow.params_tree())
        given, behind = (
            admitted([self], flow.replace(params=leaves, params_structure=structure), step.placement)
            for leaves, structure in map(jax.tree.flatten, both)
        )
        fast, state = as_node(self.fast_optimizer).advance(given, record.fast_state, step)
        fast = fast.whole()
        static, hypers = split(self, step.done)
        is_due = record.steps_since_sync == self.sync_period - 1

        def ways(update: jax.Array, fast: jax.Array, slow: jax.Array) -> tuple[jax.Array, jax.Array]:
            fit, real = fitting(update.dtype, fast.dtype, slow.dtype), real_dtype(update.dtype, fast.dtype, slow.dtype)
            update, fast, slow = fit(update), fit(fast), fit(slow)
            size = hypers["slow_step_size"].astype(real) if hypers else static.slow_step_size
            with mixing(update):
                apart = fast + update - slow
                met = update - (1 - size) * apart
                return jnp.where(is_due, met, update), jnp.where(is_due, size * apart, 0)

        stepped = alike.each(ways, list(zip(fast.updates, given.params or [], behind.params or [], strict=True)))
        if self.reset_state:
            state = either(is_due, lambda: self._begun(both.fast, state), lambda: state)
        since = (record.steps_since_sync + 1) % self.sync_period
        new = record._replace(fast_state=state, steps_since_sync=since)
        updates = [update for column in zip(*stepped, strict=True) for update in column]
        pair = optax.LookaheadParams(flow.structure.unflatten(flow.came), flow.structure.unflatten(flow.came))
        came, structure = jax.tree.flatten(pair)
        out = flow.replace(updates=updates, structure=structure, came=came, cuts=[*flow.cuts, *flow.cuts], factor=None)
        return out, stored(self, new, record)

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The slow parameters."""
        slow, structure = jax.tree.flatten(_pair(params.structure.unflatten(params.updates)).slow)
        came = jax.tree.leaves(_pair(params.structure.unflatten(params.came)).slow)
        return params.replace(updates=slow, structure=structure, came=came, cuts=[None] * len(slow))

    def _begun(self, fast: Any, state: Any) -> Any:
        begun = keep.encoded_like(self.fast_optimizer.init(fast), state, None)
        return jax.tree.map(lambda first, now: first.astype(now.dtype), begun, state)


def _pair(params: Any) -> Any:
    if params is None:
        raise ValueError("lookahead needs the parameters: call update(updates, state, params)")
    if not isinstance(params, optax.LookaheadParams):
        raise TypeError(
            "lookahead: expected optax.LookaheadParams as parameters, as optax.LookaheadParams.init_synced(params) "
            f"makes them; got {type(params).__name__}"
        )
    return params


lookahead = factory(Lookahead, lambda record: Transform(name_stages([(None, record)])), Transform)
