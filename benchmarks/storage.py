"""Trains with parameters and state in fewer bits, and compares the final losses with those of float32.

    python benchmarks/storage.py [--only digits] [--json FILE] [--plot FILE] [--cpu] [--quick]

Three tasks: the demo's network on digits, MNIST-1D, and a transformer of about 1M parameters that reads characters
(`storage_tasks.py`). Each is trained with AdamW by five seeds, a seed with the same first parameters and the same
batches for all ways of keeping: float32; slots in int8 and int4; the preset, which is bfloat16 parameters with 8 more
of their bits in the state, and int8 slots; bfloat16 parameters that are rounded at random; and plain bfloat16
parameters, which must do worse, or the comparison could not tell. All seeds of a way are trained in one program.

Ways are compared by the differences of the final loss, seed by seed: their mean, and its standard error over the five
seeds, which is free of what one seed is better than another by. With those few degrees of freedom a mean is more than
two standard errors off zero by chance alone in one comparison of nine (Student's t, 4 degrees of freedom). Beside it
the table has the mean of the losses with its own standard error.

Final losses are of all training examples for the two small tasks, which fit them: there the loss of unseen examples
rises as the training loss falls, and who trains worse may look better. Of the characters, few of which are seen twice,
it is that of held-out text. The last column has the other loss.

With --json, runs are kept as they are done, and what was killed goes on from there. A way whose transform has changed
is run again; where other code has changed, delete the file. With --cpu the step of a CPU is measured, which wants an
idle machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from storage_page import plot, tables
from storage_runs import Kept, bytes_of, cpu_step, lengths, trained
from storage_tasks import SLOTS, TASKS, WAYS
from tqdm import tqdm

LENGTHS_OF = "mnist1d"
REPEATS = 15


def chosen() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Compares ways of keeping parameters and state in training.")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="TASK", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--ways", nargs="+", choices=WAYS, metavar="WAY", help=f"of {', '.join(map(repr, WAYS))}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where runs are kept, and go on from")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the losses")
    parser.add_argument("--cpu", action="store_true", help="measure the step of a CPU too")
    parser.add_argument("--quick", action="store_true", help="40 steps of each task")
    arguments = parser.parse_args()
    arguments.tasks = {name: each for name, each in TASKS.items() if not arguments.only or name in arguments.only}
    arguments.ways = [way for way in WAYS if not arguments.ways or way in arguments.ways]
    return arguments


def main() -> None:
    """Runs what is not kept already, and prints, writes and draws what came of it."""
    arguments = chosen()
    kept = Kept(arguments.json)
    tasks = {name: make(40 if arguments.quick else steps) for name, (make, steps) in arguments.tasks.items()}
    steps = sum(training.task.steps for training in tasks.values())
    with tqdm(total=len(arguments.ways) * steps, unit="step", leave=False) as bar:
        for name, training in tasks.items():
            for way in arguments.ways:
                bar.set_description(f"{name}, {way}")
                if kept.run(name, training, way):
                    bar.update(training.task.steps)
                else:
                    kept.add(name, training, way, trained(training, WAYS[way], bar.update))
    for way in tqdm(arguments.ways, desc="bytes", leave=False):
        if way not in kept.content["bytes"]:
            kept.measured("bytes", way, bytes_of(WAYS[way]))
    for way in tqdm(SLOTS if LENGTHS_OF in tasks else (), desc="lengths of steps", leave=False):
        if way in arguments.ways and way not in kept.content["lengths"]:
            kept.measured("lengths", way, lengths(tasks[LENGTHS_OF], WAYS[way]))
    if arguments.cpu:
        for way in tqdm(SLOTS, desc="the step of a CPU", leave=False):
            kept.measured("cpu", way, cpu_step(WAYS[way], REPEATS))
    print("\n\n".join(tables(kept)))
    if arguments.plot:
        plot(arguments.plot, kept)


if __name__ == "__main__":
    main()
