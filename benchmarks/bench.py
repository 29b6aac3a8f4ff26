"""Measures gradxform beside optax, and torch where it is installed, in one run.

    python benchmarks/bench.py [--full] [--only PART [NAME ...]] [--compare OLD.json]

Ratios are ours over theirs: below 1 we are faster. `ok` and `not` say whether a number is within its limit, as
`parts/limits.py` has them; the exit code is 0 all the same, unless `--strict`. With `--compare`, what is worse than in
the old run by more than the noise of both makes it 1.

How times are taken is told in `parts/alternate.py`, the floor in `parts/floor.py`, the file in `parts/results.py`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parts import compare, picture, plan, report, results
from parts.alternate import measure, timing
from parts.floor import Bandwidth
from tqdm import tqdm


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parts = "; ".join(f"{name}: {what}" for name, what in plan.PARTS.items())
    parser = argparse.ArgumentParser(
        description="Measures gradxform beside optax, and torch where it is installed.", epilog=f"Parts: {parts}."
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="everything, for longer; an hour or more")
    length.add_argument("--quick", action="store_true", help="tiny trees, once: to see that it works")
    parser.add_argument(
        "--only",
        action="append",
        nargs="+",
        default=[],
        metavar=("PART", "NAME"),
        help="this part, or of it these optimizers, chains, trees or what else has a name in it; may be given again",
    )
    parser.add_argument(
        "--json", type=Path, default=Path("out/bench.json"), help="keep the numbers here", metavar="FILE"
    )
    parser.add_argument("--plot", type=Path, default=Path("out/bench.png"), help="draw them here", metavar="FILE")
    parser.add_argument("--compare", type=Path, help="say what has changed since this run", metavar="OLD")
    parser.add_argument("--read", type=Path, help="show this run, and measure nothing", metavar="FILE")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is not kept")
    options = parser.parse_args(arguments)
    try:
        # Read before anything is written: it may be the file that this run writes.
        options.old = results.read(options.compare)["results"] if options.compare else None
        options.kept = results.read(options.read) if options.read else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.pace = plan.pace(options.full, options.quick)
    options.bandwidth = Bandwidth(options.pace.probe)
    try:
        jobs = [*plan.jobs(options.pace, options.quick, options.bandwidth)]
        options.jobs = plan.chosen(jobs, options.only, options.full)
    except ValueError as error:
        parser.error(str(error))
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures, part by part prints tables and writes the file, and returns what is in it."""
    begin = time.perf_counter()
    bandwidth: Bandwidth = options.bandwidth
    found: list[results.Result] = []
    content = {
        "format": results.FORMAT,
        "machine": results.machine(),
        "settings": {"full": options.full, "quick": options.quick, "seconds": 0.0, "parts": {}},
        "bandwidth": {},
        "trees": plan.titles(options.pace, options.quick),
        "results": found,
    }
    print(report.told(content["machine"]), flush=True)
    for name, samples in measure({"jax": bandwidth.both()}, options.pace.chain)["jax"].items():
        bandwidth.of(name, timing(samples).median)
    with tqdm(total=len(options.jobs), leave=False, disable=None) as bar:
        for part, jobs in itertools.groupby(options.jobs, key=lambda job: job.part):
            before = time.perf_counter()
            for job in jobs:
                bar.set_description(" ".join((part, *job.tags)))
                found += job.run()
                bar.update()
            content["settings"]["parts"][part] = time.perf_counter() - before
            content["settings"]["seconds"] = time.perf_counter() - begin
            content["bandwidth"] = {name: results.spread(speeds) for name, speeds in bandwidth.found.items()}
            results.write(options.json, content)
            with bar.external_write_mode():
                report.show(part, found, content["trees"])
    return content


def show(content: dict[str, Any]) -> None:
    """Prints the tables of a run that was kept."""
    print(report.told(content["machine"]))
    for part in plan.PARTS:
        report.show(part, content["results"], content["trees"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures or reads a run, prints, draws and keeps it; returns the exit code."""
    options = parsed(arguments)
    content = options.kept
    if content:
        show(content)
    else:
        content = run(options)
    found: list[results.Result] = content["results"]
    report.bandwidth(content["bandwidth"])
    picture.draw(found, options.plot)
    missed = report.missed(found)
    count = sum(len(result.limits) for result in found)
    print(f"\n{count - len(missed)} of {count} limits are kept.", *missed, sep="\n  ")
    changes = []
    if options.old is not None:
        changes = compare.changes(options.old, found)
        report.differences(changes)
    seconds = content["settings"]["seconds"]
    where = options.read or options.json
    print(f"\nMeasured in {seconds:.0f} s; the numbers are in {where}, the picture in {options.plot}.")
    return int(any(change.is_worse for change in changes) or (options.strict and bool(missed)))


if __name__ == "__main__":
    sys.exit(main())
