"""Compares optimizers on a small language model: a transformer of about 1M parameters that reads characters.

    python benchmarks/characters.py [--only adamw muon] [--steps N] [--json FILE] [--plot FILE] [--times] [--quick]

The text ships with Python (`characters_model.py` says what it is and how it is split), so that there is nothing to
fetch. Every method is tuned over nine learning rates, each twice the one before, with one seed and by its last loss on
the validation text. With the best it is run for five other seeds, and the table is of their losses on the held-out
text. The schedule is the same for all, a linear warm-up over a tenth of the steps and a linear decay to 0; and so are
the weight decay, a seed's first parameters and its batches.

Why nine learning rates, and not three times three of it and of a second knob: the learning rate is the one number that
every method has, and whose best value nobody knows beforehand. Of three values the grid would decide: a factor of 4 in
all easily misses the best, and wider steps meet it badly; and a second knob (momentum for one method, a period for the
other) is worth more to some methods than to others. Nine values cover a factor of 256: the best one is inside, and if
it is not the table says so; it is met to within a factor of 1.4; and that holds for each method alike. All else is as
each method's authors have it.

Methods for matrices get the hidden matrices, and adamw the rest (embedding, head and norms) with the same schedule. For
one learning rate to suit both, the updates have adamw's size, an RMS of 0.2 (Liu et al. 2025, arXiv:2502.16982,
section 2.2). The middle of the nine is 2^-8, next to the 3e-3 that the authors of SOAP (Vyas et al. 2024,
arXiv:2409.11321) give in their code, whose updates have that size too.

With --json, runs are kept as they are done, and what was killed goes on from there. A method whose arguments have
changed is run again; where its code has changed, delete the file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import characters_model as model
import numpy as np
from characters_runs import EVERY, ROUNDS, Kept, mean_and_error, schedule, steps_to, times, trained
from measuring import table
from tqdm import tqdm

import gradxform as gx
from gradxform.explore.plots import COLOURS, DASHES

BASELINE = "adamw"
DECAY = 0.1
TUNING_SEED = 0
HIDDEN = gx.labels({"layers/*/kernel": "matrices"}, "rest")


class Method(NamedTuple):
    """A way to train.

    Attributes:
      centre: the middle of the learning rates that are tried.
      arguments: of the function of gradxform with the method's name, beside learning rate and decay.
      for_matrices: whether it gets the hidden matrices only, and adamw the rest.
    """

    centre: float
    arguments: Mapping[str, Any] = MappingProxyType({})
    for_matrices: bool = False


# Those that gradxform does not have are left out.
METHODS = {
    # b2 as for language models, where 0.999 is longer than these runs are.
    "adamw": Method(2.0**-8, {"b2": 0.95, "mask": gx.not_biases_or_norms()}),
    "muon": Method(2.0**-8, {"consistent_rms": 0.2}, for_matrices=True),
    "normuon": Method(2.0**-8, {"scale": "moonshot"}, for_matrices=True),
    "soap": Method(2.0**-8, for_matrices=True),
}
AVAILABLE = [name for name in METHODS if hasattr(gx, name)]


class Plan(NamedTuple):
    """What is run of each method: learning rates as powers of 2 around the centre, and the seeds of the results."""

    steps: int
    powers: range
    seeds: range


class Outcome(NamedTuple):
    """What came of a method.

    Attributes:
      tuned: the last loss on the validation text for each learning rate; infinite where it was not finite.
      best: the learning rate with the lowest.
      curves: for each seed, the losses on the held-out text, EVERY steps apart.
    """

    tuned: dict[float, float]
    best: float
    curves: list[list[float]]

    @property
    def at_edge(self) -> bool:
        """Whether a still better learning rate may lie outside of those that were tried."""
        return self.best in (min(self.tuned), max(self.tuned))


def transform(name: str, learning_rate: float, steps: int) -> gx.Transform:
    """The transform of a method, with a peak learning rate."""
    method, rates = METHODS[name], schedule(learning_rate, steps)
    tx = getattr(gx, name)(rates, weight_decay=DECAY, **method.arguments)
    if not method.for_matrices:
        return tx
    return gx.partition({"matrices": tx, "rest": transform(BASELINE, learning_rate, steps)}, HIDDEN)


def outcome(name: str, plan: Plan, text: model.Text, kept: Kept, bar: tqdm) -> Outcome:
    """Tunes a method and runs it for all seeds, as far as that is not kept already."""

    def losses(learning_rate: float, seed: int, tuning: bool) -> list[float]:
        tx = transform(name, learning_rate, plan.steps)
        found = kept.losses(tx, seed, tuning)
        if found is None:
            bar.set_description(f"{name}, {learning_rate:.2g}, {'tuning' if tuning else f'seed {seed}'}")
            found = trained(tx, text, seed, plan.steps, tuning)
            kept.add(name, tx, seed, tuning, found)
        bar.update()
        return found

    learning_rates = [METHODS[name].centre * 2.0**power for power in plan.powers]
    tuned = {each: losses(each, TUNING_SEED, tuning=True)[-1] for each in learning_rates}
    best = min(tuned, key=lambda each: tuned[each])
    return Outcome(tuned, best, [losses(best, seed, tuning=False) for seed in plan.seeds])


def rows(outcomes: dict[str, Outcome], plan: Plan, step_times: dict[str, float]) -> Iterator[list[str]]:
    """The table's rows."""
    target = last_loss(outcomes[BASELINE].curves)
    for name, each in outcomes.items():
        final = last_loss(each.curves)
        reached = [target and steps_to(target[0], curve) for curve in each.curves]
        there = [steps for steps in reached if steps is not None]
        if name == BASELINE:
            steps = f"{plan.steps}, by definition"
        elif len(there) < len(reached):
            steps = f"not reached by {len(reached) - len(there)} of {len(reached)}"
        else:
            steps = with_error(*mean_and_error(there), digits=0)
        yield [
            name,
            f"{each.best:.2g}{', at the edge' if each.at_edge else ''}",
            with_error(*final, digits=3) if final else "not finite",
            steps,
            f"{step_times[name] / step_times[BASELINE]:.2f}" if name in step_times else "not measured",
        ]


def last_loss(curves: list[list[float]]) -> tuple[float, float] | None:
    """The mean of the last losses, and its standard error; None where one is not finite."""
    last = [curve[-1] for curve in curves]
    return mean_and_error(last) if all(map(math.isfinite, last)) else None


def with_error(mean: float, error: float, digits: int) -> str:
    """A number with its standard error, whose first digits are one place finer."""
    return f"{mean:.{digits}f} ± {error:.{digits + 1}f}"


def plot(outcomes: dict[str, Outcome], plan: Plan, path: Path) -> None:
    """Draws the held-out curves, mean and range of the seeds, and beside them what the learning rates gave."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained", width_ratios=(3, 2))
    steps = range(EVERY, plan.steps + 1, EVERY)
    for index, (name, each) in enumerate(outcomes.items()):
        # Dashes are shifted where colours begin anew, so that no two methods look alike.
        dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linestyle": dash, "label": name}
        losses = np.array(each.curves)
        left.plot(steps, losses.mean(axis=0), linewidth=1.8, **style)
        left.fill_between(steps, losses.min(axis=0), losses.max(axis=0), color=style["color"], alpha=0.2, linewidth=0)
        right.plot(list(each.tuned), list(each.tuned.values()), marker="o", markersize=4, linewidth=1.5, **style)
    if target := last_loss(outcomes[BASELINE].curves):
        left.axhline(target[0], color="#707070", linewidth=0.8)
        left.annotate(
            f"{BASELINE}'s last loss", (steps[0], target[0]), (0, -12), textcoords="offset points", fontsize=9
        )
    left.set(xlabel="step", ylabel="loss on held-out text, nats a character")
    left.set_title(f"{len(plan.seeds)} seeds, mean and range")
    right.set(xlabel="peak learning rate", ylabel="last loss on validation text")
    right.set_xscale("log", base=2)
    right.set_title("tuning, one other seed")
    for axes in (left, right):
        # What diverges or has hardly begun would make the rest small.
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, min(top, bottom + 1.4))
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def chosen() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Compares optimizers on a small model of characters.")
    parser.add_argument("--only", nargs="+", choices=AVAILABLE, metavar="NAME", help=f"of {', '.join(AVAILABLE)}")
    parser.add_argument("--steps", type=int, help=f"of each run, a multiple of {EVERY} (default: 150)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where runs are kept, and go on from")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the curves")
    parser.add_argument("--times", action="store_true", help="measure how long a step takes too")
    parser.add_argument("--quick", action="store_true", help="40 steps, three learning rates, two seeds")
    arguments = parser.parse_args()
    arguments.steps = (40 if arguments.quick else 150) if arguments.steps is None else arguments.steps
    # A rise of one step is none.
    if arguments.steps < 20 or arguments.steps % EVERY:
        parser.error(f"--steps must be a multiple of {EVERY}, at least 20; got {arguments.steps}")
    return arguments


def main() -> None:
    """Runs what is not kept already, and prints the table."""
    arguments = chosen()
    # adamw is what the others are compared with.
    names = [name for name in AVAILABLE if name == BASELINE or not arguments.only or name in arguments.only]
    plan = Plan(arguments.steps, *((range(3), range(1, 3)) if arguments.quick else (range(-4, 5), range(1, 6))))
    text = model.load()
    try:
        kept = Kept(arguments.json, text, plan.steps)
    except ValueError as error:
        sys.exit(f"{error}; give another --json")
    runs = len(plan.powers) + len(plan.seeds)
    with tqdm(total=len(names) * runs, leave=False) as bar:
        outcomes = {name: outcome(name, plan, text, kept, bar) for name in names}
    if arguments.times:
        with tqdm(total=len(names) * (1 + ROUNDS), desc="times", leave=False) as bar:
            best = {name: transform(name, each.best, plan.steps) for name, each in outcomes.items()}
            kept.times = times(best, text, bar.update)
    versions = ", ".join(f"{key} {value}" for key, value in kept.content["versions"].items())
    print(f"{versions}; text {text.digest}, {plan.steps} steps of {model.BATCH} x {model.CONTEXT} characters")
    head = ["method", "learning rate", "held-out loss, nats", "steps to adamw's loss", "time of a step, adamw = 1"]
    table(f"Means of {len(plan.seeds)} seeds, with their standard errors", head, list(rows(outcomes, plan, kept.times)))
    if arguments.plot:
        plot(outcomes, plan, arguments.plot)


if __name__ == "__main__":
    main()
