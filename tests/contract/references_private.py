"""Clipping of per-example gradients leaf by leaf, which optax has, but not in a transform."""

import numpy as np


def clipped_by_layer(bound, rate, uniform):
    """The mean over a batch of gradients, each leaf of each example within its share of the bound, times -rate."""

    def updates(steps):
        return [_step(leaves) for leaves in steps]

    def _step(leaves):
        sizes = [1 if uniform else leaf[0].size for leaf in leaves]
        return [
            -rate * _mean(leaf, bound * np.sqrt(size / sum(sizes))) for leaf, size in zip(leaves, sizes, strict=True)
        ]

    def _mean(leaf, within):
        clipped = [example / max(1, np.linalg.norm(example) / within) for example in leaf]
        return sum(clipped) / len(clipped)

    return updates
