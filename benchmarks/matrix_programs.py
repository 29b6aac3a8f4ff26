"""Compiles a step of Muon for pods of TPU v5e that are not there, and counts: ours beside optax's.

    python benchmarks/matrix_programs.py [--pods 8x8 16x16] [--without-optax] [--json FILE]

A transformer of width 4096 with 32 stacked layers, 6.4B parameters in four stacks, sharded over all chips along an axis
of the matrices. Exits with 1 where a number of ours is above its limit, as `LIMITS` say. Compiling takes about a minute
for 64 chips and several for 256.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from measuring import table
from program_machines import pod
from tqdm import tqdm

import gradxform as gx

WIDTH, LAYERS = 4096, 32
SHAPES = {
    "qkv": (LAYERS, WIDTH, 3 * WIDTH),
    "out": (LAYERS, WIDTH, WIDTH),
    "up": (LAYERS, WIDTH, 4 * WIDTH),
    "down": (LAYERS, 4 * WIDTH, WIDTH),
}


class Limit(NamedTuple):
    """What ours may take on a pod.

    Attributes:
      temporaries: gigabytes a chip.
      operations: of an even share of all products, where there are more matrices than chips.
      cycles: of a chip.
    """

    temporaries: float = 2.0
    operations: float | None = None
    cycles: float | None = None


# optax's step on 64 chips is 856M cycles to the compiler of jaxlib 0.12; that of 0.10 refuses it, for want of memory.
LIMITS = {"8x8": Limit(operations=1.4, cycles=0.19 * 856e6), "16x16": Limit()}


class Counts(NamedTuple):
    """What is counted of a compiled step, of one chip.

    Attributes:
      temporaries: bytes.
      seconds: that it took to compile.
      operations: floating-point, of which products are nearly all. None, as the rest: it has not the memory.
      cycles: XLA's estimate.
      moved: bytes that it gives to others or gets, whichever is more.
      collectives: how many exchanges there are.
    """

    temporaries: int
    seconds: float
    operations: float | None = None
    cycles: int | None = None
    moved: int | None = None
    collectives: int | None = None


def even_share(chips: int, steps: int = 5) -> float:
    """The operations of a chip if all products of all matrices were dealt out evenly."""
    total = 0
    for layers, rows, columns in SHAPES.values():
        short, long = sorted((rows, columns))
        # x x^T, its square, and their product with x.
        total += layers * steps * 2 * short * short * (2 * long + short)
    return total / chips


def counted(tx: Any, mesh: Mesh) -> Counts:
    """Compiles a step of a transform with parameters, gradients and state sharded alike."""
    sharding, whole = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names)), NamedSharding(mesh, PartitionSpec())
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for k, shape in SHAPES.items()}
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding if x.ndim == 3 else whole),
        jax.eval_shape(tx.init, params),
    )

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    kept = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
    began = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=(0, 1), out_shardings=kept).lower(params, state, params)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if told := re.search(r"memory required for HLO temporaries \(([\d.]+)G\)", str(error)):
            return Counts(temporaries=int(float(told[1]) * 2**30), seconds=time.perf_counter() - began)
        raise
    program = gx.program(compiled)
    return Counts(
        temporaries=program.temporary_bytes or 0,
        operations=(compiled.cost_analysis() or {})["flops"],
        cycles=program.cycles,
        moved=sum(exchange.bytes for exchange in program.collectives),
        collectives=len(program.collectives),
        seconds=time.perf_counter() - began,
    )


def faults(name: str, chips: int, counts: Counts) -> list[str]:
    """What of ours is above its limit."""
    limit, found = LIMITS[name], []
    if counts.temporaries > limit.temporaries * 1e9:
        found.append(f"{counts.temporaries / 1e9:.2f} GB of temporaries, at most {limit.temporaries:g}")
    if counts.collectives is None or counts.operations is None or counts.cycles is None:
        return [*found, "it does not fit in a chip's memory"]
    if counts.collectives > 2 * len(SHAPES):
        # Iterations are written out: one with an exchange would have five.
        found.append(f"{counts.collectives} exchanges, at most one there and one back for each of {len(SHAPES)} stacks")
    if limit.operations and counts.operations > limit.operations * even_share(chips):
        share = counts.operations / even_share(chips)
        found.append(f"{share:.2f} of an even share of operations, at most {limit.operations:g}")
    if limit.cycles and counts.cycles > limit.cycles:
        found.append(f"{counts.cycles / 1e6:.0f} million cycles, at most {limit.cycles / 1e6:.0f}")
    return found


def row(who: str, name: str, chips: int, counts: Counts) -> list[str]:
    """A line of the table."""
    start = [f"v5e:{name}", who, f"{counts.temporaries / 1e9:.2f}"]
    if counts.operations is None or counts.cycles is None or counts.moved is None:
        return [*start, "no memory", "-", "-", "-", f"{counts.seconds:.0f}"]
    return [
        *start,
        f"{counts.operations / 1e12:.1f}",
        f"{counts.operations / even_share(chips):.2f}",
        f"{counts.cycles / 1e6:.0f}",
        f"{counts.collectives} of {counts.moved / 1e9:.2f}",
        f"{counts.seconds:.0f}",
    ]


HEAD = [
    "pod",
    "whose",
    "temporaries, GB",
    "TFLOP",
    "of an even share",
    "Mcycles",
    "collectives, GB",
    "compiled in s",
]


def main() -> None:
    """Compiles, prints the table, and says what is above its limit."""
    parser = argparse.ArgumentParser(description="Counts a step of Muon on a pod, ours beside optax's.")
    parser.add_argument("--pods", nargs="+", default=["8x8"], choices=LIMITS, help="these pods", metavar="POD")
    parser.add_argument("--without-optax", action="store_true", help="ours alone")
    parser.add_argument("--json", type=Path, help="keep the counts in this file", metavar="FILE")
    options = parser.parse_args()
    numbers = optax.contrib.MuonDimensionNumbers(1, 2)
    transforms: dict[str, optax.GradientTransformation] = {
        "gradxform": gx.scale_by_muon(weight_dimension_numbers=gx.MatrixAxes())
    }
    if not options.without_optax:
        theirs = optax.contrib.scale_by_muon(weight_dimension_numbers=dict.fromkeys(SHAPES, numbers))
        transforms["optax"] = theirs
    found, rows, wrong = {}, [], []
    with tqdm(total=len(options.pods) * len(transforms), desc="compiling", leave=False) as bar:
        for name in options.pods:
            devices = np.array(pod(name))
            mesh = Mesh(devices, ("chips",), axis_types=(AxisType.Auto,))
            for who, tx in transforms.items():
                bar.set_postfix_str(f"{who}, {name}")
                found[name, who] = counted(tx, mesh)
                rows.append(row(who, name, devices.size, found[name, who]))
                bar.update()
            wrong += [f"v5e:{name}: {fault}" for fault in faults(name, devices.size, found[name, "gradxform"])]
    table("A step of Muon, 6.4B parameters, of one chip", HEAD, rows)
    if options.json:
        about = {"jaxlib": version("jaxlib")}
        kept = [{"pod": name, "whose": who, **counts._asdict(), **about} for (name, who), counts in found.items()]
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
