"""Compares twelve methods at equal tuning on a small language model that reads characters.

    python benchmarks/characters_twelve.py [--only adamw lion] [--steps N] [--json FILE] [--page FILE] [--plot FILE]
                                           [--times] [--quick]

The text is that of `characters.py`, the model its smaller one, which a CPU trains for one pass over the text in ten
seconds. Each method has nine settings of a learning rate and of one other knob, tried with one seed and judged by the
last loss on the validation text; `characters_methods.py` says which. They are chosen one after the other, by the same
rule for all: a grid of three rates by three values would meet the best rate to within a factor of 2, or be at its edge,
and that costs more than what methods differ by (`docs/characters.md` has losses by rate). With the best setting a
method is run for five other seeds, and the table is of their losses on the held-out text. The schedule is a linear
warm-up over a tenth of the steps and a linear fall to 0, but for schedule-free, which has none; a seed's first
parameters and its batches are the same for all.

All settings and seeds of a method share one program, whose arguments the transforms are. They run one after the other:
on one core of a CPU nine of them at once, by `vmap`, took 1.2 times as long.

With --json, runs are kept as they are done, and what was killed goes on from there. With --page the table is written
into a page, between marks.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import characters_model as model
import jax
import numpy as np
from characters import last_loss, with_error
from characters_methods import BASELINE, METHODS, Setting, tuned
from characters_runs import EVERY, ROUNDS, Kept, mean_and_error, steps_to, times, trained
from measuring import markdown
from tqdm import tqdm

import gradxform as gx
from gradxform.explore.plots import COLOURS, DASHES

SIZE = model.SMALL
TUNING_SEED = 0
SETTINGS = 9
BEGIN, END = "<!-- table of benchmarks/characters_twelve.py -->", "<!-- end -->"


class Outcome(NamedTuple):
    """What came of a method.

    Attributes:
      tuned: the last loss on the validation text for each setting; infinite where it was not finite.
      best: the setting with the lowest.
      curves: for each seed, the losses on the held-out text, EVERY steps apart.
      state: bytes of state a parameter.
    """

    tuned: dict[Setting, float]
    best: Setting
    curves: list[list[float]]
    state: float

    @property
    def at_edge(self) -> bool:
        """Whether a still better learning rate may lie outside of those that were tried."""
        rates = [setting.rate for setting in self.tuned]
        return self.best.rate in (min(rates), max(rates))


def outcome(name: str, steps: int, seeds: range, text: model.Text, kept: Kept, bar: tqdm) -> Outcome:
    """Tunes a method and runs it for all seeds, as far as that is not kept already."""

    def losses(setting: Setting, seed: int, tuning: bool) -> list[float]:
        tx = METHODS[name].make(*setting, steps)
        found = kept.losses(tx, seed, tuning)
        if found is None:
            bar.set_description(f"{name}, {setting.rate:.2g}, {setting.knob}, seed {seed}")
            found = trained(tx, text, seed, steps, tuning, SIZE)
            kept.add(name, tx, seed, tuning, found)
        bar.update()
        return found

    tried = tuned(METHODS[name], lambda setting: losses(setting, TUNING_SEED, tuning=True)[-1])
    best = min(tried, key=lambda setting: tried[setting])
    curves = [losses(best, seed, tuning=False) for seed in seeds]
    return Outcome(tried, best, curves, state_bytes(METHODS[name].make(*best, steps), text.characters))


def state_bytes(tx: gx.Transform, characters: int) -> float:
    """Bytes of state a parameter."""
    params = jax.eval_shape(lambda: model.init(0, characters, SIZE))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(tx.init, params))) / sum(
        sizes
    )


def rows(outcomes: dict[str, Outcome], step_times: dict[str, float]) -> Iterator[list[str]]:
    """The table's rows."""
    target = last_loss(outcomes[BASELINE].curves)
    for name, each in outcomes.items():
        final = last_loss(each.curves)
        reached = [target and steps_to(target[0], curve) for curve in each.curves]
        there = [steps for steps in reached if steps is not None]
        steps = with_error(*mean_and_error(there), digits=0) if len(there) > 1 else ""
        if name == BASELINE:
            steps = f"{EVERY * len(each.curves[0])}, by definition"
        elif len(there) < len(reached):
            steps = f"not reached by {len(reached) - len(there)} of {len(reached)}"
        yield [
            name,
            f"{each.best.rate:.2g}{', at the edge' if each.at_edge else ''}",
            f"{METHODS[name].knob}={each.best.knob:g}",
            with_error(*final, digits=3) if final else "not finite",
            steps,
            f"{each.state:.1f}",
            f"{step_times[name] / step_times[BASELINE]:.2f}" if name in step_times else "not measured",
        ]


def page_table(outcomes: dict[str, Outcome], kept: Kept) -> str:
    """The table, and what it was made with."""
    common, versions = kept.content["common"], kept.content["versions"]
    about = (
        f"Python {versions['python']}, JAX {versions['jax']}, a CPU of {versions['machine']}; {common['steps']} steps "
        f"of {common['batch']} x {common['context']} characters, {SETTINGS} settings, "
        f"{len(outcomes[BASELINE].curves)} seeds with their standard errors."
    )
    head = ["method", "rate", "knob", "held-out loss, nats", "steps to adamw's", "state, bytes", "time of a step"]
    return f"{about}\n\n{markdown(head, list(rows(outcomes, kept.times)))}"


def write(page: Path, table: str) -> None:
    """Writes the table into a page, between its marks.

    Raises:
      ValueError: it has none.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the table, between {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


def plot(outcomes: dict[str, Outcome], path: Path) -> None:
    """Draws the held-out curves, the mean of the seeds, and beside them the last losses, each seed a point."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5.5), layout="constrained", width_ratios=(3, 2))
    order = sorted(outcomes, key=lambda name: np.mean([curve[-1] for curve in outcomes[name].curves]), reverse=True)
    for place, name in enumerate(order):
        index, curves = list(METHODS).index(name), np.array(outcomes[name].curves)
        # Dashes are shifted where colours begin anew, so that no two methods look alike.
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[(index + index // len(COLOURS)) % len(DASHES)]
        steps = EVERY * np.arange(1, 1 + curves.shape[1])
        width = 3 if name == BASELINE else 1.5
        left.plot(steps, curves.mean(axis=0), color=colour, linestyle=dash, linewidth=width, label=name)
        right.plot(curves[:, -1], [place] * len(curves), ".", color=colour, markersize=5)
        right.plot(curves[:, -1].mean(), place, "|", color=colour, markersize=16, markeredgewidth=2)
    finite = [curve[-1] for each in outcomes.values() for curve in each.curves if math.isfinite(curve[-1])]
    left.set(xlabel="step", ylabel="loss on held-out text, nats a character", ylim=(min(finite) - 0.05, 2.7))
    left.legend(fontsize=8)
    left.set_title("mean of the seeds")
    right.set_yticks(range(len(order)), order)
    right.set(xlabel="last loss on held-out text, nats a character", title="each seed, and the mean")
    if target := last_loss(outcomes[BASELINE].curves):
        right.axvline(target[0], color="#707070", linewidth=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def chosen() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Compares twelve methods at equal tuning on a model of characters.")
    parser.add_argument("--only", nargs="+", choices=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--steps", type=int, help=f"of each run, a multiple of {EVERY} (default: 300)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where runs are kept, and go on from")
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the table, between its marks")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the curves")
    parser.add_argument("--times", action="store_true", help="measure how long a step takes too")
    parser.add_argument("--quick", action="store_true", help="40 steps, two seeds")
    arguments = parser.parse_args()
    arguments.steps = (40 if arguments.quick else 300) if arguments.steps is None else arguments.steps
    if arguments.steps < 20 or arguments.steps % EVERY:
        parser.error(f"--steps must be a multiple of {EVERY}, at least 20; got {arguments.steps}")
    return arguments


def main() -> None:
    """Runs what is not kept already, and prints, writes and draws what came of it."""
    arguments = chosen()
    # adamw is what the others are compared with.
    names = [name for name in METHODS if name == BASELINE or not arguments.only or name in arguments.only]
    seeds = range(1, 3) if arguments.quick else range(1, 6)
    text = model.load()
    try:
        kept = Kept(arguments.json, text, arguments.steps, SIZE)
    except ValueError as error:
        sys.exit(f"{error}; give another --json")
    with tqdm(total=len(names) * (SETTINGS + len(seeds)), leave=False) as bar:
        outcomes = {name: outcome(name, arguments.steps, seeds, text, kept, bar) for name in names}
    if arguments.times:
        with tqdm(total=len(names) * (1 + ROUNDS), desc="times", leave=False) as bar:
            best = {name: METHODS[name].make(*each.best, arguments.steps) for name, each in outcomes.items()}
            kept.times = times(best, text, bar.update, SIZE)
    table = page_table(outcomes, kept)
    print(table)
    if arguments.page:
        write(arguments.page, table)
    if arguments.plot:
        plot(outcomes, arguments.plot)


if __name__ == "__main__":
    main()
