"""What changes nothing and reports: the updates leave as they came. tests/rules/test_watching.py has the reports."""

import numpy as np

import gradxform as gx
from tests.contract.case import Case, total


def unchanged(steps):
    """The updates of a rule that only looks on."""
    return steps


# optax.monitor is not to be compared with here: its state changes with the first step, so it cannot be scanned.
WATCHING = [
    Case("monitor", lambda: gx.monitor({"size": total}), reference=unchanged),
    Case(
        "measure_with_ema",
        lambda: gx.monitor({"size": total, "mean": gx.measure_with_ema(total, 0.9)}),
        reference=unchanged,
    ),
    Case(
        "measure_with_ema:plain",
        lambda: gx.monitor({"mean": gx.measure_with_ema(total, 0.8, False, "float32")}),
        reference=unchanged,
    ),
    Case("record_norms", gx.record_norms, reference=unchanged),
    Case(
        "record_norms:groups",
        lambda: gx.record_norms({"weights": gx.not_biases_or_norms()}, ord=np.inf),
        reference=unchanged,
    ),
    Case("record_ratios", gx.record_ratios, reference=unchanged, needs_params=True),
    Case(
        "record_ratios:groups",
        lambda: gx.record_ratios({"weights": gx.not_biases_or_norms(), "all": True}),
        reference=unchanged,
        needs_params=True,
    ),
    Case("record_leaf_norms", gx.record_leaf_norms, reference=unchanged),
    Case("record_leaf_ratios", gx.record_leaf_ratios, reference=unchanged, needs_params=True),
    Case("record_clipping", lambda: gx.record_clipping(2.0, 0.9), reference=unchanged),
    Case("count_nonfinite", gx.count_nonfinite, reference=unchanged),
]
