"""Ways to decay and caution, from the papers and in plain NumPy."""

import jax
import numpy as np

from tests.contract.case import MASK, params
from tests.contract.references import per_leaf
from tests.contract.references_adam import adam


def decaying(step, direction=lambda grads: grads, mask=None):
    """The updates of a rule that looks at the parameters, which the contract adds to them.

    Args:
      step: (t from 0 on, direction, parameter, first parameter, whether it decays) -> update, of one leaf.
      direction: what an optimizer without decay makes of a leaf's gradients.
      mask: which leaves decay. None: all.
    """

    def reference(steps):
        first = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params(np.float64))]
        chosen = [True] * len(first) if mask is None else jax.tree.leaves(mask)
        columns = []
        for i, (start, decays) in enumerate(zip(first, chosen, strict=True)):
            now, column = start, []
            for t, u in enumerate(direction([leaves[i] for leaves in steps])):
                column.append(step(t, u, now, start, decays))
                now = now + column[-1]
            columns.append(column)
        return [list(leaves) for leaves in zip(*columns, strict=True)]

    return reference


def cautious_decay(rate, weight_decay, direction=lambda grads: grads):
    """Chen et al. 2025, algorithm 1: x <- x - eta (u + lambda I(u x >= 0) x)."""

    def step(t, u, x, _, decays):
        return -rate * (u + weight_decay * (u * x >= 0) * x)

    return decaying(step, direction)


def l2_sp(rate, alpha, mask=MASK):
    """Li, Grandvalet & Davoine 2018: the gradient of alpha / 2 |w - w0|^2 beside that of the loss."""
    return decaying(lambda t, g, w, w0, decays: -rate * (g + alpha * (w - w0) * decays), mask=mask)


def adamc(rate, max_rate, weight_decay, direction=adam, mask=None, cautious=False):
    """Defazio 2025: AdamW, whose lambda is lambda gamma_t / gamma_max where layers are normalised."""

    def step(t, u, x, _, decays):
        gamma = rate(t)
        decayed = decays * (u * x >= 0) * x if cautious else decays * x
        return -gamma * u - gamma**2 / max_rate * weight_decay * decayed

    return decaying(step, direction, mask)


def cautious(direction):
    """Liang et al. 2024, algorithm 1, with the authors' code's clamp: u m / max(mean(m), 1e-3), m = u g > 0."""

    def rule(grads):
        out = []
        for u, g in zip(direction(grads), grads, strict=True):
            m = (u * g > 0).astype(np.float64)
            out.append(u * m / max(m.mean(), 1e-3))
        return out

    return per_leaf(rule)


def lion(grads, b1=0.9, b2=0.99):
    """Chen et al. 2023, arXiv:2302.06675, algorithm 2, without decay."""
    m, out = 0.0, []
    for g in grads:
        out.append(np.sign(b1 * m + (1 - b1) * g))
        m = b2 * m + (1 - b2) * g
    return out


def heavy_ball(grads, decay=0.9):
    """Momentum as torch.optim.SGD has it."""
    v, out = 0.0, []
    for g in grads:
        v = decay * v + g
        out.append(v)
    return out


def cautious_novograd(b1, b2, eps, weight_decay):
    """Ginsburg et al. 2019, algorithm 1, whose decay is masked by the gradient with which it is gathered."""

    def reference(steps):
        now = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params(np.float64))]
        v, m, out = [None] * len(now), [0.0] * len(now), []
        for grads in steps:
            for i, g in enumerate(grads):
                square = np.sum(g**2)
                v[i] = square if v[i] is None else b2 * v[i] + (1 - b2) * square
                m[i] = b1 * m[i] + (g / (np.sqrt(v[i]) + eps) + weight_decay * (g * now[i] >= 0) * now[i])
            now = [p + u for p, u in zip(now, m, strict=True)]
            out.append(list(m))
        return out

    return reference
