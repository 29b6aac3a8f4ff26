"""Two processes: the example end to end, a kill amid a save, what goes wrong, and the matrix's last column."""

import argparse
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from tqdm import tqdm

from tests.devices import replicas, test_matrix as matrix

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "processes.py"
# Minutes for what takes seconds: only a process that hangs comes to it.
LIMIT = 900


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


processes = loaded(SCRIPT)


@pytest.fixture(autouse=True, scope="module")
def _library_of_this_tree():
    """Child processes import the library that the tests import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield


def script(*options):
    command = [sys.executable, "-W", "default", SCRIPT, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # What the shell starts in the background ignores Ctrl-C, and so would the child of a test that it has started.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # A session of its own is a process group of its own, of which a test can tell whether anything is left.
        return subprocess.Popen(command, start_new_session=True, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def finish(process):
    """What the script printed, and that it left no process behind."""
    try:
        stdout, stderr = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        pytest.fail(f"{SCRIPT.name} hangs:\n{stdout}{stderr}")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
    return stdout, stderr


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The folder of a run of the example, and what it printed."""
    folder = tmp_path_factory.mktemp("example")
    process = script("--steps", "12", "--save-every", "4", "--kill-at", "7", "--directory", str(folder))
    stdout, stderr = finish(process)
    assert process.returncode == 0, stdout + stderr
    return folder, stdout, stderr


def test_example_is_killed_resumes_and_agrees_with_one_process(example):
    _, stdout, stderr = example
    assert "Killed one of the two processes after step 7; a checkpoint is made every 4 steps." in stdout
    assert "Resumed after step 4." in stdout
    # The script's own tolerance is for more steps than these, in which rounding makes 1e-6.
    assert float(re.search(r"The runs agree: after 12 steps .* differ by (\S+)$", stdout, re.MULTILINE)[1]) < 1e-4
    own, whole = (
        int(number.replace(",", ""))
        for number in re.search(r"Each device holds (.*) of the (.*) bytes", stdout).groups()
    )
    assert own < whole / 4
    for name in ("one process", "two processes", "two processes, resumed"):
        assert re.search(rf"{name} .* \d+/12 ", stderr)
    assert "Warning" not in stderr


def options_for(steps, save_every, port=None):
    return argparse.Namespace(steps=steps, save_every=save_every, port=port)


def kill_amid_a_save(directory, options, after):
    """Starts two processes, and kills both while they write a checkpoint later than step `after`; says which."""
    checkpoints = directory / "checkpoints"
    given = {"count": 2, "steps": options.steps, "save-every": options.save_every, "directory": directory}
    command = [sys.executable, str(processes.TRAINING), *(f"--{key}={value}" for key, value in given.items())]

    def unfinished():
        return [int(path.name.split(".")[0]) for path in checkpoints.glob("*.orbax-checkpoint-tmp")]

    def attempt(port):
        commands = [[*command, f"--index={index}", f"--port={port}"] for index in range(2)]
        with processes.started(commands) as (children, heard):
            log = []
            while True:
                index, line = heard.get(timeout=LIMIT)
                if line is None:
                    raise processes.ProcessError(f"process {index} ended before it was killed:\n{''.join(log)}")
                log.append(line)
                match line.split():
                    case ["step", done, _] if int(done) > after and int(done) % options.save_every == 0:
                        # What comes next is the save, and after it the next step. A folder has no event to wait for.
                        while not unfinished() and heard.empty():
                            time.sleep(0.001)
                        # Stopped, they write no more; so what is unfinished now is unfinished when they are killed.
                        for child in children:
                            child.send_signal(signal.SIGSTOP)
                        if unfinished():
                            for child in children:
                                child.kill()
                            return unfinished()[0]
                        for child in children:
                            child.send_signal(signal.SIGCONT)

    return processes.on_free_port(attempt)


def test_kill_amid_a_save_loses_only_the_steps_since_the_last_checkpoint(example, tmp_path):
    options = options_for(steps=12, save_every=1)
    lost = kill_amid_a_save(tmp_path, options, after=5)
    assert (tmp_path / "checkpoints" / f"{lost}.orbax-checkpoint-tmp").exists()
    assert not (tmp_path / "checkpoints" / str(lost)).exists()
    resumed = processes.train("resumed", 2, tmp_path, options)
    assert (resumed.killed, resumed.begin) == (False, lost - 1)
    # That of one process was not disturbed. Sums in another order make 1e-6, and a step lost or done twice 0.09.
    undisturbed = example[0] / "one_process"
    assert processes.largest_difference(undisturbed, tmp_path) <= 1e-4
    assert not list((tmp_path / "checkpoints").glob("*.orbax-checkpoint-tmp"))


def test_ctrl_c_ends_all_processes(tmp_path):
    process = script("--directory", str(tmp_path))
    # The first bar is drawn when the first process has been started.
    assert process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    _, stderr = finish(process)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "processes.py: interrupted; its processes are ended"
    assert "Traceback" not in stderr


def in_place_of_training(monkeypatch, tmp_path, text):
    path = tmp_path / "in_place.py"
    path.write_text(text)
    monkeypatch.setattr(processes, "TRAINING", path)


def test_process_that_dies_shows_what_it_said(monkeypatch, tmp_path):
    in_place_of_training(monkeypatch, tmp_path, "print('begin 0'); raise RuntimeError('out of paper')")
    with pytest.raises(processes.ProcessError, match=r"(?s)process [01] ended with 1; it said:.*out of paper"):
        processes.train("two", 2, tmp_path, options_for(4, 2))


def test_process_that_hangs_shows_what_it_said(monkeypatch, tmp_path):
    in_place_of_training(monkeypatch, tmp_path, "import signal; print('waiting for paper', flush=True); signal.pause()")
    monkeypatch.setattr(processes, "SILENCE", 2)
    with pytest.raises(processes.ProcessError, match=r"(?s)no process said anything for 2 seconds"):
        processes.train("two", 2, tmp_path, options_for(4, 2))


TAKES_THE_PORT = """
import socket, sys
port = next(int(word.split("=")[1]) for word in sys.argv if word.startswith("--port"))
with socket.socket() as probe:
    if "--index=0" in sys.argv:
        probe.bind(("127.0.0.1", port))
print("state 1 8")
"""


def test_port_that_is_taken_after_the_choice_is_chosen_anew(monkeypatch, tmp_path):
    in_place_of_training(monkeypatch, tmp_path, TAKES_THE_PORT)
    free = processes.free_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        chosen = iter([taken, taken, free()])
        monkeypatch.setattr(processes, "free_port", lambda: next(chosen))
        assert processes.train("two", 2, tmp_path, options_for(4, 2)).state == (1, 8)
        # A port that was asked for is not exchanged.
        with pytest.raises(processes.ProcessError, match="Address already in use"):
            processes.train("two", 2, tmp_path, options_for(4, 2, port=taken))


WRONG = {
    "too few steps": (["--steps", "1"], "--steps 1: expected 2 to 100"),
    "too many steps": (["--steps", "101"], "--steps 101: expected 2 to 100; in more, rounding"),
    "kill after the end": (["--steps", "20", "--kill-at", "20"], "expected a step before the last, from 1 to 19"),
    "kill before the start": (["--kill-at", "0"], "--kill-at 0: expected a step before the last, from 1 to 59"),
    "never saved": (["--save-every", "0"], "--save-every 0: expected 1 or more"),
    "no port": (["--port", "70000"], "expected a number from 1 to 65535"),
    "a file for a folder": (["--directory", str(SCRIPT)], "File exists"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_value_is_told(monkeypatch, capsys, case):
    options, message = WRONG[case]
    monkeypatch.setattr(sys, "argv", ["processes.py", *options])
    with pytest.raises(SystemExit, match="2"):
        processes.main()
    assert message in capsys.readouterr().err


def test_port_in_use_is_told(monkeypatch, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["processes.py", "--port", str(port)])
        with pytest.raises(SystemExit, match="2"):
            processes.main()
    assert f"--port {port}: the port is in use" in capsys.readouterr().err


@pytest.fixture(scope="module")
def column(tmp_path_factory):
    """The parameters of every chain after twenty steps on two processes, all from one launch."""
    file = tmp_path_factory.mktemp("column") / "parameters.npz"

    def attempt(port):
        command = [sys.executable, "-W", "default", "-m", "tests.devices.worker", f"127.0.0.1:{port}", str(file)]
        with processes.started([[*command, str(index)] for index in range(2)]) as (children, heard):
            processes.follow(children, heard, tqdm(disable=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "SILENCE", LIMIT)
        processes.on_free_port(attempt)
    with np.load(file) as found:
        return dict(found)


@pytest.mark.parametrize("name", matrix.CHAINS)
def test_same_numbers_on_two_processes(column, name):
    expected = jax.tree.leaves(matrix.reference(name))
    for index, leaf in enumerate(expected):
        # Of the largest parameter: sums over devices round in another order.
        tolerance = 1e-5 * float(np.abs(leaf).max())
        np.testing.assert_allclose(column[f"{name}, {index}"], leaf, rtol=0, atol=tolerance)


def test_replicas_on_two_processes_do_not_drift(column):
    replicas.same([leaf for name, leaf in column.items() if name.startswith("replicas")])
