"""Machines that are not there, for which XLA compiles all the same: a TPU v5e and an H100, four of them, and pods.

The TPU's compiler comes with `jax[tpu]`, the GPU's with `jax[cuda12]`; neither needs a device or a driver.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

# What libtpu asks of its surroundings, which on a machine without a TPU nobody answers.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

# A GpuTargetConfigProto. The numbers are those that the driver tells of the SXM5 card.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  l2_cache_size: 52428800
  memory_bandwidth: 3352320000000
  device_memory_size: 84942979072
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def four(platform: str) -> Sequence[Any]:
    """Four TPU v5e or four H100 on one host.

    Args:
      platform: "tpu" or "gpu".

    Raises:
      RuntimeError: the wheels with the compiler are not installed.
    """
    try:
        return _described("v5e:2x2") if platform == "tpu" else _h100s()
    except Exception as error:
        extra = "tpu" if platform == "tpu" else "cuda12"
        raise RuntimeError(f"no compiler for a {platform} here: install jax[{extra}], or use make programs") from error


def lowering(platform: str) -> Any:
    """A context in which kernels are lowered for a device that is not there."""
    kind, cores = ("TPU v5 lite", 1) if platform == "tpu" else ("NVIDIA H100 80GB HBM3", None)
    fields = AbstractDevice.__dataclass_fields__
    named = {"platform": platform} if "platform" in fields else {}
    return use_abstract_mesh(AbstractMesh((), (), abstract_device=AbstractDevice(kind, cores, **named)))


def pod(chips: str) -> Sequence[Any]:
    """The chips of a pod of TPU v5e, such as "16x16". RuntimeError: the wheels with the compiler are not installed."""
    try:
        return _described(f"v5e:{chips}")
    except Exception as error:
        raise RuntimeError("no compiler for a tpu here: install jax[tpu], or use make programs-tpu") from error


def _described(topology: str) -> Sequence[Any]:
    # The devices of this machine are its CPU's, whatever else JAX looks for.
    jax.config.update("jax_platforms", "cpu")
    os.environ.update(_NO_TPU)
    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices


def _h100s() -> Sequence[Any]:
    jax.config.update("jax_platforms", "cpu")
    return topologies.get_topology_desc(platform="cuda", topology="1x1x4", target_config=_H100).devices
