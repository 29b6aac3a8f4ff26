"""Plants faults of one line in copies of the checkout, one after the other, and tells which of them the tests find.

    python -m tests.planted --seed 1 --count 48
    python -m tests.planted --suite ../another-checkout

Results are kept in a file as they come, and what it holds is not tried again. With --suite, what the tests of this
checkout missed is tried with those of another. What is missed is then to be looked at: a test is wanted, or the fault
changes nothing that anyone can see.
"""

import argparse
import json
import queue
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.planted.faults import Fault, draw
from tests.planted.trials import Checkout, Outcome

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Draws the faults, tries those of which nothing is known yet, and prints all."""
    options = read_options()
    faults = draw(ROOT, options.seed, options.count)
    if options.only:
        faults = [fault for fault in faults if any(part in fault.place for part in options.only)]
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    name = "own" if options.suite is None else options.suite.resolve().name

    def known(fault: Fault, suite: str) -> dict[str, Any]:
        return results.get(fault.key, {}).get(suite, {})

    if options.list:
        print(*(f"{fault.key}   ({fault.kind})" for fault in faults), sep="\n")
        return
    if options.suite is not None:
        faults = [fault for fault in faults if known(fault, "own").get("verdict") in ("missed", "out of time")]
    to_try = [fault for fault in faults if known(fault, name).get("verdict") in (None, "out of time")]

    def keep(fault: Fault, outcome: Outcome) -> None:
        results.setdefault(fault.key, {"kind": fault.kind})[name] = outcome._asdict()
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.results.write_text(json.dumps(results, indent=1) + "\n")

    try_all(to_try, options, keep)
    print(*(line(fault, known(fault, name)) for fault in faults), sep="\n")
    verdicts = [known(fault, name).get("verdict") for fault in faults]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("found", "missed", "out of time"))
    print(f"\n{len(faults)} faults: {counts}. {options.results}")


def try_all(faults: list[Fault], options: argparse.Namespace, keep: Any) -> None:
    """Tries faults, several at once, each in a copy of its own."""
    if not faults:
        return
    with tempfile.TemporaryDirectory(prefix="planted-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        free: queue.Queue[Checkout] = queue.Queue()
        for index in range(options.jobs):
            free.put(Checkout(ROOT, Path(folder) / str(index), options.suite))

        def tried(fault: Fault) -> Outcome:
            checkout = free.get()
            try:
                return checkout.tried(fault, options.limit, options.nearest)
            finally:
                free.put(checkout)

        waiting = {pool.submit(tried, fault): fault for fault in faults}
        with tqdm(total=len(faults), unit="fault") as progress:
            for done in as_completed(waiting):
                keep(waiting[done], done.result())
                progress.set_postfix_str(f"{waiting[done].place} {done.result().verdict}")
                progress.update()


def line(fault: Fault, result: dict[str, Any]) -> str:
    """A row of the table."""
    what = f"{fault.old} -> {fault.new}"
    return f"{result.get('verdict', '-'):11} {fault.place:42} {what:50} {result.get('by', '')}"


def read_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="planted", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="which faults are drawn; default: 0")
    parser.add_argument("--count", type=int, default=48, help="how many, as many from each room; default: 48")
    parser.add_argument("--only", nargs="+", metavar="PART", help="those whose file and line have one of these parts")
    parser.add_argument("--suite", type=Path, help="another checkout, with whose tests to try what was missed")
    parser.add_argument("--nearest", action="store_true", help="run the nearest tests alone, and not then all others")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for a fault; default: 1800")
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried at once; default: 2")
    parser.add_argument("--results", type=Path, default=ROOT / "out" / "planted.json", help="default: out/planted.json")
    parser.add_argument("--list", action="store_true", help="say what would be tried, and try nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
