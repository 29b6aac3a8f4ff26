"""The rules and optimizers that take weights as matrices: Muon and its kin."""

import functools

import jax
import numpy as np
import optax
import optax.contrib
from optax.contrib import MuonDimensionNumbers

import gradxform as gx
from tests.contract import references_adam, references_matrices as references
from tests.contract.case import Case, params, warm_up
from tests.contract.references import per_leaf

MATRICES = gx.by_ndim(2)
KELLER = references.KELLER
HEADS = np.float32([1.5, 2.5, 4.0])
MATRIX = gx.matrix_axes({MATRICES: gx.MatrixAxes()})
TURNED = gx.matrix_axes({MATRICES: gx.MatrixAxes(1, 0)})


def of_matrices(rule, rest=lambda grads: grads, **kwargs):
    """The updates of all leaves by the formula of one matrix; what is none goes through `rest`."""

    def updates(steps):
        leaves = [list(leaf) for leaf in zip(*steps, strict=True)]
        columns = [rule(leaf, **kwargs) if leaf[0].ndim == 2 else rest(leaf) for leaf in leaves]
        return list(zip(*columns, strict=True))

    return updates


def beside_adam(name, rule, variant="", rate=0.1, **kwargs):
    """An optimizer that has a rule for matrices and Adam for the rest, without decay."""

    def downhill(formula):
        return lambda grads: [-rate * update for update in formula(grads)]

    reference = of_matrices(downhill(rule), downhill(references_adam.adam))
    return Case(
        f"{name}:{variant}" if variant else name, lambda: getattr(gx, name)(rate, **kwargs), reference=reference
    )


def rule_case(name, rule, variant="", real_only=False, **kwargs):
    """A rule of matrices, masked so that it sees no others."""
    return Case(
        f"{name}:{variant}" if variant else name,
        lambda: gx.masked(getattr(gx, name)(**kwargs), MATRICES),
        reference=of_matrices(rule),
        real_only=real_only,
        numbers_alone=bool(variant),
    )


def dimension_numbers(tree):
    """optax needs them for a tree; where a mask left nothing, too."""
    return jax.tree.map(lambda leaf: MuonDimensionNumbers(), tree)


def for_matrices(make, **kwargs):
    """optax's transform for what has two axes."""
    return optax.masked(make(**kwargs), MATRICES)


def muon_case(variant, smooth=False, **kwargs):
    """Our scale_by_muon and optax's, of matrices; `tests/linalg` has derivatives of the same function."""
    return Case(
        f"scale_by_muon:{variant}" if variant else "scale_by_muon",
        lambda: gx.masked(gx.scale_by_muon(**kwargs), MATRICES),
        optax=lambda: for_matrices(optax.contrib.scale_by_muon, **kwargs, weight_dimension_numbers=dimension_numbers),
        smooth=smooth,
        numbers_alone=not smooth,
    )


def both(name, *args, variant="", needs_params=False, **kwargs):
    """A case that optax's contrib has under the same name with the same arguments."""
    return Case(
        f"{name}:{variant}" if variant else name,
        lambda: getattr(gx, name)(*args, **kwargs),
        optax=lambda: getattr(optax.contrib, name)(*args, **kwargs),
        needs_params=needs_params,
        smooth=False,
        numbers_alone=bool(variant),
    )


def shape_case(scale):
    """scale_by_shape by the name of its factor."""
    return Case(
        f"scale_by_shape:{scale}",
        lambda: gx.masked(gx.scale_by_shape(scale=scale), MATRICES),
        numbers_alone=True,
        reference=of_matrices(lambda grads: [references.shape_factor(g.shape, scale) * g for g in grads]),
    )


def turned(tree):
    """optax's word for kernels that are (out, in), and a rest that is no matrix."""
    return jax.tree.map(lambda leaf: MuonDimensionNumbers(1, 0) if leaf.ndim == 2 else None, tree)


def over_last_rms(g):
    """A vector over its root mean square."""
    return g / (np.sqrt(np.mean(g**2, axis=-1, keepdims=True) if g.ndim else g**2) + 1e-8)


def scion_of_vectors(grads):
    """The updates of Scion for biases, downhill."""
    mean, out = 0.0, []
    for g in grads:
        mean = 0.9 * mean + (1 - 0.9) * g
        out.append(-0.1 * 2.0 * over_last_rms(mean))
    return out


def on_the_sphere(grads):
    """The updates of hyperball for the matrix of the contract's parameters."""
    first = np.asarray(params(np.float64)["dense"]["kernel"])
    return np.diff([first, *references.hyperball(grads, first, 0.1)], axis=0)


def clipped_heads(steps):
    """QK-Clip of the kernel as queries of three heads and the bias as their keys, with logits that stay."""
    leaves, out = [np.asarray(leaf) for leaf in jax.tree.leaves(params(np.float64))], []
    for grads in steps:
        bias, kernel, scale = (leaf + grad for leaf, grad in zip(leaves, grads, strict=True))
        # In float64 what float32 has of them.
        kernel, bias = references.qk_clip(kernel[..., None], bias[..., None], np.float64(HEADS), 2.0, 0.25)
        new = [bias[..., 0], kernel[..., 0], scale]
        out.append([after - before for after, before in zip(new, leaves, strict=True)])
        leaves = new
    return out


def leading_vectors(g, rank):
    """Singular vectors whose largest entries are positive, as ours are."""
    u = np.linalg.svd(g, full_matrices=False)[0][:, :rank]
    return u * np.sign(np.take_along_axis(u, np.argmax(np.abs(u), axis=0)[None], 0))


def galore(grads):
    """GaLore of rank 2, renewed every 30 steps."""
    return references.galore(grads, 2, 30, basis=leading_vectors)


MATRIX_METHODS = [
    muon_case("", smooth=True),
    muon_case("without nesterov", nesterov=False, beta=0.8),
    muon_case("adaptive", smooth=True, adaptive=True, ns_steps=3),
    *(muon_case(by, preconditioning=by) for by in ("spectral", "aol", "schatten")),
    Case(
        "scale_by_muon:published",
        lambda: gx.masked(gx.scale_by_muon(eps=1e-7, debias=False), MATRICES),
        numbers_alone=True,
        reference=of_matrices(references.muon, scale=None),
    ),
    Case(
        "scale_by_shape",
        lambda: gx.masked(gx.scale_by_shape(), MATRICES),
        reference=of_matrices(lambda grads: [references.shape_factor(g.shape, "keller") * g for g in grads]),
    ),
    Case(
        "scale_by_shape:consistent_rms",
        lambda: gx.masked(gx.scale_by_shape(consistent_rms=0.3), MATRICES),
        numbers_alone=True,
        reference=of_matrices(lambda grads: [0.3 * max(g.shape) ** 0.5 * g for g in grads]),
    ),
    *map(shape_case, ("moonshot", "spectral")),
    both("muon", 0.1),
    both(
        "muon",
        warm_up,
        weight_decay=0.1,
        weight_decay_mask=MATRICES,
        consistent_rms=0.2,
        variant="consistent_rms",
        needs_params=True,
    ),
    Case(
        "muon:own axes",
        lambda: gx.muon(0.1, adam_learning_rate=0.02, muon_weight_dimension_numbers=TURNED),
        optax=lambda: optax.contrib.muon(0.1, adam_learning_rate=0.02, muon_weight_dimension_numbers=turned),
        smooth=False,
        numbers_alone=True,
    ),
    rule_case("scale_by_normuon", functools.partial(references.normuon_of_code, scale=None)),
    rule_case("scale_by_normuon", references.normuon, "rms", eps=1e-8, nesterov=False, rescale="rms"),
    beside_adam("normuon", references.normuon_of_code),
    rule_case("scale_by_dion2", functools.partial(references.dion2, scale=None), ns_coeffs=KELLER),
    beside_adam("dion2", references.dion2, ns_coeffs=KELLER, weight_decay=0.0),
    rule_case("scale_by_scion", references.scion),
    *(
        rule_case("scale_by_scion", functools.partial(references.scion, norm=theirs), norm, norm=norm)
        for norm, theirs in (("input", "input"), ("rows", "tokens"), ("sign", "sign"))
    ),
    Case(
        "normalize_vectors",
        gx.normalize_vectors,
        reference=per_leaf(lambda grads: [over_last_rms(g) for g in grads]),
    ),
    Case(
        "scion",
        lambda: gx.scion(0.1, 2.0, constrained=False),
        reference=of_matrices(lambda grads: [-0.1 * u for u in references.scion(grads, 0.9, 2.0)], scion_of_vectors),
    ),
    *(
        Case(
            f"scale_by_hyperball:{radius}",
            lambda radius=radius: gx.masked(gx.scale_by_hyperball(0.1, radius=radius), MATRICES),
            numbers_alone=radius == "first",
            reference=of_matrices(on_the_sphere),
            needs_params=True,
        )
        for radius in ("present", "first")
    ),
    Case(
        "hyperball",
        lambda: gx.hyperball(gx.sgd(0.1), 0.1),
        reference=of_matrices(on_the_sphere, lambda grads: [-0.1 * g for g in grads]),
        needs_params=True,
    ),
    # Its selectors name leaves, as a mask does.
    Case(
        "qk_clip:as a mask",
        lambda: gx.qk_clip("dense/kernel", "dense/bias", 2.0, heads_axis=-1, alpha=0.25),
        reference=clipped_heads,
        needs_params=True,
        extra={"logits": HEADS},
    ),
    Case(
        "scale_by_galore",
        lambda: gx.scale_by_galore(2, 30, 0.25, gx.scale_by_adam(eps=1e-6), MATRIX, side="shorter"),
        reference=of_matrices(galore, functools.partial(references_adam.adam, eps=1e-6)),
    ),
    Case(
        "galore",
        lambda: gx.galore(0.1, 2, 30, 0.25, gx.scale_by_adam(eps=1e-6), side="shorter"),
        reference=of_matrices(
            lambda grads: [-0.1 * update for update in galore(grads)],
            lambda grads: [-0.1 * update for update in references_adam.adam(grads, eps=1e-6)],
        ),
    ),
]
