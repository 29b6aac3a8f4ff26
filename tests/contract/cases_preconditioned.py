"""The rules and optimizers of preconditioned matrices."""

from typing import Any

import numpy as np

import gradxform as gx
from tests.contract import references_preconditioned as references
from tests.contract.case import Case

MATRICES = gx.by_ndim(2)


def of_matrices(name, *args, variant="matrices", reference, **kwargs):
    """A case of a rule that has the matrix alone, and of which the rest comes through."""
    fields = {key: kwargs.pop(key) for key in ("real_only",) if key in kwargs}
    return Case(
        f"{name}:{variant}",
        lambda: gx.masked(getattr(gx, name)(*args, **kwargs), MATRICES),
        reference=lambda grads: through(grads, reference),
        numbers_alone=variant != "matrices",
        **fields,
    )


def through(grads, rule, rest=lambda grads: grads):
    """What a rule of one matrix makes of each leaf with two axes, and another function of the others' gradients."""
    leaves = [(rule if leaf[0].ndim == 2 else rest)(list(leaf)) for leaf in zip(*grads, strict=True)]
    return list(map(list, zip(*leaves, strict=True)))


def adam(grads):
    """Kingma & Ba 2015, algorithm 1."""
    m = v = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        out.append(m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))
    return out


def optimizer(name, *args, reference, rate=0.01, real_only=False, **kwargs):
    """A case of an optimizer without decay: the matrix by a reference, and the rest by Adam."""

    def expected(grads):
        return [[-rate * leaf for leaf in leaves] for leaves in through(grads, reference, adam)]

    return Case(
        name,
        lambda: getattr(gx, name)(rate, *args, weight_decay=0.0, **kwargs),
        reference=expected,
        real_only=real_only,
    )


def psgd_kron(grads):
    """Refreshed at steps 1, 11, ..., with the noise that the first matrix of a transform draws from the key 0."""
    noise = references.psgd_noise(grads[0].shape, len(grads))
    return references.psgd_kron(grads, noise, probability=lambda step: 1.0 if step % 10 == 1 else 1e-9)


# A float, as 0.9 times it is, which a test of all numbers asks for.
EVERY: dict[str, Any] = {"precondition_frequency": 10.0}

PRECONDITIONED = [
    of_matrices("scale_by_soap", reference=references.soap, **EVERY),
    optimizer("soap", 0.9, reference=lambda grads: references.soap(grads, 0.9), **EVERY),
    of_matrices(
        "scale_by_shampoo", 0.0, eps=1e-3, reference=lambda grads: references.shampoo(grads, 1e-3, every=10), **EVERY
    ),
    of_matrices(
        "scale_by_shampoo",
        0.9,
        0.95,
        1e-3,
        graft="adam",
        block_size=3,
        variant="means in blocks",
        reference=references.in_blocks(lambda grads: references.shampoo(grads, 1e-3, 0.9, 0.95, 10, graft="adam"), 3),
        **EVERY,
    ),
    optimizer(
        "shampoo",
        0.9,
        0.95,
        1e-3,
        reference=lambda grads: references.shampoo(grads, 1e-3, 0.9, 0.95, 10),
        **EVERY,
    ),
    of_matrices("scale_by_kl_shampoo", reference=lambda grads: references.kl_shampoo_of_code(grads), **EVERY),
    optimizer("kl_shampoo", 0.95, reference=lambda grads: references.kl_shampoo_of_code(grads, 0.95), **EVERY),
    of_matrices("scale_by_psgd_kron", reference=psgd_kron, real_only=True, **EVERY),
    optimizer("psgd_kron", reference=psgd_kron, real_only=True, **EVERY),
]
