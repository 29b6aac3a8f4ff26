"""sam: sharpness-aware minimisation, steps by the gradient at the worst point nearby."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core import checks
from gradxform.core.declarations import Extra, Inner, Slot
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform


class Sam(TreeRule):
    """Moves the parameters against the loss before each step of an optimizer, which then steps from where they were.

        sync_period - 1 times:   p <- p - the update of adv_optimizer
        then:                    p <- the first p + the update of optimizer, for the gradient at the moved p

    Each call of `update` is one of these, and gradients are taken wherever the parameters are; `eval_params` gives
    those that are not moved. In opaque_mode a call is all of them, and takes the gradients itself:

        tx.update(grads, state, params, grad_fn=jax.grad(lambda params, i: loss(params, batches[i])))

    With normalize() and sgd(rho) for adv_optimizer and sync_period=2 it is the paper's.

    Args:
      optimizer: the transform that steps, ours or optax's.
      adv_optimizer: the transform that moves the parameters; its updates are taken with the other sign, so that it is
        one that goes downhill.
      sync_period: how many calls there are for one step, or in opaque_mode gradients.
      reset_state: whether adv_optimizer begins anew after each step.
      opaque_mode: whether one call does all of them.
      batch_axis_name: the axis of `pmap` or the mesh axis over which opaque_mode takes the mean of its gradients.

    Extra arguments of `update`: in opaque_mode grad_fn, (params, i) -> gradients, i from 0 on; and those of both
    transforms.

    Raises:
      TypeError: `optimizer` or `adv_optimizer` is no transform, or `sync_period` no integer.
      ValueError: `sync_period` is less than 1; `update` was called without parameters, or without grad_fn.

    Foret et al. 2021, arXiv:2010.01412, algorithm 1. optax: contrib.sam, which for a sync_period of 1 steps from the
    parameters before, and in low precision moves away by its rounding. torch: none.
    """

    optimizer: GradientTransformation
    adv_optimizer: GradientTransformation
    sync_period: int = 2
    reset_state: bool = True
    opaque_mode: bool = False
    batch_axis_name: str | None = None

    grad_fn = Extra(where="opaque_mode")
    steps_since_sync = Slot(axes=(), dtype=jnp.int32)
    opt_state = Inner("optimizer")
    adv_state = Inner("adv_optimizer")
    cache = Slot(copy=True, where="is_transparent")

    def check(self):
        """Raises TypeError or ValueError for what is no transform or no number of steps."""
        self.check_transform("optimizer", may_keep_params=False)
        self.check_transform("adv_optimizer", may_keep_params=False)
        if isinstance(self.sync_period, bool) or not isinstance(self.sync_period, int):
            raise TypeError(f"sam: sync_period must be an integer; got {self.sync_period!r}")
        if self.sync_period < 1:
            raise ValueError(f"sam: sync_period must be at least 1; got {self.sync_period}")

    @property
    def is_transparent(self):
        """Whether a call is one move or the step."""
        return not self.opaque_mode

    def update(self, updates, slots, tree):
        """One call."""
        return self.in_one(updates, slots, tree) if self.opaque_mode else self.one_of(updates, slots, tree)

    def one_of(self, updates, slots, tree):
        """A move against the loss, or a step from where the parameters were before."""
        params, since = tree.params, slots.steps_since_sync
        cache = tree.map(lambda p, c: jnp.where(since == 0, p, c), params, slots.cache)

        def step():
            stepped, opt_state = tree.inner(self.optimizer, updates, slots.opt_state, cache)
            adv_state = tree.first(self.adv_optimizer, slots.adv_state) if self.reset_state else slots.adv_state
            return tree.map(lambda c, p, u: (c - p) + u, cache, params, stepped), opt_state, adv_state

        def move():
            moved, adv_state = tree.inner(self.adv_optimizer, updates, slots.adv_state)
            return tree.map(jnp.negative, moved), slots.opt_state, adv_state

        out, opt_state, adv_state = tree.either(since == self.sync_period - 1, step, move)
        since = (since + 1) % self.sync_period
        return out, slots._replace(steps_since_sync=since, opt_state=opt_state, adv_state=adv_state, cache=cache)

    def in_one(self, updates, slots, tree):
        """All moves and the step."""
        params, adv_state, grads = tree.params, slots.adv_state, updates
        for number in range(self.sync_period - 1):
            moved, adv_state = tree.inner(self.adv_optimizer, grads, adv_state, params)
            params = tree.map(jnp.subtract, params, moved)
            grads = tree.extra["grad_fn"](tree.whole(tree.as_params(params)), number)
            if self.batch_axis_name is not None:
                grads = jax.lax.pmean(grads, self.batch_axis_name)
            checks.same_structure("sam: grad_fn", grads, tree.whole(updates), "the updates")
            grads = [grad.astype(update.dtype) for grad, update in zip(jax.tree.leaves(grads), updates, strict=True)]
        if self.reset_state:
            adv_state = tree.first(self.adv_optimizer, slots.adv_state)
        stepped, opt_state = tree.inner(self.optimizer, grads, slots.opt_state)
        return stepped, slots._replace(opt_state=opt_state, adv_state=adv_state)

    def evaluated(self, params, slots, tree):
        """The parameters that are not moved."""
        if self.opaque_mode:
            return params
        return tree.map(lambda p, c: jnp.where(slots.steps_since_sync == 0, p, c), params, slots.cache)


sam = transform(Sam)
