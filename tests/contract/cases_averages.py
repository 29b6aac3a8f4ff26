"""Averages that take part in the training, and that optax has not."""

import gradxform as gx
from tests.contract import references_averages
from tests.contract.case import Case, warm_up


def anneal(first, last, steps):
    """b1 as ScheduleFree+ anneals it: 1 - b1 falls by equal ratios."""
    return 1.0 + -1.0 * gx.warmup_stable_decay(1 - first, 0.0, 0.0, steps, end_value=1 - last, shape="exponential")


AVERAGES = [
    Case(
        "gpa",
        lambda: gx.gpa(gx.adamw(0.01, weight_decay=0.1)),
        reference=references_averages.gpa_adamw(lambda t: 0.01, 0.9, 0.999, 1e-8, 0.1, 0.9967, 0.7),
        needs_params=True,
    ),
    Case(
        "gpa:warm-up",
        lambda: gx.gpa(gx.adamw(warm_up, 0.8, 0.99, 1e-6, weight_decay=0.1), 0.5, 1.0),
        reference=references_averages.gpa_adamw(warm_up, 0.8, 0.99, 1e-6, 0.1, 0.5, 1.0),
        needs_params=True,
    ),
    Case(
        "schedule_free_plus",
        lambda: gx.schedule_free_plus(gx.adam(1.0, 0.9, 0.95)),
        reference=references_averages.schedule_free_plus_adamc(
            0.5, lambda k: 1.0, (0.9, 0.95), 0.9, 0.9, 0, 1e-8, 0.0, [True] * 3, 0, 0.0, 0, 2
        ),
        needs_params=True,
        extra={"value": 0.5},
    ),
    Case(
        "schedule_free_plus:annealed",
        lambda: gx.schedule_free_plus(
            gx.adam(1.0, 0.8, 0.99),
            warm_up,
            anneal(0.75, 0.96875, 40.0),
            0.5,
            2.0,
            0.9,
            3,
            1.5,
            mask=gx.by_ndim(2),
        ),
        # Leaves by name: dense's bias and kernel, and the scale.
        reference=references_averages.schedule_free_plus_adamc(
            1.5, warm_up, (0.8, 0.99), 0.75, 0.96875, 40, 1e-8, 0.5, [False, True, False], 2, 0.9, 3, 1.5
        ),
        needs_params=True,
        extra={"value": 1.5},
    ),
]
