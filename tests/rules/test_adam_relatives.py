"""The first five steps on a fixed problem are those of the papers' algorithm boxes, in float64.

The boxes are in `tests/contract/references_adam.py`, each with the conventions under which optax and it agree.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract import references_adam as boxes

STEPS = 5
START = np.array([1.0, -2.0, 0.5])
CURVATURE = np.array([1.0, 10.0, 0.1])
RATE = 0.05

# The transform, and the box from a list of gradients to what is subtracted at rate 1.
SUBTRACT = {
    "amsgrad, biases as they are": (
        gx.amsgrad(RATE, bias_correction_mu=False, bias_correction_nu=False),
        lambda grads: boxes.amsgrad(grads, 0.9, 0.999, 1e-8),
    ),
    "adan": (gx.adan(RATE, eps_root=0.0), lambda grads: boxes.adan(grads, 0.98, 0.92, 0.99, 1e-8)),
    "adabelief": (gx.adabelief(RATE), lambda grads: boxes.adabelief(grads, 0.9, 0.999, 1e-16)),
    "yogi": (gx.yogi(RATE), lambda grads: boxes.yogi(grads, 0.9, 0.999, 1e-3, 1e-6)),
    "radam": (
        gx.radam(RATE, 0.9, 0.99, eps=0.0, threshold=4.0),
        lambda grads: boxes.radam(grads, 0.9, 0.99, 4.0),
    ),
    "novograd": (gx.novograd(RATE), lambda grads: boxes.novograd(grads, 0.9, 0.25, 1e-6, 0.0, START)),
    "acprop": (gx.acprop(RATE, paper=True), lambda grads: boxes.acprop(grads, 0.9, 0.999, 1e-16)),
    "ademamix": (gx.ademamix(RATE), lambda grads: boxes.ademamix(grads, 0.9, 0.999, 0.9999, 5.0, 1e-8)),
    "simplified_ademamix": (
        gx.simplified_ademamix(RATE, alpha=2.0),
        lambda grads: boxes.simplified_ademamix(grads, 0.99, 0.95, 2.0, 1e-8),
    ),
    "adopt": (gx.adopt(RATE), lambda grads: boxes.adopt(grads, 0.9, 0.9999, 1e-6)),
    "adopt, algorithm 1": (
        gx.adopt(RATE, use_clipping=False),
        lambda grads: boxes.adopt(grads, 0.9, 0.9999, 1e-6, clip=False),
    ),
}


def slope(x):
    """The gradient of a quadratic with its minimum at 0."""
    return CURVATURE * x


def descend(tx, steps=STEPS):
    """The parameters after each step of ours."""
    x, path = jnp.asarray(START), []
    state = tx.init(x)
    for _ in range(steps):
        updates, state = tx.update(jnp.asarray(slope(x)), state, x)
        x = gx.apply_updates(x, updates)
        path.append(np.asarray(x))
    return path


@pytest.mark.parametrize("name", SUBTRACT)
def test_first_steps_are_the_box_s(name):
    tx, box = SUBTRACT[name]
    x, grads, expected = START, [], []
    for _ in range(STEPS):
        grads.append(slope(x))
        x = x - RATE * box(grads)[-1]
        expected.append(x)
    with jax.enable_x64(True):
        # Five steps of rounding in float64; near the minimum parameters cancel.
        np.testing.assert_allclose(descend(tx), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["adamaxw", "nadamw"])
def test_first_steps_with_decoupled_decay_are_the_boxes_of_the_method_and_of_adamw(name):
    b1, b2, eps, decay, x, grads, expected = 0.9, 0.99, 1e-8, 0.1, START, [], []
    method = {
        "adamaxw": (gx.adamaxw(RATE, b1, b2, 0.0, decay), lambda grads: boxes.adamax(grads, b1, b2)),
        "nadamw": (gx.nadamw(RATE, b1, b2, eps, weight_decay=decay), lambda grads: boxes.nadam(grads, b1, b2, eps)),
    }
    tx, box = method[name]
    for _ in range(STEPS):
        grads.append(slope(x))
        # Loshchilov & Hutter 2019, algorithm 2, with 1 as alpha and the rate as eta, which multiplies both.
        x = x - RATE * (box(grads)[-1] + decay * x)
        expected.append(x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(descend(tx), expected, rtol=1e-12, atol=1e-14)


def test_first_steps_of_madgrad_are_the_box_s():
    expected = boxes.madgrad(lambda step, x: slope(x), STEPS, RATE, 0.9, 1e-6, START)
    with jax.enable_x64(True):
        np.testing.assert_allclose(descend(gx.madgrad(RATE)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "make", [lambda rate: gx.radam(rate, eps_root=1e-8), lambda rate: gx.radam(rate, 0.9, 0.9), gx.madgrad, gx.adan]
)
def test_derivatives_by_the_rate_are_those_of_finite_differences(make):
    # Where the contract cannot compare them: optax's are NaN (radam), or its numbers are not ours (madgrad, adan).
    def loss(rate):
        x, tx = jnp.asarray(START), make(rate)
        state = tx.init(x)
        for _ in range(STEPS):
            updates, state = tx.update(CURVATURE * x, state, x)
            x = x + updates
        return jnp.sum(CURVATURE * x**2) / 2

    with jax.enable_x64(True):
        loss = jax.jit(loss)
        rate, h = jnp.asarray(RATE), 1e-6
        # Central differences: h^2 times the third derivative, and rounding over h.
        np.testing.assert_allclose(jax.grad(loss)(rate), (loss(rate + h) - loss(rate - h)) / (2 * h), rtol=1e-6)


def test_novograd_decays_inside_the_momentum():
    grads = [np.array([3.0, 4.0, 0.0]), np.array([0.5, -1.0, 2.0])]
    expected = boxes.novograd(grads, 0.9, 0.25, 1e-8, 0.1, START)
    with jax.enable_x64(True):
        tx, x = gx.scale_by_novograd(weight_decay=0.1), jnp.asarray(START)
        state = tx.init(x)
        for grad, update in zip(grads, expected, strict=True):
            ours, state = tx.update(jnp.asarray(grad), state, x)
            np.testing.assert_allclose(ours, update, rtol=1e-14)


def test_adan_of_optax_looks_ahead_by_another_weight():
    # Why ours is held against the paper: the second step of optax's is neither the paper's nor ours.
    grads = [np.array([1.0]), np.array([2.0])]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = {}
        for name, tx in (("ours", gx.scale_by_adan()), ("theirs", optax.scale_by_adan())):
            state = tx.init(jnp.zeros(1))
            for grad in grads:
                update, state = tx.update(jnp.asarray(grad), state, jnp.zeros(1))
            found[name] = np.asarray(update)
    paper = boxes.adan(grads, 0.98, 0.92, 0.99, 1e-8)[-1]
    np.testing.assert_allclose(found["ours"], paper, rtol=1e-12)
    assert abs(found["theirs"][0] / paper[0] - 1) > 0.04


@pytest.mark.parametrize("b2", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999])
@pytest.mark.parametrize("threshold", [3.0, 5.0])
def test_radam_is_rectified_from_the_right_step_on_in_float32(b2, threshold):
    tx = gx.scale_by_radam(0.0, b2, eps=0.0, threshold=threshold)
    state, most = tx.init(jnp.zeros(())), 2 / (1 - b2) - 1
    for t in range(1, 12):
        update, state = tx.update(jnp.asarray(2.0), state)
        length = most - 2 * t * b2**t / (1 - b2**t)
        # The mean is 2; the root mean square is 2, too, and divides it where the length is long enough.
        rectified = length >= threshold and length > 4
        factor = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length) if rectified else 4
        # float32, and a length that is just above 4.
        np.testing.assert_allclose(update, np.sqrt(factor), rtol=1e-4)


def test_mean_squares_stay_in_float32_where_the_means_are_asked_in_bfloat16():
    for tx in (gx.ademamix(0.1, mu_dtype="bfloat16"), gx.amsgrad(0.1, mu_dtype="bfloat16")):
        state = tx.init(jnp.ones(3, jnp.bfloat16))
        record = next(iter(state.stages.values()))
        assert record.nu.dtype == jnp.float32
        assert record[0].dtype == jnp.bfloat16


def test_adopt_clips_complex_values_by_their_modulus():
    tx = gx.scale_by_adopt(b1=0.0)
    state = tx.init(jnp.zeros((), jnp.complex64))
    _, state = tx.update(jnp.asarray(1.0 + 0j), state)
    update, _ = tx.update(jnp.asarray(6.0 + 8.0j), state)
    np.testing.assert_allclose(update, 0.6 + 0.8j, rtol=1e-6)
