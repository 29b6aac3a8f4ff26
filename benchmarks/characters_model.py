"""A text and a model of it: help pages that ship with Python, and a small transformer in plain JAX.

The text is the prose of `pydoc_data.topics`, what `help("lambda")` and the like show: the topics in alphabetical order,
as paragraphs, each paragraph once, since many topics repeat those of others and what is held out must not be seen in
training. In Python 3.11.7 that is 376,677 characters of 103 kinds; other versions of Python have slightly other pages,
so that a digest of the text goes into the results. It is cut into blocks of 2048 characters, of which every tenth is
held out for the results, and the one before it for the choice of settings; the other eight are for training.
"""

from __future__ import annotations

import hashlib
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

HEADS = 4
CONTEXT = 64
BATCH = 16
BLOCK = 2048
HELD_OUT_WINDOWS = 64

Params = dict[str, Any]


class Size(NamedTuple):
    """How large the model is; its MLPs are four times as wide."""

    width: int
    layers: int


# 1,010,816 parameters, and 210,368, whose step takes a CPU a third of the time.
LARGE, SMALL = Size(128, 5), Size(64, 4)


class Text(NamedTuple):
    """The text, a number for each character.

    Attributes:
      training: (characters,).
      validation, held_out: windows of CONTEXT + 1 characters, evenly over their blocks.
      characters: how many kinds there are.
      digest: of the whole text.
    """

    training: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    characters: int
    digest: str


def load() -> Text:
    """The text in its three parts."""
    paragraphs = (paragraph for name in sorted(topics) for paragraph in topics[name].split("\n\n"))
    # A dict keeps the first of each, in order.
    whole = "\n\n".join(dict.fromkeys(paragraph for paragraph in paragraphs if paragraph.strip()))
    kinds, numbers = np.unique(np.array(list(whole)), return_inverse=True)
    blocks = np.array_split(numbers.astype(np.int32), range(BLOCK, len(numbers), BLOCK))
    training = [block for index, block in enumerate(blocks) if index % 10 < 8]
    return Text(
        np.concatenate(training),
        windows(blocks[8::10]),
        windows(blocks[9::10]),
        len(kinds),
        hashlib.sha256(whole.encode()).hexdigest()[:16],
    )


def windows(blocks: list[np.ndarray]) -> np.ndarray:
    """HELD_OUT_WINDOWS windows of shape (CONTEXT + 1,), none of which reaches over the end of its block."""
    cut = np.concatenate([block[: len(block) // (CONTEXT + 1) * (CONTEXT + 1)] for block in blocks])
    rows = cut.reshape(-1, CONTEXT + 1)
    return rows[np.linspace(0, len(rows) - 1, HELD_OUT_WINDOWS).astype(int)]


def batches(text: Text, seed: int, steps: int) -> np.ndarray:
    """The windows that a run sees, (steps, BATCH, CONTEXT + 1): the seed alone decides, so all methods see the same."""
    rng = np.random.default_rng(seed)
    begins = rng.integers(len(text.training) - CONTEXT, size=(steps, BATCH, 1))
    return text.training[begins + np.arange(CONTEXT + 1)]


def init(seed: int, characters: int, size: Size = LARGE) -> Params:
    """Normal kernels of standard deviation 1 / sqrt(inputs), smaller by sqrt(2 layers) where they add to the stream.

    That keeps the variance of the residual stream as layers are added (Radford et al. 2019, section 2.3).
    """
    width, layers = size
    keys = iter(jax.random.split(jax.random.key(seed), 2 + 6 * layers))

    def kernel(inputs: int, outputs: int, scale: float = 1.0) -> dict[str, jax.Array]:
        return {"kernel": scale * inputs**-0.5 * jax.random.normal(next(keys), (inputs, outputs))}

    def norm() -> dict[str, jax.Array]:
        return {"scale": jnp.ones(width)}

    onto_stream = (2 * layers) ** -0.5
    return {
        "embedding": jax.random.normal(next(keys), (characters, width)),
        "layers": [
            {
                "attention_norm": norm(),
                "attention": {
                    **{name: kernel(width, width) for name in ("q", "k", "v")},
                    "out": kernel(width, width, onto_stream),
                },
                "mlp_norm": norm(),
                "mlp": {"up": kernel(width, 4 * width), "down": kernel(4 * width, width, onto_stream)},
            }
            for _ in range(layers)
        ],
        "norm": norm(),
        "head": kernel(width, characters),
    }


def logits(params: Params, inputs: jax.Array) -> jax.Array:
    """A decoder-only transformer with norms before its layers: (batch, CONTEXT) to (batch, CONTEXT, characters)."""
    x = params["embedding"][inputs]
    for layer in params["layers"]:
        x = x + attention(layer["attention"], normalized(layer["attention_norm"], x))
        # The square of a ReLU (So et al. 2021, arXiv:2109.08668) costs a CPU less than GELU.
        hidden = jnp.square(jax.nn.relu(normalized(layer["mlp_norm"], x) @ layer["mlp"]["up"]["kernel"]))
        x = x + hidden @ layer["mlp"]["down"]["kernel"]
    return normalized(params["norm"], x) @ params["head"]["kernel"]


def normalized(norm: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6) * norm["scale"]


def attention(layer: dict[str, dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """Causal attention over (batch, CONTEXT, width)."""
    q, k, v = ((x @ layer[name]["kernel"]).reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2) for name in ("q", "k", "v"))
    scores = rotated(q) @ rotated(k).swapaxes(-1, -2) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(jnp.tri(CONTEXT, dtype=bool), scores, -jnp.inf))
    return (weights @ v).swapaxes(1, 2).reshape(x.shape) @ layer["out"]["kernel"]


def rotated(x: jax.Array) -> jax.Array:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864) of (batch, HEADS, CONTEXT, width of a head)."""
    angles = np.outer(np.arange(CONTEXT), 1e4 ** -np.linspace(0, 1, x.shape[-1] // 2, endpoint=False))
    turn = jnp.asarray(np.exp(1j * angles), jnp.complex64)
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * turn.real - right * turn.imag, left * turn.imag + right * turn.real], axis=-1)


def loss(params: Params, windows: jax.Array) -> jax.Array:
    """The mean of minus the logarithm of each next character's probability, in nats, of (batch, CONTEXT + 1)."""
    log_probabilities = jax.nn.log_softmax(logits(params, windows[:, :-1]))
    return -jnp.take_along_axis(log_probabilities, windows[:, 1:, None], axis=-1).mean()
