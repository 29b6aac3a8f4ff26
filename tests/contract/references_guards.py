"""The formulas of clipping by what gradients were, again, from the papers and in plain NumPy."""

import jax
import numpy as np

from tests.contract.case import params
from tests.contract.references import joint_norm, per_leaf


def zclip(z_max, decay, warm_up, eps):
    """Kumar et al. 2025, as the authors' code has it: mean and variance of the norms of the warm-up, then running."""

    def reference(steps):
        buffer, mean, variance, out = [], None, None, []
        for leaves in steps:
            norm = clip = joint_norm(leaves, 2)
            if mean is None:
                buffer.append(norm)
                if len(buffer) == warm_up:
                    mean, variance = np.mean(buffer), np.var(buffer)
            else:
                deviation = np.sqrt(variance)
                z = (norm - mean) / (deviation + eps)
                if z > z_max:
                    clip = mean + z_max * deviation / (z / z_max)
                mean = decay * mean + (1 - decay) * clip
                variance = decay * variance + (1 - decay) * (clip - mean) ** 2
            out.append([leaf * clip / norm for leaf in leaves])
        return out

    return reference


def autoclip(percentile, window):
    """Seetharaman et al. 2020, algorithm 1, with the last norms in the place of all."""

    def reference(steps):
        norms, out = [], []
        for leaves in steps:
            norms.append(joint_norm(leaves, 2))
            bound = np.percentile(norms[-window:], percentile)
            out.append([leaf * min(1, bound / norms[-1]) for leaf in leaves])
        return out

    return reference


def adagc(max_ratio, decay, warm_up, max_norm):
    """Wang et al. 2025, the clipping of its algorithm, T_start being warm_up + 1."""

    def reference(steps):
        gammas, out = None, []
        for t, leaves in enumerate(steps, start=1):
            if t <= warm_up:
                shrink = min(1, max_norm / joint_norm(leaves, 2))
                clipped = [shrink * g for g in leaves]
                sizes = [np.linalg.norm(g) for g in clipped]
                gammas = sizes if gammas is None else list(map(min, gammas, sizes))
            else:
                sizes = [min(max_ratio * r, np.linalg.norm(g)) for r, g in zip(gammas, leaves, strict=True)]
                clipped = [g * (size / np.linalg.norm(g)) for g, size in zip(leaves, sizes, strict=True)]
                gammas = [decay * r + (1 - decay) * size for r, size in zip(gammas, sizes, strict=True)]
            out.append(clipped)
        return out

    return reference


def stable_adam(b1, b2, eps, threshold):
    """Wortsman et al. 2023, algorithm 2, with its debiased decays; the update, uphill."""

    def rule(grads):
        v = u = 0.0
        out = []
        for t, g in enumerate(grads, start=1):
            one, two = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in (b1, b2))
            v, u = one * v + (1 - one) * g, two * u + (1 - two) * g**2
            rms = np.sqrt(np.mean(g**2 / np.maximum(u, eps**2)))
            out.append(v / (np.sqrt(u) + eps) / max(1, rms / threshold))
        return out

    return per_leaf(rule)


def stable_adamw(rate, weight_decay, *settings):
    """The same as an optimizer, whose decay is not shrunk, as in the authors' code."""

    def reference(steps):
        now, out = [np.asarray(leaf) for leaf in jax.tree.leaves(params(np.float64))], []
        for scaled in stable_adam(*settings)(steps):
            moves = [-rate * (u + weight_decay * p) for u, p in zip(scaled, now, strict=True)]
            out.append(moves)
            now = [p + move for p, move in zip(now, moves, strict=True)]
        return out

    return reference
