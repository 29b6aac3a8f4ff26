"""Measures how long every optimizer's step takes to trace and lower over 1000 leaves of 64 x 64, against optax's.

    python benchmarks/tracing.py [NAME ...] [--repeats N]

Without names, all. Caches are empty each time. An optimizer whose ratio is above 0.6 is marked; exits with 1 if one is.
"""

from __future__ import annotations

import sys

from every_optimizer import EXTRA, chosen, pair
from measuring import build_times, machine, many_leaves, table
from tqdm import tqdm

HIGHEST = 0.6


def main() -> None:
    """Measures and prints the table."""
    arguments = chosen(
        "Measures how long steps take to trace and lower, against optax's.", "how often each is built", 3
    )
    print(machine())
    rows = []
    for name in (progress := tqdm(arguments.names, leave=False)):
        progress.set_description(name)
        times = build_times(pair(name), many_leaves(), arguments.repeats, compile=False, **EXTRA.get(name, {}))
        ours, theirs = (each["trace"] + each["lower"] for each in times)
        ratio = ours / theirs
        rows.append([name, f"{ours:.2f} / {theirs:.2f}", f"{ratio:.2f}", "slow" if ratio > HIGHEST else ""])
    table("Tracing and lowering a step over 1000 leaves", ["optimizer", "s", "ratio", f"above {HIGHEST}"], rows)
    sys.exit(any(row[-1] for row in rows))


if __name__ == "__main__":
    main()
