"""Records optimizers of torch.optim in the middle of their way, so that the tests can go on from there without torch.

Run `python tests/torch_parity/generate_takeover.py`, which needs torch and NumPy, to write `takeover.npz` beside this
file. The file in the repository was made with torch 2.13.0+cpu; it holds that version under `torch`.

The file holds no pickled objects. Parameters are in torch's layout, in the order of `SHAPES`:

    torch                                   the version
    gradients/{param}                       what p.grad is at each step, float64, (steps, ...)
    {dtype}/{case}/params/{param}           the parameters after `TAKEN_OVER` steps
    {dtype}/{case}/state/{index}/{key}      the optimizer's state_dict then: of each parameter,
    {dtype}/{case}/groups/{index}/{key}     and the numbers of each group, with the indices of its parameters
    {dtype}/{case}/path/{param}             the parameters after each step from then on, (steps, ...)

`tests/takeover/test_from_torch.py` has the counterpart of each case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ExponentialLR

FILE = Path(__file__).with_name("takeover.npz")
# A convolution's weight is (out, in, height, width), a dense layer's (out, in).
SHAPES = {"conv.weight": (2, 3, 2, 2), "dense.weight": (3, 4), "dense.bias": (3,), "gain": ()}
TAKEN_OVER, STEPS = 10, 30


class Case(NamedTuple):
    """An optimizer, how its rate decays a step, and whether biases are a group of their own, without weight decay."""

    optimizer: Callable[..., torch.optim.Optimizer]
    gamma: float = 1.0
    grouped: bool = False


CASES = {
    "sgd": Case(partial(SGD, lr=0.1)),
    "sgd_momentum": Case(partial(SGD, lr=0.1, momentum=0.9)),
    "sgd_nesterov": Case(partial(SGD, lr=0.1, momentum=0.9, nesterov=True)),
    "sgd_dampening": Case(partial(SGD, lr=0.1, momentum=0.9, dampening=0.3)),
    "adam": Case(partial(Adam, lr=0.1)),
    "adam_weight_decay": Case(partial(Adam, lr=0.1, betas=(0.8, 0.95), weight_decay=0.1)),
    "adam_amsgrad": Case(partial(Adam, lr=0.1, betas=(0.9, 0.9), amsgrad=True)),
    "adamw": Case(partial(AdamW, lr=0.1)),
    "adamw_schedule": Case(partial(AdamW, lr=0.1, weight_decay=0.1), gamma=0.9),
    "adamw_groups": Case(partial(AdamW, lr=0.1, weight_decay=0.1), grouped=True),
}

# One of each kind.
IN_FLOAT32 = ("sgd_momentum", "adam_amsgrad", "adamw_groups")


def draw() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters of about 1, and gradients whose scale swings between 0.1 and 10."""
    rng = np.random.default_rng(21)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    scales = 10 ** np.sin(2 * np.pi * np.arange(STEPS) / 11)
    gradients = {
        name: rng.normal(size=(STEPS, *shape)) * scales.reshape(STEPS, *[1] * len(shape))
        for name, shape in SHAPES.items()
    }
    return start, gradients


def record(
    case: Case, start: dict[str, np.ndarray], gradients: dict[str, np.ndarray], dtype: torch.dtype
) -> dict[str, Any]:
    """What the file holds of a case."""
    params = {name: torch.tensor(leaf, dtype=dtype) for name, leaf in start.items()}
    weights = [param for name, param in params.items() if name.endswith("weight")]
    others = [param for name, param in params.items() if not name.endswith("weight")]
    groups: Any = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    optimizer = case.optimizer(groups if case.grouped else list(params.values()))
    scheduler = ExponentialLR(optimizer, case.gamma)
    data: dict[str, Any] = {}
    path: dict[str, list[np.ndarray]] = {name: [] for name in params}
    for step in range(STEPS):
        if step == TAKEN_OVER:
            data |= {f"params/{name}": param.numpy().copy() for name, param in params.items()}
            data |= flat(optimizer.state_dict())
        for name, param in params.items():
            param.grad = torch.tensor(gradients[name][step], dtype=dtype)
        optimizer.step()
        scheduler.step()
        if step >= TAKEN_OVER:
            for name, param in params.items():
                path[name].append(param.numpy().copy())
    return data | {f"path/{name}": np.stack(leaves) for name, leaves in path.items()}


def flat(state_dict: dict[str, Any]) -> dict[str, np.ndarray]:
    """A state_dict as arrays by their paths; what is neither tensor nor number is left out."""
    kept = {
        f"state/{index}/{key}": value.numpy().copy()
        for index, state in state_dict["state"].items()
        for key, value in state.items()
        if value is not None
    }
    groups = {
        f"groups/{index}/{key}": np.array(value)
        for index, group in enumerate(state_dict["param_groups"])
        for key, value in group.items()
        if isinstance(value, bool | int | float | tuple | list)
    }
    return kept | groups


def main() -> None:
    """Writes the file."""
    start, gradients = draw()
    data: dict[str, Any] = {"torch": np.array(str(torch.__version__))}
    data |= {f"gradients/{name}": leaves for name, leaves in gradients.items()}
    for dtype, names in (("float64", CASES), ("float32", IN_FLOAT32)):
        for name in names:
            recorded = record(CASES[name], start, gradients, getattr(torch, dtype))
            data |= {f"{dtype}/{name}/{key}": value for key, value in recorded.items()}
    np.savez_compressed(FILE, **data)


if __name__ == "__main__":
    main()
