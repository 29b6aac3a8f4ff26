"""Tries a fault: plants it in a copy of the checkout, and runs the tests that are nearest to it until one fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.planted.faults import PACKAGE, Fault

# How many files of tests are run before all others.
NEAREST = 6
# What takes minutes and is nearest to nothing.
LAST = ("tests/notebooks/", "tests/test_digits.py", "tests/devices/test_processes.py")


class Outcome(NamedTuple):
    """What came of a trial.

    Attributes:
      verdict: "found", "missed", or "out of time".
      by: the first test that failed, if one did.
      seconds: how long it took.
    """

    verdict: str
    by: str
    seconds: float


class Checkout:
    """A copy of a checkout's tracked files, in which faults are planted one after the other."""

    def __init__(self, root: Path, folder: Path, suite: Path | None = None):
        """`suite`: a checkout whose tests are run in place of this one's."""
        self.folder = folder
        copy(root, folder, ".")
        if suite:
            shutil.rmtree(folder / "tests")
            copy(suite, folder, "tests")
        self.tests = {path.relative_to(folder).as_posix(): path.read_text() for path in test_files(folder)}
        # Tests that fail without a fault too, and those that were seen to pass.
        self.failing: set[str] = set()
        self.passing: set[str] = set()

    def tried(self, fault: Fault, limit: float, nearest_only: bool) -> Outcome:
        """Plants the fault, runs the tests, and takes it out again."""
        path = self.folder / fault.path
        source, began = path.read_text(), time.monotonic()
        files = nearest(fault, self.tests)
        rounds = [files[:NEAREST]] if nearest_only else [files[:NEAREST], files[NEAREST:]]
        outcome = Outcome("missed", "", 0.0)
        for chosen in rounds:
            while outcome.verdict == "missed":
                self.write(path, fault.planted(source))
                left = limit - (time.monotonic() - began)
                outcome = self.run(chosen, left)
                self.write(path, source)
                if outcome.verdict != "found" or self.is_meant(outcome.by, left):
                    break
                outcome = Outcome("missed", "", 0.0)
        return outcome._replace(seconds=round(time.monotonic() - began, 1))

    def write(self, path: Path, source: str) -> None:
        """Writes a module, and takes away what Python keeps of it, which it may hold to be new by its date."""
        path.write_text(source)
        for kept in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            kept.unlink()

    def is_meant(self, test: str, limit: float) -> bool:
        """Whether a test passes without the fault; one that does not is left out from then on."""
        if test in self.failing | self.passing or not test:
            return test not in self.failing
        passes = self.run([test], limit).verdict == "missed"
        (self.passing if passes else self.failing).add(test)
        return passes

    def run(self, tests: list[str], limit: float) -> Outcome:
        """Runs tests in this order until one fails."""
        left_out = [word for test in sorted(self.failing) for word in ("--deselect", test)]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *left_out, *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "400"}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=max(limit, 1.0))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return Outcome("out of time", "", 0.0)
        # 0: all pass. 5: none was chosen. 1 and 2: one fails, or its file cannot be imported. Below 0: a crash.
        if process.returncode in (0, 5):
            return Outcome("missed", "", 0.0)
        if process.returncode == 4 and "ImportError while loading conftest" in said:
            # A fault that keeps the library from being imported is found by every test.
            return Outcome("found", "tests/conftest.py", 0.0)
        failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", said, re.MULTILINE)
        if process.returncode > 2 or (process.returncode > 0 and not failed):
            raise RuntimeError(f"pytest ended with {process.returncode}:\n{said}")
        return Outcome("found", failed[1] if failed else "", 0.0)


def copy(root: Path, folder: Path, part: str) -> None:
    """Copies what git tracks, or would track, of a part of a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", part]
    for name in subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)


def test_files(folder: Path) -> list[Path]:
    """All files of tests."""
    return sorted((folder / "tests").rglob("test_*.py"))


def nearest(fault: Fault, tests: dict[str, str]) -> list[str]:
    """The files of tests, those first that speak of what is around the fault, or lie as it does."""
    spoken = {word for name in fault.names for word in (name, snake(name)) if not name.startswith("__")}
    stem = Path(fault.path).stem
    points: Counter[str] = Counter()
    for path, source in tests.items():
        words = Counter(re.findall(r"\w+", source))
        said = sum(words[word] for word in spoken if len(word) > 3)
        # A word that a file has often says little more than one that it has some times.
        points[path] = min(said, 10) + 10 * (stem in Path(path).stem) + 4 * path.startswith(f"tests/{fault.room}/")
        # All rules are cases of the contract.
        points[path] += 5 * (path.endswith("contract/test_parity.py") and fault.room in ("rules", "core"))
        points[path] -= 1000 * path.startswith(LAST)
    return sorted(tests, key=lambda path: (-points[path], path))


def snake(name: str) -> str:
    """The name of the function that a class is made into."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix(f"{PACKAGE}.")).lower()
