"""Cautious decay and updates, corrected decay, and decay towards the first weights."""

import gradxform as gx
from tests.contract import references_decay as references
from tests.contract.case import MASK, Case, warm_up

# In 100 steps the rate of `warm_up` comes to it.
PEAK = 1.0


def rate(t):
    """The rate of `warm_up` in float64."""
    return 0.01 * (t + 1)


DECAY = [
    Case(
        "add_decayed_weights:cautious",
        lambda: gx.chain(gx.add_decayed_weights(0.1, cautious=True), gx.scale(-0.1)),
        reference=references.cautious_decay(0.1, 0.1),
        needs_params=True,
    ),
    Case(
        "add_decayed_weights:cautious after the rate",
        lambda: gx.chain(gx.sgd(0.1, 0.9), gx.add_decayed_weights(0.01, flip_sign=True, cautious=True)),
        reference=references.cautious_decay(0.1, 0.1, references.heavy_ball),
        needs_params=True,
    ),
    Case(
        "add_decay_toward_first:mask",
        lambda: gx.chain(gx.add_decay_toward_first(0.1, MASK), gx.scale(-0.1)),
        reference=references.l2_sp(0.1, 0.1),
        needs_params=True,
    ),
    Case(
        "adamw:cautious",
        lambda: gx.adamw(0.1, weight_decay=0.1, cautious=True),
        reference=references.cautious_decay(0.1, 0.1, references.adam),
        needs_params=True,
    ),
    Case(
        "lion:cautious",
        lambda: gx.lion(0.1, weight_decay=0.1, cautious=True),
        reference=references.cautious_decay(0.1, 0.1, references.lion),
        needs_params=True,
    ),
    Case(
        "scale_by_novograd:cautious",
        lambda: gx.scale_by_novograd(0.9, 0.25, 1e-6, weight_decay=0.1, cautious=True),
        reference=references.cautious_novograd(0.9, 0.25, 1e-6, 0.1),
        needs_params=True,
    ),
    Case(
        "descend_with_corrected_decay",
        lambda: gx.descend_with_corrected_decay(warm_up, PEAK, 0.1),
        reference=references.adamc(rate, PEAK, 0.1, lambda grads: grads),
        needs_params=True,
    ),
    Case(
        "adamw:corrected, cautious, mask",
        lambda: gx.adamw(warm_up, weight_decay=0.1, mask=MASK, max_learning_rate=PEAK, cautious=True),
        reference=references.adamc(rate, PEAK, 0.1, mask=MASK, cautious=True),
        needs_params=True,
    ),
    Case(
        "cautious",
        lambda: gx.chain(gx.cautious(gx.adam(0.1)), gx.scale(-10.0)),
        reference=references.cautious(references.adam),
    ),
    Case(
        "cautious:rule",
        lambda: gx.cautious(gx.trace(0.9), flip_sign=False),
        reference=references.cautious(references.heavy_ball),
    ),
]
