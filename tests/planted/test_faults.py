"""Faults that are planted: one line each, all of which change what is computed, and none of what is said."""

import ast
from collections import Counter
from pathlib import Path

from tests.planted.faults import ROOMS, draw, faults_in
from tests.planted.trials import nearest

SOURCE = '''"""A docstring with 1 + 1."""

LIMIT = 2


class ScaleByTwo(LeafRule):
    """Not 3 < 4."""

    size: Number | 5 = 0.0

    def update(self, grad: Array | 6, slots, leaf):
        if not (grad.dtype is None and slots):
            raise ValueError(f"expected {7 - 1}, got {leaf.step}")
        mean = jnp.minimum(grad.astype(float), -slots.mean) if leaf.step <= 8 else (
            grad
            + slots.mean
        )
        return mean, slots._replace(mean=mean, whole=True)
'''
CHANGED = {
    "2 -> 3": "number",
    "0.0 -> 1.0": "number",
    "not (grad.dtype is None and slots) -> grad.dtype is None and slots": "not",
    "is -> is not": "comparison",
    "and -> or": "and, or",
    "jnp.minimum -> jnp.maximum": "opposite",
    "grad.astype(float), -slots.mean -> -slots.mean, grad.astype(float)": "arguments",
    "grad.astype(float) -> grad": "astype",
    "-slots.mean -> slots.mean": "sign",
    "leaf.step -> (leaf.step + 1)": "off by one",
    "<= -> <": "comparison",
    "<= -> >=": "comparison",
    "8 -> 9": "number",
    "+ -> -": "arithmetic",
    "mean, slots._replace(mean=mean, whole=True) -> slots._replace(mean=mean, whole=True), mean": "returned parts",
    "True -> False": "True, False",
}
ROOT = Path(__file__).parents[2]


def test_what_is_computed_is_changed_and_nothing_that_is_said():
    found = {f"{fault.old} -> {fault.new}": fault for fault in faults_in(SOURCE, "two.py", "rules")}
    assert {change: fault.kind for change, fault in found.items()} == CHANGED
    for fault in found.values():
        planted = fault.planted(SOURCE)
        assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(SOURCE))
        lines = zip(planted.splitlines(), SOURCE.splitlines(), strict=True)
        assert [number for number, (new, old) in enumerate(lines, 1) if new != old] == [fault.line]


def test_a_seed_draws_the_same_faults_and_as_many_of_each_room():
    drawn = draw(ROOT, 0, 28)
    assert drawn == draw(ROOT, 0, 28)
    assert drawn != draw(ROOT, 1, 28)
    assert Counter(fault.room for fault in drawn) == dict.fromkeys(ROOMS, 4)
    assert len({fault.place for fault in drawn}) == 28


def test_the_tests_that_speak_of_what_is_around_come_first():
    (fault, *_) = (fault for fault in faults_in(SOURCE, "gradxform/rules/two.py", "rules") if fault.names)
    fault = fault._replace(names=("ScaleByTwo", "update"))
    tests = {
        "tests/core/test_engine.py": "one",
        "tests/notebooks/test_notebooks.py": "scale_by_two scale_by_two",
        "tests/rules/test_other.py": "one",
        "tests/rules/test_scaling.py": "gx.scale_by_two(1.0)",
    }
    assert nearest(fault, tests) == [
        "tests/rules/test_scaling.py",
        "tests/rules/test_other.py",
        "tests/core/test_engine.py",
        "tests/notebooks/test_notebooks.py",
    ]
