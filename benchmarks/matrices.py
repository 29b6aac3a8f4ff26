"""Measures a step of the matrix methods on a CPU, each beside its floor, and Muon against optax's.

    python benchmarks/matrices.py [NAME ...] [--repeats N] [--every K]

24 matrices of 384 x 384 and 12 of 384 x 1536, float32. Preconditioners are refreshed every k steps. In a round each
method does k steps, of which one is due, one method after the other; of all rounds medians count. The first round
warms up.

The floor is the time of the matrix products that a step must do, those of a refresh shared by k steps, each product as
fast as it was measured in this run. Decompositions and triangular systems are no products: they come on top of it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from measuring import machine, run, seconds, step_of, table
from parts import build
from tqdm import tqdm

import gradxform as gx

RATE = 1e-3
SQUARE, WIDE = (384, 384), (384, 1536)
SHAPES = [SQUARE] * 24 + [WIDE] * 12


class Products(NamedTuple):
    """How many products of an n x m matrix, n <= m, by the sizes of what is multiplied.

    Attributes:
      nnn: n x n by n x n, and mmm alike.
      nnm: n x n by n x m, or n x m by m x n.
      nmm: n x m by m x m, or m x n by n x m.
    """

    nnn: float = 0.0
    nnm: float = 0.0
    nmm: float = 0.0
    mmm: float = 0.0

    def plus(self, other: Products, share: float) -> Products:
        """These, and a share of others."""
        return Products(*(own + share * more for own, more in zip(self, other, strict=True)))


class Method(NamedTuple):
    """What is measured.

    Attributes:
      make: makes the transform, of k.
      always: the products of every step.
      due: those of a refresh besides.
      wide: those of every step for wide matrices, where they are others.
    """

    make: Callable[[int], optax.GradientTransformation]
    always: Products
    due: Products = Products()
    wide: Products | None = None


# Of a step of Newton-Schulz x x^T, its square and the product with x. In the Gram form, with one restart, which is less
# for wide matrices: x x^T and the product with x twice, and 14 of what is n x n between.
PLAIN, GRAM = Products(nnn=5, nnm=10), Products(nnn=14, nnm=4)
METHODS = {
    "muon": Method(lambda k: gx.muon(RATE), PLAIN, wide=GRAM),
    "optax muon": Method(lambda k: optax.contrib.muon(RATE), PLAIN, wide=GRAM),
    # g and its mean into the bases, the update back, L and R; then both times their bases.
    "soap": Method(lambda k: gx.soap(RATE, precondition_frequency=k), Products(nnm=4, nmm=4), Products(nnn=1, mmm=1)),
    # L and R, and the roots on both sides; then the roots of their eigenvectors.
    "shampoo": Method(
        lambda k: gx.shampoo(RATE, b2=0.99, precondition_frequency=k, block_size=2048),
        Products(nnm=2, nmm=2),
        Products(nnn=1, mmm=1),
    ),
    # The mean there and back, what L and R see, L and R, and the rest of c; then both times their bases.
    "kl_shampoo": Method(
        lambda k: gx.kl_shampoo(RATE, precondition_frequency=k), Products(nnm=5, nmm=4), Products(nnn=1, mmm=1)
    ),
    # Two factors on each side; then a, the products of a and of b, and the changes of Q.
    "psgd_kron": Method(
        lambda k: gx.psgd_kron(RATE, precondition_frequency=k),
        Products(nnm=2, nmm=2),
        Products(nnn=1, nnm=3, nmm=3, mmm=1),
    ),
}


def product_seconds(shape: tuple[int, int], repeats: int) -> Products:
    """How long each product takes, the mean over as many as there are matrices of the shape, of different factors."""
    count, rng = SHAPES.count(shape), np.random.default_rng(0)

    def each(rows: int, inner: int, columns: int) -> float:
        sizes = ((count, rows, inner), (count, inner, columns))
        pair = [jnp.asarray(rng.standard_normal(size), jnp.float32) for size in sizes]
        # One after the other, each with all cores.
        multiply = jax.jit(lambda left, right: jax.lax.map(lambda pair: pair[0] @ pair[1], (left, right)))
        run(multiply, *pair)
        return statistics.median(seconds(partial(run, multiply, *pair))[0] for _ in range(repeats)) / count

    n, m = shape
    return Products(each(n, n, n), each(n, n, m), each(n, m, m), each(m, m, m))


def floor(method: Method, every: int, times: dict[tuple[int, int], Products]) -> tuple[float, float]:
    """The seconds of the products of a step, and how many floating-point operations they are."""
    total = operations = 0.0
    for n, m in SHAPES:
        products = method.wide if method.wide and m > n else method.always
        counts = products.plus(method.due, 1 / every)
        work = Products(2 * n**3, 2 * n * n * m, 2 * n * m * m, 2 * m**3)
        total += sum(count * time for count, time in zip(counts, times[n, m], strict=True))
        operations += sum(count * each for count, each in zip(counts, work, strict=True))
    return total, operations


def step_seconds(names: list[str], every: int, repeats: int) -> dict[str, list[list[float]]]:
    """For each method the seconds of the k steps of each round."""
    rng = np.random.default_rng(0)
    first, grads = ([jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in SHAPES] for _ in range(2))
    steps, carries = {}, {}
    for name in tqdm(names, desc="compile", leave=False):
        tx, params = METHODS[name].make(every), jax.tree.map(jnp.copy, first)
        state = jax.tree.map(jnp.copy, tx.init(params))
        steps[name] = jax.jit(step_of(tx), donate_argnums=(0, 1)).lower(params, state, grads).compile()
        carries[name] = params, state
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in tqdm(range(1 + repeats), desc="rounds", leave=False):
        for name in names:
            round_: list[float] = []
            for _ in range(every):
                duration, carries[name] = seconds(partial(run, steps[name], *carries[name], grads))
                round_.append(duration)
            if turn:
                taken[name].append(round_)
    return taken


def row(name: str, rounds: list[list[float]], every: int, times: Any) -> list[str]:
    """A line of the table. The first step of a round is the one that is due."""
    mean = statistics.median(statistics.mean(each) for each in rounds)
    due = statistics.median(each[0] for each in rounds)
    waiting = statistics.median(step for each in rounds for step in each[1:] or each)
    least, operations = floor(METHODS[name], every, times)
    numbers = [f"{1e3 * each:.0f}" for each in (mean, waiting, due, least)]
    return [name, *numbers, f"{mean / least:.2f}", f"{operations / 1e9:.0f}"]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(METHODS)}; without any, all")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of k steps (default: 5)")
    parser.add_argument("--every", type=int, default=10, help="k (default: 10)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in METHODS]:
        parser.error(f"there is no {', '.join(unknown)}")
    if min(arguments.repeats, arguments.every) < 1:
        parser.error("--repeats and --every must be at least 1")
    names, every = arguments.names or list(METHODS), arguments.every

    print(machine())
    times = {shape: product_seconds(shape, arguments.repeats) for shape in (SQUARE, WIDE)}
    taken = step_seconds(names, every, arguments.repeats)
    head = ["method", "step, ms", "not due", "due", "floor", "step / floor", "GFLOP of products"]
    table(f"A step, the mean of {every}", head, [row(name, taken[name], every, times) for name in names])
    if {"muon", "optax muon"} <= {*names}:
        pair = METHODS["muon"].make(every), METHODS["optax muon"].make(every)
        built = build.taken(pair, SHAPES, arguments.repeats, compiles=False)
        rows = []
        for stage in ("trace", "lower", build.BOTH):
            ours, theirs = (statistics.median(own[stage]) for own in built)
            rows.append([stage, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"])
        table("Muon before it is compiled, seconds", ["", "ours", "optax", "ratio"], rows)


if __name__ == "__main__":
    main()
