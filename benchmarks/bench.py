"""Measures gradxform beside optax, and torch where it is installed, in one run.

    python benchmarks/bench.py [--full] [--only PART [NAME ...]] [--compare OLD.json]

Ratios are ours over theirs: below 1 we are faster. `ok` and `not` say whether a number is within its limit, as
`parts/limits.py` has them; the exit code is 0 all the same, unless `--strict`. With `--compare`, what is worse than in
the old run by more than the noise of both makes it 1.

How times are taken is told in `parts/alternate.py`, the floor in `parts/floor.py`, the file in `parts/results.py`.
"""

from __future__ import annotations

import argparse
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
    length.add_argument("--full", action="store_true", help="everything, for longer; about an hour and a half")
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
    for path in filter(None, (options.compare, options.read)):
        try:
            results.read(path)
        except (OSError, ValueError) as error:
            parser.error(str(error))
    how = plan.pace(options.full, options.quick)
    options.bandwidth = Bandwidth(how.probe)
    try:
        options.jobs = plan.chosen([*plan.jobs(how, options.quick, options.bandwidth)], options.only, options.full)
    except ValueError as error:
        parser.error(str(error))
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures, prints each part's tables when it is done, and returns what the file keeps."""
    begin = time.perf_counter()
    bandwidth: Bandwidth = options.bandwidth
    machine = results.machine()
    print(report.told(machine), flush=True)
    probes = measure({"jax": bandwidth.both()}, plan.pace(options.full, options.quick).chain)["jax"]
    for name, samples in probes.items():
        bandwidth.of(name, timing(samples).median)
    found: list[results.Result] = []
    with tqdm(total=len(options.jobs), leave=False, disable=None) as bar:
        for index, job in enumerate(options.jobs):
            bar.set_description(" ".join((job.part, *job.tags)))
            found += job.run()
            bar.update()
            if index + 1 == len(options.jobs) or options.jobs[index + 1].part != job.part:
                with bar.external_write_mode():
                    report.show(job.part, found, options.quick)
    return {
        "format": results.FORMAT,
        "machine": machine,
        "settings": {"full": options.full, "quick": options.quick, "seconds": time.perf_counter() - begin},
        "bandwidth": {name: results.spread(speeds) for name, speeds in bandwidth.found.items()},
        "results": found,
    }


def kept(path: Path) -> dict[str, Any]:
    """A run from a file, after its tables were printed."""
    content = results.read(path)
    print(report.told(content["machine"]))
    for part in plan.PARTS:
        report.show(part, content["results"], content["settings"]["quick"])
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures or reads a run, prints, draws and keeps it; returns the exit code."""
    options = parsed(arguments)
    if options.read:
        content = kept(options.read)
    else:
        content = run(options)
        results.write(options.json, content)
    found: list[results.Result] = content["results"]
    report.bandwidth(content["bandwidth"])
    picture.draw(found, options.plot)
    missed = report.missed(found)
    count = sum(len(result.limits) for result in found)
    print(f"\n{count - len(missed)} of {count} limits are kept.", *missed, sep="\n  ")
    changes = compare.changes(results.read(options.compare)["results"], found) if options.compare else []
    if options.compare:
        report.differences(changes)
    seconds = content["settings"]["seconds"]
    where = options.read or options.json
    print(f"\nMeasured in {seconds:.0f} s; the numbers are in {where}, the picture in {options.plot}.")
    return int(any(change.is_worse for change in changes) or (options.strict and bool(missed)))


if __name__ == "__main__":
    sys.exit(main())
