"""The tables of `evidence.py`, made of what is kept, and their places in a page."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from evidence_methods import BASELINE, METHODS
from evidence_outcomes import Outcome, agreement, compared, mean_and_error, outcomes, ranks, steps_to, winners
from evidence_tuning import SETTINGS, at_edge, best
from measuring import markdown

HEAD = [
    "method",
    "rate",
    "knob",
    "last loss, nats",
    "less adamw's",
    "p",
    "steps to adamw's",
    "unseen named wrong",
    "state, bytes",
    "time of a step",
]


def task_table(content: dict[str, Any]) -> str:
    """What a task's file says, as a table; columns of which there is nothing to say are left out."""
    found = outcomes(content)
    rows = [row(name, found, content) for name in sorted(found, key=lambda name: ranks(found)[name])]
    kept = [column for column in range(len(HEAD)) if any(row[column] for row in rows)]
    common, versions = content["common"], content["versions"]
    seeds = sorted({len(each.runs) for each in found.values()})
    about = (
        f"{common['parameters']:,} parameters, {common['steps']} steps, loss of {common['judged']}; {SETTINGS} "
        f"settings of each method, {' or '.join(map(str, seeds))} seeds, means with their standard errors. Python "
        f"{versions['python']}, JAX {versions['jax']}, a CPU of {versions['machine']}."
    )
    return f"{about}\n\n{markdown([HEAD[at] for at in kept], [[row[at] for at in kept] for row in rows])}"


def row(name: str, found: dict[str, Outcome], content: dict[str, Any]) -> list[str]:
    """The table's row of a method."""
    each, baseline, times = found[name], found[BASELINE], content["times"]
    setting = best(each.found)
    digits = 3 if baseline.mean > 1 else 4
    test = None if name == BASELINE else compared(each, baseline)
    return [
        name,
        f"{setting.rate:.2g}{', at the edge' if at_edge(each.found) else ''}",
        f"{each.knob}={setting.knob:g}",
        number(list(each.last.values()), digits),
        f"{test.difference:+.{digits}f} ± {test.error:.{digits}f}" if test else "",
        significance(name, test.p, found) if test else "",
        steps(name, each, baseline, content["common"]),
        number([100 * (run.mistakes or 0) for run in each.runs.values()], 1, "%") if has_mistakes(each) else "",
        f"{each.state:.1f}",
        f"{times[name] / times[BASELINE]:.2f}" if name in times else "",
    ]


def number(values: list[float], digits: int, unit: str = "") -> str:
    """The mean, with its standard error."""
    if not all(map(math.isfinite, values)):
        return "not finite"
    mean, error = mean_and_error(values)
    return f"{mean:.{digits}f} ± {error:.{digits}f}{unit}"


def significance(name: str, p: float, found: dict[str, Outcome]) -> str:
    """The probability of the one-sided test, in bold where it holds beside those of the other methods."""
    shown = "< 0.0001" if p < 1e-4 else "> 0.99" if p > 0.99 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"
    return f"**{shown}**" if name in winners(found) else shown


def has_mistakes(each: Outcome) -> bool:
    """Whether it is known how many unseen examples were named wrong by each seed."""
    return all(run.mistakes is not None for run in each.runs.values())


def steps(name: str, each: Outcome, baseline: Outcome, common: dict[str, Any]) -> str:
    """After how many steps a method is where adamw ends."""
    if name == BASELINE:
        return f"{common['steps']}, by definition"
    reached = [steps_to(baseline.mean, run.losses, common["every"]) for run in each.runs.values()]
    there = [step for step in reached if step is not None]
    if len(there) < len(reached):
        return f"not reached by {len(reached) - len(there)} of {len(reached)}"
    return number(there, 0)


def summary(contents: dict[str, dict[str, Any]]) -> str:
    """The place of each method in each task, in bold where its loss is lower than adamw's by the test."""
    found = {task: outcomes(content) for task, content in contents.items()}
    places = {task: ranks(each) for task, each in found.items()}
    ahead = {task: winners(each) for task, each in found.items()}
    names = sorted({name for each in places.values() for name in each}, key=lambda name: order(name, places))

    def cell(task: str, name: str) -> str:
        place = str(places[task].get(name, ""))
        return f"**{place}**" if name in ahead[task] else place

    return markdown(["method", *contents], [[name, *(cell(task, name) for task in contents)] for name in names])


def order(name: str, places: dict[str, dict[str, int]]) -> tuple[int, int, str]:
    """What methods are sorted by: those of all tasks first, and by the sum of their places, then by name."""
    found = [each[name] for each in places.values() if name in each]
    return -len(found), sum(found), name


def agreements(contents: dict[str, dict[str, Any]]) -> str:
    """How far the orders of tasks agree, each pair of them."""
    places = {task: ranks(outcomes(content)) for task, content in contents.items()}
    pairs = itertools.combinations(places, 2)
    return markdown(
        ["orders of", "Kendall's tau"],
        [[f"{one} and {other}", f"{agreement(places[one], places[other]):.2f}"] for one, other in pairs],
    )


def parts(contents: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """All that stands in the page between marks, by the mark's name."""
    # Of a task that is for methods of one kind, places say nothing.
    whole = {name: content for name, content in contents.items() if len(content["methods"]) > len(METHODS) / 2}
    yield "places", summary(whole)
    yield "agreement", agreements(whole)
    for name, content in contents.items():
        yield name, task_table(content)


def filled(page: str, contents: dict[str, dict[str, Any]]) -> str:
    """A page's text with what is kept between its marks.

    Raises:
      ValueError: it has no marks for one of the tables.
    """
    for name, part in parts(contents):
        mark = re.compile(rf"(<!-- evidence: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = mark.subn(lambda found, part=part: f"{found[1]}\n{part}\n\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"the page has no place for {name}, or several: <!-- evidence: {name} -->")
    return page
