"""The algorithm boxes of orthogonalised, projected and clipped updates, from the papers and in plain NumPy.

Each is for one matrix in float64, laid out as JAX kernels are, (in, out): the papers and torch have (out, in), so a row
of theirs, a neuron, is a column here. Unless it says otherwise each takes the gradients and returns what is subtracted
from the parameter at each step, at learning rate 1. `orthogonalize` is a function of one matrix. None calls gradxform.
"""

import math

import numpy as np

KELLER = (3.4445, -4.7750, 2.0315)


def newton_schulz(g, steps=5, coefficients=KELLER, eps=1e-7):
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon: a quintic on g / (|g|_F + eps), and 0 for 0.

    The authors iterate in bfloat16, and on the transpose where the matrix is taller than wide, which is the same.
    """
    a, b, c = coefficients
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (np.linalg.norm(x) + eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def polar(g):
    """U V^T of the reduced singular value decomposition, over the singular values that are not 0."""
    u, s, vh = np.linalg.svd(g, full_matrices=False)
    kept = s > s[0] * 1e-12
    return u[:, kept] @ vh[kept]


def shape_factor(shape, scale):
    """The factor of a matrix (in, out) after orthogonalising, by name.

    "keller": sqrt(max(1, out / in)), Jordan's code. "moonshot": 0.2 sqrt(max(in, out)), Liu et al. 2025,
    arXiv:2502.16982, section 2.2, the root mean square of Adam's updates. "spectral": sqrt(out / in), Bernstein 2025
    and Dion's code. None: 1.
    """
    rows, cols = shape
    factors = {"keller": max(1, cols / rows) ** 0.5, "moonshot": 0.2 * max(rows, cols) ** 0.5}
    return {**factors, "spectral": (cols / rows) ** 0.5, None: 1.0}[scale]


def muon(grads, b1=0.95, nesterov=True, scale="keller", orthogonalize=newton_schulz):
    """Jordan et al. 2024, github.com/KellerJordan/Muon, with the defaults of its code; b1 is the momentum.

    The code's mean, (1 - b1) times the sum of the post and of Moonshot, gives the same but for the eps of the norm. No
    bias is corrected, which would change nothing either. `scale` as in `shape_factor`.
    """
    m, out = 0.0, []
    for g in grads:
        m = b1 * m + (1 - b1) * g
        ahead = b1 * m + (1 - b1) * g if nesterov else m
        out.append(shape_factor(g.shape, scale) * orthogonalize(ahead))
    return out


def normuon(grads, b1=0.95, b2=0.95, eps=1e-8, orthogonalize=newton_schulz):
    """Li et al. 2025, arXiv:2510.05491, algorithm 1: the root mean square of the update is 0.2 at every step.

    `normuon_of_code` is what the authors publish. The eps is that of microsoft/dion. Where the box has 0 / 0, for
    gradients of 0, the update is 0.
    """
    m = v = 0.0
    out = []
    for g in grads:
        m = b1 * m + (1 - b1) * g
        o = orthogonalize(m)
        v = b2 * v + (1 - b2) * np.mean(o**2, axis=0, keepdims=True)
        o = o / (np.sqrt(v) + eps)
        norm = np.linalg.norm(o)
        out.append(0.2 * math.sqrt(g.size) * o / norm if norm else o)
    return out


def normuon_of_code(grads, b1=0.95, b2=0.95, eps=1e-10, nesterov=True, scale="keller", orthogonalize=newton_schulz):
    """The authors' code, github.com/zichongli5/NorMuon: algorithm 1 with Nesterov, and the norm of before restored.

    It departs from the box in three points: Nesterov's momentum; the update has the norm that it had after
    orthogonalising, not a root mean square of 0.2; Keller's factor comes after that. microsoft/dion has the same with
    momentum m <- b1 m + g, without Nesterov, with scale "spectral", eps 1e-8, and by default Polar Express.
    """
    m = v = 0.0
    out = []
    for g in grads:
        m = b1 * m + (1 - b1) * g
        o = orthogonalize(b1 * m + (1 - b1) * g if nesterov else m)
        before = np.linalg.norm(o)
        v = b2 * v + (1 - b2) * np.mean(o**2, axis=0, keepdims=True)
        o = o / (np.sqrt(v) + eps)
        out.append(shape_factor(g.shape, scale) * o * before / (np.linalg.norm(o) + eps))
    return out


def dion2(grads, fraction=0.25, decay=0.95, scale="spectral", orthogonalize=newton_schulz):
    """Ahn, Amsel & Langford 2025, arXiv:2512.16928, with the selection and the defaults of microsoft/dion's dion2.py.

    The slices with the largest l1 norms, along the shorter axis (the outputs of a square matrix), at least one and
    rounded up; only they are orthogonalised, moved, and decayed afterwards. The factor is that of the whole shape. The
    paper also draws the slices at random. The code casts to bfloat16 and has Polar Express by default.
    """
    m, out = np.zeros_like(grads[0]), []
    rows, cols = m.shape
    along = 1 if cols <= rows else 0
    count = max(1, math.ceil(fraction * m.shape[along]))
    for g in grads:
        m = m + g
        chosen = np.argsort(-np.abs(m).sum(1 - along), kind="stable")[:count]
        index = (slice(None), chosen) if along else (chosen, slice(None))
        update = np.zeros_like(g)
        update[index] = shape_factor(g.shape, scale) * orthogonalize(m[index])
        m[index] *= decay
        out.append(update)
    return out


def scion(grads, b1=0.9, radius=1.0, norm="spectral", orthogonalize=newton_schulz):
    """Pethick et al. 2025, arXiv:2502.07529, algorithm 1 (unconstrained): minus the minimisers over balls.

    The mean is d <- b1 d + (1 - b1) g from 0, as in github.com/LIONS-EPFL/scion, whose `momentum` is 1 - b1. Its norms:
    "spectral" for hidden layers, "input" for a first layer or "tokens" where its rows are tokens, "sign" for the last.
    """
    d, out = 0.0, []
    for g in grads:
        d = b1 * d + (1 - b1) * g
        out.append(radius * _steepest(d, norm, orthogonalize))
    return out


def _steepest(d, norm, orthogonalize):
    rows, cols = d.shape
    if norm == "sign":
        return np.sign(d) / rows
    if norm == "tokens":
        return d / (np.sqrt(np.mean(d**2, axis=1, keepdims=True)) + 1e-8)
    factor = math.sqrt(cols / rows)
    return (max(1.0, factor) if norm == "input" else factor) * orthogonalize(d)


def constrained_scion(grads, weights, rate, b1=0.9, radius=1.0, norm="spectral", orthogonalize=newton_schulz):
    """Pethick et al. 2025, algorithm 2: the weights after each step, w <- (1 - rate) w - rate radius direction.

    It is the unconstrained one with a decoupled weight decay of 1. Weights that begin in the ball stay in it.
    """
    out = []
    for update in scion(grads, b1, radius, norm, orthogonalize):
        weights = (1 - rate) * weights - rate * update
        out.append(weights)
    return out


def leading_vectors(g, rank):
    """The first `rank` left singular vectors, with the signs that LAPACK gives them."""
    return np.linalg.svd(g, full_matrices=False)[0][:, :rank]


def galore(grads, rank, every=200, scale=0.25, b1=0.9, b2=0.999, eps=1e-6, basis=leading_vectors):
    """Zhao et al. 2024, arXiv:2403.03507, algorithm 2, with the defaults of github.com/jiaweizzhao/GaLore.

    Adam of P^T g, for a matrix that is wider than tall or square, else of g P; P is renewed at steps 1, every + 1, ...
    The moments stay as they are then, so from the second P on the signs of its columns matter. eps is where the box has
    it, outside the debiased root; the code adds it to the root that is not debiased.
    """
    wide = grads[0].shape[0] <= grads[0].shape[1]
    m = v = 0.0
    out = []
    for t, grad in enumerate(grads):
        g = grad if wide else grad.T
        if t % every == 0:
            p = basis(g, rank)
        low = p.T @ g
        m = b1 * m + (1 - b1) * low
        v = b2 * v + (1 - b2) * low**2
        step = m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
        back = scale * p @ step
        out.append(back if wide else back.T)
    return out


def hyperball(updates, weights, rate):
    """Wen et al. 2026, arXiv:2606.16899: the weights after each step of any optimizer's updates, at constant norm.

    w <- R n(w - rate R n(u)), with n(x) = x / |x|_F and R the norm of the first weights. The authors' code (Levanter's
    adamh.py, muonh.py) takes the norm of the present weights for R, which is the same but for rounding, and divides by
    at least 1e-10, so that an update of 0 leaves the weights; momentum, and no weight decay, come before.
    """
    radius, out = np.linalg.norm(weights), []
    for u in updates:
        moved = weights - rate * radius * u / max(np.linalg.norm(u), 1e-10)
        weights = radius * moved / np.linalg.norm(moved)
        out.append(weights)
    return out


def qk_clip(query, key, logits, threshold=100.0, share=0.5):
    """Kimi Team 2025, arXiv:2507.20534, section 2.1: query and key kernels (in, heads, depth) after their step.

    `logits` are the largest of each head in the forward pass before the step, max_ij q_i k_j / sqrt(depth), signed.
    gamma = min(1, threshold / logits) where they are above it; query gamma^share, key gamma^(1 - share).
    """
    gamma = _gamma(logits, threshold)
    return query * gamma**share, key * gamma ** (1 - share)


def qk_clip_mla(query, key, rotary_query, logits, threshold=100.0):
    """Kimi Team 2025, algorithm 1, lines 8 to 17, of latent attention: the rotary key that heads share stays as it is.

    So the rotary queries take all of gamma; the head's own parts of query and key take its root each.
    """
    gamma = _gamma(logits, threshold)
    return query * np.sqrt(gamma), key * np.sqrt(gamma), rotary_query * gamma


def _gamma(logits, threshold):
    above = logits > threshold
    return np.where(above, threshold / np.where(above, logits, 1.0), 1.0)[:, None]
