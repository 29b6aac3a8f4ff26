"""The harness of `benchmarks/evidence.py`, without its training: tuning, tests, files, and the page that is made."""

import importlib
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

import gradxform as gx

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(BENCHMARKS)
    # The first of them leads to the examples, too.
    tasks, evidence, methods, outcomes, page, plots, runs, tuning = map(
        importlib.import_module,
        [
            "tasks",
            "evidence",
            "evidence_methods",
            "evidence_outcomes",
            "evidence_page",
            "evidence_plots",
            "evidence_runs",
            "evidence_tuning",
        ],
    )

RULES = [tuning.rates_and_knob, tuning.nine_rates]
QUIET = tqdm(disable=True)


def bowl(best_rate: float, best_knob: float):
    """A loss whose lowest setting is known."""
    return lambda setting: math.log2(setting.rate / best_rate) ** 2 + abs(setting.knob - best_knob)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("power", [-2.6, 0, 1.3])
def test_nine_settings_come_near_the_best_rate(rule, power):
    found = rule(2.0**-8, (0.9, 0.8, 0.99), bowl(2.0 ** (power - 8), 0.9))
    assert len(found) == tuning.SETTINGS
    # Half of the distance of two rates that are a factor of 2 apart, by the logarithm.
    assert abs(math.log2(tuning.best(found).rate) + 8 - power) <= 0.5
    assert not tuning.at_edge(found)


def test_the_knob_is_tuned_at_the_best_rate():
    found = tuning.rates_and_knob(1.0, (0.9, 0.8, 0.99), bowl(4.0, 0.99))
    assert tuning.best(found) == (4.0, 0.99)


@pytest.mark.parametrize("rule", RULES)
def test_a_rate_at_the_edge_is_seen(rule):
    assert tuning.at_edge(rule(1.0, (0.9, 0.8, 0.99), bowl(2.0**9, 0.9)))


@pytest.mark.parametrize("rule", RULES)
def test_settings_that_diverge_are_never_the_best(rule):
    found = rule(1.0, (0.9, 0.8, 0.99), lambda setting: math.inf if setting.rate > 0.3 else bowl(1.0, 0.9)(setting))
    assert tuning.best(found).rate <= 0.3


def outcome(losses: list[float]):
    """What came of a method that ended with these losses."""
    return outcomes.Outcome({}, {seed: runs.Run([9.0, loss]) for seed, loss in enumerate(losses, 1)}, "b2", 8.0)


# Student's t of 4 degrees of freedom, of tables: one-sided at 0.05, 0.01 and 0.001.
@pytest.mark.parametrize(("t", "p"), [(2.1318, 0.05), (3.7469, 0.01), (7.1732, 0.001)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_test_is_paired_and_of_one_side(t, p, sign):
    seeds = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    noise = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    error = noise.std(ddof=1) / 5**0.5
    found = outcomes.compared(outcome(list(seeds + noise - sign * t * error)), outcome(list(seeds)))
    assert found.difference == pytest.approx(-sign * t * error)
    assert found.error == pytest.approx(error)
    # Tables have five digits of t.
    assert found.p == pytest.approx(p if sign == 1 else 1 - p, rel=1e-3)


def test_what_is_not_finite_is_not_compared():
    assert outcomes.compared(outcome([1.0, math.inf]), outcome([1.0, 2.0])) is None


def test_several_tests_hold_together_by_holm():
    # At 0.05 the bounds are 0.0125, 0.0167, 0.025 and 0.05: c fails, and so d does not count.
    assert outcomes.lower({"a": 0.011, "d": 0.041, "b": 0.0166, "c": 0.04}) == {"a", "b"}
    assert outcomes.lower({"a": 0.02, "b": 0.03, "c": 0.04, "d": 0.05}) == set()


def test_numbers_have_their_errors():
    assert page.number([1.0, 2.0, 3.0], 2) == "2.00 ± 0.58"
    assert page.number([25.0, 25.0], 1, "%") == "25.0 ± 0.0%"
    assert page.number([1.0, math.inf], 2) == "not finite"


def test_the_agreement_of_orders():
    order = {"a": 1, "b": 2, "c": 3, "d": 4}
    assert outcomes.agreement(order, order) == 1
    assert outcomes.agreement(order, {name: -place for name, place in order.items()}) == -1
    # One pair of six is the other way; what is not in both does not count.
    assert outcomes.agreement(order, {"a": 2, "b": 1, "c": 3, "d": 4, "e": 5}) == pytest.approx(4 / 6)


def test_steps_to_a_loss_are_between_two_that_are_known():
    assert outcomes.steps_to(1.5, [3.0, 2.0, 1.0], every=10) == 25
    assert outcomes.steps_to(0.5, [3.0, 2.0, 1.0], every=10) is None


def valley(every: int = 2):
    """A task of a vector that is to become that of the batches, with a hidden matrix beside it."""
    return tasks.Task(
        steps=20,
        every=every,
        init=lambda seed: {"embedding": jnp.zeros((2, 3)), "hidden": {"kernel": jnp.ones((3, 2))}},
        loss=lambda params, batch: jnp.square(params["embedding"] - batch).sum() + 0 * params["hidden"]["kernel"].sum(),
        batches=lambda seed, begin, end: np.full((end - begin, 2, 3), seed, np.float32),
        judged=np.ones((2, 3), np.float32),
        judged_is="a vector",
        other=np.full((2, 3), 2, np.float32),
        about={},
        matrices=gx.labels({"hidden/kernel": "matrices"}, "rest"),
    )


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_is_made_of_a_task(name):
    task, method = valley(), methods.METHODS[name]
    made = [method.make(method.centre * rate, knob, task) for rate in (1, 2) for knob in method.values]
    assert len({repr(tx) for tx in made}) == 6
    # One program for all of them: they differ in nothing but numbers that may be arguments.
    assert len({jax.tree.structure(tx) for tx in made}) == 1
    assert runs.state_bytes(made[0], task) >= 4


# One task for both of them, whose programs they share.
VALLEY = valley()


def test_a_run_is_judged_by_other_examples_in_tuning():
    tx = gx.sgd(0.1)
    held = runs.trained(tx, VALLEY, 1, tuning=False).losses
    assert len(held) == 10
    # The distance of the six numbers from 1 is shrunk by 1 - 2 rate at each step.
    np.testing.assert_allclose(held, [6 * 0.8 ** (4 * at) for at in range(1, 11)], rtol=1e-4)
    (tuned,) = runs.trained(tx, VALLEY, 1, tuning=True).losses
    assert tuned == pytest.approx(6 * (2 - 1 + 0.8**20) ** 2, rel=1e-4)


def test_a_run_that_diverges_ends_with_infinite_losses():
    held = runs.trained(gx.sgd(1e12), VALLEY, 1, tuning=False).losses
    assert len(held) == 10
    assert held[-1] == math.inf


class Trained:
    """Losses in place of runs, and how many there were; after some of them it is killed."""

    def __init__(self, killed_after: int | None = None):
        self.made, self.killed_after = 0, killed_after

    def __call__(self, tx, task, seed, tuning):
        if self.made == self.killed_after:
            raise KeyboardInterrupt
        self.made += 1
        return runs.Run([math.inf if tuning and self.made == 3 else len(repr(tx)) + seed])


def study(path: Path, fake: Trained, monkeypatch, name: str = "lion", seeds: int = 3) -> dict:
    """What a study keeps."""
    monkeypatch.setattr(evidence, "trained", fake)
    kept = runs.Kept(path, valley())
    evidence.study(name, evidence.Study(lambda steps: valley(), 20), kept, range(1, seeds + 1), QUIET)
    return json.loads(path.read_text())


@pytest.mark.parametrize("after", [1, 5, 11])
def test_what_was_killed_goes_on(tmp_path, monkeypatch, after):
    whole = study(tmp_path / "whole.json", Trained(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "killed.json", Trained(killed_after=after), monkeypatch)
    # It counts on, so that the third run diverges and no other one does.
    going_on = Trained()
    going_on.made = after
    assert study(tmp_path / "killed.json", going_on, monkeypatch) == whole
    assert going_on.made == tuning.SETTINGS + 3
    again = Trained(killed_after=0)
    assert study(tmp_path / "killed.json", again, monkeypatch) == whole


def test_more_seeds_are_more_runs_and_fewer_drop_none(tmp_path, monkeypatch):
    study(tmp_path / "kept.json", Trained(), monkeypatch)
    more = Trained()
    whole = study(tmp_path / "kept.json", more, monkeypatch, seeds=5)
    assert more.made == 2
    assert study(tmp_path / "kept.json", Trained(killed_after=0), monkeypatch, seeds=2) == whole


def test_runs_of_a_method_that_has_changed_are_made_again(tmp_path, monkeypatch):
    study(tmp_path / "kept.json", Trained(), monkeypatch)
    changed = methods.METHODS["lion"]._replace(make=lambda rate, b2, task: gx.lion(rate, b2=b2))
    monkeypatch.setitem(methods.METHODS, "lion", changed)
    again = Trained()
    content = study(tmp_path / "kept.json", again, monkeypatch)
    assert again.made == len(content["runs"]) == tuning.SETTINGS + 3


def test_runs_of_another_task_are_refused(tmp_path, monkeypatch):
    study(tmp_path / "kept.json", Trained(), monkeypatch)
    with pytest.raises(ValueError, match="these would be of"):
        runs.Kept(tmp_path / "kept.json", valley(every=5))


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_of_patches_are_those_of_the_demo(stride):
    rng = np.random.default_rng(0)
    layer = {"kernel": rng.standard_normal((3, 3, 2, 4), np.float32), "bias": rng.standard_normal(4, np.float32)}
    x = rng.standard_normal((3, 8, 8, 2), np.float32)
    # The demo's networks let a bias broadcast.
    with jax.numpy_rank_promotion("allow"):
        ours, theirs = (conv(layer, x, stride) for conv in (tasks.convolved, tasks.digits_model.convolve))
    # Sums of 18 products in another order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def contents():
    files = {name: evidence.file(evidence.DATA, name) for name in evidence.STUDIES}
    return {name: json.loads(path.read_text()) for name, path in files.items()}


def test_the_page_says_what_is_kept(contents):
    text = evidence.PAGE.read_text()
    assert page.filled(text, contents) == text
    changed = json.loads(json.dumps(contents))
    run = next(run for run in changed["digits"]["runs"] if not run["tuning"])
    run["losses"][-1] += 1
    assert page.filled(text, changed) != text


def test_a_page_without_a_place_is_refused(contents):
    with pytest.raises(ValueError, match="no place for digits"):
        page.filled(evidence.PAGE.read_text().replace("<!-- evidence: digits -->", ""), contents)


@pytest.mark.parametrize("task", evidence.STUDIES)
def test_pictures_show_what_is_kept(contents, task):
    with Image.open(evidence.picture(task)) as picture:
        assert picture.text["Description"] == plots.digest(contents[task])


@pytest.mark.parametrize("task", evidence.STUDIES)
def test_each_method_has_nine_settings_and_five_seeds(contents, task):
    for name, each in outcomes.outcomes(contents[task]).items():
        assert len(each.found) == tuning.SETTINGS, name
        assert set(each.runs) >= {1, 2, 3, 4, 5}, name
        assert runs.TUNING_SEED not in each.runs
