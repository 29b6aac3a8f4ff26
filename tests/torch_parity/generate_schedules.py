"""Records the rates of torch's schedulers, so that the tests can compare without having torch.

Run `python tests/torch_parity/generate_schedules.py`, which needs torch and NumPy, to write `schedules.npz` beside this
file. The file in the repository was made with torch 2.13.0+cpu; it holds that version under `torch`.

    torch           the version
    {scheduler}     the learning rate at each step, float64, (steps,)
    losses          what ReduceLROnPlateau was told before each of its steps

`tests/docs/test_from_torch.py` has the counterparts: the table of the guide from torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

FILE = Path(__file__).with_name("schedules.npz")
RATE, STEPS = 0.1, 60
# Two plateaus, of which the first is left and found again.
LOSSES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7]

CASES: dict[str, Callable[[SGD], Any]] = {
    "LambdaLR": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "StepLR": lambda optimizer: StepLR(optimizer, 20, 0.5),
    "MultiStepLR": lambda optimizer: MultiStepLR(optimizer, [10, 30], 0.5),
    "ExponentialLR": lambda optimizer: ExponentialLR(optimizer, 0.5),
    "LinearLR": lambda optimizer: LinearLR(optimizer, 0.25, 0.75, 20),
    "PolynomialLR": lambda optimizer: PolynomialLR(optimizer, 20, 2.0),
    "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, 20, 0.01),
    "CyclicLR": lambda optimizer: CyclicLR(optimizer, 0.01, 0.1, 20, cycle_momentum=False),
    "SequentialLR": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.25, 0.75, 20), ExponentialLR(optimizer, 0.5)], [10]
    ),
}


def rates(make: Callable[[SGD], Any]) -> np.ndarray:
    """The rate at each step."""
    optimizer = new_optimizer()
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def rates_on_plateaus() -> np.ndarray:
    """The rate after each loss."""
    optimizer = new_optimizer()
    scheduler, found = ReduceLROnPlateau(optimizer, patience=2), []
    for loss in LOSSES:
        scheduler.step(loss)
        found.append(optimizer.param_groups[0]["lr"])
    return np.array(found)


def new_optimizer() -> SGD:
    """One whose rate is all that matters."""
    return SGD([torch.zeros(1, requires_grad=True)], lr=RATE)


def main() -> None:
    """Writes the file."""
    data: dict[str, Any] = {"torch": np.array(str(torch.__version__)), "losses": np.array(LOSSES)}
    data |= {name: rates(make) for name, make in CASES.items()}
    data["ReduceLROnPlateau"] = rates_on_plateaus()
    np.savez_compressed(FILE, **data)


if __name__ == "__main__":
    main()
