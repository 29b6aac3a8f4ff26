"""Adam's relatives."""

import jax
import numpy as np
import optax

import gradxform as gx
from tests.contract import references_adam as boxes
from tests.contract.case import MASK, Case, params, same, warm_up
from tests.contract.references import per_leaf


def contrib(name, *args, variant="", needs_params=False, **kwargs):
    """A case that optax.contrib has under the same name with the same arguments."""
    make, theirs = getattr(gx, name), getattr(optax.contrib, name)
    full = f"{name}:{variant}" if variant else name
    return Case(full, lambda: make(*args, **kwargs), optax=lambda: theirs(*args, **kwargs), needs_params=needs_params)


def adan_of_optax(name, *args, b2=0.92, needs_params=False, **kwargs):
    """Adan, with the weight of the gradient's change that optax has, 1 - b2, in the place of the paper's b2."""
    make, theirs = getattr(gx, name), getattr(optax, name)
    return Case(
        f"{name}:of optax, mask" if "mask" in kwargs else f"{name}:of optax",
        lambda: make(*args, b2=b2, difference_weight=1 - b2, **kwargs),
        optax=lambda: theirs(*args, b2=b2, **kwargs),
        needs_params=needs_params,
    )


def madgrad(name, make, learning_rate, momentum=0.9, weight_decay=0.0):
    """MADGRAD held against the paper, because optax takes sqrt(t) in float32 in float64 too, and parts by 1e-8."""

    def reference(steps):
        columns = []
        for i, x0 in enumerate(np.asarray(leaf) for leaf in jax.tree.leaves(params(np.float64))):
            path = boxes.madgrad(
                lambda k, x, i=i: steps[k][i], len(steps), learning_rate, momentum, 1e-6, x0, weight_decay
            )
            columns.append(np.diff([x0, *path], axis=0))
        return [list(leaves) for leaves in zip(*columns, strict=True)]

    return Case(name, make, reference=reference, needs_params=True)


ADAM_RELATIVES = [
    # At b2 = 0.999 optax's 1 - b2^t in float32 is off by more than 100 steps of the contract bear; here and below.
    same("scale_by_amsgrad", b2=0.99, eps_root=1e-8),
    same("scale_by_amsgrad", 0.8, 0.95, bias_correction_mu=False, bias_correction_nu=False, variant="plain"),
    same("scale_by_adamax"),
    same("scale_by_belief"),
    same("scale_by_belief", 0.8, 0.95, nesterov=True, variant="nesterov"),
    # At the default b2 optax's float32 rounding of 1 - b2^t is as large as the tolerance; the optimizer below has it.
    same("scale_by_yogi", b2=0.99),
    same("scale_by_yogi", 0.8, 0.95, eps_root=1e-8, initial_accumulator_value=0.1, variant="from 0.1"),
    # Not compared in its derivatives: optax's are NaN while rho_t < 4. Ours are tested in tests/rules.
    same("scale_by_radam", b2=0.99, eps_root=1e-8, smooth=False),
    same("scale_by_radam", 0.8, 0.95, threshold=4.5, nesterov=True, variant="nesterov", smooth=False),
    same("scale_by_novograd", needs_params=True),
    same("scale_by_novograd", 0.8, 0.5, eps_root=1e-8, weight_decay=0.1, variant="decay", needs_params=True),
    contrib("scale_by_acprop"),
    Case(
        "scale_by_acprop:paper",
        lambda: gx.scale_by_acprop(paper=True),
        reference=per_leaf(lambda grads: boxes.acprop(grads, 0.9, 0.999, 1e-16)),
    ),
    # optax weighs the change of the gradient by 1 - b2 = 0.08, in silence, where the paper has 0.92.
    Case("scale_by_adan", gx.scale_by_adan, reference=per_leaf(lambda g: boxes.adan(g, 0.98, 0.92, 0.99, 1e-8))),
    adan_of_optax("scale_by_adan", eps_root=1e-8),
    contrib("scale_by_ademamix"),
    contrib("scale_by_ademamix", 0.8, 0.95, 0.99, warm_up, eps_root=1e-8, variant="schedule"),
    contrib("scale_by_simplified_ademamix"),
    contrib("scale_by_simplified_ademamix", 0.9, 0.95, warm_up, eps_root=1e-8, variant="schedule"),
    contrib("scale_by_adopt", b2=0.99),
    contrib("scale_by_adopt", 0.8, 0.95, nesterov=True, use_clipping=False, variant="nesterov"),
    madgrad("scale_by_madgrad", lambda: gx.scale_by_madgrad(0.1), 0.1),
    madgrad("scale_by_madgrad:schedule", lambda: gx.scale_by_madgrad(warm_up, 0.5), warm_up, 0.5),
    same("amsgrad", 0.1),
    same("adamax", 0.1),
    same("adamaxw", warm_up, weight_decay=0.1, mask=MASK, variant="mask", needs_params=True),
    same("adabelief", 0.1),
    same("yogi", 0.1),
    same("radam", 0.1, b2=0.99, smooth=False),
    same("novograd", warm_up, weight_decay=0.1, needs_params=True),
    contrib("acprop", 0.01, weight_decay=0.1, needs_params=True),
    Case(
        "adan",
        lambda: gx.chain(gx.adan(1.0, eps_root=0.0), gx.scale(-1.0)),
        reference=per_leaf(lambda g: boxes.adan(g, 0.98, 0.92, 0.99, 1e-8)),
    ),
    adan_of_optax("adan", 0.1, weight_decay=0.1, mask=MASK, needs_params=True),
    contrib("ademamix", 0.1, weight_decay=0.1, mask=MASK, variant="mask", needs_params=True),
    contrib("simplified_ademamix", 1e-3, weight_decay=0.1, mask=MASK, variant="mask", needs_params=True),
    contrib("adopt", 0.1),
    madgrad("madgrad", lambda: gx.madgrad(0.1, weight_decay=0.1), 0.1, weight_decay=0.1),
]
