"""How the tests run: eight CPU devices, and JAX at its strictest."""

import os

from tests.environment import COMPILE_FAST, EIGHT_DEVICES

# Before JAX is imported: it reads these once.
os.environ["XLA_FLAGS"] = " ".join([COMPILE_FAST, os.environ.get("XLA_FLAGS", ""), EIGHT_DEVICES])
os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis
import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# No deadline: no test depends on a clock. Derandomized: a failure is everybody's failure.
hypothesis.settings.register_profile("gradxform", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("gradxform")

# Their tests start processes of eight devices, each of which takes the whole machine, and share what is slow to make.
ONE_AFTER_THE_OTHER = ("tests/test_digits.py::", "tests/devices/test_processes.py::")


class Scheduling(LoadScopeScheduling):
    """Each test goes to the next free worker, but for those of one worker, one after the other."""

    def _split_scope(self, nodeid):
        return "one after the other" if nodeid.startswith(ONE_AFTER_THE_OTHER) else nodeid


# The marks that pytest-xdist 3.8 has for this do nothing under pytest 9.2.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
