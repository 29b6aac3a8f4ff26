"""The boxes of averages that take part in the training, from the papers and their authors' code, in plain NumPy.

Each takes the list of gradients, leaf by leaf in float64, and returns the updates of each step: the ways of y, from the
parameters of the contract on.
"""

import jax
import numpy as np

from tests.contract.case import params


def _start():
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params(np.float64))]


def gpa_adamw(rate, b1, b2, eps, weight_decay, mu_x, mu_y):
    """Defazio et al. 2025, with AdamW as the base: d is Adam's direction, and the decay is of z."""

    def reference(steps):
        z = x = y = _start()
        m = v = [np.zeros_like(leaf) for leaf in z]
        out = []
        for t, grads in enumerate(steps, 1):
            m = [b1 * a + (1 - b1) * g for a, g in zip(m, grads, strict=True)]
            v = [b2 * a + (1 - b2) * g**2 for a, g in zip(v, grads, strict=True)]
            d = [-(a / (1 - b1**t)) / (np.sqrt(b / (1 - b2**t)) + eps) for a, b in zip(m, v, strict=True)]
            z = [(1 - rate(t - 1) * weight_decay) * a + rate(t - 1) * b for a, b in zip(z, d, strict=True)]
            x = [mu_x * a + (1 - mu_x) * b for a, b in zip(x, z, strict=True)]
            new = [mu_y * a + (1 - mu_y) * b for a, b in zip(x, z, strict=True)]
            out.append([a - b for a, b in zip(new, y, strict=True)])
            y = new
        return out

    return reference


def schedule_free_plus_adamc(
    value, rate, betas, sf_beta1, sf_beta1_max, anneal_steps, eps, weight_decay, decays, r, polyak_beta, c_warmup, power
):
    """Defazio 2026, as `step_func` of AdamCScheduleFreePlusPaper in the authors' package computes it, k from 0 on.

    The size of the step is of all leaves, and so are `value`, a number, and `decays`, which leaves do.
    """
    b1, b2 = betas

    def reference(steps):
        z = x = y = _start()
        m = v = [np.zeros_like(leaf) for leaf in z]
        l1_mean = weight_sum = 0.0
        lr_max, out = eps, []
        for k, grads in enumerate(steps):
            beta = sf_beta1
            if anneal_steps:
                progress = min(k / anneal_steps, 1)
                beta = 1 - np.exp(np.log(1 - sf_beta1) * (1 - progress) + np.log(1 - sf_beta1_max) * progress)
            l1 = sum(np.abs(g).sum() for g in grads)
            inner = beta * sum((g * (a - b)).sum() for g, a, b in zip(grads, z, x, strict=True))
            l1_mean = polyak_beta * l1_mean + (1 - polyak_beta) * l1 * np.sqrt(np.pi / 2)
            step = rate(k) * max(0, value + inner) / (l1_mean / (1 - polyak_beta ** (k + 1)))
            lr_max = max(step, lr_max)
            c = 1.0
            if k >= c_warmup:
                weight = (k + 1) ** r * lr_max**power
                weight_sum += weight
                c = weight / weight_sum
            z = [a - step**2 * weight_decay * b if d else a for a, b, d in zip(z, y, decays, strict=True)]
            m = [b1 * a + (1 - b1) * g for a, g in zip(m, grads, strict=True)]
            v = [b2 * a + (1 - b2) * g**2 for a, g in zip(v, grads, strict=True)]
            mean, square = [a / (1 - b1 ** (k + 1)) for a in m], [a / (1 - b2 ** (k + 1)) for a in v]
            z = [a - step * b / (np.sqrt(s) + eps) for a, b, s in zip(z, mean, square, strict=True)]
            x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
            new = [beta * a + (1 - beta) * b for a, b in zip(x, z, strict=True)]
            out.append([a - b for a, b in zip(new, y, strict=True)])
            y = new
        return out

    return reference
