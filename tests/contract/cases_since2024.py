"""Methods that independent comparisons and public records of 2024 to 2026 brought forward."""

import functools

import numpy as np

import gradxform as gx
from tests.contract import references_adam, references_matrices, references_since2024 as boxes
from tests.contract.case import Case, params, warm_up
from tests.contract.references import per_leaf


def downhill(rule, rate=0.1, **kwargs):
    """The updates of an optimizer, by the box of its rule."""
    return per_leaf(lambda grads: [-rate * update for update in rule(grads, **kwargs)])


def adamh(grads):
    """Adam at rate 0.1; the matrix of the contract's parameters takes its directions, and keeps its norm."""
    updates = references_adam.adam(grads)
    if np.ndim(grads[0]) != 2:
        return [-0.1 * update for update in updates]
    first = np.asarray(params(np.float64)["dense"]["kernel"])
    return np.diff([first, *references_matrices.hyperball(updates, first, 0.1)], axis=0)


CAME = {"b1": 0.9, "eps1": 1e-30, "eps2": 1e-16, "d": 1.0}
BLOCKS = {"leaf": None, "outputs": -1, "inputs": 0}

SINCE_2024 = [
    Case("mars", gx.mars, reference=boxes.mars(0.95, 0.025, 1.0)),
    Case("mars:schedule", lambda: gx.mars(0.8, warm_up, None), reference=boxes.mars_of_schedule(0.8, warm_up)),
    # As in the authors' code.
    Case(
        "mars:of each leaf",
        lambda: gx.chain(gx.mars(0.9, 0.05, None), gx.clip_by_norm(1.0)),
        reference=per_leaf(functools.partial(boxes.mars_of_leaves, b1=0.9, gamma=0.05)),
    ),
    Case("grokfast", gx.grokfast, reference=per_leaf(lambda grads: boxes.grokfast(grads, 0.98, 2.0))),
    Case("scale_by_laprop", gx.scale_by_laprop, reference=per_leaf(lambda g: boxes.laprop(g, 0.9, 0.999, 1e-15))),
    Case("laprop", lambda: gx.laprop(0.1, 0.99, 0.9), reference=downhill(boxes.laprop, b1=0.99, b2=0.9, eps=1e-15)),
    *(
        Case(
            f"scale_by_adam_mini:{name}" if blocks is not None else "scale_by_adam_mini",
            lambda blocks=blocks: gx.scale_by_adam_mini(blocks=blocks),
            reference=per_leaf(lambda grads, blocks=blocks: boxes.adam_mini(grads, 0.9, 0.999, 1e-8, blocks)),
        )
        for name, blocks in BLOCKS.items()
    ),
    Case(
        "adam_mini",
        lambda: gx.adam_mini(0.1, 0.8, 0.95, blocks=-1),
        reference=downhill(boxes.adam_mini, b1=0.8, b2=0.95, eps=1e-8, blocks=-1),
    ),
    Case(
        "scale_by_came",
        lambda: gx.scale_by_came(0.9, 0.95, 0.99),
        reference=per_leaf(functools.partial(boxes.came, b2=0.95, b3=0.99, **CAME)),
    ),
    # Of 0.9999 in float32, as an array has it, 1 - b3 is off by 3e-4, and no bias correction has the same error.
    Case(
        "scale_by_came:the authors' decays",
        gx.scale_by_came,
        reference=per_leaf(functools.partial(boxes.came, b2=0.999, b3=0.9999, **CAME)),
        numbers_alone=True,
    ),
    Case(
        "came",
        lambda: gx.came(0.1, 0.8, 0.95, 0.99, 1e-8, 1e-4, 0.5),
        reference=downhill(boxes.came, b1=0.8, b2=0.95, b3=0.99, eps1=1e-8, eps2=1e-4, d=0.5),
    ),
    Case("adamh", lambda: gx.adamh(0.1), reference=per_leaf(adamh), needs_params=True),
    Case(
        "centralize:inputs",
        lambda: gx.centralize(axis="inputs"),
        reference=per_leaf(boxes.centered_inputs),
    ),
]
