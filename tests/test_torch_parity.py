"""gradxform moves parameters as torch.optim does, step for step; `torch_parity/generate.py` recorded how that is."""

import math
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradxform as gx

HERE = Path(__file__).with_name("torch_parity")

with np.load(HERE / "trajectories.npz", allow_pickle=False) as file:
    DATA = dict(file)

PATHS = sorted(key.removeprefix("paths/") for key in DATA if key.startswith("paths/"))
NORMS = sorted(key.removeprefix("norms/") for key in DATA if key.startswith("norms/"))

# Relative to the largest parameter of a path. A step rounds about ten times, by half an eps at most and as often up as
# down, so 30 steps part by about sqrt(300) / 2 = 9 eps. In float64 torch's bias correction adds as much: 1 - b2^t
# cancels at b2 = 0.999, and RAdam's rho_t with it, which ours avoids. Fivefold room is for processors and releases
# that round otherwise.
ROUNDING = {dtype: 50 * np.finfo(dtype).eps for dtype in ("float64", "float32")}

# torch divides by the norm and 1e-6, so a clipped update is smaller by the fraction 1e-6 / norm at most. No element of
# it exceeds the norm, so each step parts by at most 1e-6 times the learning rate.
TORCH_ADDS = 1e-6
CLIP_RATE = 0.1

# The bound on the joint norm, and the norm's order.
JOINT_NORM_CLIPS = {
    "clip_norm_1": (1.5, 1),
    "clip_norm_2": (1.0, 2),
    "clip_norm_3": (1.0, 3),
    "clip_norm_inf": (0.5, float("inf")),
}

CLIPS_BY_NORM = {
    "clip_each_norm": gx.chain(gx.clip_by_norm(0.7), gx.sgd(CLIP_RATE)),
    **{
        case: gx.chain(gx.clip_by_global_norm(bound, ord=ord), gx.sgd(CLIP_RATE))
        for case, (bound, ord) in JOINT_NORM_CLIPS.items()
    },
}


def decaying(rate):
    """ExponentialLR with gamma 0.9."""
    return lambda count: rate * 0.9**count


def root_of_correction(b2):
    """sqrt(1 - b2^t); as written, 1 - b2^t would lose half of its digits in float32."""
    return lambda count: jnp.sqrt(-jnp.expm1((count + 1) * math.log(b2)))


def amsgrad(b1, b2, eps=1e-8):
    """Adam with amsgrad, which corrects not nu but its maximum: m / (sqrt(top) / c + eps), c = sqrt(1 - b2^t)."""
    root = root_of_correction(b2)
    return gx.chain(
        gx.amsgrad(0.1, b1, b2, lambda count: eps * root(count), bias_correction_nu=False),
        gx.scale_by_schedule(root),
    )


def eps_of_radam(b2=0.999, eps=1e-8):
    """The eps that RAdam adds to sqrt(nu), once the bias correction has divided both by sqrt(1 - b2^t)."""
    root = root_of_correction(b2)
    return lambda count: eps / root(count)


def rate_of_adafactor(rate):
    """The least of the rate and 1 / sqrt(t)."""
    return lambda count: jnp.minimum(rate(count) if callable(rate) else rate, (count + 1) ** -0.5)


# torch factors every matrix, adds nothing to the squares, and bounds their roots by the eps of the dtype. That of
# float64 serves in float32 too: no mean square here is near to either, but those of the gain's first gradients, 0.
ADAFACTOR = {"min_dim_size_to_factor": 1, "eps": 0.0, "min_rms": float(np.finfo(np.float64).eps)}


COUNTERPARTS = {
    "sgd": gx.sgd(0.1),
    "sgd_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.sgd(0.1)),
    "sgd_momentum": gx.sgd(0.1, 0.9),
    "sgd_momentum_schedule": gx.sgd(decaying(0.1), 0.9),
    "sgd_dampening": gx.chain(gx.trace(0.9, dampening=0.3), gx.scale_by_learning_rate(0.1)),
    "sgd_dampening_weight_decay": gx.chain(
        gx.add_decayed_weights(0.1), gx.trace(0.9, dampening=0.3), gx.scale_by_learning_rate(0.1)
    ),
    "sgd_nesterov": gx.sgd(0.1, 0.9, nesterov=True),
    "sgd_nesterov_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.sgd(0.1, 0.9, nesterov=True)),
    "sgd_nesterov_schedule": gx.sgd(decaying(0.1), 0.9, nesterov=True),
    "sgd_maximize": gx.chain(gx.scale(-1.0), gx.add_decayed_weights(0.1), gx.sgd(0.1, 0.9)),
    "adam": gx.adam(0.1),
    "adam_betas_eps": gx.adam(0.1, 0.8, 0.95, 1e-3),
    "adam_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.adam(0.1)),
    "adam_amsgrad": amsgrad(0.9, 0.9),
    "adam_amsgrad_eps": amsgrad(0.8, 0.95, 1e-2),
    "adam_amsgrad_weight_decay": gx.chain(gx.add_decayed_weights(0.1), amsgrad(0.9, 0.99)),
    "adamw": gx.adamw(0.1, weight_decay=1e-2),
    "adamw_betas_eps": gx.adamw(0.1, 0.95, 0.9, 1e-3, weight_decay=0.1),
    "adamw_schedule": gx.adamw(decaying(0.1), weight_decay=0.1),
    "nadam": gx.nadam(0.1, momentum_decay=4e-3),
    "nadam_betas_eps": gx.nadam(0.1, 0.8, 0.95, 1e-3, momentum_decay=0.1),
    "nadam_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.nadam(0.1, momentum_decay=4e-3)),
    "nadam_decoupled_weight_decay": gx.chain(
        gx.scale_by_nadam(), gx.add_decayed_weights(0.1), gx.scale_by_learning_rate(0.1)
    ),
    "rmsprop": gx.rmsprop(0.01, 0.99, eps_in_sqrt=False),
    "rmsprop_alpha_eps": gx.rmsprop(0.01, 0.9, 1e-3, eps_in_sqrt=False),
    "rmsprop_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.rmsprop(0.01, 0.99, eps_in_sqrt=False)),
    "rmsprop_centered": gx.rmsprop(0.01, 0.99, eps_in_sqrt=False, centered=True),
    "rmsprop_momentum": gx.rmsprop(0.01, 0.99, eps_in_sqrt=False, momentum=0.9),
    # Written out, because gx.rmsprop, as optax's, has the rate before the momentum.
    "rmsprop_momentum_schedule": gx.chain(
        gx.scale_by_rms(0.99, eps_in_sqrt=False), gx.trace(0.9), gx.scale_by_learning_rate(decaying(0.01))
    ),
    "rmsprop_centered_momentum": gx.rmsprop(0.01, 0.99, eps_in_sqrt=False, centered=True, momentum=0.9),
    "adagrad": gx.adagrad(0.1, 0.0, 1e-10, eps_in_sqrt=False),
    "adagrad_eps": gx.adagrad(0.1, 0.0, 1e-3, eps_in_sqrt=False),
    "adagrad_initial_accumulator_value": gx.adagrad(0.1, 0.1, 1e-10, eps_in_sqrt=False),
    "adagrad_lr_decay": gx.adagrad(lambda count: 0.1 / (1 + 0.1 * count), 0.0, 1e-10, eps_in_sqrt=False),
    "adagrad_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.adagrad(0.1, 0.0, 1e-10, eps_in_sqrt=False)),
    "adadelta": gx.adadelta(1.0),
    "adadelta_rho_eps": gx.adadelta(0.5, 0.8, 1e-3),
    "adadelta_weight_decay": gx.adadelta(1.0, weight_decay=0.1),
    "adamax": gx.adamax(0.1),
    "adamax_betas_eps": gx.adamax(0.1, 0.8, 0.95, 1e-2),
    "adamax_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.adamax(0.1)),
    "radam": gx.radam(0.1, eps=eps_of_radam()),
    "radam_betas_eps": gx.radam(0.1, 0.8, 0.95, eps_of_radam(0.95, 1e-2)),
    "radam_weight_decay": gx.chain(gx.add_decayed_weights(0.1), gx.radam(0.1, eps=eps_of_radam())),
    "radam_decoupled_weight_decay": gx.chain(
        gx.scale_by_radam(eps=eps_of_radam()), gx.add_decayed_weights(0.1), gx.scale_by_learning_rate(0.1)
    ),
    "rprop": gx.rprop(0.1),
    "rprop_etas": gx.rprop(0.1, 0.6, 1.3),
    "rprop_step_sizes": gx.rprop(0.1, min_step_size=0.05, max_step_size=0.15),
    # torch brings the first step size, too, into the bounds.
    "rprop_lr_above_step_sizes": gx.rprop(0.15, min_step_size=0.05, max_step_size=0.15),
    "adafactor": gx.adafactor(rate_of_adafactor(0.1), **ADAFACTOR),
    "adafactor_large_lr": gx.adafactor(rate_of_adafactor(0.5), **ADAFACTOR),
    # The decay is times the rate, and not times the least of it and 1 / sqrt(t).
    "adafactor_weight_decay": gx.adafactor(rate_of_adafactor(0.5), weight_decay_rate=0.5 * 0.1, **ADAFACTOR),
    "adafactor_weight_decay_schedule": gx.adafactor(
        rate_of_adafactor(decaying(0.5)), weight_decay_rate=decaying(0.5 * 0.1), **ADAFACTOR
    ),
    "adafactor_beta2_decay_d": gx.adafactor(
        rate_of_adafactor(0.1), decay_rate=0.5, clipping_threshold=1.5, **ADAFACTOR
    ),
    # Written out for the least size that a parameter is taken to have, 1e-3 in gx.adafactor.
    "adafactor_eps": gx.chain(
        gx.scale_by_factored_rms(min_dim_size_to_factor=1, epsilon=0.0, min_rms=0.3),
        gx.clip_by_block_rms(1.0),
        gx.scale_by_param_block_rms(0.8),
        gx.scale_by_learning_rate(rate_of_adafactor(0.1)),
    ),
    "clip_norm_far_above": gx.chain(gx.clip_by_global_norm(1e3), gx.sgd(0.1, 0.5)),
    "clip_value": gx.chain(gx.clip(0.4), gx.sgd(0.1)),
    **CLIPS_BY_NORM,
}


@cache
def follow(tx, dtype):
    """The parameters after each step, raveled as in the data, and the metrics after each step."""
    with jax.enable_x64(dtype == "float64"):
        leaves = {key.removeprefix("start/"): leaf for key, leaf in DATA.items() if key.startswith("start/")}
        start, unravel = ravel_pytree({name: leaf.astype(dtype) for name, leaf in leaves.items()})
        params = unravel(start)

        def step(carry, row):
            params, state = carry
            updates, state = tx.update(unravel(row), state, params)
            params = gx.apply_updates(params, updates)
            return (params, state), (ravel_pytree(params)[0], gx.metrics(state))

        _, (path, metrics) = jax.lax.scan(step, (params, tx.init(params)), DATA["gradients"].astype(dtype))
        return np.asarray(path), {name: np.asarray(values) for name, values in metrics.items()}


def test_counterparts_and_recorded_cases_are_the_same():
    assert {path for path in PATHS if path.startswith("float64/")} == {f"float64/{case}" for case in COUNTERPARTS}
    assert {path.split("/")[1] for path in PATHS if path.startswith("float32/")} < COUNTERPARTS.keys()
    assert {norm.split("/")[1] for norm in NORMS} == {*JOINT_NORM_CLIPS, "clip_norm_far_above"}


def test_generator_names_the_torch_that_made_the_data():
    assert f"torch {DATA['torch']};" in (HERE / "generate.py").read_text(encoding="utf-8")


def test_recorded_cases_differ_from_each_other():
    paths = np.stack([DATA[f"paths/float64/{case}"] for case in COUNTERPARTS])
    apart = np.abs(paths[:, None] - paths[None, :]).max(axis=(2, 3))
    np.fill_diagonal(apart, np.inf)
    # Far above every tolerance here: who agrees with one case agrees with no other.
    assert apart.min() > 1e-3


@pytest.mark.parametrize("recorded", PATHS)
def test_path_is_that_of_torch(recorded):
    dtype, case = recorded.split("/")
    theirs = DATA[f"paths/{recorded}"]
    ours, _ = follow(COUNTERPARTS[case], dtype)
    assert ours.dtype == theirs.dtype == dtype
    atol = ROUNDING[dtype] * np.abs(theirs).max()
    if case in CLIPS_BY_NORM:
        atol += TORCH_ADDS * CLIP_RATE * len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("recorded", NORMS)
def test_norm_before_clipping_is_that_which_torch_returns(recorded):
    dtype, case = recorded.split("/")
    _, metrics = follow(COUNTERPARTS[case], dtype)
    # The metric is kept in float32. Where the gradients are, so is the sum of 16 terms that it is the root of.
    rtol = (1 if dtype == "float64" else 16) * np.finfo(np.float32).eps
    np.testing.assert_allclose(metrics["clip_by_global_norm.norm"], DATA[f"norms/{recorded}"], rtol=rtol)


@pytest.mark.parametrize("case", JOINT_NORM_CLIPS)
def test_only_what_torch_adds_to_the_norm_parts_the_clips(case):
    bound, ord = JOINT_NORM_CLIPS[case]
    norms = DATA[f"norms/float64/{case}"]
    theirs = DATA[f"paths/float64/{case}"]
    # A bound that makes ours what torch computes, bound / (norm + 1e-6), at each step.
    bounds = bound * norms / (norms + TORCH_ADDS)
    tx = gx.chain(gx.clip_by_global_norm(lambda count: jnp.asarray(bounds)[count], ord=ord), gx.sgd(CLIP_RATE))
    ours, _ = follow(tx, "float64")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING["float64"] * np.abs(theirs).max())


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_with_the_rate_inside_parts_from_torch_under_a_schedule(nesterov):
    case = "sgd_nesterov_schedule" if nesterov else "sgd_momentum_schedule"
    inside, _ = follow(gx.velocity(decaying(0.1), 0.9, nesterov), "float64")
    theirs = DATA[f"paths/float64/{case}"]
    np.testing.assert_allclose(inside[0], theirs[0], rtol=ROUNDING["float64"])
    assert np.abs(inside - theirs).max() > 0.1 * np.abs(theirs).max()
