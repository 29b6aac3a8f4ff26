"""How the tests run: eight CPU devices, and JAX at its strictest."""

import gc
import os
import re

from tests.environment import COMPILE_FAST, EIGHT_DEVICES

# Before JAX is imported: it reads these once.
os.environ["XLA_FLAGS"] = " ".join([COMPILE_FAST, os.environ.get("XLA_FLAGS", ""), EIGHT_DEVICES])
os.environ["JAX_PLATFORMS"] = "cpu"
# SciPy's OpenBLAS, whose threads wait for each other on small decompositions wherever other work has the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

import gradxform as gx

# Where in the source an operation is: no test reads it in a program, and writing it takes a fifth of the lowering.
jax.config.update("jax_traceback_in_locations_limit", 0)
# Leaving JAX's own frames out of tracebacks takes a third of the time of tests of errors.
jax.config.update("jax_traceback_filtering", "off")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Tests read what is printed with `vars(gx)`, which has the names that were asked for: here all of them.
for name in gx.__all__:
    getattr(gx, name)

# What is imported stays, and tracing makes many small objects that do not: looked through by Python's own schedule,
# they would take a twentieth of the time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# No deadline: no test depends on a clock. Derandomized: a failure is everybody's failure.
hypothesis.settings.register_profile("gradxform", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("gradxform")

# Their tests start processes of eight devices, each of which takes the whole machine, and share what is slow to make.
ONE_AFTER_THE_OTHER = ("tests/test_digits.py::", "tests/devices/test_processes.py::")
# Begun last, one of these would keep a worker busy when the others have nothing left to do.
LONG = (*ONE_AFTER_THE_OTHER, "tests/notebooks/")
OF_CASES = ("tests/contract/", "tests/storage/test_every_rule.py::")


class Scheduling(LoadScopeScheduling):
    """What shares compiled programs goes to one worker: a file; all tests of a case of the contract."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if nodeid.startswith(ONE_AFTER_THE_OTHER):
            return "one after the other"
        if nodeid.startswith("tests/notebooks/"):
            return nodeid
        if nodeid.startswith(OF_CASES) and "[" in test:
            return "contract " + re.split(r"[-\]]", test.partition("[")[2])[0]
        return file


# What another Python or JAX may fail: values, files, errors, arrays over devices. In the contract each test says it.
# There errors are looked at of each kind of transform, and not of all: the engine raises them, and asks no rule.
PORTABLE = (
    "tests/core/",
    "tests/devices/test_axes.py::",
    "tests/devices/test_matrix.py::",
    "tests/devices/test_shardings.py::",
    "tests/devices/test_updates.py::",
    "tests/devices/test_zero.py::",
    "tests/ecosystem/",
    "tests/files/",
    "tests/reading/test_describe.py::",
    "tests/reading/test_hyperparameters.py::",
    "tests/reading/test_metrics.py::",
    "tests/schedules/",
    "tests/test_as_optax.py::",
    "tests/test_drop_in.py::",
    "tests/test_floors.py::",
    "tests/test_masks.py::",
    "tests/test_readme.py::",
    "tests/test_section_six.py::",
    "tests/wrappers/test_inject.py::",
)
# Of these, what is left out there: more rules and chains over the collectives of others, each of which stays with every
# way of mapping and every layout, and whose numbers on one device are in the contract; and sums of bytes, by case.
NOT_PORTABLE = (
    "tests/reading/test_describe.py::test_bytes_are_those_of_the_arrays_that_init_makes",
    "tests/devices/test_axes.py::test_in_shard_map_without_types",
    "tests/devices/test_axes.py::test_tells_transforms_within",
    *(
        f"tests/devices/test_matrix.py::test_same_numbers[{chain}-"
        for chain in ("adamw", "lamb", "adafactor", "accumulate", "cautious", "clip, guard and adamw")
    ),
)


# Before pytest chooses by marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.nodeid.startswith(PORTABLE) and not item.nodeid.startswith(NOT_PORTABLE):
            item.add_marker(pytest.mark.portable)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONG))


# The marks that pytest-xdist 3.8 has for this do nothing under pytest 9.2.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    # The order is that of the tests, and not by how many of them go together.
    config.option.loadscopereorder = False
    return Scheduling(config, log)
