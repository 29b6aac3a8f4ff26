"""What holds a transform, and which leaves it sees."""

import optax
import optax.contrib

import gradxform as gx
from tests.contract.case import MASK, Case, halved, often, same, warm_up
from tests.contract.cases_judged import JUDGED

BY_AXES = gx.labels({gx.by_ndim(2): "matrix"}, "rest")


def multi_steps(inner, every, mean=True):
    """optax's accumulation as a pair, which gathers float64 in float64."""
    return optax.MultiSteps(inner, every, mean, accumulator_dtype=None).gradient_transformation()


def groups(lib):
    """A transform for matrices and another for the rest, of ours or of optax's."""
    return {"matrix": lib.adam(warm_up), "rest": lib.chain(lib.clip_by_global_norm(0.5), lib.sgd(0.1, 0.9))}


def until_three(tx):
    """optax's transform in the first three steps."""
    return optax.conditionally_transform(tx, lambda step: step < 3)


WRAPPERS = [
    # Without what is not finite it is what it holds.
    Case("guard", lambda: gx.guard(gx.adam(warm_up)), optax=lambda: optax.adam(warm_up)),
    Case(
        "guard:bounds",
        lambda: gx.guard(gx.sgd(0.1, 0.9), max_norm=1e3, max_deviations=1e3, warm_up=2, patience=1, when_stuck="nan"),
        optax=lambda: optax.sgd(0.1, 0.9),
        # The deviation of the first norms is 0, and the root's derivative there infinite.
        smooth=False,
    ),
    Case("accumulate", lambda: gx.accumulate(gx.adam(warm_up), 3), optax=lambda: multi_steps(optax.adam(warm_up), 3)),
    Case("accumulate:one", lambda: gx.accumulate(gx.sgd(0.1, 0.9), 1), optax=lambda: optax.sgd(0.1, 0.9)),
    Case(
        "accumulate:sum",
        lambda: gx.accumulate(gx.sgd(warm_up, 0.9), 3, mean=False),
        optax=lambda: multi_steps(optax.sgd(warm_up, 0.9), 3, mean=False),
    ),
    Case(
        "partition",
        lambda: gx.partition(groups(gx), BY_AXES),
        optax=lambda: optax.partition(groups(optax), BY_AXES),
    ),
    Case(
        "multi_transform",
        lambda: gx.multi_transform({"matrix": gx.adam(0.1), "rest": gx.set_to_zero()}, BY_AXES),
        optax=lambda: optax.multi_transform({"matrix": optax.adam(0.1), "rest": optax.set_to_zero()}, BY_AXES),
    ),
    Case("masked", lambda: gx.masked(gx.adam(warm_up), MASK), optax=lambda: optax.masked(optax.adam(warm_up), MASK)),
    Case(
        "masked:rule",
        lambda: gx.masked(gx.clip_by_global_norm(0.5), gx.by_path("dense/*")),
        optax=lambda: optax.masked(optax.clip_by_global_norm(0.5), gx.by_path("dense/*")),
    ),
    Case(
        "selective_transform",
        lambda: gx.selective_transform(gx.adam(warm_up), freeze_mask=gx.by_ndim(2)),
        optax=lambda: optax.transforms.selective_transform(optax.adam(warm_up), freeze_mask=MASK),
    ),
    Case("freeze", lambda: gx.freeze(gx.by_ndim(2)), optax=lambda: optax.transforms.freeze(gx.by_ndim(2))),
    Case(
        "freeze:until",
        lambda: gx.freeze(gx.by_ndim(2), until=3.0),
        optax=lambda: until_three(optax.transforms.freeze(gx.by_ndim(2))),
    ),
    Case(
        "scale_by_group",
        lambda: gx.scale_by_group({"matrix": 0.5, "rest": warm_up}, BY_AXES),
        optax=lambda: optax.partition({"matrix": optax.scale(0.5), "rest": optax.scale_by_schedule(warm_up)}, BY_AXES),
    ),
    # When it runs, in optax's words.
    Case(
        "apply_if_finite",
        lambda: gx.apply_if_finite(gx.adam(warm_up), 2.0),
        optax=lambda: optax.apply_if_finite(optax.adam(warm_up), 2),
    ),
    Case(
        "conditionally_transform",
        lambda: gx.conditionally_transform(gx.adam(warm_up), often),
        optax=lambda: optax.conditionally_transform(optax.adam(warm_up), often),
    ),
    Case(
        "conditionally_mask",
        lambda: gx.conditionally_mask(gx.sgd(0.1, 0.9), often, forward_extra_args=True),
        optax=lambda: optax.conditionally_mask(optax.sgd(0.1, 0.9), often, forward_extra_args=True),
    ),
    Case("MultiSteps", lambda: gx.MultiSteps(gx.adam(warm_up), 3), optax=lambda: multi_steps(optax.adam(warm_up), 3)),
    Case(
        "MultiSteps:sum",
        lambda: gx.MultiSteps(gx.sgd(warm_up, 0.9), 3, use_grad_mean=False),
        optax=lambda: multi_steps(optax.sgd(warm_up, 0.9), 3, mean=False),
    ),
    # How it sees the leaves.
    Case("flatten", lambda: gx.flatten(gx.adam(warm_up)), optax=lambda: optax.flatten(optax.adam(warm_up))),
    Case(
        "split_real_and_imaginary",
        lambda: gx.split_real_and_imaginary(gx.adam(warm_up)),
        optax=lambda: optax.contrib.split_real_and_imaginary(optax.adam(warm_up)),
    ),
    # Functions.
    same("stateless", halved),
    same("stateless_with_tree_map", halved),
    *JUDGED,
]
