"""cautious: an update keeps those of its elements that go against the gradient."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from optax import GradientTransformation

from gradxform.core.declarations import Inner, Metric
from gradxform.core.rule import TreeRule
from gradxform.core.transform import transform
from gradxform.maths import alignment


class Cautious(TreeRule):
    """Leaves out the elements of an update that would move against the present gradient, and makes the rest larger.

        d = the update of the transform within
        m = 1 where -d g > 0, else 0,   with flip_sign=False 1 where d g > 0
        u = d m / max(mean(m), 0.001)

    g is the gradient that enters `cautious`, and the mean is over a leaf. Use it around an optimizer, whose updates are
    steps downhill, or around a rule, whose updates are not yet; the authors leave decay as it is:

        gx.cautious(gx.lion(1e-4, weight_decay=0.0))
        gx.chain(
            gx.cautious(gx.scale_by_adam(), flip_sign=False),
            gx.add_decayed_weights(0.1),
            gx.scale_by_learning_rate(1e-3),
        )

    Args:
      inner: the transform, ours or optax's. What it adds for weight decay is masked as well.
      flip_sign: whether the updates of `inner` are steps downhill, as those of an optimizer. False for a rule, such as
        `scale_by_adam`, that is followed by the learning rate.

    Metrics: `kept`, the share of elements that were kept. If it is near 0, flip_sign may be wrong.

    Raises:
      TypeError: `inner` is no transform.
      ValueError: `inner` says itself what the parameters become.

    Liang et al. 2024, arXiv:2411.16085, algorithm 1, with the bound of 0.001 of the authors' code, where the paper adds
    a small number. Of complex numbers d g is the real part of conj(d) g. optax: none. torch: none; C-AdamW in
    github.com/kyleliang919/C-Optim.
    """

    inner: GradientTransformation
    flip_sign: bool = dataclasses.field(default=True, kw_only=True)

    inner_state = Inner("inner")
    kept = Metric()

    def check(self):
        """Raises TypeError or ValueError for what is no transform, or one after which nothing may change an update."""
        self.check_transform("inner", may_keep_params=False)

    def update(self, updates, slots, tree):
        """One step of the transform, masked."""
        steps, inner_state = tree.inner(self.inner, updates, slots.inner_state)
        sign = -1 if self.flip_sign else 1
        masks = tree.map(lambda d, g: sign * alignment(d, g) > 0, steps, updates)
        counts, sizes = tree.counts(masks), tree.sizes(masks)
        shares = [count / max(size, 1) for count, size in zip(counts, sizes, strict=True)]

        def masked(d, mask, share):
            # A product, so that NaN shows.
            return d * jnp.where(mask, 1 / jnp.maximum(share, 1e-3), 0)

        kept = sum(counts, jnp.zeros_like(slots.kept)) / max(sum(sizes), 1)
        return tree.map(masked, steps, masks, shares), slots._replace(inner_state=inner_state, kept=kept)


cautious = transform(Cautious)
