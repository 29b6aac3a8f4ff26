"""What `storage.py` trains: three tasks, and the ways in which parameters and state are kept.

Each task has its network, its data, and AdamW with a schedule that falls to 0, all of them the same for every way. The
network computes in float32 from the parameters as they are kept, so that gradients come in the dtype of the parameters
and ways differ in nothing but in what is kept between steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import characters_model
import jax.numpy as jnp
import tasks
from evidence_methods import CENTRE, adamw, schedule

import gradxform as gx

# Half of a batch of the characters.
WINDOWS = 8


class Training(NamedTuple):
    """What is trained, and how.

    Attributes:
      task: network and data.
      tx: the transform, with everything in float32.
    """

    task: tasks.Task
    tx: gx.Transform


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


def digits(steps: int) -> Training:
    """The digits, with the AdamW of the demo."""
    rates = gx.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, steps)
    return Training(tasks.digits(steps), gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(rates, weight_decay=1e-2)))


def mnist1d(steps: int) -> Training:
    """MNIST-1D, with a perceptron of two hidden layers.

    Raises:
      ModuleNotFoundError: its package is not installed; the error says how to.
    """
    return Training(tasks.mnist1d(steps), gx.adamw(schedule(3e-3, steps), weight_decay=1e-2))


def language(steps: int) -> Training:
    """The larger transformer that reads characters, half of each batch, and AdamW with its best rate for whole ones."""
    task = tasks.characters(steps, characters_model.LARGE, WINDOWS)
    return Training(task, adamw(CENTRE, 0.95, task))


# What makes each task of its steps, and how many they are.
TASKS: dict[str, tuple[Callable[[int], Training], int]] = {
    "mnist1d": (mnist1d, 1000),
    "characters": (language, 150),
    "digits": (digits, 150),
}
