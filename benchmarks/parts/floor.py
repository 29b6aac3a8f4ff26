"""The floor of a step: the bytes that must move, over the bandwidth of the same run.

A step reads gradients, parameters and slots, and writes parameters and slots. Where a norm of all gradients comes
before their first use, they are read twice. The rest of what a step moves could be spared, so that

    floor = (reads of g + 2 p + 2 slots) / bandwidth        in bytes

Each transform's own slots count: what keeps less has a lower floor.

The bandwidth is that of `a + 0.5 b` into `a`'s own memory, two arrays of 120 MB: two reads and a write. That is how a
step with donated arguments goes through memory, and so what it can come to. A copy into another array is measured
beside it, and would be no honest bound: on a CPU every line that is written there is first read, and the memory is
new at each call, so that the same machine seems to be much slower. Both take turns with what they are compared with, as
the bandwidth of a machine that one shares is not the same from minute to minute.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from measuring import Shapes

from parts.alternate import Contestant, Step

PROBE = "scaled add"
COPY = "copy"
PROBES = (PROBE, COPY)
SIZE = 30_000_000
# Arrays that a probe reads and writes, of SIZE float32 numbers each.
_PASSES = {PROBE: 3, COPY: 2}


class _Copy:
    """A copy into another array, which goes with the next."""

    def __init__(self, compiled: Any, source: jax.Array):
        self.compiled, self.source, self.result = compiled, source, source

    def __call__(self) -> None:
        """Begins a copy."""
        self.result = self.compiled(self.source)

    def wait(self) -> None:
        """Waits for it."""
        jax.block_until_ready(self.result)


class Bandwidth:
    """The two probes, and what they have found in the whole run.

    Args:
      size: how many float32 numbers an array has.
    """

    def __init__(self, size: int = SIZE):
        self.size = size
        self.found: dict[str, list[float]] = {name: [] for name in PROBES}
        add = jax.jit(lambda a, b: (a + 0.5 * b,), donate_argnums=0)
        copy = jax.jit(jnp.copy)
        source = jnp.ones(size, jnp.float32)
        self._probes: dict[str, Contestant] = {
            # Of zeros, so that the numbers stay as they are.
            PROBE: Step(add, (jnp.ones(size, jnp.float32),), jnp.zeros(size, jnp.float32)),
            COPY: _Copy(copy, source),
        }

    def probe(self) -> dict[str, Contestant]:
        """The honest one, to be measured beside a step."""
        return {PROBE: self._probes[PROBE]}

    def both(self) -> dict[str, Contestant]:
        """The two of them."""
        return dict(self._probes)

    def of(self, name: str, seconds: float) -> float:
        """Bytes a second of a probe that took so long; it is kept."""
        found = _PASSES[name] * 4 * self.size / seconds
        self.found[name].append(found)
        return found


def moved(shapes: Shapes, state: int, grad_reads: int = 1, micro_steps: int = 1, due: int = 1) -> float:
    """The bytes that a step must move.

    Args:
      shapes: of the parameters, float32 as their gradients.
      state: bytes of the state.
      grad_reads: how often gradients are read.
      micro_steps: of a program that gathers gradients; the bytes are of one. The gathered ones are a part of the state.
      due: how many of these are real steps.
    """
    size = 4 * sum(map(math.prod, shapes))
    if micro_steps == 1:
        return grad_reads * size + 2 * size + 2 * state
    # A micro-step reads a gradient and what was gathered, and writes that; one that is due reads both too, and then
    # goes through parameters and slots, of which the gathered gradients are none.
    waiting, real = 3 * size, 2 * size + 2 * size + 2 * (state - size)
    return ((micro_steps - due) * waiting + due * real) / micro_steps
