"""Compiles steps of chains that people use for a TPU v5e or an H100, neither of which is there: ours beside optax's.

    python benchmarks/programs.py {tpu,gpu} [--full] [--only NAME ...] [--json FILE]

Nothing runs: what XLA made of each step is read with `gx.program`. Exits with 1 where ours is behind optax's by more
than `LIMITS` say. `make programs` makes the environments with the compilers and runs both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from measuring import table
from program_machines import four, lowering
from program_steps import CHAINS, LAYOUTS, LOW, PARAMETERS, Chain, step_of
from tqdm import tqdm

import gradxform as gx

# Of the parameters and of the gradients.
DTYPES = {
    "float32": (jnp.float32, jnp.float32),
    "bfloat16 gradients": (jnp.float32, jnp.bfloat16),
    "bfloat16": (jnp.bfloat16, jnp.bfloat16),
}
DEVICES = {"tpu": "TPU v5e", "gpu": "H100"}


class Limit(NamedTuple):
    """How far ours may be behind optax's.

    Attributes:
      reason: why so.
      bytes: ours over optax's.
      kernels: how many more.
      temporaries: how many bytes more.
      floor: bytes that ours may move for each float32 parameter on one device, times `bytes`; None for any number.
      waiting: the same on the cheapest way, for each platform.
      collectives: how many there may be with everything sharded; None for any number.
    """

    reason: str
    bytes: float = 1.02
    kernels: int = 8
    temporaries: int = 1 << 20
    floor: float | None = None
    waiting: Mapping[str, float] = MappingProxyType({})
    collectives: int | None = None


# A megabyte of temporaries is 1/200 of the state: partial sums of the leaves, and no leaf of the large ones.
LIMITS = {
    "adamw": Limit("the same arithmetic, an element at a time", bytes=1.0, kernels=0, floor=28, collectives=0),
    # Ours counts its steps, optax's only where the rate is a schedule.
    "sgd": Limit("the same arithmetic, and a counter", bytes=1.001, kernels=1, floor=20, collectives=0),
    "clip": Limit("two passes over the gradients, of 4 and of 28 bytes; one norm", floor=32, collectives=1),
    # Where optax's fails, a step without it is the measure, and has none of the guard's counters.
    "guard": Limit("the norm of the clipping tells whether it is finite", kernels=16, floor=32, collectives=1),
    "normalize": Limit("as with clipping", floor=32, collectives=1),
    "norms": Limit("nothing waits for the norm, which is summed in the pass of the step", floor=28, collectives=1),
    "accumulate": Limit(
        # optax's runs the optimizer at each micro-step, so that one moves as much as another: 36 bytes. Ours waits and
        # moves 12 to gather and 16 to hand on parameters and updates; when due, what a loop hands on is passed through
        # the memory once more, 56. Over four micro-steps that is 140 to 144; gradients of bfloat16 take 2 off each. A
        # TPU fetches some arrays twice. The sums before the loop are in donated memory, which the program does not
        # tell, and count as temporaries on a TPU, where what is on the chip hides what XLA reserves.
        "over four micro-steps, of which three wait, ours moves less",
        bytes=1.6,
        kernels=2 * 148,
        temporaries=4 * PARAMETERS,
        waiting={"gpu": 28, "tpu": 30},
        collectives=0,
    ),
    # Parameters there and back and gradients are 12 bytes, each slot there and back 2 and its scales 1/16. One kernel a
    # leaf, and one for the bias corrections. What optax's moves is no measure.
    "int8": Limit("one kernel a leaf", floor=12 + 2 * 2.0625, kernels=2),
    # Rounded at random: a seed is a number that XLA may make in a kernel of its own, of no array.
    "int4": Limit("one kernel a leaf, and some of seeds", floor=12 + 2 * 1.0625, kernels=56),
    "int8 lion": Limit("one kernel a leaf", floor=12 + 2.0625, kernels=2),
    "int8 ademamix": Limit("one kernel a leaf", floor=12 + 3 * 2.0625, kernels=2),
    "int8 adopt": Limit("one kernel a leaf", floor=12 + 2 * 2.0625, kernels=2),
    "fused adamw": Limit("the same arithmetic, in kernels of ours", floor=28, kernels=2, bytes=1.001),
    # Parameters of bfloat16 there and back, their lower bits and two slots there and back, and gradients of bfloat16.
    # Small leaves, which XLA does by itself, take two kernels each: arrays of 8 and of 16 bits are laid out otherwise.
    "lean": Limit("one kernel a large leaf", floor=4 + 2 + 2 + 2 * 2.0625, kernels=100),
}


class Case(NamedTuple):
    """What is compiled, twice."""

    chain: str
    dtypes: str
    layout: str

    def __str__(self) -> str:
        return f"{self.chain}, {self.dtypes}, {self.layout}"


def cases(full: bool) -> Iterator[Case]:
    """Which are looked at."""
    wide = [chain for chain in CHAINS if chain not in LOW]
    yield from (Case(chain, "float32", "one") for chain in wide)
    yield from (Case(chain, "bfloat16", "one") for chain in LOW)
    yield from (Case(chain, "bfloat16 gradients", "one") for chain in wide if full or chain in ("clip", "guard"))
    yield from (Case(chain, "float32", "fsdp") for chain in wide if full or chain == "clip")
    yield from (Case(chain, "float32", "zero") for chain in ("adamw", "clip", "sgd") if full or chain == "clip")
    if full:
        yield from (Case(chain, "bfloat16", "one") for chain in wide)
        yield from (Case(chain, "bfloat16 gradients", "fsdp") for chain in ("clip", "guard"))


def look(case: Case, chain: Chain, devices: Any, platform: str) -> tuple[gx.Program, gx.Program]:
    """The programs of ours and of optax's."""
    theirs = chain.theirs_low if case.dtypes == "bfloat16 gradients" and chain.theirs_low else chain.theirs
    steps = (step_of(tx, devices, case.layout, DTYPES[case.dtypes]) for tx in (chain.ours, theirs))
    # XLA compiles outside of Python's lock: two at once on two cores.
    with lowering(platform):
        lowered = [step.jitted.lower(*step.args) for step in steps]
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(gx.program, lowered)
    return ours, theirs


def faults(platform: str, case: Case, ours: gx.Program, theirs: gx.Program) -> Iterator[str]:
    """In what ours is behind by more than the limit."""
    limit = LIMITS[case.chain]
    # In bfloat16 optax's slots are so too, and in zero each of ours is a part, which is less: there is no comparison.
    if case.dtypes != "bfloat16" and case.layout != "zero":
        if ours.bytes > limit.bytes * theirs.bytes:
            yield f"moves {ours.bytes / theirs.bytes:.3f} of optax's bytes, at most {limit.bytes:.3g}"
        if ours.kernels > theirs.kernels + limit.kernels:
            yield f"{ours.kernels} kernels, at most {limit.kernels} more than optax's {theirs.kernels}"
        more = temporaries(ours) - temporaries(theirs)
        if more > limit.temporaries:
            yield f"{more / 1e6:.1f} MB of temporaries more than optax's, at most {limit.temporaries / 1e6:.1f}"
    if case.layout == "one" and (case.dtypes == "float32" or case.chain in LOW):
        for name, bytes, most in (
            ("", ours.bytes, limit.floor),
            ("waiting ", ours.least_bytes, limit.waiting.get(platform)),
        ):
            # Numbers and what is padded around them add a little to what the parameters take.
            if most is not None and bytes > 1.02 * most * PARAMETERS:
                yield f"{name}moves {bytes / PARAMETERS:.1f} bytes a parameter, at most {1.02 * most:.1f}"
    if case.layout == "fsdp" and limit.collectives is not None and len(ours.collectives) > limit.collectives:
        yield f"{len(ours.collectives)} collectives, at most {limit.collectives}"
    if lost := ours.wasted:
        yield f"{len(lost)} donated arrays whose memory is not reused, as {lost[0].path}"


def temporaries(program: gx.Program) -> int:
    """How many bytes there are between kernels in the main memory, at most.

    What XLA reserves is, on a TPU, also what it fetches onto the chip ahead of the kernels, of which more is better.
    """
    return min(program.temporary_bytes or 0, sum(each.array.bytes for each in program.temporaries))


def cells(ours: gx.Program, theirs: gx.Program) -> list[str]:
    """The numbers of both, ours first."""

    def both(number: Any) -> str:
        return " / ".join("-" if number(each) is None else str(number(each)) for each in (ours, theirs))

    def exchanged(each: gx.Program) -> str:
        count, bytes = len(each.collectives), sum(one.bytes for one in each.collectives)
        return f"{count} of {bytes / 1e6:.1f}" if bytes >= 1e5 else str(count)

    return [
        both(lambda each: _megabytes(each.bytes)),
        both(lambda each: _megabytes(each.least_bytes)),
        both(lambda each: each.kernels),
        both(lambda each: f"{temporaries(each) / 1e6:.1f}"),
        both(lambda each: None if each.cycles is None else f"{each.cycles / 1e6:.2f}"),
        both(exchanged),
        both(lambda each: f"{len(each.donated) - len(each.wasted)} of {len(each.donated)}"),
        both(lambda each: _megabytes(sum(copy.array.bytes for copy in each.copies))),
    ]


def _megabytes(bytes: int) -> str:
    return f"{bytes / 1e6:.0f}"


HEAD = [
    "chain",
    "dtypes",
    "layout",
    "moved, MB",
    "at least",
    "kernels",
    "temporaries, MB",
    "Mcycles",
    "collectives, MB",
    "reused",
    "copied, MB",
]


def main() -> None:
    """Compiles, prints the table, and says what is behind."""
    parser = argparse.ArgumentParser(description="Looks at the programs of steps, ours beside optax's.")
    parser.add_argument("platform", choices=DEVICES)
    parser.add_argument("--full", action="store_true", help="all chains in all layouts and dtypes")
    parser.add_argument("--only", nargs="+", default=list(CHAINS), choices=CHAINS, help="these chains", metavar="NAME")
    parser.add_argument("--layout", choices=LAYOUTS, help="this layout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers, all that `gx.program` tells but paths")
    options = parser.parse_args()
    devices = four(options.platform)
    wanted = [
        case for case in cases(options.full) if case.chain in options.only and options.layout in (None, case.layout)
    ]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "optax"))
    print(f"{DEVICES[options.platform]}, {PARAMETERS / 1e6:.1f}M parameters in 148 leaves, {versions}; ours / optax's")
    rows, behind, numbers = [], [], []
    for case in tqdm(wanted, desc="compiling", leave=False):
        ours, theirs = look(case, CHAINS[case.chain], devices, options.platform)
        found = list(faults(options.platform, case, ours, theirs))
        rows.append([*case, *cells(ours, theirs)])
        behind += [f"{case}: {fault} ({LIMITS[case.chain].reason})" for fault in found]
        numbers.append({**case._asdict(), "faults": found, "ours": _numbers(ours), "theirs": _numbers(theirs)})
    table("; ".join(f"{name}: {what}" for name, what in LAYOUTS.items()), HEAD, rows)
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "rows": numbers}, indent=1))
    if behind:
        sys.exit("\nbehind:\n" + "\n".join(behind))


def _numbers(program: gx.Program) -> dict[str, Any]:
    """What is one number, or one of a few: the arguments and the temporaries of 148 leaves are left out."""
    told = program.to_dict()
    lists = {"arguments", "copies", "temporaries"}
    return {key: len(value) if key in lists else value for key, value in told.items()}


if __name__ == "__main__":
    main()
