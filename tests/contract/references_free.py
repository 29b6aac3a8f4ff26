"""The formulas of the methods without a learning rate, from the papers and in plain NumPy.

Each takes the list of gradients, leaf by leaf in float64, adds its updates to the parameters of the contract as the
contract does, and returns the updates of each step.
"""

import jax
import numpy as np

from tests.contract.case import params


def layerwise_dog(reps_rel, eps, global_scale):
    """L-DoG, Ivgi et al. 2023, algorithm 1 for each leaf, with the distance from a float32 copy as optax takes it."""

    def reference(steps):
        now = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params(np.float64))]
        start = [leaf.astype(np.float32).astype(np.float64) for leaf in now]
        distance = [reps_rel * (1 + np.linalg.norm(leaf.ravel())) for leaf in now]
        squares, out = [0.0] * len(now), []
        for grads in steps:
            updates = []
            for i, g in enumerate(grads):
                distance[i] = max(distance[i], np.linalg.norm((now[i] - start[i]).ravel()))
                squares[i] += np.sum(g**2)
                updates.append(global_scale * distance[i] / np.sqrt(squares[i] + eps) * g)
            now = [p + u for p, u in zip(now, updates, strict=True)]
            out.append(updates)
        return out

    return reference
