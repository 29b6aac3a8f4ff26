"""How the tests run: eight CPU devices, and JAX at its strictest."""

import os

# Before JAX is imported: it reads these once.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# No deadline: no test depends on a clock. Derandomized: a failure is everybody's failure.
hypothesis.settings.register_profile("gradxform", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("gradxform")
