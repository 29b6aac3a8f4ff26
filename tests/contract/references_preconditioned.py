"""The algorithm boxes of preconditioned updates, from the papers and in plain NumPy, for one matrix each.

Each takes the gradients of a matrix in float64 and returns what is subtracted from the parameter at each step, at
learning rate 1. The layout does not matter to them but where sides are named: left is axis 0. None calls
gradxform; random numbers are JAX's.
"""

import math

import jax
import numpy as np


def soap(grads, b1=0.95, b2=0.95, eps=1e-8, every=10, *, factor_b=None, largest=math.inf, skip=True, sort=True):
    """Vyas et al. 2024, arXiv:2409.11321, algorithm 3 with 4, and where the box is silent github.com/nikhilvyas/SOAP.

    Adam in the bases Q of L <- b L + (1 - b) g g^T and of R. The mean of the gradients is kept as it is, their mean
    square in the bases, and stays there when these are renewed, each `every` steps, after the update, by Q <- QR(L Q).

    The box leaves out the first step and bias corrections. Of the code are: the first gradient only sets L and R and,
    by eigh, Q, in descending order, and its update is 0 (`skip`; else it goes on with these Q, and L and R have it
    once); steps count from the second; eps is added to the root that is not debiased. The code, but not the box, sorts
    the columns by diag(Q^T L Q) before QR, and the mean square with them (`sort`). A side longer than `largest`
    (10000) has no basis; `factor_b` is b, else b2. Its weight decay, 0.01, is decoupled and comes after the step.
    """
    b = b2 if factor_b is None else factor_b
    sides = [n <= largest for n in grads[0].shape]
    factors, bases = [np.zeros((n, n)) for n in grads[0].shape], None
    m = v = np.zeros_like(grads[0])
    t, out = 0, []
    for g in grads:
        first = bases is None
        if first:
            factors = [(1 - b) * outer for outer in (g @ g.T, g.T @ g)]
            bases = [_eigenvectors(f) if kept else np.eye(len(f)) for f, kept in zip(factors, sides, strict=True)]
            if skip:
                out.append(np.zeros_like(g))
                continue
        t += 1
        left, right = bases
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (left.T @ g @ right) ** 2
        step = math.sqrt(1 - b2**t) / (1 - b1**t) * (left.T @ m @ right) / (np.sqrt(v) + eps)
        out.append(left @ step @ right.T)
        if not first:
            factors = [b * f + (1 - b) * outer for f, outer in zip(factors, (g @ g.T, g.T @ g), strict=True)]
        if t % every == 0:
            for axis in range(2):
                if sides[axis]:
                    bases[axis], order = _power_step(factors[axis], bases[axis], sort)
                    v = np.take(v, order, axis)
    return out


def _eigenvectors(factor):
    """Columns in descending order of the eigenvalues."""
    return np.linalg.eigh(factor)[1][:, ::-1]


def _power_step(factor, basis, sort):
    """Algorithm 4 of SOAP: one step of the power iteration, and the order in which the columns went into it."""
    order = np.argsort(-np.diag(basis.T @ factor @ basis)) if sort else np.arange(len(basis))
    return np.linalg.qr(factor @ basis[:, order])[0], order


def shampoo(grads, eps=1e-12, b1=0.0, b2=1.0, every=1, exponents=(-0.25, -0.25), graft=None, graft_b2=0.999):
    """Gupta, Koren & Singer 2018, arXiv:1802.09568, algorithm 1, and its practical form with means and grafting.

    L <- L + g g^T, R <- R + g^T g, u = (eps I + L)^(-1/4) g (eps I + R)^(-1/4): the box with `eps`, b1 = 0, b2 = 1.

    Practical, by facebookresearch/optimizers (Shi et al. 2023, arXiv:2309.06497): for b2 < 1 means,
    debiased before eps is added; the debiased mean of the gradients with b1 (0.9) in the place of g; an exponent of 0
    leaves a side out, so that (-1/2, 0) is the one-sided form (An et al. 2025, arXiv:2503.20762); u takes the norm of
    another method's step, u |step| / (|u| + 1e-16): "sgd" g, "adagrad", "rmsprop", "adam" (the latter debiased; all
    with eps 1e-8 here). Roots are renewed at steps 1, every + 1, ..., as google-research/scalable_shampoo does; Meta's
    code renews them at multiples of `every`, takes the other method before the first, and merges small axes into one.
    Its defaults: lr 0.01, b1 0.9, b2 1, eps 1e-12, every 1, blocks of 1024, no grafting.
    """
    left, right = (np.zeros((n, n)) for n in grads[0].shape)
    m = square = 0.0
    weight = 1.0 if b2 == 1 else 1 - b2
    out = []
    for t, g in enumerate(grads, start=1):
        left = b2 * left + weight * g @ g.T
        right = b2 * right + weight * g.T @ g
        if (t - 1) % every == 0:
            debias = 1.0 if b2 == 1 else 1 - b2**t
            roots = [
                matrix_power(f / debias + eps * np.eye(len(f)), p)
                for f, p in zip((left, right), exponents, strict=True)
            ]
        m = b1 * m + (1 - b1) * g
        mean = m / (1 - b1**t)
        u = roots[0] @ mean @ roots[1]
        square = square + g**2 if graft == "adagrad" else graft_b2 * square + (1 - graft_b2) * g**2
        if graft:
            second = square / (1 - graft_b2**t) if graft == "adam" else square
            step = mean if graft == "sgd" else mean / (np.sqrt(second) + 1e-8)
            u = u * np.linalg.norm(step) / (np.linalg.norm(u) + 1e-16)
        out.append(u)
    return out


def in_blocks(rule, size):
    """A rule of blocks of at most `size` x `size`, cut from the first corner, each for itself: Shi et al. 2023."""

    def blocked(grads):
        rows, cols = grads[0].shape
        out = [np.zeros_like(g) for g in grads]
        for i in range(0, rows, size):
            for j in range(0, cols, size):
                part = np.s_[i : i + size, j : j + size]
                for whole, block in zip(out, rule([g[part] for g in grads]), strict=True):
                    whole[part] = block
        return out

    return blocked


def matrix_power(matrix, exponent):
    """A power of a symmetric matrix whose eigenvalues are above 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def kl_shampoo(grads, b1=0.9, b2=0.98, eps=0.0, initial=0.1):
    """Lin et al. 2025, arXiv:2509.03378, the idealised KL-Shampoo, with exact inverses and roots at every step.

    L <- b2 L + (1 - b2) g R^-1 g^T / cols and R <- b2 R + (1 - b2) g^T L^-1 g / rows, both from the L and R before (the
    paper's beta_2 is 1 - b2), then u = L^(-1/2) m R^(-1/2) with m the mean of the gradients, not debiased. From
    `initial` I, which is the authors' code's choice for its eigenvalues; `eps` I is added before a power is taken.
    """
    rows, cols = grads[0].shape
    left, right, m, out = initial * np.eye(rows), initial * np.eye(cols), 0.0, []

    def power(factor, exponent):
        return matrix_power(factor + eps * np.eye(len(factor)), exponent)

    for g in grads:
        new_left = b2 * left + (1 - b2) * g @ power(right, -1) @ g.T / cols
        right = b2 * right + (1 - b2) * g.T @ power(left, -1) @ g / rows
        left = new_left
        m = b1 * m + (1 - b1) * g
        out.append(power(left, -0.5) @ m @ power(right, -0.5))
    return out


def kl_shampoo_of_code(grads, b1=0.9, b2=0.98, eps=1e-8, every=10, initial=0.1, clamp=4000.0):
    """The practical KL-Shampoo, with QR and running means of eigenvalues: github.com/yorkerlin/KL-Methods, kl_opt.py.

    The first gradient only sets L <- (1 - b2) g g^T / cols, R alike, their eigenvectors Q, and all eigenvalues to
    `initial`; its update is 0. From then on u = Ql [(Ql^T m Qr) / (sqrt(l r^T) + eps)] Qr^T with the l, r and Q of
    before; then, with c = Ql^T g Qr and both from the old ones,

        L <- b2 L + (1 - b2) g Qr diag(1 / r) Qr^T g^T / cols     l_i <- b2 l_i + (1 - b2) mean_j c_ij^2 / r_j

    and each `every` steps Q <- QR(L Q), without sorting. 1 / sqrt(l) is kept, and at most max(10, min(length, clamp)).
    Nothing is debiased. The code casts to bfloat16, and has lr 1e-4 and a decoupled weight decay of 0.01.
    """
    rows, cols = grads[0].shape
    bases, t, m, out = None, 0, 0.0, []
    for g in grads:
        if bases is None:
            factors = [(1 - b2) * g @ g.T / cols, (1 - b2) * g.T @ g / rows]
            bases = [_eigenvectors(f) for f in factors]
            roots = [np.full(n, initial**-0.5) for n in (rows, cols)]
            out.append(np.zeros_like(g))
            continue
        t += 1
        (left, right), (over_l, over_r) = bases, roots
        m = b1 * m + (1 - b1) * g
        both = np.outer(over_l, over_r)
        out.append(left @ ((left.T @ m @ right) * both / (1 + eps * both)) @ right.T)

        seen = (g @ (right * over_r), g.T @ (left * over_l))
        factors = [b2 * f + (1 - b2) * s @ s.T / s.shape[1] for f, s in zip(factors, seen, strict=True)]
        turned = left.T @ g @ right
        means = (np.mean((turned * over_r) ** 2, axis=1), np.mean((turned * over_l[:, None]) ** 2, axis=0))
        roots = [
            np.minimum((b2 / root**2 + (1 - b2) * mean) ** -0.5, max(10.0, min(len(root), clamp)))
            for root, mean in zip(roots, means, strict=True)
        ]
        if t % every == 0:
            bases = [np.linalg.qr(f @ q)[0] for f, q in zip(factors, bases, strict=True)]
    return out


def update_probability(step, largest=1.0, least=0.03, decay=0.001, flat=500):
    """How often PSGD renews its preconditioner, by evanatyourservice/psgd_jax; the first step is 1."""
    return min(max(largest * math.exp(-decay * (step - flat)), least), largest)


def psgd_kron(
    grads,
    noise,
    b1=0.9,
    rate=0.1,
    initial=1.0,
    probability=update_probability,
    balanced=(),
    diagonal=(False, False),
    whiten_momentum=True,
):
    """Li 2015 and 2024, arXiv:1512.04202 and arXiv:2402.11858, whitening with triangular factors (dQ = E Q).

    As evanatyourservice/psgd_jax's kron.py has it, with its defaults. u = Ql^T Ql m Qr^T Qr, m the debiased mean of the
    gradients, shrunk to a root mean square of at most 1.1. Before that, with h = m + sqrt(eps32) mean|m| n and the
    step's `noise` n,

        a = Ql h Qr^T, b = Ql^-T n Qr^-1, Ql <- Ql - rate triu(a a^T - b b^T) Ql / bound(a a^T + b b^T)

    and Qr from a^T a and b^T b, both with the old ones; at steps whose count since the last such is at least
    1 / probability(step). At steps in `balanced` (by chance, 1 of 100) the factors first get one largest modulus. A
    `diagonal` side (of length 1, above 8192, or of a vector) has a vector, and the largest element for the bound.

    lixilinx/psgd_torch, "EQ", has instead of the bound its running maximum with decay 0.9, damping 1e-9 + eps |g|, the
    gradient whitened first, another clip, and by default another geometry, dQ = Q^0.5 E Q^1.5, with no triangles.
    """
    q = [initial**0.5 * (np.ones(n) if flat else np.eye(n)) for n, flat in zip(grads[0].shape, diagonal, strict=True)]
    m, since, out = 0.0, 0, []
    for t, (g, n) in enumerate(zip(grads, noise, strict=True), start=1):
        m = b1 * m + (1 - b1) * g
        mean = m / (1 - b1**t)
        since += 1
        if since >= 1 / probability(t):
            since = 0
            if t in balanced:
                sizes = [np.max(np.abs(each)) for each in q]
                q = [each * math.sqrt(sizes[0] * sizes[1]) / size for each, size in zip(q, sizes, strict=True)]
            h = mean if whiten_momentum else g
            h = h + math.sqrt(np.finfo(np.float32).eps) * np.mean(np.abs(h)) * n
            q = _fitted(q, h, n, rate)
        left, right = map(_full, q)
        u = left.T @ left @ mean @ right.T @ right
        out.append(u / max(1.0, math.sqrt(np.mean(u**2)) / 1.1))
    return out


def psgd_noise(shape, steps, seed=0, number=0):
    """What JAX draws for the matrix of a number: at this step by fold_in(key, 0), at the next by fold_in(key, 1)."""
    key, noise = jax.random.key(seed), []
    for _ in range(steps):
        own = jax.random.fold_in(jax.random.fold_in(key, 0), number)
        noise.append(np.asarray(jax.random.normal(own, shape, np.float32), np.float64))
        key = jax.random.fold_in(key, 1)
    return noise


def _full(factor):
    return np.diag(factor) if factor.ndim == 1 else factor


def _fitted(q, h, n, rate):
    left, right = map(_full, q)
    a = left @ h @ right.T
    b = np.linalg.inv(left).T @ n @ np.linalg.inv(right)
    pairs = ((a @ a.T, b @ b.T), (a.T @ a, b.T @ b))
    new = []
    for factor, (one, other) in zip(q, pairs, strict=True):
        if factor.ndim == 1:
            change = np.diag(one - other)
            new.append(factor - rate * change * factor / np.max(np.diag(one + other)))
        else:
            new.append(factor - rate * np.triu(one - other) @ factor / spectral_bound(one + other))
    return new


def spectral_bound(matrix):
    """A lower bound of the spectral norm, at most sqrt(2) below it: psgd_jax and psgd_torch's norm_lower_bound.

    One step of the power iteration from the row or column that has the largest norm.
    """
    largest = np.max(np.abs(matrix))
    if largest == 0:
        return largest
    scaled = matrix / largest
    cols, rows = np.sum(scaled**2, axis=0), np.sum(scaled**2, axis=1)
    if np.max(cols) > np.max(rows):
        x = scaled[:, np.argmax(cols)] @ scaled
        return largest * np.linalg.norm(x / np.linalg.norm(x) @ scaled.T)
    x = scaled @ scaled[np.argmax(rows)]
    return largest * np.linalg.norm(scaled.T @ (x / np.linalg.norm(x)))
