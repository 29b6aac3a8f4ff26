"""The trees of parameters over which steps are measured, by their shapes alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from measuring import Shapes, gpt, many_leaves, one_leaf
from optax.contrib import MuonDimensionNumbers

Matrices = tuple[MuonDimensionNumbers | None, ...]


class Tree(NamedTuple):
    """A tree of float32 parameters.

    Attributes:
      name: by which it is chosen, and stands in tables and files.
      title: what it is, in words.
      shapes: of its leaves.
      matrices: for each leaf along which axes Muon takes it as a matrix; None for embeddings, heads, norms and biases.
      is_large: whether it is one of the three larger trees, over which clip and adamw has a limit.
    """

    name: str
    title: str
    shapes: Shapes
    matrices: Matrices
    is_large: bool = True

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(map(math.prod, self.shapes))


def one() -> Tree:
    """One vector of 30 million parameters."""
    return Tree("one", "one leaf, 30M", one_leaf(), (None,))


def transformer(layers: int = 12, words: int = 16384) -> Tree:
    """A GPT-like tree of width 384. Its first two leaves are embeddings, which Muon leaves to Adam."""
    shapes = gpt(words, layers)
    matrices = tuple(
        MuonDimensionNumbers(0, 1) if len(shape) == 2 and index > 1 else None for index, shape in enumerate(shapes)
    )
    tree = Tree("gpt", "", shapes, matrices, is_large=layers == 12)
    return tree._replace(title=f"GPT-like, {len(shapes)} leaves, {tree.parameters / 1e6:.1f}M")


def resnet(blocks: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> Tree:
    """A ResNet-50: bottlenecks of three convolutions, each with a scale and a bias of its norm; He et al. 2015.

    Kernels are HWIO, as Flax and Haiku keep them. Muon takes them as matrices of (height, width, input) by output, and
    leaves the first one and the head to Adam.

    Args:
      blocks: how many bottlenecks there are at each of the resolutions.
      classes: of the head.
    """
    shapes: Shapes = [(7, 7, 3, 64), (64,), (64,)]
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            kernels = [(1, 1, channels, width), (3, 3, width, width), (1, 1, width, 4 * width)]
            if block == 0:
                kernels.append((1, 1, channels, 4 * width))
            for kernel in kernels:
                shapes += [kernel, kernel[-1:], kernel[-1:]]
            channels = 4 * width
    shapes += [(channels, classes), (classes,)]
    matrices = tuple(
        MuonDimensionNumbers((0, 1, 2), 3) if len(shape) == 4 and index > 0 else None
        for index, shape in enumerate(shapes)
    )
    tree = Tree("resnet", "", shapes, matrices, is_large=sum(blocks) == 16)
    return tree._replace(title=f"ResNet-50-like, {len(shapes)} leaves, {tree.parameters / 1e6:.1f}M")


def many() -> Tree:
    """1000 matrices of 64 x 64."""
    shapes = many_leaves()
    return Tree("many", "1000 leaves of 64x64, 4.1M", shapes, (MuonDimensionNumbers(0, 1),) * len(shapes), False)


def trees(quick: bool = False) -> dict[str, Tree]:
    """The four trees, by name; with `quick` tiny ones in their place, to see that everything works."""
    if quick:
        tiny = Tree("one", "one leaf", [(1000,)], (None,), False)
        some = Tree("many", "4 leaves of 8x8", [(8, 8)] * 4, (MuonDimensionNumbers(0, 1),) * 4, False)
        small = Tree("gpt", "3 leaves", [(16, 8), (8, 8), (8,)], (None, MuonDimensionNumbers(0, 1), None), False)
        conv = Tree("resnet", "2 leaves", [(3, 3, 2, 4), (4,)], (MuonDimensionNumbers((0, 1, 2), 3), None), False)
        return {tree.name: tree for tree in (tiny, small, conv, some)}
    return {tree.name: tree for tree in (one(), transformer(), resnet(), many())}


def arrays(shapes: Shapes) -> tuple[list[jax.Array], list[jax.Array]]:
    """Parameters and gradients of some shapes, from the normal distribution. The last that were made are kept."""
    return _arrays(tuple(shapes))


@lru_cache(maxsize=1)
def _arrays(shapes: tuple[tuple[int, ...], ...]) -> tuple[list[jax.Array], list[jax.Array]]:
    rng = np.random.default_rng(0)

    def normal() -> list[jax.Array]:
        return [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]

    return normal(), normal()
