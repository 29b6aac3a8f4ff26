"""The methods of `evidence.py`: how each is made of a learning rate and of one other knob, and of what values.

All decay the same parameters, and a method's decay times its first learning rate is the same for all; methods for
matrices get the hidden matrices, and adamw the rest, with the same rates. The schedule is a linear warm-up over a tenth
of the steps and a linear fall to 0, but for schedule-free methods, which have no fall, and whose decay has no mask.
What is no knob is as each method's authors have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks import Task

import gradxform as gx
from gradxform.schedules import Schedule

BASELINE = "adamw"
DECAY, CENTRE = 0.1, 2.0**-8
DECAYING = gx.not_biases_or_norms()


class Method(NamedTuple):
    """A way to train.

    Attributes:
      make: the transform of a peak learning rate, a value of the knob, and a task.
      knob: the name of what is tuned beside the rate.
      values: of the knob; the first one is that of the authors, or for adamw's relatives that of language models.
      centre: the first learning rate that is tried.
    """

    make: Callable[[float, float, Task], gx.Transform]
    knob: str
    values: tuple[float, float, float]
    centre: float = CENTRE


def schedule(peak: float, steps: int) -> Schedule:
    """A linear rise over a tenth of the steps, of which the first is not 0, and a linear fall to 0 after the last."""
    rise = steps // 10
    return gx.warmup_stable_decay(peak, rise, 0, steps - rise, init_value=peak / (rise + 1), shape="linear")


def adamw(rate: float, b2: float, task: Task, **options: Any) -> gx.Transform:
    """AdamW, with the decay of all."""
    return gx.adamw(schedule(rate, task.steps), b2=b2, weight_decay=DECAY, mask=DECAYING, **options)


def cautious_adamw(rate: float, b2: float, task: Task) -> gx.Transform:
    """AdamW whose updates are masked where the gradient points the other way."""
    return gx.cautious(adamw(rate, b2, task))


def mars_adamw(rate: float, b2: float, task: Task) -> gx.Transform:
    """AdamW of gradients that MARS corrects, which is told AdamW's b1."""
    return gx.chain(gx.mars(0.95), adamw(rate, b2, task, b1=0.95))


def with_knob(make: Callable[..., gx.Transform], knob: str, centre: float = CENTRE, **options: Any) -> Any:
    """A method that is one of the library's functions: of a rate and of the knob, with the decay of all."""

    def made(rate: float, value: float, task: Task) -> gx.Transform:
        decay = DECAY * CENTRE / centre
        return make(schedule(rate, task.steps), weight_decay=decay, mask=DECAYING, **{knob: value}, **options)

    return made


def ademamix(rate: float, alpha: float, task: Task) -> gx.Transform:
    """AdEMAMix, whose alpha rises over the whole run, as its authors have it; a slow mean for runs this short.

    They let b3 rise too, to 0.9999, which is a mean over thirty times as many steps as there are here.
    """
    rising = gx.linear_schedule(0.0, alpha, task.steps)
    return with_knob(gx.ademamix, "b2", b3=0.99, alpha=rising)(rate, 0.95, task)


def adam_mini(rate: float, b2: float, task: Task) -> gx.Transform:
    """Adam-mini with a block for each output of a kernel, for each token of an embedding, and for each bias."""
    blocks = {"tokens": 0, "outputs": -1}
    made = {name: with_knob(gx.adam_mini, "b2", blocks=axis)(rate, b2, task) for name, axis in blocks.items()}
    return gx.partition(made, gx.labels({"embedding": "tokens"}, "outputs"))


def prodigy(rate: float, b2: float, task: Task) -> gx.Transform:
    """Prodigy, whose rate is a factor of its estimate; without its guard, by which the estimate rises too late here."""
    return gx.prodigy(schedule(rate, task.steps), (0.9, b2), weight_decay=DECAY, mask=DECAYING)


def schedule_free_adamw(rate: float, b1: float, task: Task) -> gx.Transform:
    """Schedule-free AdamW: the warm-up of the others, and no decay of the rate."""
    return gx.schedule_free_adamw(rate, warmup_steps=task.steps // 10, b1=b1, b2=0.95, weight_decay=DECAY)


def schedule_free_sgd(rate: float, b1: float, task: Task) -> gx.Transform:
    """Schedule-free SGD, likewise."""
    return gx.schedule_free_sgd(rate, warmup_steps=task.steps // 10, b1=b1, weight_decay=DECAY * CENTRE)


def for_matrices(
    make: Callable[..., gx.Transform], knob: str, axes: str = "weight_dimension_numbers", **options: Any
) -> Callable[..., gx.Transform]:
    """A method that has the hidden matrices, beside adamw; its updates have the size of AdamW's, an RMS of 0.2.

    Args:
      make: the library's function.
      knob: the name of what is tuned beside the rate.
      axes: its name of the argument that tells the axes of matrices.
      **options: its other arguments.
    """

    def made(rate: float, value: float, task: Task) -> gx.Transform:
        told = {} if task.axes is None else {axes: task.axes}
        tx = make(schedule(rate, task.steps), weight_decay=DECAY, **{knob: value}, **told, **options)
        return gx.partition({"matrices": tx, "rest": adamw(rate, 0.95, task)}, task.matrices)

    return made


B2 = (0.95, 0.9, 0.99)
BETA = (0.95, 0.9, 0.98)

METHODS = {
    BASELINE: Method(adamw, "b2", B2),
    "adamw, cautious decay": Method(lambda *of: adamw(*of, cautious=True), "b2", B2),
    "cautious(adamw)": Method(cautious_adamw, "b2", B2),
    "mars, adamw": Method(mars_adamw, "b2", (0.99, 0.95, 0.9)),
    "nadamw": Method(with_knob(gx.nadamw, "b2"), "b2", B2),
    "laprop": Method(with_knob(gx.laprop, "b2"), "b2", B2),
    "adam_mini": Method(adam_mini, "b2", B2),
    "lamb": Method(with_knob(gx.lamb, "b2", 2.0**-6), "b2", B2, 2.0**-6),
    # Lion's rate is smaller than AdamW's, and its decay larger by as much (section 5 of its paper).
    "lion": Method(with_knob(gx.lion, "b2", 2.0**-11), "b2", (0.99, 0.95, 0.98), 2.0**-11),
    "ademamix": Method(ademamix, "alpha", (5.0, 2.0, 8.0)),
    "adopt": Method(with_knob(gx.adopt, "b2"), "b2", (0.9999, 0.99, 0.999)),
    "prodigy": Method(prodigy, "b2", (0.999, 0.99, 0.95), 1.0),
    "muon": Method(for_matrices(gx.muon, "beta", "muon_weight_dimension_numbers", consistent_rms=0.2), "beta", BETA),
    "normuon": Method(for_matrices(gx.normuon, "beta", scale="moonshot"), "beta", BETA),
    "schedule_free_adamw": Method(schedule_free_adamw, "b1", (0.9, 0.95, 0.98)),
    "soap": Method(for_matrices(gx.soap, "b2"), "b2", B2),
    "sgd, momentum": Method(with_knob(gx.sgd, "momentum", 2.0**-4), "momentum", (0.9, 0.95, 0.8), 2.0**-4),
    "schedule_free_sgd": Method(schedule_free_sgd, "b1", (0.9, 0.95, 0.98), 1.0),
}
