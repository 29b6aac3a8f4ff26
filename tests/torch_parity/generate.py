"""Records how torch.optim moves parameters, so that the tests can compare without having torch.

Run `python tests/torch_parity/generate.py`, which needs torch and NumPy, to write `trajectories.npz` beside this file.
The file in the repository was made with torch 2.13.0+cpu; it holds that version under `torch`. A second run writes the
same arrays; on a processor with other vector units the last bits may differ.

The file holds no pickled objects. All leaves of a step lie in one row, raveled, in the order of their names:

    torch                   the version
    start/{leaf}            the parameters before the first step, float64
    gradients               what p.grad is at each step, float64, (steps, elements)
    paths/{dtype}/{case}    the parameters after each step, (steps, elements)
    norms/{dtype}/{case}    what clip_grad_norm_ returned at each step, (steps,)

In float32 torch begins with the same numbers, rounded. `tests/test_torch_parity.py` has the counterpart of each case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, Adadelta, Adafactor, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop
from torch.optim.lr_scheduler import ExponentialLR

FILE = Path(__file__).with_name("trajectories.npz")
SHAPES = {"bias": (3,), "gain": (), "kernel": (4, 3)}
STEPS = 30


class Case(NamedTuple):
    """What is recorded: an optimizer, what is done to the gradients before it, and how its rate decays a step."""

    optimizer: Callable[..., torch.optim.Optimizer]
    clip: Callable[[Sequence[torch.Tensor]], torch.Tensor | None] | None = None
    gamma: float = 1.0


def clip_each_grad_norm_(params: Sequence[torch.Tensor], max_norm: float) -> None:
    """Clips the gradient of each parameter alone."""
    for param in params:
        clip_grad_norm_(param, max_norm)


def clipped(clip: Callable[..., torch.Tensor | None], *args: float) -> Case:
    """A case of clipping, before an optimizer that adds nothing to it."""
    return Case(partial(SGD, lr=0.1), lambda params: clip(params, *args))


CASES = {
    "sgd": Case(partial(SGD, lr=0.1)),
    "sgd_weight_decay": Case(partial(SGD, lr=0.1, weight_decay=0.1)),
    "sgd_momentum": Case(partial(SGD, lr=0.1, momentum=0.9)),
    "sgd_momentum_schedule": Case(partial(SGD, lr=0.1, momentum=0.9), gamma=0.9),
    "sgd_dampening": Case(partial(SGD, lr=0.1, momentum=0.9, dampening=0.3)),
    "sgd_dampening_weight_decay": Case(partial(SGD, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    "sgd_nesterov": Case(partial(SGD, lr=0.1, momentum=0.9, nesterov=True)),
    "sgd_nesterov_weight_decay": Case(partial(SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "sgd_nesterov_schedule": Case(partial(SGD, lr=0.1, momentum=0.9, nesterov=True), gamma=0.9),
    "sgd_maximize": Case(partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.1, maximize=True)),
    "adam": Case(partial(Adam, lr=0.1)),
    "adam_betas_eps": Case(partial(Adam, lr=0.1, betas=(0.8, 0.95), eps=1e-3)),
    "adam_weight_decay": Case(partial(Adam, lr=0.1, weight_decay=0.1)),
    # With faster decays than the defaults, at which the maximum of nu is hardly above nu in so few steps.
    "adam_amsgrad": Case(partial(Adam, lr=0.1, betas=(0.9, 0.9), amsgrad=True)),
    "adam_amsgrad_eps": Case(partial(Adam, lr=0.1, betas=(0.8, 0.95), eps=1e-2, amsgrad=True)),
    "adam_amsgrad_weight_decay": Case(partial(Adam, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1, amsgrad=True)),
    "adamw": Case(partial(AdamW, lr=0.1)),
    "adamw_betas_eps": Case(partial(AdamW, lr=0.1, betas=(0.95, 0.9), eps=1e-3, weight_decay=0.1)),
    "adamw_schedule": Case(partial(AdamW, lr=0.1, weight_decay=0.1), gamma=0.9),
    "nadam": Case(partial(NAdam, lr=0.1)),
    "nadam_betas_eps": Case(partial(NAdam, lr=0.1, betas=(0.8, 0.95), eps=1e-3, momentum_decay=0.1)),
    "nadam_weight_decay": Case(partial(NAdam, lr=0.1, weight_decay=0.1)),
    "nadam_decoupled_weight_decay": Case(partial(NAdam, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True)),
    "rmsprop": Case(partial(RMSprop, lr=0.01)),
    "rmsprop_alpha_eps": Case(partial(RMSprop, lr=0.01, alpha=0.9, eps=1e-3)),
    "rmsprop_weight_decay": Case(partial(RMSprop, lr=0.01, weight_decay=0.1)),
    "rmsprop_centered": Case(partial(RMSprop, lr=0.01, centered=True)),
    "rmsprop_momentum": Case(partial(RMSprop, lr=0.01, momentum=0.9)),
    "rmsprop_momentum_schedule": Case(partial(RMSprop, lr=0.01, momentum=0.9), gamma=0.9),
    "rmsprop_centered_momentum": Case(partial(RMSprop, lr=0.01, centered=True, momentum=0.9)),
    "adagrad": Case(partial(Adagrad, lr=0.1)),
    "adagrad_eps": Case(partial(Adagrad, lr=0.1, eps=1e-3)),
    "adagrad_initial_accumulator_value": Case(partial(Adagrad, lr=0.1, initial_accumulator_value=0.1)),
    "adagrad_lr_decay": Case(partial(Adagrad, lr=0.1, lr_decay=0.1)),
    "adagrad_weight_decay": Case(partial(Adagrad, lr=0.1, weight_decay=0.1)),
    "adadelta": Case(partial(Adadelta, lr=1.0)),
    "adadelta_rho_eps": Case(partial(Adadelta, lr=0.5, rho=0.8, eps=1e-3)),
    "adadelta_weight_decay": Case(partial(Adadelta, lr=1.0, weight_decay=0.1)),
    "adamax": Case(partial(Adamax, lr=0.1)),
    "adamax_betas_eps": Case(partial(Adamax, lr=0.1, betas=(0.8, 0.95), eps=1e-2)),
    "adamax_weight_decay": Case(partial(Adamax, lr=0.1, weight_decay=0.1)),
    "radam": Case(partial(RAdam, lr=0.1)),
    "radam_betas_eps": Case(partial(RAdam, lr=0.1, betas=(0.8, 0.95), eps=1e-2)),
    "radam_weight_decay": Case(partial(RAdam, lr=0.1, weight_decay=0.1)),
    "radam_decoupled_weight_decay": Case(partial(RAdam, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True)),
    "rprop": Case(partial(Rprop, lr=0.1)),
    "rprop_etas": Case(partial(Rprop, lr=0.1, etas=(0.6, 1.3))),
    "rprop_step_sizes": Case(partial(Rprop, lr=0.1, step_sizes=(0.05, 0.15))),
    "rprop_lr_above_step_sizes": Case(partial(Rprop, lr=0.2, step_sizes=(0.05, 0.15))),
    "adafactor": Case(partial(Adafactor, lr=0.1)),
    # From step 5 on 1 / sqrt(step) is less than the rate.
    "adafactor_large_lr": Case(partial(Adafactor, lr=0.5)),
    "adafactor_weight_decay": Case(partial(Adafactor, lr=0.5, weight_decay=0.1)),
    "adafactor_weight_decay_schedule": Case(partial(Adafactor, lr=0.5, weight_decay=0.1), gamma=0.9),
    "adafactor_beta2_decay_d": Case(partial(Adafactor, lr=0.1, beta2_decay=-0.5, d=1.5)),
    # So large that both matter here.
    "adafactor_eps": Case(partial(Adafactor, lr=0.1, eps=(0.3, 0.8))),
    "clip_norm_1": clipped(clip_grad_norm_, 1.5, 1.0),
    "clip_norm_2": clipped(clip_grad_norm_, 1.0, 2.0),
    "clip_norm_3": clipped(clip_grad_norm_, 1.0, 3.0),
    "clip_norm_inf": clipped(clip_grad_norm_, 0.5, float("inf")),
    "clip_norm_far_above": Case(
        partial(SGD, lr=0.1, momentum=0.5), lambda params: clip_grad_norm_(params, max_norm=1e3)
    ),
    "clip_each_norm": clipped(clip_each_grad_norm_, 0.7),
    "clip_value": clipped(clip_grad_value_, 0.4),
}

# One of each family: the forms within a family part in the maths, which float64 shows better.
IN_FLOAT32 = (
    "sgd_dampening",
    "sgd_nesterov_weight_decay",
    "adam",
    "adam_amsgrad",
    "adamw",
    "nadam",
    "rmsprop",
    "rmsprop_centered_momentum",
    "adagrad",
    "adadelta",
    "adamax",
    "radam",
    "rprop",
    "adafactor",
    "adafactor_eps",
    "clip_norm_2",
    "clip_norm_3",
    "clip_value",
)


def draw() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Parameters of about 1, and gradients whose signs are random and whose scale swings between 0.1 and 10."""
    rng = np.random.default_rng(20)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    elements = sum(leaf.size for leaf in start.values())
    scales = 10 ** np.sin(2 * np.pi * np.arange(STEPS) / 11)
    gradients = rng.normal(size=(STEPS, elements)) * scales[:, None]
    # At gradients of 0 a rule may divide 0 by 0: the gain's at first, and all at once later.
    gradients[:2, 3] = 0
    gradients[17] = 0
    return start, gradients


def record(
    case: Case, start: dict[str, np.ndarray], gradients: np.ndarray, dtype: torch.dtype
) -> tuple[np.ndarray, np.ndarray | None]:
    """The parameters after each step, and the norms that the clipping returned, None if it returns none."""
    # NAdam keeps its product of decays in the default dtype, whatever the parameters' is.
    torch.set_default_dtype(dtype)
    params = [torch.tensor(leaf, dtype=dtype) for leaf in start.values()]
    sizes = [param.numel() for param in params]
    optimizer = case.optimizer(params)
    scheduler = ExponentialLR(optimizer, case.gamma)
    path, norms = [], []
    for row in gradients:
        for param, grad in zip(params, torch.tensor(row, dtype=dtype).split(sizes), strict=True):
            param.grad = grad.reshape(param.shape).clone()
        norms.append(case.clip(params) if case.clip else None)
        optimizer.step()
        scheduler.step()
        path.append(torch.cat([param.ravel() for param in params]))
    return torch.stack(path).numpy(), None if norms[0] is None else torch.stack(norms).numpy()


def main() -> None:
    """Writes the file."""
    start, gradients = draw()
    data: dict[str, Any] = {"torch": np.array(str(torch.__version__)), "gradients": gradients}
    data |= {f"start/{name}": leaf for name, leaf in start.items()}
    for dtype, names in (("float64", CASES), ("float32", IN_FLOAT32)):
        for name in names:
            path, norms = record(CASES[name], start, gradients, getattr(torch, dtype))
            data[f"paths/{dtype}/{name}"] = path
            if norms is not None:
                data[f"norms/{dtype}/{name}"] = norms
    np.savez_compressed(FILE, **data)


if __name__ == "__main__":
    main()
