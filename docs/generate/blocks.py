"""The blocks of numbers that pages have, each made from what is kept in `docs/data`."""

from __future__ import annotations

import contextlib
import io
import json
import re
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import storage_page
from measuring import markdown
from parts import plan, report, results
from parts.results import Result
from program_steps import PARAMETERS
from storage_runs import Kept

DATA = Path(__file__).parents[1] / "data"
TESTS = Path(__file__).parents[2] / "tests"
CHAINS = {
    "adamw": "adamw",
    "sgd": "sgd, momentum",
    "clip": "clip and adamw",
    "guard": "guard of clip and adamw, beside `apply_if_finite`",
    "accumulate": "accumulate of adamw, beside `MultiSteps`; a micro-step that is due",
    "int8": "adamw, slots in int8",
    "int4": "adamw, slots in int4",
    "int8 lion": "lion, slots in int8",
    "lean": "`adamw_lean`, beside optax's in bfloat16 throughout",
}
PLATFORMS = {"gpu": "H100", "tpu": "v5e"}


@cache
def kept(name: str) -> Any:
    """What a file of the data holds."""
    return json.loads((DATA / f"{name}.json").read_text())


@cache
def bench() -> dict[str, Any]:
    """The run of `make bench ARGS="--full"` that is kept."""
    return results.read(DATA / "bench.json")


def found(part: str, name: str, on: str = "") -> Result:
    """One result of that run."""
    return next(each for each in bench()["results"] if (each.part, each.name, each.on) == (part, name, on))


def percent(part: float) -> str:
    """A share, of a hundred."""
    return f"{100 * part:.0f}%"


def bench_machine() -> str:
    """What was measured, and where."""
    return f"{report.told(bench()['machine'])}."


def bench_part(part: str) -> Callable[[], str]:
    """The tables of a part, as `make bench` prints them."""

    def text() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            report.show(part, bench()["results"], bench()["trees"])
        return re.sub(r"^([^|\n].*)\n\n(?=\|)", r"### \1\n\n", printed.getvalue(), flags=re.MULTILINE)

    return text


def bench_missed() -> str:
    """The limits that are not kept, in words."""
    missed = report.missed(bench()["results"])
    count = sum(len(each.limits) for each in bench()["results"])
    return "\n".join([f"{count - len(missed)} of {count} limits are kept; not:", "", *(f"- {line}" for line in missed)])


def bench_bandwidth() -> str:
    """What the machine moves."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        report.bandwidth(bench()["bandwidth"])
    return printed.getvalue().partition("\n\n")[2]


def programs() -> str:
    """What XLA made of steps for an accelerator that is not there."""
    rows = []
    platforms = [platform for platform in PLATFORMS if (DATA / f"programs_{platform}.json").exists()]
    cases = {
        platform: {(row["chain"], row["dtypes"], row["layout"]): row for row in kept(f"programs_{platform}")["rows"]}
        for platform in platforms
    }
    for case in dict.fromkeys(case for found in cases.values() for case in found):
        chain, dtypes, layout = case
        cells = [CHAINS.get(chain, chain), dtypes, layout]
        for platform in platforms:
            row = cases[platform][case]
            both = [(f"{row[whose]['bytes'] / 1e6:.0f}", str(row[whose]["kernels"])) for whose in ("ours", "theirs")]
            cells += [" / ".join(each) for each in zip(*both, strict=True)]
        rows.append(cells)
    head = ["chain", "dtypes", "layout"]
    head += [cell for platform in platforms for cell in (f"{PLATFORMS[platform]}, MB", "kernels")]
    versions = "; ".join(f"{PLATFORMS[platform]}: {kept(f'programs_{platform}')['versions']}" for platform in platforms)
    return f"{markdown(head, rows)}\n\n{versions}."


def pods() -> str:
    """A step of Muon on pods of TPUs."""
    rows = []
    for each in kept("pods"):
        cells = [f"v5e:{each['pod']}", each["whose"], f"{each['temporaries'] / 1e9:.2f}"]
        cells += [f"{each['operations'] / 1e12:.1f}", f"{each['cycles'] / 1e6:.0f}"]
        rows.append([*cells, f"{each['collectives']} of {each['moved'] / 1e9:.2f}", each["jaxlib"]])
    return markdown(["pod", "whose", "temporaries, GB", "TFLOP", "Mcycles", "collectives, GB", "jaxlib"], rows)


def storage() -> str:
    """What training loses by fewer bits."""
    return "\n\n".join(storage_page.tables(Kept(DATA / "storage.json")))


def reasons() -> str:
    """Why to change, with a number each."""
    clip, build = found("chains", "clip and adamw", "gpt"), found("build", "clip and adamw", "trace + lower")
    sizes = ("4 leaves", "50 leaves", "500 leaves")
    hand = [found("hand", "clip and adamw", size).ratios["optax"].median for size in sizes]
    muon = {each["whose"]: each for each in kept("pods") if each["pod"] == "8x8"}
    ours, theirs = (muon[whose] for whose in ("gradxform", "optax"))
    low = {row["chain"]: row for row in kept("programs_tpu")["rows"]}["lean"]["ours"]
    right = len(re.findall(r"^def test_", (TESTS / "test_section_six.py").read_text(), re.MULTILINE))
    temporaries = clip.temporaries
    found_reasons = [
        f"**Right numbers.** {right} tests hold what optax gets wrong, most of it in silence: Adam's `nu` in bfloat16, "
        "norms in `shard_map`, gradients that broadcast, a misspelt hyperparameter. [Where numbers differ, and "
        "why](docs/deviations.md).",
        f"**It costs less.** Clip and adamw over 28M parameters takes {clip.ratios['optax'].median:.2f} of optax's "
        f"time a step and {temporaries['ours'] / 1e6:.0f} MB of temporaries in the place of "
        f"{temporaries['optax'] / 1e6:.0f}; over 1000 leaves it traces and lowers in "
        f"{build.ratios['optax'].median:.2f} of the time.",
        f"**By hand it is as good as compiled.** Outside of `jit` a step takes {min(hand):.2f} to {max(hand):.2f} of "
        "optax's time, whatever the numbers: a loop over rates compiles one program.",
        f"**It scales.** A step of Muon for 6.4B parameters over 64 chips compiles to {ours['temporaries'] / 1e9:.1f} "
        f"GB of temporaries a chip and {ours['cycles'] / 1e6:.0f}M cycles, where optax's takes "
        f"{theirs['temporaries'] / 1e9:.1f} GB and {theirs['cycles'] / 1e6:.0f}M: each matrix moves there and back, "
        "and is computed once.",
        "**State shrinks.** `stored(tx, int8())` keeps any transform's slots in 2.06 bytes a parameter in the place "
        f"of 8, and a step of `adamw_lean` moves {low['bytes'] / PARAMETERS:.1f} bytes a parameter on a TPU, "
        "gradients and parameters included.",
    ]
    return "\n".join(
        textwrap.fill(f"{number}. {reason}", 120, subsequent_indent="   ", break_long_words=False)
        for number, reason in enumerate(found_reasons, 1)
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "bench-machine": bench_machine,
    **{f"bench-{part}": bench_part(part) for part in plan.PARTS},
    "bench-missed": bench_missed,
    "bench-bandwidth": bench_bandwidth,
    "programs": programs,
    "pods": pods,
    "storage": storage,
    "reasons": reasons,
}
