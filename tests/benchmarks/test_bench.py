"""`make bench` without a clock: what it makes of numbers, what it keeps, and that a quick run of it ends well."""

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
bench, alternate, compare, floor, plan, report, results, trees = (
    importlib.import_module(name)
    for name in (
        "bench",
        *(f"parts.{name}" for name in ("alternate", "compare", "floor", "plan", "report", "results", "trees")),
    )
)
Fit, Limit, Result, Spread = results.Fit, results.Limit, results.Result, results.Spread

SHAPES = [(4, 4), (8,)]
SIZE = 4 * 24


class Counted:
    """A contestant that writes its name at each step."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def __call__(self):
        self.log.append(self.name)

    def wait(self):
        pass


def around(median, noise=0.01):
    return Spread(median, median - noise, median + noise, 21)


def test_the_trees_are_those_of_the_papers():
    resnet, gpt = trees.resnet(), trees.transformer()
    # torchvision's resnet50 has as many, in as many parameters.
    assert (len(resnet.shapes), resnet.parameters) == (161, 25_557_032)
    assert (len(gpt.shapes), gpt.parameters) == (148, 27_782_400)
    assert [len(tree.matrices) for tree in (resnet, gpt)] == [161, 148]
    assert sum(axes is not None for axes in gpt.matrices) == 4 * 12


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_an_exponent_is_found(exponent):
    sizes = [10, 30, 100, 300, 1000]
    found = results.fit(sizes, [3 * size**exponent for size in sizes])
    # float64's rounding.
    assert found == pytest.approx((exponent, 0.0), abs=1e-7)


def test_an_exponent_has_the_error_of_least_squares():
    sizes = [1, 2, 4, 8, 16]
    costs = [1.0, 2.2, 3.7, 8.5, 15.5]
    found = results.fit(sizes, costs)
    (slope, _), covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    # float64's rounding.
    assert found == pytest.approx((slope, covariance[0, 0] ** 0.5), rel=1e-9)
    with pytest.raises(ValueError, match="two sizes"):
        results.fit([4, 4], costs[:2])


@pytest.mark.parametrize(
    ("tx", "grad_reads", "passes"),
    [
        (gx.sgd(0.1), 1, 3),
        (gx.sgd(0.1, 0.9), 1, 5),
        (gx.adamw(0.1), 1, 7),
        (gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)), 2, 8),
    ],
)
def test_the_floor_is_what_must_move(tx, grad_reads, passes):
    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in SHAPES]
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(tx.init, params)))
    # Beside the slots a state holds a counter, and the norm that clipping reports: read and written, 4 bytes each.
    assert floor.moved(SHAPES, state, grad_reads) in [passes * SIZE + 8 * numbers for numbers in (1, 2)]


def test_the_floor_of_micro_steps():
    # What was gathered, and two slots.
    state = 3 * SIZE
    assert floor.moved(SHAPES, state, micro_steps=4, due=0) == 3 * SIZE
    # Three that wait, and one that reads the gradient and the sum, and reads and writes parameters and two slots.
    assert floor.moved(SHAPES, state, micro_steps=4, due=1) == (3 * 3 + 2 + 6) * SIZE / 4


def test_contestants_take_turns(monkeypatch):
    monkeypatch.setattr(alternate, "PAUSE", 0.0)
    monkeypatch.setattr(alternate, "BLOCKS", 3)
    log = []
    ours, theirs, others = (Counted(name, log) for name in "otp")
    budget = alternate.Budget(0.0, least=6, most=6)
    alone = alternate.measure({"jax": {"ours": ours, "optax": theirs}, "torch": {}}, budget)
    # After the warm-up, and a round that says how many there may be, nobody always comes first.
    rounds = log[2 * alternate.WARM_UP + 2 :]
    assert [rounds[i : i + 2] for i in range(0, 12, 2)] == [["t", "o"], ["o", "t"]] * 3
    assert {whose: [len(block) for block in blocks] for whose, blocks in alone["jax"].items()} == {
        "ours": [6],
        "optax": [6],
    }
    log.clear()
    both = alternate.measure({"jax": {"ours": ours}, "torch": {"torch fused": others}}, budget)
    assert "".join(log[2 * alternate.WARM_UP + 1 :]) == "oopp" * 3
    assert set(alternate.ratios(both)) == {"torch fused"}


def test_a_ratio_is_taken_where_both_have_met_the_same_machine():
    # Twice as slow from the third round on, and ours always half of theirs.
    ours, theirs = [[1.0, 1.0, 2.0, 2.0]], [[2.0, 2.0, 4.0, 4.0]]
    assert alternate.within(ours, theirs) == Spread(0.5, 0.5, 0.5, 4)
    assert alternate.across([[1.0, 1.0, 9.0], [2.0]], [[2.0, 2.0], [4.0, 4.0]]) == Spread(0.5, 0.5, 0.5, 2)


OLD = Result(
    "chains",
    "adamw",
    "gpt",
    ratios={"optax": around(1.0), "torch fused": around(1.2, 0.3)},
    temporaries={"ours": 100_000, "optax": 1},
    exponents={"ours": Fit(1.0, 0.02), "optax": Fit(1.0, 0.02)},
)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        # Within the noise of one of the two; too little; what is not ours.
        ({"ratios": {"torch fused": around(1.5)}}, []),
        ({"ratios": {"optax": around(1.03)}}, []),
        ({"temporaries": {"ours": 100_000, "optax": 10**9}, "exponents": {"optax": Fit(2.0, 0.0)}}, []),
        ({"ratios": {"optax": around(1.2)}}, [("ours / optax", True)]),
        ({"ratios": {"optax": around(0.8)}}, [("ours / optax", False)]),
        ({"exponents": {"ours": Fit(1.1, 0.0)}}, [("exponent of ours", True)]),
        ({"exponents": {"ours": Fit(1.1, 0.1)}}, []),
        ({"temporaries": {"ours": 300_000}}, [("bytes of temporaries, ours", True)]),
        ({"temporaries": {"ours": 1000}}, [("bytes of temporaries, ours", False)]),
    ],
)
def test_a_change_is_more_than_the_noise_of_both(changed, expected):
    new = results.from_json({**OLD.as_json(), **Result("chains", "adamw", "gpt", **changed).as_json()})
    found = compare.changes([OLD, Result("chains", "gone")], [new, Result("chains", "new")])
    assert [(change.what.partition(": ")[2], change.is_worse) for change in found] == expected


def written(path, ratio):
    result = Result("chains", "adamw", "gpt", ratios={"optax": around(ratio)}, times={"ours": around(1.0)})
    result.limits = [Limit("step / optax's", ratio, 1.05)]
    content = {
        "format": results.FORMAT,
        "machine": results.machine(),
        "settings": {"full": False, "quick": True, "seconds": 1.0},
        "bandwidth": {"copy": around(1.0)},
        "trees": {"gpt": "a tree"},
        "results": [result],
    }
    results.write(path, content)
    return str(path)


def test_what_is_worse_is_said_by_the_exit_code(tmp_path, capsys):
    good, bad = written(tmp_path / "good.json", 1.0), written(tmp_path / "bad.json", 2.0)
    picture = ["--plot", str(tmp_path / "bench.png")]
    assert bench.main(["--read", bad, *picture]) == 0
    assert bench.main(["--read", bad, "--strict", *picture]) == 1
    assert bench.main(["--read", good, "--strict", "--compare", good, *picture]) == 0
    assert bench.main(["--read", good, "--compare", bad, *picture]) == 0
    capsys.readouterr()
    assert bench.main(["--read", bad, "--compare", good, *picture]) == 1
    said = capsys.readouterr().out
    assert "not: step / optax's 2.00 > 1.05" in said
    assert "| worse | chains / adamw / gpt: ours / optax | 1    | 2   |" in said
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_a_file_that_is_none_is_an_error(tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"format": 0}')
    with pytest.raises(SystemExit):
        bench.main(["--compare", str(tmp_path / "other.json")])
    assert "no file of make bench" in capsys.readouterr().err


@pytest.fixture(scope="module")
def jobs():
    return [*plan.jobs(plan.pace(full=False, quick=True), True, floor.Bandwidth(8))]


def tags(chosen):
    return [(job.part, *job.tags) for job in chosen]


def test_jobs_are_chosen_by_name(jobs):
    everything, default = (plan.chosen(jobs, [], full) for full in (True, False))
    assert everything == jobs
    assert {job.part for job in default} == set(plan.PARTS)
    assert not any(job.is_extra for job in default)
    assert tags(plan.chosen(jobs, [["every", "lion", "lamb"]], False)) == [
        ("every", "lamb", "gpt"),
        ("every", "lion", "gpt"),
    ]
    assert tags(plan.chosen(jobs, [["chains", "adamw", "one", "many"], ["growth", "chips"]], False)) == [
        ("chains", "adamw", "one"),
        ("chains", "adamw", "many"),
        ("growth", "chips"),
    ]
    with pytest.raises(ValueError, match="no part is called 'steps'"):
        plan.chosen(jobs, [["steps"]], False)
    with pytest.raises(ValueError, match="every has no 'leon'"):
        plan.chosen(jobs, [["every", "leon"]], False)


def test_a_quick_run_keeps_what_it_has_found(tmp_path, monkeypatch, capsys):
    # Those of the other tests stay.
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    path = tmp_path / "out" / "bench.json"
    only = [
        ["build", "adamw"],
        ["chains", "clip and adamw", "gpt"],
        ["every", "polyak_sgd"],
        ["hand", "sgd, momentum", "4"],
        ["growth", "leaves", "build"],
    ]
    arguments = [word for part in only for word in ("--only", *part)]
    # optax's steps are less strict.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert bench.main(["--quick", "--json", str(path), "--plot", str(tmp_path / "bench.png"), *arguments]) == 0
    kept = json.loads(path.read_text())
    assert set(kept) == {"format", "machine", "settings", "bandwidth", "trees", "results"}
    assert {"jax", "optax", "gradxform", "python", "device", "cores"} <= set(kept["machine"])
    assert set(kept["bandwidth"]) == {"copy", "scaled add"}
    found = {" / ".join(filter(None, (each["part"], each["name"], each.get("on")))): each for each in kept["results"]}
    assert list(found) == [
        *(f"build / adamw / {stage}" for stage in ("trace", "lower", "compile", "trace + lower")),
        "chains / clip and adamw / gpt",
        "every / polyak_sgd / gpt",
        "hand / sgd, momentum / 4 leaves",
        "growth / leaves / trace + lower",
    ]
    chain = found["chains / clip and adamw / gpt"]
    assert set(chain["times"]) >= {"ours", "ours, step", "optax"}
    assert set(chain["times"]["ours"]) == {"median", "low", "high", "samples"}
    assert chain["ratios"]["optax"]["low"] <= chain["ratios"]["optax"]["median"] <= chain["ratios"]["optax"]["high"]
    # Two slots of 200 parameters, a counter, and the norm that ours reports.
    assert (chain["state"]["ours"], chain["state"]["optax"]) == (2 * 4 * 200 + 8, 2 * 4 * 200 + 4)
    assert all(limit.keys() == {"what", "value", "at_most", "ok"} for limit in chain["limits"])
    growth = found["growth / leaves / trace + lower"]
    assert growth["sizes"] == [1, 2, 4]
    assert {whose: len(curve) for whose, curve in growth["curves"].items()} == {"ours": 3, "optax": 3}
    assert set(growth["exponents"]["ours"]) == {"exponent", "error"}
    again = results.read(path)["results"]
    assert [result.as_json() for result in again] == kept["results"]
    assert report.missed(again) == report.missed(results.read(path)["results"])
    assert "limits are kept" in capsys.readouterr().out
