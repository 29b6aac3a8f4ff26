"""The demo: trains in two ways to the same parameters, draws, resumes, and says in one line what is wrong."""

import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.image import imread

import gradxform as gx
from tests.environment import COMPILE_FAST

EXAMPLES = Path(__file__).parents[1] / "examples"
# The script makes devices of its own, unless the environment has.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
ENVIRONMENT["XLA_FLAGS"] = COMPILE_FAST

Result = subprocess.CompletedProcess[str]


def launch(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Starts the script, with warnings shown, in a folder that is not the repository."""
    # What the shell starts in the background ignores Ctrl-C, and so would the child of a test that it has started.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "default", EXAMPLES / "digits.py", *options],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def finish(process: subprocess.Popen[str]) -> Result:
    """Waits for the script to end."""
    stdout, stderr = process.communicate(timeout=1800)
    return Result(process.args, process.returncode, stdout, stderr)


def run_here(monkeypatch, capsys, folder: Path, *options: str) -> Result:
    """Runs the script in this process, in which JAX is there and warnings are errors."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["digits.py", *options])
    monkeypatch.chdir(folder)
    code: Any = 0
    # The network adds its biases in the way of NumPy.
    with jax.numpy_rank_promotion("allow"):
        try:
            runpy.run_path(str(EXAMPLES / "digits.py"), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    stdout, stderr = capsys.readouterr()
    if isinstance(code, str):
        # What Python writes to stderr, before it ends with 1.
        code, stderr = 1, f"{stderr}{code}\n"
    return Result(options, code, stdout, stderr)


def last_losses(result: Result) -> dict[str, str]:
    """The last loss of each run, in digits enough to tell any two float32 apart."""
    return dict(re.findall(r"^(pmap|shard_map) .* (\d\.\d{8}e[-+]\d\d) ", result.stdout, re.MULTILINE))


def differences(result: Result) -> list[float]:
    """How far the runs are said to be apart, after the first steps and at the end."""
    sentence = re.search(r"^The runs agree: .*$", result.stdout, re.MULTILINE)
    assert sentence, result.stdout
    return [float(number) for number in re.findall(r"\d\.\de[-+]\d\d", sentence[0])]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The script as `make demo` runs it, of fewer steps: the folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, finish(launch(folder, "--steps", "300"))


def test_a_thousand_steps_of_adamw_by_default(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["digits.py", "--out", str(tmp_path)])
    options = importlib.import_module("digits").read_options()
    assert (options.steps, options.optimizer, options.learning_rate, options.mesh.size) == (1000, "adamw", 3e-3, 8)


def test_demo_reads_digits_in_both_ways(demo):
    _, result = demo
    assert result.returncode == 0, result.stderr
    accuracies = dict(re.findall(r"^(pmap|shard_map) +([\d.]+)%", result.stdout, re.MULTILINE))
    assert accuracies.keys() == {"pmap", "shard_map"}
    assert min(map(float, accuracies.values())) >= 97


def test_demo_prints_the_chain(demo):
    _, result = demo
    assert "300 steps on 8 cpu devices" in result.stdout
    for call in ("clip_by_global_norm(max_norm=1.0)", "scale_by_adam(", "add_decayed_weights(weight_decay=0.01)"):
        assert call in result.stdout
    assert "warmup_cosine_decay_schedule(" in result.stdout


def test_demo_says_that_the_runs_agree(demo):
    _, result = demo
    early, late = differences(result)
    assert early < 1e-3
    assert late >= early


def test_demo_shows_progress_and_no_warnings_on_stderr(demo):
    _, result = demo
    for name in ("pmap", "shard_map"):
        assert re.search(rf"{name} .* 300/300 \[\d\d:\d\d, loss 0\.0\d+, rate .*e-07, norm 0\.\d+\]", result.stderr)
    assert "Warning" not in result.stderr


def test_demo_draws_three_panels_of_two_curves(demo):
    folder, _ = demo
    picture = imread(folder / "out" / "digits.png")
    height, width, _ = picture.shape
    assert min(height, width) >= 800
    for color in ("#E69F00", "#0072B2"):
        wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        rows = np.isclose(picture[..., :3], wanted, atol=0.02).all(axis=-1).any(axis=1)
        for third in np.array_split(rows, 3):
            assert third.mean() > 0.2


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run that was interrupted after its first checkpoint, and resumed."""
    folder = tmp_path_factory.mktemp("resumed")
    options = ("--optimizer", "nesterov", "--steps", "60")
    process = launch(folder, *options)
    checkpoint = folder / "out" / "digits_checkpoints" / "pmap" / "50"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    assert interrupted.returncode == 130
    assert interrupted.stderr.splitlines()[-1] == "digits.py: interrupted; --resume goes on from the last checkpoint"
    assert "Traceback" not in interrupted.stderr
    return folder, finish(launch(folder, *options, "--resume"))


def test_resumed_run_ends_as_one_without_interruption(resumed, tmp_path):
    _, result = resumed
    assert result.returncode == 0, result.stderr
    # Interrupted or not, the first bar of a run that begins anew begins at 0.
    assert not re.search(r"pmap .* 0/60 ", result.stderr)
    whole = finish(launch(tmp_path, "--optimizer", "nesterov", "--steps", "60"))
    assert re.search(r"pmap .* 0/60 ", whole.stderr)
    assert last_losses(result).keys() == {"pmap", "shard_map"}
    assert last_losses(result) == last_losses(whole)
    assert differences(result) == differences(whole)
    assert "Warning" not in result.stderr


def test_resume_with_another_optimizer_says_which_it_was(resumed, monkeypatch, capsys):
    folder, _ = resumed
    result = run_here(monkeypatch, capsys, folder, "--optimizer", "sgd", "--steps", "60", "--resume")
    assert_one_line(result, "was made with --optimizer nesterov --learning-rate 0.1 --steps 60")


def test_fewer_devices_and_steps_than_by_default(monkeypatch, capsys, tmp_path):
    result = run_here(monkeypatch, capsys, tmp_path, "--devices", "2", "--steps", "15", "--out", "else/where")
    assert result.returncode == 0, result.stderr
    assert "15 steps on 2 cpu devices, 64 images each" in result.stdout
    assert max(differences(result)) < 1e-3
    assert imread(tmp_path / "else" / "where" / "digits.png").size
    assert "Warning" not in result.stderr


WRONG = {
    "unknown optimizer": (["--optimizer", "adamm"], "adamw"),
    "no steps": (["--steps", "0"], "expected a whole number above 0, got '0'"),
    "half a step": (["--steps", "1.5"], "expected a whole number above 0, got '1.5'"),
    "rate that is not finite": (["--learning-rate", "inf"], "expected a number above 0, got 'inf'"),
    "devices that are not there": (["--devices", "16"], "there are 8 devices"),
    "devices that do not divide the batch": (["--devices", "3"], "expected one of 1, 2, 4, 8,"),
    "nothing to resume": (["--resume"], "there is no checkpoint in"),
    "a file for a folder": (["--out", "file"], "Not a directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_value_gets_one_line(monkeypatch, tmp_path, capsys, case):
    options, part = WRONG[case]
    (tmp_path / "file").touch()
    assert_one_line(run_here(monkeypatch, capsys, tmp_path, *options), part)


def assert_one_line(result: Result, part: str) -> None:
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("digits.py: ")
    assert part in line


def test_loss_that_is_not_finite_ends_in_one_line(monkeypatch, capsys, tmp_path):
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--steps", "10")
    result = run_here(monkeypatch, capsys, tmp_path, *options)
    assert result.returncode == 1
    assert re.fullmatch(
        r"digits.py: the loss is (nan|inf) after 10 steps; try a lower --learning-rate", result.stderr.splitlines()[-1]
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["adamw", "adam", "nadam", "rmsprop", "adagrad", "sgd", "momentum", "nesterov"])
def test_every_optimizer_learns_at_its_own_rate(monkeypatch, name):
    monkeypatch.syspath_prepend(EXAMPLES)
    digits, model, training = map(importlib.import_module, ("digits", "digits_model", "digits_training"))
    make, rate = digits.OPTIMIZERS[name]
    tx = gx.chain(gx.clip_by_global_norm(1.0), make(rate))
    step = jax.jit(training.make_step(tx, jax.value_and_grad(model.cross_entropy)))
    images, params = model.load()[0], model.init()
    state, losses = tx.init(params), []
    # The network adds its biases in the way of NumPy.
    with jax.numpy_rank_promotion("allow"):
        for index in range(40):
            params, state, report = step(params, state, *model.batch(images, index))
            losses.append(float(report.loss))
    assert report.learning_rate == np.float32(rate)
    assert np.mean(losses[-5:]) < 1.5 < losses[0]


def test_runs_that_do_not_agree_are_found(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    digits, model, training = map(importlib.import_module, ("digits", "digits_model", "digits_training"))

    def under_pmap_without_a_mean(tx, mesh):
        alone = training.make_step(tx, jax.value_and_grad(model.cross_entropy))
        parallel = jax.pmap(alone, in_axes=(None, None, 0, 0), out_axes=None)
        return lambda params, state, pixels, labels: parallel(
            params, state, pixels.reshape(8, -1, 8, 8, 1), labels.reshape(8, -1)
        )

    monkeypatch.setitem(digits.WAYS, "pmap", under_pmap_without_a_mean)
    monkeypatch.setattr(sys, "argv", ["digits.py", "--steps", "10", "--out", str(tmp_path)])
    with jax.numpy_rank_promotion("allow"), pytest.raises(SystemExit, match="the runs do not agree: they differ by"):
        digits.main()
