"""XLA's flags for tests, and for the processes that they start."""

from importlib.metadata import version

# Programs of tests are compiled often and run briefly. In one piece, without LLVM's optimizations, and with the older
# of the two ways that XLA once had to write a fused loop, they compile in a third of the time; what they compute,
# donate and keep is decided before. XLA ends the process at a flag that it does not know, as later ones do at the last.
_PLAIN = "--xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):
    _PLAIN += " --xla_cpu_use_fusion_emitters=false"
COMPILE_FAST = f"--xla_backend_optimization_level=0 {_PLAIN}"
# For what trains for some seconds too: the first of LLVM's levels saves most of the compiling and loses little running.
TRAIN_LONG = f"--xla_backend_optimization_level=1 {_PLAIN}"
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
