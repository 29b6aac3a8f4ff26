"""The algorithm boxes of Adam's relatives, from the papers and in plain NumPy, for one leaf each.

Each takes the gradients of a leaf in float64 and returns what is subtracted from the parameter at each step, at
learning rate 1, unless it says otherwise. Decays are written as in our signatures. None of them calls gradxform.
"""

import numpy as np


def adam(grads, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, algorithm 1."""
    m = v = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        out.append(m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps))
    return out


def amsgrad(grads, b1, b2, eps):
    """Reddi et al. 2018, algorithm 2, with Adam's eps outside the root; it corrects no bias."""
    m = v = v_hat = 0.0
    out = []
    for g in grads:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_hat = np.maximum(v_hat, v)
        out.append(m / (np.sqrt(v_hat) + eps))
    return out


def adamax(grads, b1, b2):
    """Kingma & Ba 2015, algorithm 2; it has no eps."""
    m = u = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        out.append(m / (1 - b1**t) / u)
    return out


def nadam(grads, b1, b2, eps):
    """Dozat 2015, cs229.stanford.edu/proj2015/054_report.pdf, algorithm 8, with a momentum of b1 at each step."""
    m = n = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        n = b2 * n + (1 - b2) * g**2
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        out.append(m_hat / (np.sqrt(n / (1 - b2**t)) + eps))
    return out


def adan(grads, b1, b2, b3, eps):
    """Xie et al. 2022, algorithm 1; from 0 with bias corrections, as the authors' code has it.

    The paper's betas are beta = 1 - b. Its steps use (1 - beta_2), which is b2.
    """
    beta1, beta2, beta3 = 1 - b1, 1 - b2, 1 - b3
    m = v = n = 0.0
    before, out = grads[0], []
    for k, g in enumerate(grads, start=1):
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - before)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - before)) ** 2
        m_hat, v_hat, n_hat = m / (1 - b1**k), v / (1 - b2**k), n / (1 - b3**k)
        out.append((m_hat + (1 - beta2) * v_hat) / (np.sqrt(n_hat) + eps))
        before = g
    return out


def adabelief(grads, b1, b2, eps):
    """Zhuang et al. 2020, algorithm 2: one eps, inside s and outside the root."""
    m = s = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        m_hat, s_hat = m / (1 - b1**t), s / (1 - b2**t)
        out.append(m_hat / (np.sqrt(s_hat) + eps))
    return out


def yogi(grads, b1, b2, eps, initial):
    """Zaheer et al. 2018, algorithm 2, with both means from `initial` and with Adam's bias corrections."""
    m = v = initial
    out = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        out.append(m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps))
    return out


def radam(grads, b1, b2, threshold):
    """Liu et al. 2020, algorithm 2; it has no eps, and threshold 4."""
    m = v = 0.0
    most, out = 2 / (1 - b2) - 1, []
    for t, g in enumerate(grads, start=1):
        v = b2 * v + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - b1**t)
        length = most - 2 * t * b2**t / (1 - b2**t)
        if length > threshold:
            adaptive = np.sqrt((1 - b2**t) / v)
            r = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
            out.append(r * m_hat * adaptive)
        else:
            out.append(m_hat)
    return out


def novograd(grads, b1, b2, eps, weight_decay, weights):
    """Ginsburg et al. 2019, algorithm 1, at weights that do not move."""
    v = m = None
    out = []
    for g in grads:
        square = np.sum(g**2)
        v = square if v is None else b2 * v + (1 - b2) * square
        moved = g / (np.sqrt(v) + eps) + weight_decay * weights
        m = moved if m is None else b1 * m + moved
        out.append(m)
    return out


def acprop(grads, b1, b2, eps):
    """Zhuang et al. 2021, ACProp: the denominator before the gradient's surprise is added to it.

    With the bias correction and the first denominator, 1, that the authors' code and optax's documentation have.
    """
    m = s = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        out.append(g / (1.0 if t == 1 else np.sqrt(s / (1 - b2 ** (t - 1)))))
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
    return out


def ademamix(grads, b1, b2, b3, alpha, eps):
    """Pagliardini et al. 2024, algorithm 1, with alpha and beta_3 that do not warm up."""
    m1 = m2 = v = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m1 = b1 * m1 + (1 - b1) * g
        m2 = b3 * m2 + (1 - b3) * g
        v = b2 * v + (1 - b2) * g**2
        out.append((m1 / (1 - b1**t) + alpha * m2) / (np.sqrt(v / (1 - b2**t)) + eps))
    return out


def simplified_ademamix(grads, b1, b2, alpha, eps):
    """Morwani et al. 2025, simplified AdEMAMix, with Adam's bias correction of the mean square."""
    m = v = 0.0
    out = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + g
        v = b2 * v + (1 - b2) * g**2
        out.append((m + alpha * g) / (np.sqrt(v / (1 - b2**t)) + eps))
    return out


def adopt(grads, b1, b2, eps, clip=True):
    """Taniguchi et al. 2024, algorithm 2: the first gradient, g_0, only sets v_0; from g_1 on there are steps."""
    v, m = grads[0] ** 2, 0.0
    out = [np.zeros_like(grads[0])]
    for t, g in enumerate(grads[1:], start=1):
        ratio = g / np.maximum(np.sqrt(v), eps)
        bound = t**0.25 if clip else np.inf
        m = b1 * m + (1 - b1) * np.clip(ratio, -bound, bound)
        v = b2 * v + (1 - b2) * g**2
        out.append(m)
    return out


def madgrad(slope, steps, learning_rate, momentum, eps, x0, weight_decay=0.0):
    """Defazio & Jelassi 2021, algorithm 1, with c = 1 - momentum: the parameters after each step.

    As the authors' code has it, eps is added to the learning rate too. A constant `learning_rate` or a function of the
    step from 0 on; `slope` is a function of the step and the parameters.
    """
    s, v, x = 0.0, 0.0, x0
    out = []
    for k in range(steps):
        g = slope(k, x) + weight_decay * x
        rate = learning_rate(k) if callable(learning_rate) else learning_rate
        weight = (rate + eps) * np.sqrt(k + 1)
        s = s + weight * g
        v = v + weight * g**2
        z = x0 - s / (np.cbrt(v) + eps)
        x = momentum * x + (1 - momentum) * z
        out.append(x)
    return out
