"""The formulas of layers and signs again, from the papers and in plain NumPy, where optax cannot be the measure."""

import functools

import jax
import numpy as np

from tests.contract.case import params
from tests.contract.references import joint_norm, per_leaf


def sm3(b1, b2, eps):
    """Anil et al. 2019, algorithm SM3-II, with a running mean of the steps, a decay of the sum, and eps in the root."""

    def rule(grads):
        shape = grads[0].shape
        mu, mean, out = [np.zeros(size) for size in shape] or [np.zeros(())], np.zeros(shape), []
        for g in grads:
            bound = functools.reduce(np.minimum, np.meshgrid(*mu, indexing="ij"))
            nu = (1.0 if b2 == 1 else 1 - b2) * g**2 + b2 * bound.reshape(shape)
            for axis in range(len(mu)):
                others = tuple(each for each in range(len(shape)) if each != axis)
                mu[axis] = nu.max(axis=others)
            mean = b1 * mean + (1 - b1) * np.divide(g, np.sqrt(nu + eps), out=np.zeros(shape), where=nu > 0)
            out.append(mean)
        return out

    return per_leaf(rule)


def rprop(rate, eta_minus, eta_plus, least, largest):
    """Riedmiller & Braun 1993 without the step back, element by element: the update, uphill."""

    def rule(grads):
        shape = grads[0].shape
        sizes, before, out = np.full(shape, rate), np.zeros(shape), []
        for g in map(np.copy, grads):
            for i in np.ndindex(shape):
                if before[i] * g[i] > 0:
                    sizes[i] = min(sizes[i] * eta_plus, largest)
                elif before[i] * g[i] < 0:
                    sizes[i], g[i] = max(sizes[i] * eta_minus, least), 0
            before = g
            out.append(sizes * np.sign(g))
        return out

    return per_leaf(rule)


def bounded_factored_rms(exponent, least):
    """The root mean square of torch.optim.Adafactor, by rows and columns where there are two axes: g over it."""

    def rule(grads):
        row = col = square = 0.0
        out = []
        for t, g in enumerate(grads, start=1):
            weight = t**-exponent
            if g.ndim > 1:
                row = row + weight * (np.mean(g**2, -1, keepdims=True) - row)
                col = col + weight * (np.mean(g**2, -2, keepdims=True) - col)
                square = row @ col / np.maximum(np.mean(row, -2, keepdims=True), least)
            else:
                square = square + weight * (g**2 - square)
            out.append(g / np.sqrt(np.maximum(square, least**2)))
        return out

    return per_leaf(rule)


def adafactor(rate, weight_decay, least):
    """torch.optim.Adafactor at its defaults but these, and where the rate is at most 1 / sqrt(t): the whole step."""

    def rms(x):
        return np.sqrt(np.mean(x**2))

    def reference(steps):
        now, out = [np.asarray(leaf) for leaf in jax.tree.leaves(params(np.float64))], []
        for scaled in bounded_factored_rms(0.8, least)(steps):
            sizes = [rate * max(1e-3, rms(p)) / max(1, rms(u)) for p, u in zip(now, scaled, strict=True)]
            moved = [(1 - rate * weight_decay) * p - d * u for p, u, d in zip(now, scaled, sizes, strict=True)]
            out.append([new - old for new, old in zip(moved, now, strict=True)])
            now = moved
        return out

    return reference


def centered(axis):
    """Yong et al. 2020, equation 1, over other axes than optax's."""
    return per_leaf(lambda grads: [g - g.mean(axis, keepdims=True) if g.ndim > 1 else g for g in grads])


def polyak(value, scaling):
    """Loizou et al. 2021, SPS_max with c = 1 and bound 1: minus the step, times a number."""

    def reference(steps):
        sizes = [min(value / joint_norm(leaves, 2) ** 2, 1.0) for leaves in steps]
        return [[-scaling * size * leaf for leaf in leaves] for size, leaves in zip(sizes, steps, strict=True)]

    return reference
