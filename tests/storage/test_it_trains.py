"""Training with state and parameters in fewer bits ends where float32 ends; with plain bfloat16 parameters it does not.

A small version of `benchmarks/storage.py`: a perceptron reads scikit-learn's digits. Losses are compared by the
standard error of float32's mean over five seeds, all of which are trained in one program.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from sklearn.datasets import load_digits

import gradxform as gx

SEEDS, STEPS, BATCH = 5, 200, 32
# 64 x 64 elements are the fewest that `stored` keeps by a codec.
WIDTH = 64

ADAMW = gx.adamw(gx.linear_schedule(7e-3, 0.0, STEPS), weight_decay=1e-2)
WAYS = {
    "float32": (jnp.float32, ADAMW),
    "int8": (jnp.float32, gx.stored(ADAMW, gx.int8())),
    "int4": (jnp.float32, gx.stored(ADAMW, gx.int4())),
    "int4, to the nearest": (jnp.float32, gx.stored(ADAMW, gx.int4(stochastic=False))),
    "preset": (jnp.bfloat16, gx.split_weights(gx.stored(ADAMW, gx.int8()), bits=8)),
    "stochastic rounding": (jnp.bfloat16, gx.stochastic_rounding(ADAMW)),
    "plain bfloat16": (jnp.bfloat16, ADAMW),
}


def first(seed):
    hidden, out = jax.random.split(jax.random.key(seed))
    scale = (2 / WIDTH) ** 0.5
    return {
        "hidden": scale * jax.random.normal(hidden, (64, WIDTH)),
        "out": scale * jax.random.normal(out, (WIDTH, 10)),
    }


def loss(params, pixels, labels):
    """The network computes in float32, so that gradients come in the dtype of the parameters."""
    params = cast(params, jnp.float32)
    scores = jax.nn.log_softmax(jax.nn.relu(pixels @ params["hidden"]) @ params["out"])
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


@pytest.fixture(scope="module")
def losses():
    """The final loss of each seed, for each way of keeping."""
    digits = load_digits()
    pixels, labels = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target, jnp.int32)
    orders = np.stack([np.random.default_rng(seed).integers(len(labels), size=(STEPS, BATCH)) for seed in range(SEEDS)])

    def trained(dtype, tx, seed, order):
        def step(carry, batch):
            params, state = carry
            grads = jax.grad(loss)(params, pixels[batch], labels[batch])
            return tx.step(grads, state, params), None

        params = cast(first(seed), dtype)
        (params, _), _ = lax.scan(step, (params, tx.init(params)), order)
        return loss(params, pixels, labels)

    @jax.jit
    def all_ways(seeds, orders):
        return {way: jax.vmap(partial(trained, *kept))(seeds, orders) for way, kept in WAYS.items()}

    return jax.device_get(all_ways(jnp.arange(SEEDS), orders))


def in_errors(losses, way):
    """How much higher than float32's the mean loss is, in standard errors of that."""
    base = losses["float32"]
    return (losses[way].mean() - base.mean()) / (base.std(ddof=1) / SEEDS**0.5)


def test_float32_trains(losses):
    # Before the first step it is at least log 10, that of who knows nothing.
    assert losses["float32"].max() < 0.2


# Not more than 2, as is asked of the whole benchmark; 1 at most was seen, since seeds are the same for all.
@pytest.mark.parametrize("way", ["int8", "int4", "preset", "stochastic rounding"])
def test_fewer_bits_end_where_float32_ends(losses, way):
    assert abs(in_errors(losses, way)) <= 2


def test_int4_to_the_nearest_ends_no_higher_than_float32(losses):
    # Rounded to the nearest of so few codes a running mean of squares hardly takes in what is new, and shrinks: steps
    # are longer, and where the loss still falls they may take it lower.
    assert in_errors(losses, "int4, to the nearest") <= 2


def test_plain_bfloat16_ends_higher(losses):
    # Each seed by itself, so that the others could be told from float32 if they were as bad.
    assert in_errors(losses, "plain bfloat16") > 4
    assert (losses["plain bfloat16"] > losses["float32"]).all()
