"""Trains on two processes, kills one, goes on from the last checkpoint, and ends as a single process does.

It trains a small network to read handwritten digits three times over:

1. on one process of eight devices, undisturbed;
2. on two processes of four devices each, data-parallel, with the optimizer's state cut over all eight (ZeRO), until
   one of the two is killed as by a loss of power;
3. on two processes again, which find the last whole checkpoint and train to the end.

Then it compares the parameters of 1 and 3. What a process does is in `processes_training.py`; this file is what a
scheduler does on a cluster: it starts processes, hears what they say, and ends them all when one dies.

    python examples/processes.py --steps 60 --kill-at 35
"""

import argparse
import contextlib
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

TRAINING = Path(__file__).with_name("processes_training.py")
DEVICES, PROCESSES = 8, 2
# Of the largest of an array. The devices' gradients are summed in another order by two processes than by one, and
# training magnifies rounding: to 5e-6 at most in 60 steps and 1e-3 in 100, as was measured on 1, 2, 4 and 8 devices. A
# step that is lost or done twice makes 0.09 or more. In 200 steps the one is as large as the other.
TOLERANCE, MOST_STEPS = 0.01, 100
# A process that says nothing for so long is taken to hang. Compiling, the longest silence, takes seconds.
SILENCE = 300
ATTEMPTS = 5
BAR = "{desc:24} {bar} {n}/{total} [{elapsed}{postfix}]"


Children = list[subprocess.Popen[str]]
Heard = queue.Queue[tuple[int, str | None]]


class Run(NamedTuple):
    """What is known of a training after it.

    Attributes:
      killed: whether a process was killed on the way.
      begin: after how many steps it began.
      state: how many bytes of the optimizer's state one device holds, and how many there are in all; None if killed.
    """

    killed: bool
    begin: int
    state: tuple[int, int] | None


class ProcessError(Exception):
    """A process ended that should not have, or hangs."""


def main() -> None:
    """Trains three times and compares."""
    options = read_options()
    one, two = (options.directory / name for name in ("one_process", "two_processes"))
    for directory in (one, two):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)

    train("one process", 1, one, options)
    killed = train("two processes", PROCESSES, two, options, kill_at=options.kill_at)
    if not killed.killed:
        raise ProcessError(f"the processes ended before step {options.kill_at}, at which one was to be killed")
    print(f"Killed one of the two processes after step {options.kill_at}; a checkpoint is made every", end=" ")
    print(f"{options.save_every} steps.", flush=True)
    resumed = train("two processes, resumed", PROCESSES, two, options)
    print(f"Resumed after step {resumed.begin}.")

    difference = largest_difference(one, two)
    if not difference <= TOLERANCE:
        raise ProcessError(
            f"the runs do not agree: the parameters differ by {difference:.1e}; the tolerance is {TOLERANCE}"
        )
    print(f"The runs agree: after {options.steps} steps the parameters of one process and of two differ by", end=" ")
    print(f"{difference:.1e}\n(the largest difference, relative to the largest of its array; tolerance {TOLERANCE}).")
    if resumed.state:
        print("Each device holds {:,} of the {:,} bytes of the optimizer's state.".format(*resumed.state))


def train(name: str, count: int, directory: Path, options: argparse.Namespace, kill_at: int | None = None) -> Run:
    """Trains on so many processes, from the last checkpoint in the directory, to the end or until the kill.

    Raises:
      ProcessError: a process ended by itself before the end, or hangs; with what it said.
    """
    given = {"count": count, "steps": options.steps, "save-every": options.save_every, "directory": directory}
    command = [sys.executable, str(TRAINING), *(f"--{key}={value}" for key, value in given.items())]

    def attempt(port: int) -> Run:
        commands = [[*command, f"--index={index}", f"--port={port}"] for index in range(count)]
        with started(commands) as (children, heard), tqdm(desc=name, total=options.steps, bar_format=BAR) as progress:
            return follow(children, heard, progress, kill_at)

    return attempt(options.port) if options.port else on_free_port(attempt)


def on_free_port(attempt: Callable[[int], Run]) -> Run:
    """Runs with a port that is free, and with another where a program has taken it between the choice and the use.

    Raises:
      ProcessError: of the attempt, if the port was not the reason; or of the last of five.
    """
    for _ in range(ATTEMPTS - 1):
        port = free_port()
        try:
            return attempt(port)
        except ProcessError:
            if is_free(port):
                raise
    return attempt(free_port())


@contextlib.contextmanager
def started(commands: Sequence[Sequence[str]]) -> Iterator[tuple[Children, Heard]]:
    """Starts a process for each command, with its part of the devices, and leaves none behind.

    Gives the processes, and a queue of what they say: index and line, and index and None where one has ended.
    """
    # Of a flag that is there twice XLA takes the last.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES // len(commands)}"
    environment = {**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    children: Children = []
    listeners: list[threading.Thread] = []
    heard: Heard = queue.Queue()
    try:
        for index, command in enumerate(commands):
            children.append(subprocess.Popen(command, env=environment, **pipes))
            listeners.append(threading.Thread(target=listen, args=(index, children[-1].stdout, heard)))
            listeners[-1].start()
        yield children, heard
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
        for listener in listeners:
            listener.join()


def listen(index: int, stream: IO[str], heard: Heard) -> None:
    """Puts the lines of a process in the queue as they come, and None at the end."""
    with stream:
        for line in stream:
            heard.put((index, line))
    heard.put((index, None))


def follow(children: Children, heard: Heard, progress: Any, kill_at: int | None = None) -> Run:
    """Hears what the processes say until all have ended; kills the last of them after the step `kill_at`.

    Raises:
      ProcessError: a process ended by itself before the end, or hangs; with what it said.
    """
    logs: list[list[str]] = [[] for _ in children]
    begin, state, at_work = 0, None, len(children)
    while at_work:
        try:
            index, line = heard.get(timeout=SILENCE)
        except queue.Empty:
            said = "".join(f"\nprocess {index} said:\n{''.join(log)}" for index, log in enumerate(logs))
            raise ProcessError(f"no process said anything for {SILENCE} seconds{said}") from None
        if line is None:
            if code := children[index].wait():
                raise ProcessError(f"process {index} ended with {code}; it said:\n{''.join(logs[index])}")
            at_work -= 1
            continue
        logs[index].append(line)
        match line.split():
            case ["begin", done]:
                begin = int(done)
                progress.update(begin)
            case ["step", done, loss]:
                progress.set_postfix_str(f"loss {loss}", refresh=False)
                progress.update()
                if int(done) == kill_at:
                    # SIGKILL: no handler runs and nothing is tidied up. The others wait for it in vain, and are ended.
                    children[-1].kill()
                    return Run(True, begin, None)
            case ["state", own, whole]:
                state = int(own), int(whole)
    return Run(False, begin, state)


def largest_difference(one: Path, other: Path) -> float:
    """The largest difference between the parameters of two runs, relative to the largest number of its array."""
    with np.load(one / "parameters.npz") as ours, np.load(other / "parameters.npz") as theirs:
        return max(float(np.abs(ours[key] - theirs[key]).max() / np.abs(ours[key]).max()) for key in ours)


def free_port() -> int:
    """A port of the loopback address on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback address."""
    with socket.socket() as probe:
        # As the coordinator does: what is left of a connection that was closed a moment ago is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read_options() -> argparse.Namespace:
    """What the command line asks for, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help=f"default: 60; {MOST_STEPS} at most")
    parser.add_argument("--save-every", type=int, default=10, metavar="STEPS", help="default: 10")
    parser.add_argument("--kill-at", type=int, metavar="STEP", help="default: a little after half of the steps")
    parser.add_argument("--port", type=int, help="of the loopback address; default: one that is free")
    parser.add_argument("--directory", type=Path, default=Path("out/processes"), help="default: out/processes")
    options = parser.parse_args()
    if not 2 <= options.steps <= MOST_STEPS:
        parser.error(
            f"--steps {options.steps}: expected 2 to {MOST_STEPS}; in more, rounding alone parts runs that are right"
        )
    if options.save_every < 1:
        parser.error(f"--save-every {options.save_every}: expected 1 or more")
    if options.kill_at is None:
        options.kill_at = min(options.steps // 2 + options.save_every // 2, options.steps - 1)
    if not 0 < options.kill_at < options.steps:
        parser.error(f"--kill-at {options.kill_at}: expected a step before the last, from 1 to {options.steps - 1}")
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port {options.port}: expected a number from 1 to 65535")
    if options.port and not is_free(options.port):
        parser.error(f"--port {options.port}: the port is in use, or not ours to take; leave it out for a free one")
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--directory {options.directory}: {error.strerror}")
    return options


if __name__ == "__main__":
    try:
        main()
    except ProcessError as error:
        sys.exit(f"processes.py: {error}")
    except KeyboardInterrupt:
        print("processes.py: interrupted; its processes are ended", file=sys.stderr)
        sys.exit(130)
