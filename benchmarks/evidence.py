"""Compares methods at equal tuning on small tasks, each by five seeds, with error bars and a test against adamw.

    python benchmarks/evidence.py [--only digits muon] [--seeds 5] [--data FOLDER] [--times] [--quick]

Tasks: scikit-learn's digits and the demo's network; MNIST-1D and a perceptron; a transformer that reads characters, and
a larger one, of which methods for matrices alone are run. Of each method nine settings of a learning rate and of one
other knob are tried with one seed (`evidence_tuning.py` says which, `evidence_methods.py` of what knob), and with the
best it is run for five other seeds. A seed's first parameters and its batches are the same for all methods, and so
methods are compared seed by seed (`evidence_outcomes.py`).

Runs of digits and MNIST-1D are judged by the loss of all training examples, which these networks fit: there the loss of
unseen examples rises as that of training falls, and who trains worse may look better. The share of unseen examples that
are named wrong stands beside it. Characters, few of which are seen twice, are judged by held-out text, and tuned by a
third part of the text.

All settings and seeds of a method share one program, whose arguments the transforms are. They run one after the other:
on one core of a CPU nine of them at once, by `vmap`, took 1.2 times as long.

Runs are kept in `docs/data` as they are done, and what was killed goes on from there. Then the tables of
`docs/benchmarks/methods.md` are written and its pictures drawn, of what is kept of all tasks. A run whose transform has
changed is made again; where other code has changed, delete the file of the task.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import characters_model
import tasks
from evidence_methods import BASELINE, METHODS
from evidence_outcomes import outcomes
from evidence_page import filled, task_table
from evidence_plots import draw
from evidence_runs import ROUNDS, TUNING_SEED, Kept, state_bytes, times, trained
from evidence_tuning import SETTINGS, Rule, Setting, best, nine_rates, rates_and_knob
from tqdm import tqdm

DOCS = Path(__file__).parents[1] / "docs"
DATA, PAGE = DOCS / "data", DOCS / "benchmarks" / "methods.md"


class Study(NamedTuple):
    """What is run of a task.

    Attributes:
      task: made of a number of steps.
      steps: how many.
      scale: of the methods' first rates, the same for all.
      rule: which settings are tried.
      methods: which are compared.
    """

    task: Callable[[int], tasks.Task]
    steps: int
    scale: float = 1.0
    rule: Rule = rates_and_knob
    methods: tuple[str, ...] = tuple(METHODS)


STUDIES = {
    "digits": Study(tasks.digits, 150, 4.0),
    "mnist1d": Study(lambda steps: tasks.mnist1d(steps, (128, 128, 128)), 400, 4.0),
    "characters": Study(lambda steps: tasks.characters(steps, characters_model.SMALL), 300),
    "characters_1m": Study(
        lambda steps: tasks.characters(steps, characters_model.LARGE),
        150,
        rule=nine_rates,
        methods=(BASELINE, "muon", "normuon", "soap"),
    ),
}


def study(name: str, plan: Study, kept: Kept, seeds: range, bar: tqdm) -> None:
    """Tunes a method and runs it for all seeds, as far as that is not kept already."""
    method = METHODS[name]
    made: list[tuple[Setting, int, bool]] = []

    def run(setting: Setting, seed: int, tuning: bool) -> float:
        made.append((setting, seed, tuning))
        found = kept.run(name, *made[-1])
        if found is None:
            bar.set_postfix_str(f"{name}, {setting.rate:.2g}, {method.knob}={setting.knob:g}, seed {seed}")
            found = trained(method.make(*setting, kept.task), kept.task, seed, tuning)
            kept.add(name, *made[-1], found)
        bar.update()
        return found.losses[-1]

    tuned = plan.rule(method.centre * plan.scale, method.values, lambda setting: run(setting, TUNING_SEED, tuning=True))
    setting = best(tuned)
    for each in seeds:
        run(setting, each, tuning=False)
    kept.finished(name, made, state_bytes(method.make(*setting, kept.task), kept.task))


def measure(methods: list[str], kept: Kept) -> None:
    """Measures how long a step of each method takes, with its best setting."""
    found = outcomes(kept.content)
    best_of = {name: METHODS[name].make(*best(found[name].found), kept.task) for name in methods}
    with tqdm(total=len(methods) * (1 + ROUNDS), desc="times", leave=False) as bar:
        kept.timed(times(best_of, kept.task, bar.update))


def file(folder: Path, task: str) -> Path:
    """Where the runs of a task are kept."""
    return folder / f"methods_{task}.json"


def publish() -> None:
    """Writes the page's tables and draws its pictures, of what is kept of all tasks."""
    files = {name: file(DATA, name) for name in STUDIES}
    contents = {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}
    PAGE.write_text(filled(PAGE.read_text(), contents))
    for name, content in contents.items():
        draw(content, picture(name))


def picture(task: str) -> Path:
    """Where the picture of a task is."""
    return PAGE.with_name(f"methods_{task}.png")


def chosen() -> argparse.Namespace:
    """What the command line says."""
    names = [*STUDIES, *METHODS]
    parser = argparse.ArgumentParser(description="Compares methods at equal tuning on small tasks.")
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", default=[], help=f"tasks and methods: {'; '.join(names)}"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of the results, two at least (default: 5)")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where runs are kept in place of docs/data; the page is let alone"
    )
    parser.add_argument("--times", action="store_true", help="measure how long a step takes too")
    parser.add_argument("--quick", action="store_true", help="20 steps and two seeds, which are not kept")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error(f"--seeds must be 2 at least; got {arguments.seeds}")
    return arguments


def main() -> None:
    """Runs what is not kept already, and prints, writes and draws what came of it."""
    arguments = chosen()
    seeds = range(1, 3 if arguments.quick else arguments.seeds + 1)
    some = [name for name in STUDIES if name in arguments.only] or list(STUDIES)
    # adamw is what the others are compared with.
    wanted = {BASELINE, *arguments.only} if set(arguments.only) & set(METHODS) else set(METHODS)
    kept = {}
    for name in some:
        task = STUDIES[name].task(20 if arguments.quick else STUDIES[name].steps)
        try:
            kept[name] = Kept(None if arguments.quick else file(arguments.data or DATA, name), task)
        except ValueError as error:
            sys.exit(f"{error}; give another --data")
    plan = {name: [method for method in STUDIES[name].methods if method in wanted] for name in some}
    with tqdm(total=sum(map(len, plan.values())) * (SETTINGS + len(seeds)), unit="run", leave=False) as bar:
        for name, methods in plan.items():
            for method in methods:
                bar.set_description(name)
                study(method, STUDIES[name], kept[name], seeds, bar)
    for name in some if arguments.times else ():
        measure(plan[name], kept[name])
    for name, each in kept.items():
        print(f"\n{name}\n\n{task_table(each.content)}")
    if not arguments.quick and not arguments.data:
        publish()


if __name__ == "__main__":
    main()
