"""Schedules as tables."""

import numpy as np
import pytest

import gradxform as gx

WARM = gx.warmup_constant_schedule(0.0, 1.0, 4)


def test_a_table_has_eleven_rows_from_the_first_step_to_the_last():
    table = gx.schedule_table({"warm": WARM, "own": lambda step: 2.0 if step < 5 else 0.5, "number": 0.25}, 101)
    assert table.steps.tolist() == list(range(0, 101, 10))
    np.testing.assert_array_equal(table.values["warm"], [0.0, *[1.0] * 10])
    np.testing.assert_array_equal(table.values["own"], [2.0, *[0.5] * 10])
    np.testing.assert_array_equal(table.values["number"], [0.25] * 11)


def test_it_prints_in_columns():
    table = gx.schedule_table(WARM * 1e-3, [0, 1, 4, 100])
    assert repr(table).splitlines() == [
        "step    value",
        "----  -------",
        "   0        0",
        "   1  0.00025",
        "   4    0.001",
        " 100    0.001",
    ]
    html = table._repr_html_()
    assert html.count("<tr") == 5
    assert ">0.00025<" in html


def test_of_few_steps_all_are_shown_and_of_none_there_is_no_table():
    assert gx.schedule_table(WARM, 100).steps.tolist() == [*range(0, 100, 10), 99]
    assert gx.schedule_table(WARM, 12).steps.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert gx.schedule_table(WARM, 5).steps.tolist() == [0, 1, 2, 3, 4]
    for schedules, steps in ((WARM, 0), (WARM, []), ({}, 5), (WARM, [[1]])):
        with pytest.raises(ValueError, match="schedule_table: expected a schedule and a step at least"):
            gx.schedule_table(schedules, steps)
