"""The formulas of layers and signs again, from the papers and in plain NumPy, where optax cannot be the measure."""

import functools

import numpy as np

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


def centered(axis):
    """Yong et al. 2020, equation 1, over other axes than optax's."""
    return per_leaf(lambda grads: [g - g.mean(axis, keepdims=True) if g.ndim > 1 else g for g in grads])


def polyak(value, scaling):
    """Loizou et al. 2021, SPS_max with c = 1 and bound 1: minus the step, times a number."""

    def reference(steps):
        sizes = [min(value / joint_norm(leaves, 2) ** 2, 1.0) for leaves in steps]
        return [[-scaling * size * leaf for leaf in leaves] for size, leaves in zip(sizes, steps, strict=True)]

    return reference
