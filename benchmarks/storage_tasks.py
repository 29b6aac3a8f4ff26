"""What `storage.py` trains: three tasks, and the ways in which parameters and state are kept.

Each task has its network, its data, and AdamW with a schedule that falls to 0, all of them the same for every way. The
network computes in float32 from the parameters as they are kept, so that gradients come in the dtype of the parameters
and ways differ in nothing but in what is kept between steps.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import characters
import characters_model
import jax
import jax.numpy as jnp
import numpy as np
from characters_runs import schedule

import gradxform as gx

# The demo's network and its images are those of the examples.
sys.path.append(str(Path(__file__).parents[1] / "examples"))
import digits_model

WIDTH = 256
BATCH = 100
WINDOWS = 8


class Task(NamedTuple):
    """What is trained, and on what.

    Attributes:
      steps: how many of them.
      every: after how many the losses are taken.
      tx: the transform, with everything in float32.
      init: parameters of a seed.
      loss: of parameters and a batch.
      batches: what a seed's steps see, from one step to another, with the steps as the first axis.
      judged: what the final loss is taken of.
      judged_is: in words.
      held_out: what was never trained on.
    """

    steps: int
    every: int
    tx: gx.Transform
    init: Callable[[Any], Any]
    loss: Callable[[Any, Any], jax.Array]
    batches: Callable[[int, int, int], Any]
    judged: Any
    judged_is: str
    held_out: Any


class Way(NamedTuple):
    """How parameters and state are kept.

    Attributes:
      dtype: of the parameters.
      wrap: what becomes of the transform.
    """

    dtype: Any
    wrap: Callable[[gx.Transform], gx.Transform]


def as_it_is(tx: gx.Transform) -> gx.Transform:
    """The transform."""
    return tx


def in_int8(tx: gx.Transform) -> gx.Transform:
    """Slots of 8 bits."""
    return gx.stored(tx, gx.int8())


BASELINE, CONTROL = "float32", "bfloat16, plain"
WAYS = {
    BASELINE: Way(jnp.float32, as_it_is),
    "int8 slots": Way(jnp.float32, in_int8),
    "int4 slots": Way(jnp.float32, lambda tx: gx.stored(tx, gx.int4())),
    "int4 slots, to the nearest": Way(jnp.float32, lambda tx: gx.stored(tx, gx.int4(stochastic=False))),
    "the preset": Way(jnp.bfloat16, lambda tx: gx.split_weights(in_int8(tx), bits=8)),
    "stochastic rounding": Way(jnp.bfloat16, gx.stochastic_rounding),
    CONTROL: Way(jnp.bfloat16, as_it_is),
}
# In which the parameters are those of float32.
SLOTS = ("int8 slots", "int4 slots", "int4 slots, to the nearest")


def digits(steps: int) -> Task:
    """The demo of `examples/digits.py`: a small convolutional network and the handwritten digits of scikit-learn."""
    seen, unseen = digits_model.load()

    def batches(seed: int, begin: int, end: int) -> digits_model.Images:
        chosen = [digits_model.batch(seen, seed * steps + step) for step in range(begin, end)]
        return digits_model.Images(*map(np.stack, zip(*chosen, strict=True)))

    # The first fifth are those where they are, the others the same ones a pixel beside.
    in_place = digits_model.Images(*(array[: len(array) // 5] for array in seen))
    rates = gx.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, steps)
    return Task(
        steps,
        max(1, steps // 10),
        gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(rates, weight_decay=1e-2)),
        digits_model.init,
        lambda params, images: digits_model.cross_entropy(params, *images),
        batches,
        in_place,
        "all training images",
        unseen,
    )


def mnist1d(steps: int) -> Task:
    """MNIST-1D (Greydanus & Kobak 2024, arXiv:2011.14439), made by its package, and a perceptron of two hidden layers.

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
        chosen = np.stack([rng.choice(len(seen[1]), BATCH, replace=False) for rng in rngs])
        return seen[0][chosen], seen[1][chosen]

    return Task(
        steps,
        max(1, steps // 20),
        gx.adamw(schedule(3e-3, steps), weight_decay=1e-2),
        perceptron,
        perceptron_loss,
        batches,
        seen,
        "all training signals",
        unseen,
    )


def perceptron(seed: int, sizes: tuple[int, ...] = (40, WIDTH, WIDTH, 10)) -> list[dict[str, jax.Array]]:
    """Kernels that keep the variance of what passes through them (He et al. 2015), and biases of zero."""
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return [
        {"kernel": jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5, "bias": jnp.zeros(shape[1])}
        for key, shape in zip(keys, itertools.pairwise(sizes), strict=True)
    ]


def perceptron_loss(params: list[dict[str, jax.Array]], batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The mean of minus the logarithm of the right label's probability, of (batch, features) and (batch,)."""
    x, labels = batch
    for layer in params[:-1]:
        x = jax.nn.relu(digits_model.connect(layer, x))
    log_probabilities = jax.nn.log_softmax(digits_model.connect(params[-1], x))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


def language(steps: int) -> Task:
    """The model and the text of `characters.py`, half of each batch, and AdamW with the best rate of there."""
    text = characters_model.load()

    def batches(seed: int, begin: int, end: int) -> np.ndarray:
        return characters_model.batches(text, seed, steps)[begin:end, :WINDOWS]

    return Task(
        steps,
        10,
        characters.transform("adamw", 2.0**-8, steps),
        lambda seed: characters_model.init(seed, text.characters),
        characters_model.loss,
        batches,
        text.held_out,
        "held-out text",
        text.validation,
    )


# What makes each task of its steps, and how many they are.
TASKS: dict[str, tuple[Callable[[int], Task], int]] = {
    "mnist1d": (mnist1d, 1000),
    "characters": (language, 150),
    "digits": (digits, 150),
}
