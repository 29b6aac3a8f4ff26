"""The handwritten digits of scikit-learn, and a small convolutional network in plain JAX that reads them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sklearn.datasets import load_digits

BATCH = 128

Params = dict[str, dict[str, jax.Array]]


class Images(NamedTuple):
    """Pictures of shape (count, 8, 8, 1) with values in [0, 1], and the digit that each one shows."""

    pixels: np.ndarray
    labels: np.ndarray


def load() -> tuple[Images, Images]:
    """The images to learn from and, apart from them, 360 to be tested with."""
    digits: Any = load_digits()
    pixels = digits.images[..., np.newaxis].astype(np.float32) / 16
    labels = digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(labels))
    unseen, seen = order[:360], order[360:]
    return with_neighbours(Images(pixels[seen], labels[seen])), Images(pixels[unseen], labels[unseen])


def with_neighbours(images: Images) -> Images:
    """Each image five times: where it is, and a pixel higher, lower, to the left and to the right.

    A digit is the same wherever it stands; to show that halves the errors on the test images.
    """
    padded = np.pad(images.pixels, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    moved = [padded[:, row : row + 8, column : column + 8] for row, column in corners]
    return Images(np.concatenate(moved), np.tile(images.labels, len(corners)))


def batch(images: Images, step: int) -> Images:
    """The images of a step. The step alone decides, so that every run sees the same ones, also one that is resumed."""
    chosen = np.random.default_rng(step).choice(len(images.labels), BATCH, replace=False)
    return Images(images.pixels[chosen], images.labels[chosen])


def init(seed: int = 0) -> Params:
    """Kernels that keep the variance of what passes through them (He et al. 2015), and biases of zero."""
    shapes = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 32), "dense": (4 * 4 * 32, 64), "logits": (64, 10)}
    he_normal = jax.nn.initializers.he_normal()
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        name: {"kernel": he_normal(key, shape), "bias": jnp.zeros(shape[-1])}
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def logits(params: Params, pixels: jax.Array) -> jax.Array:
    """The network: 8 x 8 pixels, 8 x 8 x 16, 4 x 4 x 32, 64, and a score for each digit."""
    x = jax.nn.relu(convolve(params["conv1"], pixels, stride=1))
    x = jax.nn.relu(convolve(params["conv2"], x, stride=2))
    x = jax.nn.relu(connect(params["dense"], x.reshape(len(x), -1)))
    return connect(params["logits"], x)


def convolve(layer: dict[str, jax.Array], x: jax.Array, stride: int) -> jax.Array:
    """A convolution over images in the order (image, row, column, channel)."""
    order = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(x, layer["kernel"], (stride, stride), "SAME", dimension_numbers=order)
    return out + layer["bias"]


def connect(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """A fully connected layer."""
    return x @ layer["kernel"] + layer["bias"]


def cross_entropy(params: Params, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss in nats: the mean of minus the logarithm of the probability that the right digit is given."""
    log_probabilities = jax.nn.log_softmax(logits(params, pixels))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


@jax.jit
def accuracy(params: Params, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of images whose digit has the highest score."""
    return (logits(params, pixels).argmax(axis=1) == labels).mean()
