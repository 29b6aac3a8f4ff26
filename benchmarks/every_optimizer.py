"""Measures the step of every optimizer against optax's, on a GPT-like tree of 27.8 million parameters.

    python benchmarks/every_optimizer.py [NAME ...] [--repeats N]

Without names, all. The ratio is our time over theirs, and the temporaries are the bytes that a step needs beside what
it is given and returns: an optimizer is marked with `slow` where its ratio is above 1.05, and with `memory` where it
needs more than optax's by half a copy of the parameters or more. Exits with 1 if any is marked.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from measuring import Pair, Steps, gpt, machine, step_times, table
from tqdm import tqdm

import gradxform as gx

SLOWEST = 1.05


def loss(tree: Any) -> jax.Array:
    """A loss for the methods that call it."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


# What each is called with. Weights decay where the optimizer has decay, so that its cost is in.
CALLS: dict[str, dict[str, Any]] = {
    **{
        name: {"learning_rate": 1e-3}
        for name in (
            *("adabelief", "adadelta", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adopt", "amsgrad"),
            *("fromage", "lars", "lion", "nadam", "nadamw", "noisy_sgd", "optimistic_adam", "optimistic_adam_v2"),
            *("optimistic_gradient_descent", "radam", "rmsprop", "rprop", "sign_sgd", "signum", "sm3", "yogi"),
        )
    },
    **{
        name: {"learning_rate": 1e-3, "weight_decay": 1e-4}
        for name in ("acprop", "adan", "ademamix", "lamb", "madgrad", "novograd", "simplified_ademamix")
    },
    **{
        name: {"weight_decay": 1e-4}
        for name in ("cocob", "dadapt_adamw", "dog", "dowg", "momo", "momo_adam", "prodigy")
    },
    "adafactor": {"learning_rate": 1e-3},
    "mechanize": {},
    "polyak_sgd": {},
    "sgd": {"learning_rate": 1e-3, "momentum": 0.9},
    "sophia": {"learning_rate": 1e-3},
}
EXTRA: dict[str, dict[str, Any]] = {
    **{name: {"value": 1.0} for name in ("momo", "momo_adam", "polyak_sgd")},
    "sophia": {"obj_fn": loss},
}


def pair(name: str) -> Pair:
    """An optimizer of ours and of optax's."""
    theirs = getattr(optax, name, None) or getattr(optax.contrib, name)
    with warnings.catch_warnings():
        # Of what is deprecated there, and of keys that are not given.
        warnings.simplefilter("ignore")
        if name == "mechanize":
            return gx.mechanize(gx.adamw(1.0)), theirs(optax.adamw(1.0))
        return getattr(gx, name)(**CALLS[name]), theirs(**CALLS[name])


def faults(steps: Steps, size: int) -> list[str]:
    """What is worse than optax's."""
    ours, theirs = steps.temporaries
    return [
        *(["slow"] if steps.ratio > SLOWEST else []),
        *(["memory"] if ours > theirs + size / 2 else []),
    ]


def chosen(description: str, repeats: str, default: int) -> argparse.Namespace:
    """The names of optimizers on the command line, all without any, and how often each is measured."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(sorted(CALLS))}")
    parser.add_argument("--repeats", type=int, default=default, help=f"{repeats} (default: {default})")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CALLS)):
        parser.error(f"no optimizer is called {', '.join(unknown)}")
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    arguments.names = arguments.names or sorted(CALLS)
    return arguments


def main() -> None:
    """Measures and prints the table."""
    arguments = chosen("Measures every optimizer's step against optax's.", "steps of each that are timed", 21)
    print(machine())

    shapes = gpt()
    size = 4 * sum(map(prod, shapes))
    rows = []
    for name in (progress := tqdm(arguments.names, leave=False)):
        progress.set_description(name)
        steps = step_times(pair(name), shapes, arguments.repeats, **EXTRA.get(name, {}))
        ms = " / ".join(f"{duration * 1e3:.1f}" for duration in steps.seconds)
        memory = " / ".join(f"{bytes / 1e6:.1f}" for bytes in steps.temporaries)
        rows.append([name, ms, f"{steps.ratio:.2f}", memory, ", ".join(faults(steps, size))])
    title = f"A step over {len(shapes)} leaves, {size / 4e6:.1f}M parameters, of {size / 1e6:.0f} MB"
    table(title, ["optimizer", "ms", "ratio", "temporaries, MB", "worse"], rows)
    sys.exit(any(row[-1] for row in rows))


if __name__ == "__main__":
    main()
