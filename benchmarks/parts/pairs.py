"""What is measured: chains that people use, and every optimizer that both have, ours beside optax's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from measuring import Pair

import gradxform as gx
from parts.trees import Tree

RATE = 1e-3
# Micro-steps of a real step, and of a program of the chains that accumulate.
EVERY = 4
# A number of micro-steps that no run comes to, so that each of them waits.
NEVER = 10**9


class Chain(NamedTuple):
    """A chain that people use.

    Attributes:
      make: makes ours and optax's for a tree.
      torch: how torch is called for the same, one of `torches.STEPS`; None where it has no one call.
      takes: the trees over which it is measured without `--full`, by name.
      grad_reads: how often a step has to read the gradients: twice where a norm of all comes before their first use.
      micro_steps: how many are done in one program; times are of one.
      due: how many of these are real steps.
      beside: what is compared, where the names of the chain do not say it.
    """

    make: Callable[[Tree], Pair]
    torch: str | None = None
    takes: tuple[str, ...] = ("one", "gpt", "resnet", "many")
    grad_reads: int = 1
    micro_steps: int = 1
    due: int = 1
    beside: str = ""


def _muon(tree: Tree) -> Pair:
    def axes(params: Any) -> Any:
        return list(tree.matrices)

    ours = gx.muon(RATE, muon_weight_dimension_numbers=axes)
    return ours, optax.contrib.muon(RATE, muon_weight_dimension_numbers=axes)


def _accumulating(every: int) -> Pair:
    theirs = optax.MultiSteps(optax.adamw(RATE), every).gradient_transformation()
    return gx.accumulate(gx.adamw(RATE), every), theirs


CLIP_ADAMW: Pair = (
    gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(RATE)),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE)),
)
ADAMW: Pair = (gx.adamw(RATE), optax.adamw(RATE))
CHAINS = {
    "clip and adamw": Chain(lambda tree: CLIP_ADAMW, "clip and adamw", grad_reads=2),
    "adamw": Chain(lambda tree: ADAMW, "adamw"),
    "sgd, momentum": Chain(lambda tree: (gx.sgd(RATE, 0.9), optax.sgd(RATE, 0.9)), "sgd, momentum"),
    "accumulate adamw": Chain(
        lambda tree: _accumulating(EVERY),
        takes=("gpt",),
        micro_steps=EVERY,
        beside=f"MultiSteps; {EVERY} micro-steps in one program, of which one is due; times are of a micro-step",
    ),
    "accumulate adamw, waiting": Chain(
        lambda tree: _accumulating(NEVER),
        takes=("gpt",),
        micro_steps=EVERY,
        due=0,
        beside=f"MultiSteps; {EVERY} micro-steps in one program, none of which is due; times are of a micro-step",
    ),
    "muon with adamw": Chain(
        _muon, takes=("gpt",), beside="contrib.muon; embeddings, heads, norms and biases are adamw's"
    ),
    "adamw in int8": Chain(
        lambda tree: (gx.stored(gx.adamw(RATE), gx.int8()), optax.adamw(RATE)),
        takes=("gpt",),
        beside="adamw of optax, whose state is float32",
    ),
}


def loss(tree: Any) -> jax.Array:
    """A loss for the methods that call it."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


# What each optimizer is called with. Weights decay where the optimizer has decay, so that its cost is in. Left out of
# those that both have: dpsgd, which takes a gradient of each example; lbfgs, which is optax's here too; galore, whose
# decompositions are LAPACK's in both; lookahead, whose parameters are two sets.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    **{
        name: {"learning_rate": RATE}
        for name in (
            *("adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adopt"),
            *("amsgrad", "fromage", "lars", "lion", "nadam", "nadamw", "noisy_sgd", "optimistic_adam"),
            *("optimistic_adam_v2", "optimistic_gradient_descent", "radam", "rmsprop", "rprop", "schedule_free_adamw"),
            *("schedule_free_sgd", "sign_sgd", "signum", "sm3", "sophia", "yogi"),
        )
    },
    **{
        name: {"learning_rate": RATE, "weight_decay": 1e-4}
        for name in ("acprop", "adan", "ademamix", "lamb", "madgrad", "novograd", "simplified_ademamix")
    },
    **{
        name: {"weight_decay": 1e-4}
        for name in ("cocob", "dadapt_adamw", "dog", "dowg", "momo", "momo_adam", "prodigy")
    },
    "mechanize": {},
    "muon": {},
    "polyak_sgd": {},
    "sam": {},
    "sgd": {"learning_rate": RATE, "momentum": 0.9},
}
EXTRA: dict[str, dict[str, Any]] = {
    **{name: {"value": 1.0} for name in ("momo", "momo_adam", "polyak_sgd")},
    "sophia": {"obj_fn": loss},
}


def optimizer(name: str, tree: Tree) -> Pair:
    """An optimizer of ours and of optax's."""
    if name == "muon":
        return _muon(tree)
    with warnings.catch_warnings():
        # Of what is deprecated there, and of keys that are not given.
        warnings.simplefilter("ignore")
        theirs = getattr(optax, name, None) or getattr(optax.contrib, name)
        if name == "mechanize":
            return gx.mechanize(gx.adamw(1.0)), theirs(optax.adamw(1.0))
        if name == "sam":
            # The adversary goes up by a normalized step; the second of two steps is the optimizer's.
            ours = gx.sam(gx.sgd(RATE), gx.chain(gx.normalize_by_update_norm(), gx.sgd(0.05)))
            return ours, theirs(optax.sgd(RATE), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)))
        return getattr(gx, name)(**OPTIMIZERS[name]), theirs(**OPTIMIZERS[name])
