"""The boxes of matrix methods do what can be seen of them without a second transcription."""

import functools
import math

import numpy as np
import pytest

from tests.contract import references_matrices as matrices, references_preconditioned as preconditioned

SHAPES = [(4, 3), (3, 4), (4, 4)]
# Of float64, after ten steps of at most a few hundred operations each on numbers of about 1.
CLOSE = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)

RULES = {
    "muon": matrices.muon,
    "normuon": matrices.normuon,
    "normuon of code": matrices.normuon_of_code,
    "dion2": matrices.dion2,
    "scion": matrices.scion,
    "galore": lambda grads: matrices.galore(grads, 2),
    "soap": lambda grads: preconditioned.soap(grads, every=2),
    "shampoo": lambda grads: preconditioned.shampoo(grads, 1e-6),
    "shampoo, practical": lambda grads: preconditioned.shampoo(grads, 1e-6, 0.9, 0.95, every=3),
    "kl_shampoo": preconditioned.kl_shampoo,
    "kl_shampoo of code": lambda grads: preconditioned.kl_shampoo_of_code(grads, every=2),
    "psgd_kron": lambda grads: preconditioned.psgd_kron(grads, gradients(grads[0].shape, seed=5)),
}
# Those that see no basis of either side.
WITHOUT_BASIS = [name for name in RULES if name not in ("normuon", "normuon of code", "dion2", "galore", "psgd_kron")]


def gradients(shape, steps=10, seed=0):
    """Of sizes that change with the step."""
    rng = np.random.default_rng(seed)
    return [np.exp(rng.uniform(-2, 1)) * rng.standard_normal(shape) for _ in range(steps)]


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def adam(grads, b1, b2, eps):
    """Kingma & Ba 2015, algorithm 1, with eps where SOAP's code adds it."""
    m = v = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        out.append(m / (1 - b1**t) * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps))
    return out


@pytest.mark.parametrize("name", RULES)
def test_gradients_of_zero_give_updates_of_zero(name):
    for update in RULES[name]([np.zeros((4, 3))] * 10):
        np.testing.assert_array_equal(update, np.zeros((4, 3)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", WITHOUT_BASIS)
def test_turned_gradients_give_turned_updates(name, shape):
    left, right, grads = rotation(shape[0], 1), rotation(shape[1], 2), gradients(shape)
    turned = RULES[name]([left @ g @ right for g in grads])
    # The root of a factor of rank 3 and length 4 with eps 1e-6 has a condition of 1e4 or so.
    np.testing.assert_allclose(turned, [left @ u @ right for u in RULES[name](grads)], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_newton_schulz_only_changes_the_singular_values_and_brings_them_into_its_band(shape):
    g = gradients(shape)[0]
    u, s, vh = np.linalg.svd(g, full_matrices=False)
    values = s / (np.linalg.norm(g) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    CLOSE(matrices.newton_schulz(g), (u * values) @ vh)
    # What starts above 0.01 ends between the quintic's lowest and highest point near 1.
    assert s[-1] / np.linalg.norm(g) > 0.01
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_polar_leaves_out_singular_values_of_zero():
    g = np.outer([3.0, 4.0], [0.0, 2.0, 0.0])
    CLOSE(matrices.polar(g), np.outer([0.6, 0.8], [0.0, 1.0, 0.0]))


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_scales_by_the_outputs_in_the_last_axis(shape):
    rows, cols = shape
    for scale, factor in (("keller", max(1, cols / rows) ** 0.5), ("moonshot", 0.2 * max(shape) ** 0.5), (None, 1)):
        for update in matrices.muon(gradients(shape), scale=scale, orthogonalize=matrices.polar):
            CLOSE(np.linalg.svd(update, compute_uv=False), np.full(min(shape), factor))


@pytest.mark.parametrize("shape", SHAPES)
def test_normuon_evens_the_neurons_and_keeps_a_size(shape):
    grads = gradients(shape)
    updates = matrices.normuon(grads)
    norms = np.linalg.norm(updates[0], axis=0)
    # Up to eps = 1e-8 beside the root of a mean square of 0.05.
    np.testing.assert_allclose(norms, norms[0], rtol=1e-6)
    CLOSE([np.sqrt(np.mean(u**2)) for u in updates], np.full(10, 0.2))
    sizes = [np.linalg.norm(u) for u in matrices.muon(grads)]
    CLOSE([np.linalg.norm(u) for u in matrices.normuon_of_code(grads)], sizes)


def test_dion2_of_all_slices_is_muon_and_of_some_moves_the_largest():
    grads = gradients((4, 6))
    for update, muon in zip(matrices.dion2(grads, 1.0), matrices.muon(grads, nesterov=False, scale=None), strict=True):
        # Muon's mean is 0.05 of the sum, and eps is 1e-7 beside its norm.
        np.testing.assert_allclose(update, muon * np.sqrt(6 / 4), rtol=1e-4, atol=1e-6)
    first = np.diag([1.0, 5.0, 2.0])
    updates = matrices.dion2([first, 0 * first, 0 * first], 0.3, 0.3, orthogonalize=matrices.polar)
    # 5, which becomes 1.5, then 2, which becomes 0.6, then 1.5 again.
    assert [int(np.argmax(np.diag(u))) for u in updates] == [1, 2, 1]
    for update in updates:
        CLOSE(np.sum(np.abs(update)), 1.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_scion_steps_to_the_border_of_its_ball_and_constrained_stays_inside(shape):
    rows, cols = shape
    grads, weights = gradients(shape), np.zeros(shape)
    radius = 3.0 * (cols / rows) ** 0.5
    for update in matrices.scion(grads, radius=3.0, orthogonalize=matrices.polar):
        CLOSE(np.linalg.norm(update, 2), radius)
    for weight in matrices.constrained_scion(grads, weights, 0.5, radius=3.0, orthogonalize=matrices.polar):
        assert np.linalg.norm(weight, 2) <= radius * (1 + 1e-12)
    for update in matrices.scion(grads, norm="sign"):
        CLOSE(np.abs(update), np.full(shape, 1 / rows))
    for update in matrices.scion(grads, norm="tokens"):
        # Up to 1e-8 beside a root mean square of 0.01 or more.
        np.testing.assert_allclose(np.mean(update**2, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_galore_stays_in_the_leading_directions_of_the_shorter_side(shape):
    grads = gradients(shape)
    updates = matrices.galore(grads, 2, every=4, scale=1.0, eps=0.0)
    tall = shape[0] > shape[1]
    for t, update in enumerate(updates):
        basis = matrices.leading_vectors(grads[t // 4 * 4].T if tall else grads[t // 4 * 4], 2)
        part = update.T if tall else update
        CLOSE(basis @ (basis.T @ part), part)
    first = matrices.leading_vectors(grads[0].T if tall else grads[0], 2)
    low = first.T @ (grads[0].T if tall else grads[0])
    CLOSE(updates[0].T if tall else updates[0], first @ np.sign(low))


def test_hyperball_keeps_the_norm_and_takes_a_step_that_is_a_part_of_it():
    weights, updates = 7.0 * rotation(4, 3)[:, :3], gradients((4, 3))
    path = matrices.hyperball(updates, weights, 0.1)
    CLOSE([np.linalg.norm(w) for w in path], np.full(10, np.linalg.norm(weights)))
    CLOSE(path, matrices.hyperball([100 * u for u in updates], weights, 0.1))
    across = np.roll(weights, 1, axis=0) - np.sum(np.roll(weights, 1, axis=0) * weights) / np.sum(weights**2) * weights
    angle = np.sum(matrices.hyperball([across], weights, 0.1)[0] * weights) / np.sum(weights**2)
    CLOSE(angle, 1 / np.sqrt(1 + 0.1**2))
    CLOSE(matrices.hyperball([np.zeros((4, 3))], weights, 0.1)[0], weights)


def test_qk_clip_brings_the_logits_of_heads_above_the_threshold_to_it():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 5))
    query, key, rotary = (3 * rng.standard_normal((5, 4, 2)) for _ in range(3))
    shared = rng.standard_normal((5, 2))

    def logits(query, key, rotary=None):
        scores = np.einsum("ti,ihd,sj,jhd->hts", x, query, x, key)
        if rotary is not None:
            scores = scores + np.einsum("ti,ihd,sj,jd->hts", x, rotary, x, shared)
        return scores.max((1, 2))

    before = logits(query, key)
    threshold = np.median(before)
    for share in (0.5, 0.2):
        CLOSE(logits(*matrices.qk_clip(query, key, before, threshold, share)), np.minimum(before, threshold))
    before = logits(query, key, rotary)
    threshold = np.median(before)
    clipped = matrices.qk_clip_mla(query, key, rotary, before, threshold)
    CLOSE(logits(*clipped), np.minimum(before, threshold))


@pytest.mark.parametrize("shape", SHAPES)
def test_soap_without_bases_is_adam(shape):
    grads = gradients(shape)
    CLOSE(preconditioned.soap(grads, 0.9, 0.95, every=2, largest=0, skip=False), adam(grads, 0.9, 0.95, 1e-8))
    skipping = preconditioned.soap(grads, 0.9, 0.95, every=2, largest=0)
    CLOSE(skipping, [np.zeros(shape), *adam(grads[1:], 0.9, 0.95, 1e-8)])


def test_soap_of_diagonal_gradients_is_adam_whatever_the_frequency():
    grads = [np.diag(np.diag(g)) for g in gradients((4, 4))]
    for every, sort in ((1, True), (3, True), (2, False)):
        updates = preconditioned.soap(grads, every=every, sort=sort)[1:]
        CLOSE(updates, adam(grads[1:], 0.95, 0.95, 1e-8))


@pytest.mark.parametrize("exponents", [(-0.25, -0.25), (-0.5, 0), (0, -0.5)])
def test_shampoo_of_diagonal_gradients_is_adagrad(exponents):
    grads = [np.diag(np.diag(g)) for g in gradients((4, 4))]
    total = np.full(4, 1e-6)
    for g, update in zip(grads, preconditioned.shampoo(grads, 1e-6, exponents=exponents), strict=True):
        # The box adds eps to both factors, which is as one where there is one.
        total = total + np.diag(g) ** 2
        CLOSE(update, np.diag(np.diag(g) / np.sqrt(total)))


def test_one_sided_shampoo_of_a_column_is_adagrad_of_the_full_matrix():
    grads, total = gradients((4, 1)), 1e-3 * np.eye(4)
    for g, update in zip(grads, preconditioned.shampoo(grads, 1e-3, exponents=(-0.5, 0)), strict=True):
        total = total + g @ g.T
        u, s, _ = np.linalg.svd(total)
        CLOSE(update, u / np.sqrt(s) @ u.T @ g)


def test_shampoo_grafted_has_its_direction_and_the_norm_of_the_other():
    grads = gradients((4, 3))
    plain = preconditioned.shampoo(grads, 1e-6, 0.9, 0.95)
    grafted = preconditioned.shampoo(grads, 1e-6, 0.9, 0.95, graft="adam", graft_b2=0.99)
    m = v = 0.0
    for t, (g, one, other) in enumerate(zip(grads, plain, grafted, strict=True), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        size = np.linalg.norm(m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8))
        CLOSE(other, size * one / np.linalg.norm(one))


def test_shampoo_in_blocks_of_one_is_adagrad_and_in_large_ones_itself():
    grads, total = gradients((4, 3)), 1e-6
    for g, update in zip(grads, preconditioned.in_blocks(preconditioned.shampoo, 1)(grads), strict=True):
        total = total + g**2
        # eps is 1e-12 there.
        np.testing.assert_allclose(update, g / np.sqrt(total - 1e-6), rtol=1e-6)
    rule = functools.partial(preconditioned.shampoo, eps=1e-6)
    np.testing.assert_array_equal(preconditioned.in_blocks(rule, 4)(grads), rule(grads))


@pytest.mark.parametrize("rule", ["kl_shampoo", "kl_shampoo_of_code"])
def test_kl_shampoo_whitens_a_gradient_that_does_not_change(rule):
    g = rotation(3, 1) @ np.diag([1.0, 2.0, 3.0]) @ rotation(3, 2)
    u = getattr(preconditioned, rule)([g] * 600, b1=0.0, b2=0.9)[-1]
    # Where L = g R^-1 g^T / 3 and so on, u u^T is 3 I; the means come there by 0.9 a step.
    np.testing.assert_allclose(u @ u.T, 3 * np.eye(3), atol=1e-6)


def test_psgd_without_refreshes_is_the_clipped_mean():
    grads, m = gradients((4, 3)), 0.0
    updates = preconditioned.psgd_kron(grads, grads, probability=lambda t: 1e-9)
    for t, (g, update) in enumerate(zip(grads, updates, strict=True), start=1):
        m = 0.9 * m + 0.1 * g
        mean = m / (1 - 0.9**t)
        CLOSE(update, mean / max(1, np.sqrt(np.mean(mean**2)) / 1.1))


@pytest.mark.parametrize("diagonal", [(True, True), (False, False)])
def test_psgd_of_a_number_by_hand(diagonal):
    g, n = 0.3, -1.7
    update = preconditioned.psgd_kron([np.array([[g]])], [np.array([[n]])], diagonal=diagonal)[0]
    h = g + math.sqrt(np.finfo(np.float32).eps) * g * n
    q = 1 - 0.1 * (h**2 - n**2) / (h**2 + n**2)
    CLOSE(update, np.array([[g * q**4]]))


def test_psgd_comes_to_whiten_the_gradients():
    rng = np.random.default_rng(0)
    left, right = rotation(3, 1) * [1.0, 0.1, 0.01], rotation(4, 2) * [3.0, 1.0, 0.3, 0.1]
    grads = [left @ rng.standard_normal((3, 4)) @ right.T for _ in range(1500)]
    noise = rng.standard_normal((1500, 3, 4))
    updates = np.array(preconditioned.psgd_kron(grads, noise, b1=0.0))[-500:]
    for products in (updates @ updates.transpose(0, 2, 1), updates.transpose(0, 2, 1) @ updates):
        values = np.linalg.eigvalsh(np.mean(products, axis=0))
        # Those of the gradients are 1e4 and 900 apart; here they are 1.8, of 500 steps and a Q that moves by 0.1.
        assert values[-1] / values[0] < 3


def test_the_bound_is_at_most_root_two_below_the_spectral_norm():
    for seed in range(20):
        half = gradients((6, 4), 1, seed)[0]
        matrix = half @ half.T
        ratio = preconditioned.spectral_bound(matrix) / np.linalg.norm(matrix, 2)
        assert 1 / np.sqrt(2) <= ratio <= 1 + 1e-12


def test_psgd_renews_always_at_first_and_rarely_later():
    assert [preconditioned.update_probability(t) for t in (1, 500)] == [1.0, 1.0]
    CLOSE(preconditioned.update_probability(1500), np.exp(-1))
    assert preconditioned.update_probability(10**5) == 0.03
