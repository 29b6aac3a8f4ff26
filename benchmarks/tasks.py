"""The tasks that benchmarks train on: their data, their networks, and what a run is judged by.

Three networks in plain JAX: the demo's on scikit-learn's digits, a perceptron on MNIST-1D, and a transformer that reads
characters. What a seed's run begins with and which batches it sees is decided by the seed alone, so that whatever is
compared is compared on the same.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import characters_model
import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx

# The demo's network and its images are those of the examples.
sys.path.append(str(Path(__file__).parents[1] / "examples"))
import digits_model

SIGNALS = 100


class Task(NamedTuple):
    """What is trained, and on what.

    Attributes:
      steps: how many of them.
      every: after how many a run is judged.
      init: parameters of a seed.
      loss: of parameters and a batch.
      batches: what a seed's steps see, from one step to another, with the steps as the first axis.
      judged: what the loss of a run is taken of.
      judged_is: in words.
      other: examples that are neither judged nor trained on.
      about: what else there is to say of data and network, as JSON has it.
      matrices: labels for `partition`: "matrices" for the hidden ones, and "rest".
      mistakes: the share of `other` that parameters name wrong; None where nothing is named.
      axes: the axes of the matrices; None for (rows, columns).
    """

    steps: int
    every: int
    init: Callable[[Any], Any]
    loss: Callable[[Any, Any], jax.Array]
    batches: Callable[[int, int, int], Any]
    judged: Any
    judged_is: str
    other: Any
    about: dict[str, Any]
    matrices: Any
    mistakes: Callable[[Any], jax.Array] | None = None
    axes: Any = None

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init, 0)))


def digits(steps: int) -> Task:
    """The demo of `examples/digits.py`: a small convolutional network and the handwritten digits of scikit-learn."""
    seen, unseen = digits_model.load()

    def batches(seed: int, begin: int, end: int) -> digits_model.Images:
        chosen = [digits_model.batch(seen, seed * steps + step) for step in range(begin, end)]
        return digits_model.Images(*map(np.stack, zip(*chosen, strict=True)))

    # The first fifth are those where they are, the others the same ones a pixel beside.
    in_place = digits_model.Images(*(array[: len(array) // 5] for array in seen))
    return Task(
        steps,
        max(1, steps // 10),
        digits_model.init,
        lambda params, images: cross_entropy(digit_scores(params, images.pixels), images.labels),
        batches,
        in_place,
        "all training images",
        unseen,
        {"batch": digits_model.BATCH, "images": len(seen.labels), "unseen": len(unseen.labels)},
        gx.labels({"conv2/kernel": "matrices", "dense/kernel": "matrices"}, "rest"),
        lambda params: mistaken(digit_scores(params, unseen.pixels), unseen.labels),
        gx.matrix_axes({"conv2/kernel": gx.MatrixAxes((0, 1, 2), 3)}, gx.MatrixAxes()),
    )


def mnist1d(steps: int, hidden: tuple[int, ...] = (256, 256)) -> Task:
    """MNIST-1D (Greydanus & Kobak 2024, arXiv:2011.14439), made by its package, and a perceptron.

    Args:
      steps: how many of them.
      hidden: the widths of its layers between input and output.

    Raises:
      ModuleNotFoundError: the package is not installed; the error says how to.
    """
    try:
        data = importlib.import_module("mnist1d.data")
    except ModuleNotFoundError as error:
        hint = "pip install 'gradxform[benchmarks]', or leave it out with --only"
        raise ModuleNotFoundError(f"the task mnist1d: {error}; {hint}") from error
    # By the package's own seed, and offline.
    made = data.make_dataset(data.get_dataset_args())
    seen, unseen = ((made["x" + part].astype(np.float32), made["y" + part].astype(np.int32)) for part in ("", "_test"))

    def batches(seed: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        rngs = [np.random.default_rng((seed, step)) for step in range(begin, end)]
        chosen = np.stack([rng.choice(len(seen[1]), SIGNALS, replace=False) for rng in rngs])
        return seen[0][chosen], seen[1][chosen]

    sizes = (seen[0].shape[1], *hidden, 10)
    return Task(
        steps,
        max(1, steps // 20),
        lambda seed: perceptron(seed, sizes),
        lambda params, batch: cross_entropy(scores(params, batch[0]), batch[1]),
        batches,
        seen,
        "all training signals",
        unseen,
        {"batch": SIGNALS, "signals": len(seen[1]), "unseen": len(unseen[1]), "widths": list(sizes)},
        gx.labels({f"{layer}/kernel": "matrices" for layer in range(1, len(hidden))}, "rest"),
        lambda params: mistaken(scores(params, unseen[0]), unseen[1]),
    )


def perceptron(seed: Any, sizes: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    """Kernels that keep the variance of what passes through them (He et al. 2015), and biases of zero."""
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return [
        {"kernel": jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5, "bias": jnp.zeros(shape[1])}
        for key, shape in zip(keys, itertools.pairwise(sizes), strict=True)
    ]


def scores(params: list[dict[str, jax.Array]], x: jax.Array | np.ndarray) -> jax.Array:
    """A perceptron's scores of each label: (batch, features) to (batch, labels)."""
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(digits_model.connect(layer, jnp.asarray(x)))
    return digits_model.connect(last, jnp.asarray(x))


def digit_scores(params: digits_model.Params, pixels: jax.Array | np.ndarray) -> jax.Array:
    """`digits_model.logits`, whose convolutions in a loop of XLA take a CPU eight times as long."""
    x = jax.nn.relu(convolved(params["conv1"], jnp.asarray(pixels), stride=1))
    x = jax.nn.relu(convolved(params["conv2"], x, stride=2))
    x = jax.nn.relu(digits_model.connect(params["dense"], x.reshape(len(x), -1)))
    return digits_model.connect(params["logits"], x)


def convolved(layer: dict[str, jax.Array], x: jax.Array, stride: int) -> jax.Array:
    """`digits_model.convolve` of images of even width by a kernel of 3 x 3, as a product of patches and matrix."""
    rows, columns, _, outputs = layer["kernel"].shape
    # As "SAME" has it: with a stride of 2 the border is on one side.
    border = (2 - stride, 1)
    padded = jnp.pad(x, ((0, 0), border, border, (0, 0)))
    width = x.shape[1]
    shifted = [padded[:, row : row + width : stride] for row in range(rows)]
    patches = [each[:, :, column : column + width : stride] for each in shifted for column in range(columns)]
    return jnp.concatenate(patches, axis=-1) @ layer["kernel"].reshape(-1, outputs) + layer["bias"]


def cross_entropy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean of minus the logarithm of the right label's probability, of (batch, labels) and (batch,)."""
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()


def mistaken(scores: jax.Array, labels: np.ndarray) -> jax.Array:
    """The share of examples whose label does not have the highest score."""
    return (scores.argmax(axis=1) != labels).mean()


def characters(steps: int, size: characters_model.Size, windows: int = characters_model.BATCH) -> Task:
    """The text and the transformer of `characters_model.py`.

    Args:
      steps: how many of them.
      size: of the transformer.
      windows: how many of a batch's windows a step sees.
    """
    text = characters_model.load()

    def batches(seed: int, begin: int, end: int) -> np.ndarray:
        return characters_model.batches(text, seed, steps)[begin:end, :windows]

    about = {"text": text.digest, "batch": windows, "context": characters_model.CONTEXT, **size._asdict()}
    return Task(
        steps,
        10,
        lambda seed: characters_model.init(seed, text.characters, size),
        characters_model.loss,
        batches,
        text.held_out,
        "held-out text",
        text.validation,
        about,
        gx.labels({"layers/*/kernel": "matrices"}, "rest"),
    )
