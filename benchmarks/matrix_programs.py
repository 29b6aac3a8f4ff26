"""Compiles a step of Muon for pods of TPU v5e that are not there, and counts: ours beside optax's.

    python benchmarks/matrix_programs.py [--pods 8x8 16x16] [--without-optax] [--json FILE]

A transformer of width 4096 with 32 stacked layers, 6.4B parameters in four stacks, sharded over all chips along an axis
of the matrices. What is counted is `LIMITS`; exits with 1 where a number is above its limit. Compiling takes about a
minute for 64 chips, and several for 256; optax's takes longer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
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
      cycles: of optax's.
    """

    temporaries: float = 2.0
    operations: float | None = None
    cycles: float | None = None


LIMITS = {"8x8": Limit(operations=1.4, cycles=0.19), "16x16": Limit()}


class Counts(NamedTuple):
    """What is counted of a compiled step, of one chip.

    Attributes:
      temporaries: bytes.
      operations: floating-point, of which products are nearly all.
      cycles: XLA's estimate.
      moved: bytes that it gives to others or gets, whichever is more.
      collectives: how many exchanges there are.
      seconds: that it took to compile.
    """

    temporaries: int
    operations: float
    cycles: int
    moved: int
    collectives: int
    seconds: float


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
    compiled = jax.jit(step, donate_argnums=(0, 1), out_shardings=kept).lower(params, state, params).compile()
    program = gx.program(compiled)
    return Counts(
        temporaries=compiled.memory_analysis().temp_size_in_bytes,
        operations=compiled.cost_analysis()["flops"],
        cycles=program.cycles or 0,
        moved=sum(exchange.bytes for exchange in program.collectives),
        collectives=len(program.collectives),
        seconds=time.perf_counter() - began,
    )


def faults(name: str, chips: int, ours: Counts, theirs: Counts | None) -> list[str]:
    """What is above its limit."""
    limit, found = LIMITS[name], []
    if ours.temporaries > limit.temporaries * 1e9:
        found.append(f"{ours.temporaries / 1e9:.2f} GB of temporaries, at most {limit.temporaries:g}")
    if ours.collectives > 2 * len(SHAPES):
        # Iterations are written out: one with an exchange would have five.
        found.append(f"{ours.collectives} exchanges, at most one there and one back for each of {len(SHAPES)} stacks")
    if limit.operations and ours.operations > limit.operations * even_share(chips):
        share = ours.operations / even_share(chips)
        found.append(f"{share:.2f} of an even share of operations, at most {limit.operations:g}")
    if limit.cycles and theirs and ours.cycles > limit.cycles * theirs.cycles:
        found.append(f"{ours.cycles / theirs.cycles:.3f} of optax's cycles, at most {limit.cycles:g}")
    return found


def row(who: str, name: str, chips: int, counts: Counts) -> list[str]:
    """A line of the table."""
    return [
        f"v5e:{name}",
        who,
        f"{counts.temporaries / 1e9:.2f}",
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
    transforms = {"gradxform": gx.scale_by_muon(weight_dimension_numbers=gx.MatrixAxes())}
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
            wrong += [
                f"v5e:{name}: {fault}"
                for fault in faults(name, devices.size, found[name, "gradxform"], found.get((name, "optax")))
            ]
    table("A step of Muon, 6.4B parameters, of one chip", HEAD, rows)
    if options.json:
        kept = [{"pod": name, "whose": who, **counts._asdict()} for (name, who), counts in found.items()]
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
