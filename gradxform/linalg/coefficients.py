"""Coefficients of Newton-Schulz iterations: one triple (a, b, c) for each step x <- a x + b x x^H x + c (x x^H)^2 x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Triple: TypeAlias = tuple[Any, Any, Any]
Coefficients: TypeAlias = str | Sequence[Any] | Any

STANDARD = (3.4445, -4.7750, 2.0315)
_DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
# The best quintics in turn for singular values from 1e-3 to 1, in the paper's rounding.
_BEST_QUINTICS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
# Each but the last is that of x / 1.01: rounding may leave a singular value above the interval, where the polynomial
# is steep; so slightly smaller ones are assumed.
_SAFETY = 1.01
_POLAR_EXPRESS = (
    *((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _BEST_QUINTICS[:-1]),
    _BEST_QUINTICS[-1],
)
_DEEPSEEK = (STANDARD,) * 8 + ((2.0, -1.5, 0.5),) * 2


def newton_schulz_coefficients(ns_coeffs: Coefficients = "standard", ns_steps: int = 5) -> tuple[Triple, ...]:
    """The triple (a, b, c) of each step of a Newton-Schulz iteration.

    Args:
      ns_coeffs: one triple for all steps; or a triple for each step, which then are as many steps as triples, whatever
        `ns_steps`; or the name of a set:
        - "standard": Keller Jordan's quintic, which is steep at 0 and does not converge to 1 but to a band.
        - "dion": five triples, which optax names so; always 5 steps.
        - "polar_express": the best triple for each step, with the paper's factor of safety, 1.01, in all but the
          eighth, which further steps repeat.
        - "deepseek": 8 steps of the quintic, which reach the band, and 2 of (2, -1.5, 0.5), which converge to 1;
          always 10 steps.
        Triples may be arrays, also those that JAX traces: (3,) or (steps, 3).
      ns_steps: how many steps, where the set does not say.

    Returns:
      A triple for each step: Python numbers, and where arrays of JAX came scalars of them.

    Raises:
      ValueError: a set of that name is not there, the shape is another, or `ns_steps` is negative.

    Jordan 2024, Muon. Amsel et al. 2025, arXiv:2505.16932, algorithm 1. DeepSeek-AI 2026, DeepSeek-V4, algorithm 1.
    optax: the argument `ns_coeffs` of muon, which knows the first two names; its scale_by_muon refuses more triples
    than `ns_steps`, and takes all where there are fewer. torch: ns_coefficients of torch.optim.Muon, one triple.
    """
    if ns_steps < 0:
        raise ValueError(f"ns_steps is at least 0, not {ns_steps}")
    if isinstance(ns_coeffs, str):
        return _named(ns_coeffs, ns_steps)
    shape = np.shape(ns_coeffs)
    if not 1 <= len(shape) <= 2 or shape[-1] != 3:
        raise ValueError(f"ns_coeffs has the shape (3,) or (steps, 3), not {shape}")
    if len(shape) == 1:
        return (_triple(ns_coeffs),) * ns_steps
    return tuple(_triple(ns_coeffs[i]) for i in range(shape[0]))


def _named(name: str, steps: int) -> tuple[Triple, ...]:
    sets = {
        "standard": (STANDARD,) * steps,
        "dion": _DION,
        "polar_express": (*_POLAR_EXPRESS, *(_POLAR_EXPRESS[-1],) * (steps - len(_POLAR_EXPRESS)))[:steps],
        "deepseek": _DEEPSEEK,
    }
    if name not in sets:
        raise ValueError(f"no coefficients are named {name!r}; there are {', '.join(sets)}")
    return sets[name]


def _triple(values: Any) -> Triple:
    a, b, c = (_number(values[i]) for i in range(3))
    return a, b, c


def _number(value: Any) -> Any:
    # Only Python numbers take the dtype of the matrix that they multiply.
    return float(value) if isinstance(value, int | float | np.number | np.ndarray) else value
