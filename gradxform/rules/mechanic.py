"""Mechanic: an optimizer whose learning rate is learned while it runs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric, Slot
from gradxform.core.fields import NonNegative, Positive
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import safe_root


class Mechanize(TreeRule):
    """Scales the way that an optimizer has come by a number that is learned: its learning rate, up to a factor.

        S  = sum_i s_i,   c = S / (S + eps),   from s_i = s_init
        h  = -c <g + weight_decay S |g| p / (|p| + eps), d>
        r <- b r + clip(h, -m, m) s
        m <- max(b m, |h| + eps)
        v <- b^2 v + h^2
        s <- (s_init m / n + max(r, 0)) / (sqrt(v) + eps)   for each of n decays b = 0.9, 0.99, 0.999, ...
        d <- c d + base,   base being the update of base_optimizer
        u  = S d - (S d of the step before)   with <,> and |.| over all leaves

    So the parameters are always the first ones plus S d. The update has its sign: nothing is to follow but
    `apply_updates`. A schedule belongs to base_optimizer, with a largest value of 1.

    Args:
      base_optimizer: the transform whose updates are scaled, ours or optax's, with a learning rate, which gives them
        their sign.
      weight_decay: how much the parameters pull h, in the size of the gradient.
      eps: keeps divisors from 0.
      s_init: what the scale begins with; low.
      num_betas: n, how many decays there are.

    Extra arguments of `update`: those of base_optimizer.

    Metrics: `scale`, the new S.

    Raises:
      ValueError: fewer than one decay, or `update` was called without parameters.

    Cutkosky, Defazio & Mehta 2023, arXiv:2306.00144, algorithm 1, with the clipping of h, the eps of c and m, and an r
    that may be negative, as in the authors' code. optax: contrib.mechanize, which keeps the first parameters and takes
    d from the way that the parameters have come: in bfloat16 they never leave their place. torch: none; mechanize of
    the package mechanic-pytorch.
    """

    base_optimizer: GradientTransformation
    weight_decay: NonNegative = 1e-2
    eps: Positive = 1e-8
    s_init: Positive = 1e-6
    num_betas: int = 6

    base_optimizer_state = Inner("base_optimizer")
    r = Slot(axes=(), length="num_betas")
    m = Slot(axes=(), length="num_betas", signed=False)
    v = Slot(axes=(), length="num_betas", signed=False)
    s = Slot(init="s_init", axes=(), length="num_betas", signed=False)
    delta = Slot()
    scale = Metric()

    def check(self):
        if isinstance(self.num_betas, bool) or not isinstance(self.num_betas, int):
            raise TypeError(f"{self.call_name}: num_betas must be an integer; got {self.num_betas!r}")
        if self.num_betas < 1:
            raise ValueError(f"{self.call_name}: num_betas must be at least 1; got {self.num_betas}")
        self.check_transform("base_optimizer", may_keep_params=False)

    def update(self, updates, slots, tree):
        base, base_state = tree.inner(self.base_optimizer, updates, slots.base_optimizer_state)
        before = jnp.sum(slots.s)
        kept = before / (before + self.eps)
        pull = self.weight_decay * before * tree.norm(updates) / (tree.norm(tree.params) + self.eps)
        # One pass over all three: two products would read d twice.
        pulled = tree.map(lambda g, p: g + pull * p, updates, tree.params)
        h = -kept * tree.vdot(pulled, slots.delta)

        decays = 1 - 0.1 ** np.arange(1, self.num_betas + 1)
        b, b_sq = jnp.asarray(decays, h.dtype), jnp.asarray(decays**2, h.dtype)
        r = b * slots.r + jnp.clip(h, -slots.m, slots.m) * slots.s
        m = jnp.maximum(b * slots.m, jnp.abs(h) + self.eps)
        v = b_sq * slots.v + h**2
        s = (self.s_init / self.num_betas * m + jnp.maximum(r, 0)) / (safe_root(v, 2) + self.eps)

        after = jnp.sum(s)
        delta = tree.map(lambda d, u: kept * d + u, slots.delta, base)
        step = tree.map(lambda new, old: after * new - before * old, delta, slots.delta)
        return step, slots._replace(base_optimizer_state=base_state, r=r, m=m, v=v, s=s, delta=delta, scale=after)


mechanize = transform(Mechanize)
