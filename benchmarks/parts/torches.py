"""The same steps in torch, where it is installed; it is no dependency.

Parameters and gradients are float32 tensors of the same shapes, on a CPU, or on the GPU where JAX has one. Torch has
as many threads as it takes by itself. `fused=True` is one kernel for all that is done to a leaf, `foreach=True` an
operation after the other on lists of leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax
from measuring import Shapes

from parts.alternate import Contestant

RATE = 1e-3
FLAGS = ("fused", "foreach")


def available() -> bool:
    """Whether torch can be imported."""
    return find_spec("torch") is not None


class _Step:
    """A step of an optimizer on fixed gradients."""

    def __init__(self, step: Callable[[], Any], wait: Callable[[], Any]):
        self._step, self._wait = step, wait

    def __call__(self) -> None:
        """Does a step, on a GPU begins one."""
        self._step()

    def wait(self) -> None:
        """Waits for it."""
        self._wait()


def contestants(name: str | None, shapes: Shapes) -> dict[str, Contestant]:
    """The steps of torch beside those of a chain.

    Args:
      name: "adamw", "clip and adamw" or "sgd, momentum". None: there is none beside it.
      shapes: of the parameters.

    Returns:
      By "torch fused" and "torch foreach"; nothing where torch is not installed.
    """
    if name is None or not available():
        return {}
    torch: Any = import_module("torch")
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    wait = torch.cuda.synchronize if on_gpu else _nothing
    return {f"torch {flag}": _Step(_step(torch, name, shapes, flag, device), wait) for flag in FLAGS}


def _step(torch: Any, name: str, shapes: Shapes, flag: str, device: str) -> Callable[[], Any]:
    random = torch.Generator(device).manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=random, device=device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn(param.shape, generator=random, device=device)
    how = {flag: True}
    if name == "sgd, momentum":
        return torch.optim.SGD(params, lr=RATE, momentum=0.9, **how).step
    step = torch.optim.AdamW(params, lr=RATE, weight_decay=1e-4, **how).step
    if name == "adamw":
        return step
    clip = import_module("torch.nn.utils").clip_grad_norm_

    def clipped() -> None:
        # In place: from the second step on the factor is 1, by which torch multiplies all the same.
        clip(params, 1.0, foreach=True)
        step()

    return clipped


def _nothing() -> None:
    """What there is to wait for on a CPU, where a step returns when it is done."""
