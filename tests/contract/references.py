"""The formulas again, from the papers and in plain NumPy, for what optax does not have.

Each reference takes the list of gradients of one tree, leaf by leaf in float64, and returns the updates of each step.
None of them calls gradxform.
"""

import numpy as np


def per_leaf(rule):
    """A reference of a whole tree from one that treats each leaf alone."""

    def reference(steps):
        columns = [rule([leaves[i] for leaves in steps]) for i in range(len(steps[0]))]
        return [list(leaves) for leaves in zip(*columns, strict=True)]

    return reference


def velocity(learning_rate, decay, nesterov=False):
    """Sutskever et al. 2013, equations 1 and 2; with nesterov as in Bengio et al. 2013, arXiv:1212.0901."""

    def rule(grads):
        v, out = 0.0, []
        for g in grads:
            v = decay * v - learning_rate * g
            out.append(decay * v - learning_rate * g if nesterov else v)
        return out

    return per_leaf(rule)


def heavy_ball(decay, dampening):
    """The buffer of torch.optim.SGD: the first gradient as it is, the others less the dampening."""

    def rule(grads):
        buffer, out = None, []
        for g in grads:
            buffer = g if buffer is None else decay * buffer + (1 - dampening) * g
            out.append(buffer)
        return out

    return per_leaf(rule)


def nadam(b1, b2, eps, momentum_decay):
    """The algorithm box of torch.optim.NAdam, without rate and decay."""

    def rule(grads):
        m = v = 0.0
        product, out = 1.0, []
        for t, g in enumerate(grads, start=1):
            now = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
            ahead = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
            product *= now
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat = ahead * m / (1 - product * ahead) + (1 - now) * g / (1 - product)
            out.append(m_hat / (np.sqrt(v / (1 - b2**t)) + eps))
        return out

    return per_leaf(rule)


def adagrad(initial, eps):
    """Duchi, Hazan & Singer 2011, figure 1, with eps outside the root as torch.optim.Adagrad has it."""

    def rule(grads):
        total, out = initial, []
        for g in grads:
            total = total + g**2
            out.append(g / (np.sqrt(total) + eps))
        return out

    return per_leaf(rule)


def joint_norm(leaves, ord):
    """The norm of order `ord` of all leaves together."""
    return np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in leaves]), ord)


def clip_by_leaf_norm(max_norm, ord=2):
    """Pascanu et al. 2013, algorithm 1, for each leaf: if |g| > c then g <- g c / |g|."""

    def rule(grads):
        norms = [np.linalg.norm(np.ravel(g), ord) for g in grads]
        return [g * max_norm / norm if norm > max_norm else g for g, norm in zip(grads, norms, strict=True)]

    return per_leaf(rule)


def clip_by_joint_norm(max_norm, ord):
    """Pascanu et al. 2013, algorithm 1, over all leaves."""

    def reference(steps):
        out = []
        for leaves in steps:
            norm = joint_norm(leaves, ord)
            out.append([leaf * max_norm / norm if norm > max_norm else leaf for leaf in leaves])
        return out

    return reference


def normalize(scale_factor, ord=2):
    """Hazan et al. 2015, algorithm 1: g / |g|, times a number."""
    return lambda steps: [[leaf * scale_factor / joint_norm(leaves, ord) for leaf in leaves] for leaves in steps]
