"""The public names: what `import gradxform` gives, at once and when it is asked for."""

import ast
import importlib
import pathlib
import pickle
import re
import subprocess
import sys

import pytest

import gradxform as gx
from gradxform import names

ROOT = pathlib.Path(gx.__file__).parent


def fresh(program):
    """What a program prints in a process of its own, whose warnings are errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.split()


def groups(path):
    """The comments that name a purpose, in order."""
    return re.findall(r"^    # (.*\.)$", path.read_text(), re.MULTILINE)


def test_editors_and_type_checkers_see_the_names_that_are_there_at_run_time():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    seen = [
        (node.module.removeprefix("gradxform."), " ".join(alias.name for alias in node.names))
        for node in imports
        if node.module != "gradxform"
    ]
    assert seen == list(names.MODULES), (
        "gradxform/__init__.py and gradxform/names.py are to name the same, in one order"
    )
    assert all(alias.asname == alias.name for node in imports for alias in node.names if node.module != "gradxform")
    assert groups(ROOT / "__init__.py") == groups(ROOT / "names.py")


def test_each_name_and_each_purpose_is_there_once():
    assert len(set(names.NAMES)) == len(names.NAMES)
    purposes = groups(ROOT / "names.py")
    assert len(set(purposes)) == len(purposes) > 20
    # Of one purpose a module has one row.
    parts = re.split(r"^    # .*\.$", (ROOT / "names.py").read_text(), flags=re.MULTILINE)
    for part in parts[1:]:
        modules = re.findall(r'^ +\(?"([a-z_.]+)", *', part, re.MULTILINE)
        assert len(set(modules)) == len(modules)


@pytest.mark.parametrize(("module", "own"), names.MODULES)
def test_a_name_is_what_its_module_has(module, own):
    # `explore` names modules of its own, which are imported as names are.
    there = vars(importlib.import_module(f"gradxform.{module}"))
    for name in own.split():
        assert getattr(gx, name) is vars(gx)[name] is there[name]


def test_dir_and_all_are_the_public_names_and_nothing_else():
    assert dir(gx) == sorted(gx.__all__) == sorted(names.NAMES)


def test_a_star_brings_all_names_and_nothing_else():
    program = "here = set(dir()); from gradxform import *; print(*sorted(set(dir()) - here - {'here'}))"
    assert fresh(program) == sorted(names.NAMES)


def test_importing_loads_optax_and_little_else():
    """Counted by modules, since no test depends on a clock: with these it takes as long as optax within a percent."""
    program = "import optax, sys; before = set(sys.modules); import gradxform; print(*set(sys.modules) - before)"
    assert set(fresh(program)) == {"gradxform", "gradxform.missing", "gradxform.names"}


def test_importing_all_of_optax_loads_no_more():
    program = (
        "import optax, sys; before = set(sys.modules); import gradxform.as_optax; print(*set(sys.modules) - before)"
    )
    loaded = {name for name in fresh(program) if not name.startswith("gradxform.as_optax")}
    assert loaded == {"gradxform", "gradxform.missing", "gradxform.names"}


def test_what_is_asked_for_is_loaded_and_not_what_few_need():
    program = "import gradxform as gx, sys; gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)); print(*sys.modules)"
    loaded = {name for name in fresh(program) if name.split(".")[0] in ("gradxform", "chex")}
    assert {"gradxform.core.chain", "gradxform.optimizers.classic", "gradxform.rules.clipping"} <= loaded
    floors = {(*name.split("."), "")[1] for name in loaded}
    assert floors == {"", "core", "maths", "missing", "names", "optimizers", "rules"}
    assert "chex" not in loaded


def test_submodules_are_loaded_when_they_are_asked_for_and_are_not_among_the_names():
    program = """
from gradxform import maths, schedules
import gradxform as gx
print(gx.schedules is schedules, gx.masks.__name__, gx.as_optax.adam is gx.adam, *dir(gx))
"""
    assert fresh(program) == ["True", "gradxform.masks", "True", *sorted(names.NAMES)]


# With parts of every floor that has names in files.
MANY = gx.chain(
    gx.pmean_updates("data"),
    gx.guard(gx.accumulate(gx.mechanize(gx.dog()), every=4), max_norm=1.0),
    gx.partition({"a": gx.muon(0.1), "b": gx.zero(gx.prodigy(), "data")}, gx.labels({"*/bias": "a", "*": "b"})),
    gx.inject_hyperparams(gx.adan)(learning_rate=gx.linear_schedule(0.1, 0.0, 9)),
    gx.live(gx.sophia(1e-3)),
    gx.lion(gx.cosine_decay_schedule(0.1, 9), mask=gx.by_ndim(2) & ~gx.by_path("*/embedding"), weight_decay=0.1),
)


def test_a_file_is_read_where_nothing_was_loaded_before():
    assert fresh(f"import gradxform as gx; print(gx.from_json({gx.to_json(MANY)!r}))") == repr(MANY).split()


def test_a_pickle_is_read_where_nothing_was_loaded_before():
    assert fresh(f"import pickle; print(pickle.loads({pickle.dumps(MANY)!r}))") == repr(MANY).split()


def test_what_a_transform_prints_can_be_read_with_the_names_that_were_loaded_for_it():
    program = """
import gradxform as gx
tx = gx.chain(gx.zero_nans(), gx.lion(gx.linear_schedule(0.1, 0.0, 9), weight_decay=0.1, mask=gx.not_biases_or_norms()))
print(eval(repr(tx), {**vars(gx)}) == tx)
"""
    assert fresh(program) == ["True"]


def test_what_is_loaded_within_a_traced_function_holds_no_tracers():
    """No module makes an array when it is loaded: in the middle of `jit` that would be a tracer, kept for ever."""
    program = """
import jax, sys
import gradxform as gx
with jax.checking_leaks():
    jax.jit(lambda x: [getattr(gx, name) for name in gx.__all__] and x)(1.0)
modules = [vars(module) for name, module in sys.modules.items() if name.startswith("gradxform")]
print(len(modules), *(name for module in modules for name, value in module.items() if isinstance(value, jax.Array)))
"""
    count, *arrays = fresh(program)
    assert int(count) > 60
    assert not arrays
