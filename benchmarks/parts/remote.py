"""What is measured in a process of its own: many devices of a CPU, and compiling for chips that are not there.

How many devices JAX has, and for which it compiles, is decided when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from measuring import gpt, step_of
from program_machines import pod

import gradxform as gx
from parts.alternate import Budget, Step, measure, timing
from parts.pairs import CLIP_ADAMW

BENCHMARKS = Path(__file__).parent.parent
PODS = {4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"}


def asked(what: str, options: dict[str, Any], devices: int) -> dict[str, Any]:
    """What a process says that measures `what`, "devices" or "chips", with so many devices.

    Raises:
      RuntimeError: it failed; with the last lines that it wrote.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "parts.remote", what, json.dumps(options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring {what} failed:\n" + "\n".join(done.stderr.splitlines()[-8:]))
    return json.loads(done.stdout.splitlines()[-1])


def devices(counts: Sequence[int], layers: int, budget: Sequence[Any]) -> dict[str, Any]:
    """Seconds of a step over devices of the CPU; see `growth.devices`."""
    found: dict[str, Any] = {"weak": {"ours": [], "optax": []}, "strong": {"ours": [], "optax": []}}
    for kind, curves in found.items():
        for count in counts:
            steps = {}
            for whose, tx in _pair().items():
                jitted, params, state = _sharded(tx, layers, jax.devices()[:count], count if kind == "weak" else 1)
                full = jax.tree.map(_filled, (params, state, params))
                program = jitted.lower(*full).compile()
                steps[whose] = Step(program, full[:2], full[2])
            for whose, samples in measure({"jax": steps}, Budget(*budget))["jax"].items():
                curves[whose].append(timing(samples))
    return found


def chips(layers: int) -> dict[str, Any]:
    """Seconds to compile for pods, and cycles of a chip; see `growth.chips`."""
    seconds: dict[str, list[Any]] = {"ours": [], "optax": []}
    cycles: dict[str, list[Any]] = {"ours": [], "optax": []}
    for count, name in PODS.items():
        for whose, tx in _pair().items():
            jitted, params, state = _sharded(tx, layers, pod(name), count)
            begin = time.perf_counter()
            program = jitted.lower(params, state, params).compile()
            took = time.perf_counter() - begin
            seconds[whose].append([took] * 3 + [1])
            cycles[whose].append([gx.program(program).cycles] * 3 + [1])
    return {"counts": list(PODS), "compile": seconds, "cycles": cycles}


def _pair() -> dict[str, Any]:
    return dict(zip(("ours", "optax"), CLIP_ADAMW, strict=True))


def _sharded(tx: Any, layers: int, devices: Sequence[Any], times: int) -> tuple[Any, Any, Any]:
    """A jitted step, and its parameters and state by their shapes and shardings, each along its longest axis.

    Args:
      tx: the transform.
      layers: of the transformer.
      devices: over which all is sharded.
      times: how many times as long that axis is.
    """
    mesh = Mesh(np.asarray(devices), ("data",))

    def placed(leaf: Any) -> Any:
        axis = int(np.argmax(leaf.shape)) if leaf.shape else -1
        spec = PartitionSpec(*[None] * axis, "data") if leaf.shape else PartitionSpec()
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = int(np.argmax(shape))
        return (*shape[:axis], times * shape[axis], *shape[axis + 1 :])

    leaves = [jax.ShapeDtypeStruct(longer(shape), jnp.float32) for shape in gpt(4096, layers)]
    params, state = jax.tree.map(placed, (leaves, jax.eval_shape(tx.init, leaves)))
    out = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
    return jax.jit(step_of(tx), donate_argnums=(0, 1), out_shardings=out), params, state


def _filled(leaf: Any) -> Any:
    """An array of ones in place of its shape and sharding; a counter begins at 0."""
    return jax.device_put(np.full(leaf.shape, 1 if leaf.shape else 0, leaf.dtype), leaf.sharding)


if __name__ == "__main__":
    measured = {"devices": devices, "chips": chips}[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps(measured))
