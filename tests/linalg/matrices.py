"""Matrices for the tests, made in float64, and what they are compared with, by NumPy."""

import numpy as np


def matrix(shape, singular_values=None, seed=0, dtype=np.float64):
    """Normally distributed; or with random singular vectors, and singular values that are given."""
    rng = np.random.default_rng(seed)

    def normal(*size):
        real = rng.standard_normal(size)
        return real + 1j * rng.standard_normal(size) if np.issubdtype(dtype, np.complexfloating) else real

    if singular_values is None:
        return normal(*shape).astype(dtype)
    short = min(shape)
    left, right = (np.linalg.qr(normal(size, short))[0] for size in shape)
    return ((left * singular_values) @ right.conj().T).astype(dtype)


def spread(size, condition):
    """Singular values from 1 down to 1 / condition, evenly on a log scale."""
    return np.geomspace(1, 1 / condition, size)


def positive(size, condition, seed=0, dtype=np.float64):
    """A Hermitian positive definite matrix with eigenvalues from 1 down to 1 / condition."""
    vectors = np.linalg.qr(matrix((size, size), seed=seed, dtype=dtype))[0]
    return (vectors * spread(size, condition)) @ vectors.conj().T


def newton_schulz(x, triples, preconditioning="frobenius", eps=1e-8):
    """The published iteration, of one matrix, in the precision of x: optax's, with adjoints for complex numbers."""
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.conj().T, triples, preconditioning, eps).conj().T
    squared = x @ x.conj().T
    if preconditioning == "frobenius":
        x = x / (np.linalg.norm(x) + eps)
    elif preconditioning == "spectral":
        x = x / (np.linalg.norm(x, 2) + eps)
    elif preconditioning == "schatten":
        x = x / np.sqrt(max(np.linalg.norm(squared), eps))
    else:
        x = x / np.sqrt(np.maximum(np.abs(squared).sum(axis=1, keepdims=True), eps))
    for a, b, c in triples:
        squared = x @ x.conj().T
        x = a * x + (b * squared + c * squared @ squared) @ x
    return x


def curve(s, triples):
    """What the steps make of a singular value."""
    for a, b, c in triples:
        s = a * s + b * s**3 + c * s**5
    return s
