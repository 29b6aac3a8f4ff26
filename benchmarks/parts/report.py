"""The tables of a run, as they stand in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measuring import table

from parts.compare import Change
from parts.pairs import CHAINS
from parts.results import Result, Spread

NONE = "-"
RIVALS = ("optax", "torch fused", "torch foreach")


def told(machine: dict[str, Any]) -> str:
    """What was measured, and where, in a line."""
    packages = ", ".join(f"{name} {machine[name]}" for name in ("jax", "optax", "torch") if name in machine)
    where = f"{machine['device']}, {machine['processor']}, {machine['cores']} cores"
    return f"{packages}, Python {machine['python']}, {where}; float32, medians, ours / theirs"


def show(part: str, results: Sequence[Result], titles: dict[str, str]) -> None:
    """Prints what a part has found.

    Args:
      part: one of `plan.PARTS`.
      results: of a run.
      titles: of the trees, by name.
    """
    results = [result for result in results if result.part == part]
    if not results:
        return
    if part == "build":
        _builds(results)
    elif part == "growth":
        _growth(results)
    elif part == "hand":
        rows = [[r.name, r.on, _both(r, 1e3, 2), _ratio(r, "optax"), _limits(r)] for r in results]
        table("A step by hand", ["chain", "over", "ms", "ratio", "limits"], rows)
    else:
        _steps(part, results, titles)


def _builds(results: Sequence[Result]) -> None:
    names = dict.fromkeys(result.name for result in results)
    by_key = {(result.name, result.on): result for result in results}
    rows = []
    for name in names:
        stages = [by_key.get((name, stage)) for stage in ("trace", "lower", "compile")]
        cells = [_both(stage, 1, 2) if stage else NONE for stage in stages]
        both = by_key[name, "trace + lower"]
        rows.append([name, *cells, _ratio(both, "optax"), _limits(both)])
    head = ["chain", "trace, s", "lower, s", "compile, s", "ratio of trace + lower", "limits"]
    table("Building a step, 1000 leaves of 64x64", head, rows)


def _steps(part: str, results: Sequence[Result], titles: dict[str, str]) -> None:
    for on in dict.fromkeys(result.on for result in results):
        own = [result for result in results if result.on == on]
        rivals = [rival for rival in RIVALS if any(rival in result.ratios for result in own)]
        by_step = any("ours, step" in result.times for result in own)
        head = [
            "optimizer" if part == "every" else "chain",
            "ms",
            *(["by step, ms"] if by_step else []),
            *(f"{rival}, ms" for rival in rivals if rival != "optax"),
            *(f"/ {rival}" for rival in rivals),
            "share of the floor",
            "temporaries, MB",
            "state, MB",
            "limits",
        ]
        rows = []
        for result in own:
            torch = [_time(result, rival, 1e3, 1) for rival in rivals if rival != "optax"]
            rows.append(
                [
                    result.name,
                    _both(result, 1e3, 1),
                    *([_time(result, "ours, step", 1e3, 1)] if by_step else []),
                    *torch,
                    *(_ratio(result, rival) for rival in rivals),
                    " / ".join(_share(result, whose) for whose in ("ours", "optax")),
                    _megabytes(result.temporaries),
                    _megabytes(result.state),
                    _limits(result),
                ]
            )
        table(f"A step over {titles.get(on, on)}", head, rows)
    if part == "chains":
        for name in dict.fromkeys(result.name for result in results):
            if CHAINS[name].beside:
                print(f"\n{name}: beside {CHAINS[name].beside}.")


def _growth(results: Sequence[Result]) -> None:
    for result in results:
        is_time = result.on != "cycles"
        rows = []
        for whose, curve in result.curves.items():
            cells = [f"{1e3 * each.median:.3g}" if is_time else f"{each.median:.3g}" for each in curve]
            fit = result.exponents[whose]
            limits = _limits(result) if whose == "ours" else ""
            rows.append([whose, *cells, f"{fit.exponent:.2f} ± {fit.error:.2f}", limits])
        unit = "ms" if is_time else "cycles of a chip"
        title = f"{result.name.capitalize()}: {result.on}, {unit}"
        table(title, ["", *(f"{size:,}" for size in result.sizes), "exponent", "limits"], rows)


def bandwidth(found: dict[str, Spread]) -> None:
    """Prints what the machine moves."""
    rows = [
        [name, f"{each.median / 1e9:.1f}", f"{each.low / 1e9:.1f} to {each.high / 1e9:.1f}"]
        for name, each in found.items()
    ]
    table("Bandwidth; the floor is that of the scaled add beside each step", ["", "GB/s", "quartiles"], rows)


def differences(changes: Sequence[Change]) -> None:
    """Prints what has changed, what is worse first."""
    if not changes:
        print("\nNothing has changed by more than the noise of both runs.")
        return
    rows = [
        ["worse" if change.is_worse else "better", change.what, f"{change.old:.4g}", f"{change.new:.4g}"]
        for change in sorted(changes, key=lambda change: not change.is_worse)
    ]
    table("Changed by more than the noise of both runs", ["", "what", "then", "now"], rows)


def missed(results: Sequence[Result]) -> list[str]:
    """The limits that are not kept, in words."""
    return [
        f"{result.key}: {limit.what} is {limit.value:.2f}, to be at most {limit.at_most:g}"
        for result in results
        for limit in result.limits
        if not limit.ok
    ]


def _time(result: Result, whose: str, factor: float, digits: int) -> str:
    return f"{factor * result.times[whose].median:.{digits}f}" if whose in result.times else NONE


def _both(result: Result, factor: float, digits: int) -> str:
    return f"{_time(result, 'ours', factor, digits)} / {_time(result, 'optax', factor, digits)}"


def _ratio(result: Result, rival: str) -> str:
    return f"{result.ratios[rival].median:.2f}" if rival in result.ratios else NONE


def _share(result: Result, whose: str) -> str:
    return f"{result.floor[whose] / result.times[whose].median:.2f}" if whose in result.floor else NONE


def _megabytes(found: dict[str, int]) -> str:
    return " / ".join(f"{found[whose] / 1e6:.1f}" if whose in found else NONE for whose in ("ours", "optax"))


def _limits(result: Result) -> str:
    if not result.limits:
        return NONE
    words = [f"{limit.what} {limit.value:.2f} > {limit.at_most:g}" for limit in result.limits if not limit.ok]
    return f"not: {', '.join(words)}" if words else "ok"
