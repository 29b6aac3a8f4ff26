"""What a run measures, job by job, and how long each may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from parts import build, growth, hand, pairs, steps
from parts.alternate import Budget
from parts.floor import SIZE, Bandwidth
from parts.results import Result
from parts.trees import Tree, transformer, trees

PARTS = {
    "build": "trace, lower and compile a step over 1000 leaves of 64x64",
    "chains": "steps of chains that people use",
    "every": "steps of every optimizer that both have",
    "hand": "steps outside of jit",
    "growth": "how cost grows with leaves, parameters, rules, devices and chips",
}


class Pace(NamedTuple):
    """How much is measured.

    Attributes:
      chain, optimizer, hand, grown: how long steps of each are measured.
      builds: how often a step is traced and lowered.
      every: the trees over which all optimizers are measured.
      sizes: at which growth is measured.
      probe: how many numbers the arrays have by which the bandwidth is measured.
    """

    chain: Budget
    optimizer: Budget
    hand: Budget
    grown: Budget
    builds: int
    every: tuple[Tree, ...]
    sizes: growth.Sizes
    probe: int = SIZE


def pace(full: bool, quick: bool) -> Pace:
    """How much is measured by default, in a full run, and in a quick one, which only shows that everything works."""
    if quick:
        once = Budget(0.0, 2, 2)
        return Pace(once, once, once, once, 1, (trees(quick=True)["gpt"],), growth.QUICK, 1000)
    if full:
        budgets = Budget(6.0, 11, 101), Budget(3.0, 11, 41), Budget(2.0, 11, 101), Budget(1.5, 11, 41)
        return Pace(*budgets, 5, tuple(trees().values()), growth.FULL)
    few = transformer(layers=1)._replace(name="gpt of one layer")
    few = few._replace(title=f"one layer of the {few.title}")
    budgets = Budget(1.2, 5, 41), Budget(0.25, 5, 21), Budget(0.5, 5, 51), Budget(0.4, 5, 21)
    return Pace(*budgets, 3, (few,), growth.Sizes())


class Job(NamedTuple):
    """Something that is measured.

    Attributes:
      part: of the benchmark.
      tags: by which it is chosen: a name, and where there is one, over what it is measured.
      run: measures it.
      is_extra: whether it is left out unless it is asked for by name, or the run is a full one.
    """

    part: str
    tags: tuple[str, ...]
    run: Callable[[], Sequence[Result]]
    is_extra: bool = False


def jobs(how: Pace, quick: bool, bandwidth: Bandwidth) -> Iterator[Job]:
    """All that can be measured, the extra jobs too."""
    chosen = trees(quick)
    for name in ("clip and adamw", "adamw", *sorted(set(pairs.OPTIMIZERS) - {"adamw"})):
        yield Job("build", (name,), partial(_build, name, chosen["many"], how.builds), name not in pairs.CHAINS)
    for tree in chosen.values():
        for name, chain in pairs.CHAINS.items():
            run = partial(steps.chain, name, tree, how.chain, bandwidth)
            yield Job("chains", (name, tree.name), partial(_one, run), tree.name not in chain.takes)
    for tree in how.every:
        for name in sorted(pairs.OPTIMIZERS):
            run = partial(steps.optimizer, name, tree, how.optimizer, bandwidth)
            yield Job("every", (name, tree.name), partial(_one, run))
    for name in hand.CHAINS:
        for leaves in hand.LEAVES:
            yield Job("hand", (name, str(leaves)), partial(_one, partial(hand.by_hand, name, leaves, how.hand)))
    sizes = how.sizes
    yield Job("growth", ("leaves", "build"), partial(_one, partial(growth.leaves, sizes)))
    yield Job("growth", ("leaves", "step"), partial(_one, partial(growth.leaves_step, sizes, how.grown)))
    yield Job("growth", ("parameters",), partial(_one, partial(growth.parameters, sizes, how.grown)))
    yield Job("growth", ("rules",), partial(_one, partial(growth.rules, sizes)))
    yield Job("growth", ("devices",), partial(growth.devices, sizes, how.grown))
    yield Job("growth", ("chips",), partial(growth.chips, sizes), is_extra=True)


def _one(run: Callable[[], Result]) -> list[Result]:
    return [run()]


def _build(name: str, tree: Tree, repeats: int) -> list[Result]:
    pair = pairs.CHAINS[name].make(tree) if name in pairs.CHAINS else pairs.optimizer(name, tree)
    return build.builds(name, pair, tree.shapes, repeats, True, **pairs.EXTRA.get(name, {}))


def titles(how: Pace, quick: bool) -> dict[str, str]:
    """What the trees are, by their names."""
    return {tree.name: tree.title for tree in (*trees(quick).values(), *how.every)}


def chosen(all_jobs: Sequence[Job], only: Sequence[Sequence[str]], full: bool) -> list[Job]:
    """The jobs of a run.

    Args:
      all_jobs: all that can be measured.
      only: for some parts, the part and then names of jobs; without names all of it. Empty: every part.
      full: whether extra jobs are among them.

    Raises:
      ValueError: a part or a name that there is not.
    """
    found = []
    for part, *names in only or [[part] for part in PARTS]:
        own = [job for job in all_jobs if job.part == part]
        if not own:
            raise ValueError(f"no part is called {part!r}; there are {', '.join(PARTS)}")
        found += _named(part, own, names) if names else [job for job in own if full or not job.is_extra]
    return found


def _named(part: str, jobs: list[Job], names: Sequence[str]) -> list[Job]:
    """Those that have one of the names at each place at which there is one."""
    known = {tag for job in jobs for tag in job.tags}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{part} has no {', '.join(map(repr, unknown))}; it has {', '.join(sorted(known))}")
    places = range(max(len(job.tags) for job in jobs))
    asked = [{job.tags[place] for job in jobs if len(job.tags) > place} & {*names} for place in places]

    def fits(job: Job) -> bool:
        return all(not at or (len(job.tags) > i and job.tags[i] in at) for i, at in enumerate(asked))

    fitting = [job for job in jobs if fits(job)]
    # What is extra is meant where nothing else has the name.
    return [job for job in fitting if not job.is_extra] or fitting
