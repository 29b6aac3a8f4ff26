"""Boxes of the methods of these years, and of those that came back with them, from the papers and in plain NumPy.

Each takes the gradients of a leaf in float64 and returns what goes on, before the learning rate. Decays are written as
in our signatures. None of them calls gradxform.
"""

import numpy as np


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def mars(b1, gamma, max_norm):
    """Yuan et al. 2024, algorithm 2 with the gradient of the step before, of a tree of leaves; x_1 = x_0."""

    def reference(steps):
        before, out = steps[0], []
        for leaves in steps:
            c = [g + gamma * b1 / (1 - b1) * (g - last) for g, last in zip(leaves, before, strict=True)]
            norm = np.sqrt(sum(np.sum(leaf**2) for leaf in c))
            out.append([leaf / norm * max_norm if norm > max_norm else leaf for leaf in c])
            before = leaves
        return out

    return reference


def mars_of_schedule(b1, gamma):
    """The same without clipping, with a gamma of each step; `gamma` is a function of the step from 0 on."""

    def reference(steps):
        pairs = zip([steps[0], *steps], steps, strict=False)
        weights = [gamma(t) * b1 / (1 - b1) for t in range(len(steps))]
        return [
            [g + weight * (g - last) for g, last in zip(leaves, before, strict=True)]
            for weight, (before, leaves) in zip(weights, pairs, strict=True)
        ]

    return reference


def mars_of_leaves(grads, b1, gamma):
    """The authors' MARS/optimizers/mars.py: clipped by the norm of each parameter; but from x_1 = x_0."""
    before, out = grads[0], []
    for g in grads:
        c = (g - before) * (gamma * (b1 / (1.0 - b1))) + g
        norm = np.sqrt(np.sum(c**2))
        out.append(c / norm if norm > 1.0 else c)
        before = g
    return out


def grokfast(grads, alpha, lamb):
    """Lee et al. 2024, Grokfast-EMA, as the authors' gradfilter_ema begins it."""
    mu, out = grads[0], []
    for g in grads:
        mu = mu * alpha + g * (1 - alpha)
        out.append(g + mu * lamb)
    return out


def laprop(grads, b1, b2, eps):
    """Ziyin, Wang & Ueda 2020, algorithm 1."""
    m = n = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        n = b2 * n + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g / (np.sqrt(n / (1 - b2**t)) + eps)
        out.append(m / (1 - b1**t))
    return out


def adam_mini(grads, b1, b2, eps, blocks=None):
    """Zhang et al. 2024, algorithm 1, where each place along the axis `blocks` is a block; None: the leaf is one."""
    m, out = 0.0, []
    first = np.asarray(grads[0])
    has_it = blocks is not None and first.ndim > (blocks if blocks >= 0 else -blocks - 1)
    v = [0.0] * (first.shape[blocks] if has_it else 1)
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        parts = np.moveaxis(g, blocks, 0) if has_it else [g]
        v = [b2 * each + (1 - b2) * np.mean(part**2) for each, part in zip(v, parts, strict=True)]
        means = np.moveaxis(m, blocks, 0) if has_it else [m]
        update = [mean / (1 - b1**t) / (np.sqrt(each / (1 - b2**t)) + eps) for mean, each in zip(means, v, strict=True)]
        out.append(np.moveaxis(np.stack(update), 0, blocks) if has_it else update[0])
    return out


def came(grads, b1, b2, b3, eps1, eps2, d):
    """Luo et al. 2023, algorithm 2, of the paper's sums over rows and columns; vectors as in the authors' code."""
    r = c = big_r = big_c = v = m = 0.0
    out = []
    for g in grads:
        if np.ndim(g) < 2:
            v = b2 * v + (1 - b2) * (g**2 + eps1)
            u = g / np.sqrt(v)
        else:
            r = b2 * r + (1 - b2) * (g**2 + eps1).sum(axis=1, keepdims=True)
            c = b2 * c + (1 - b2) * (g**2 + eps1).sum(axis=0, keepdims=True)
            u = g / np.sqrt(r @ c / r.sum())
        u = u / max(1.0, rms(u) / d)
        m = b1 * m + (1 - b1) * u
        if np.ndim(g) < 2:
            out.append(m)
            continue
        instability = (u - m) ** 2
        big_r = b3 * big_r + (1 - b3) * (instability + eps2).sum(axis=1, keepdims=True)
        big_c = b3 * big_c + (1 - b3) * (instability + eps2).sum(axis=0, keepdims=True)
        out.append(m / np.sqrt(big_r @ big_c / big_r.sum()))
    return out


def centered_inputs(grads):
    """Yong et al. 2020, equation 1, of kernels (in, out)."""
    return [g - g.mean(axis=0, keepdims=True) if np.ndim(g) > 1 else g for g in grads]
