"""The methods of `characters_twelve.py`: how each is made of a learning rate and of one other knob, and of what values.

All decay the same parameters, with the same decay times rate; methods for matrices get the hidden matrices, and adamw
the rest, with the same rates. What is no knob is as each method's authors have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from characters_runs import schedule

import gradxform as gx

BASELINE = "adamw"
DECAY = 0.1
DECAYING = gx.not_biases_or_norms()
HIDDEN = gx.labels({"layers/*/kernel": "matrices"}, "rest")


class Method(NamedTuple):
    """A way to train.

    Attributes:
      make: the transform of a peak learning rate, a value of the knob, and a number of steps.
      knob: the name of what is tuned beside the rate.
      values: of the knob; the first one is that of the authors, or for adamw's relatives that of language models.
      centre: the first learning rate that is tried.
    """

    make: Callable[[float, float, int], gx.Transform]
    knob: str
    values: tuple[float, float, float]
    centre: float = 2.0**-8


class Setting(NamedTuple):
    """What is tuned: a peak learning rate and the value of the knob."""

    rate: float
    knob: float


def adamw(rate: float, b2: float, steps: int, **options: Any) -> gx.Transform:
    """AdamW, with the decay of all."""
    return gx.adamw(schedule(rate, steps), b2=b2, weight_decay=DECAY, mask=DECAYING, **options)


def cautious_adamw(rate: float, b2: float, steps: int) -> gx.Transform:
    """AdamW whose updates are masked where the gradient points the other way."""
    return gx.cautious(adamw(rate, b2, steps))


def mars_adamw(rate: float, b2: float, steps: int) -> gx.Transform:
    """AdamW of gradients that MARS corrects, which is told AdamW's b1."""
    return gx.chain(gx.mars(0.95), adamw(rate, b2, steps, b1=0.95))


def nadamw(rate: float, b2: float, steps: int) -> gx.Transform:
    """NAdam with AdamW's decay."""
    return gx.nadamw(schedule(rate, steps), b2=b2, weight_decay=DECAY, mask=DECAYING)


def lion(rate: float, b2: float, steps: int) -> gx.Transform:
    """Lion: its rate is smaller than AdamW's, and its decay larger by as much (section 5 of its paper)."""
    return gx.lion(schedule(rate, steps), b2=b2, weight_decay=8 * DECAY, mask=DECAYING)


def ademamix(rate: float, alpha: float, steps: int) -> gx.Transform:
    """AdEMAMix, whose alpha rises over the whole run, as its authors have it; a slow mean for runs this short.

    They let b3 rise too, to 0.9999, which is a mean over thirty times as many steps as there are here.
    """
    rising = gx.linear_schedule(0.0, alpha, steps)
    return gx.ademamix(schedule(rate, steps), b2=0.95, b3=0.99, alpha=rising, weight_decay=DECAY, mask=DECAYING)


def adopt(rate: float, b2: float, steps: int) -> gx.Transform:
    """ADOPT, clipped."""
    return gx.adopt(schedule(rate, steps), b2=b2, weight_decay=DECAY, mask=DECAYING)


def schedule_free_adamw(rate: float, b1: float, steps: int) -> gx.Transform:
    """Schedule-free AdamW: the warm-up of the others, and no decay of the rate."""
    return gx.schedule_free_adamw(rate, warmup_steps=steps // 10, b1=b1, b2=0.95, weight_decay=DECAY)


def for_matrices(make: Callable[..., gx.Transform], knob: str, **options: Any) -> Callable[..., gx.Transform]:
    """A method that has the hidden matrices, beside adamw; its updates have the size of AdamW's, an RMS of 0.2."""

    def made(rate: float, value: float, steps: int) -> gx.Transform:
        tx = make(schedule(rate, steps), weight_decay=DECAY, **{knob: value}, **options)
        return gx.partition({"matrices": tx, "rest": adamw(rate, 0.95, steps)}, HIDDEN)

    return made


B2 = (0.95, 0.9, 0.99)
BETA = (0.95, 0.9, 0.98)

METHODS = {
    BASELINE: Method(adamw, "b2", B2),
    "adamw, cautious decay": Method(lambda *of: adamw(*of, cautious=True), "b2", B2),
    "cautious(adamw)": Method(cautious_adamw, "b2", B2),
    "mars, adamw": Method(mars_adamw, "b2", (0.99, 0.95, 0.9)),
    "nadamw": Method(nadamw, "b2", B2),
    "lion": Method(lion, "b2", (0.99, 0.95, 0.98), 2.0**-11),
    "ademamix": Method(ademamix, "alpha", (5.0, 2.0, 8.0)),
    "adopt": Method(adopt, "b2", (0.9999, 0.99, 0.999)),
    "muon": Method(for_matrices(gx.muon, "beta", consistent_rms=0.2), "beta", BETA),
    "normuon": Method(for_matrices(gx.normuon, "beta", scale="moonshot"), "beta", BETA),
    "soap": Method(for_matrices(gx.soap, "b2"), "b2", B2),
    "schedule_free_adamw": Method(schedule_free_adamw, "b1", (0.9, 0.95, 0.98)),
}


def tuned(method: Method, loss: Callable[[Setting], float]) -> dict[Setting, float]:
    """The nine settings that are tried of a method, each with its loss.

    Three rates 4 times apart around the centre; the two halfway (by the logarithm) beside the best of them; the knob's
    other two values with the best rate; and two rates a factor of sqrt(2) beside the best of all.
    """
    found: dict[Setting, float] = {}

    def attempt(*settings: Setting) -> Setting:
        found.update({setting: loss(setting) for setting in settings})
        return min(found, key=lambda setting: found[setting])

    first, *others = method.values
    best = attempt(*(Setting(method.centre * 4.0**power, first) for power in (0, -1, 1)))
    best = attempt(*(Setting(best.rate * factor, first) for factor in (0.5, 2)))
    best = attempt(*(Setting(best.rate, value) for value in others))
    attempt(*(Setting(best.rate * factor, best.knob) for factor in (0.5**0.5, 2**0.5)))
    return found
