"""Imports go down: each floor of the house knows only of those beneath it; and the house needs little."""

import ast
import pathlib
import subprocess
import sys

import pytest

import gradxform

ROOT = pathlib.Path(gradxform.__file__).parent

# What each floor may import of the library, from the ground up. Rules do not import each other.
FLOORS = {
    "maths": (),
    "linalg": ("maths", "linalg"),
    "core": ("maths", "core"),
    "schedules": ("maths", "core", "schedules"),
    "masks": ("core",),
    "matrix_labels": ("core", "masks"),
    "rules": ("maths", "linalg", "core"),
    "optimizers": ("linalg", "core", "schedules", "matrix_labels", "rules", "wrappers", "storage", "optimizers"),
    "wrappers": ("maths", "linalg", "core", "wrappers"),
    "devices": ("maths", "core", "devices"),
    "storage": ("maths", "core", "storage"),
    "reading": ("core", "reading"),
    "files": ("core", "files"),
    "takeover": ("core", "reading", "takeover"),
    "explore": ("core", "schedules", "reading", "explore"),
    "as_optax": ("as_optax", ""),
    # Made of public names alone, as a user's own.
    "recipes": ("recipes", ""),
    "missing": (),
    # It names modules of all floors, and imports them when they are asked for.
    "names": ("missing",),
    "": (
        "maths",
        "linalg",
        "core",
        "schedules",
        "masks",
        "matrix_labels",
        "names",
        "rules",
        "optimizers",
        "wrappers",
        "devices",
        "storage",
        "reading",
        "files",
        "takeover",
        "explore",
    ),
}
OUTSIDE = {"jax", "numpy", "optax", "chex"}
# Extras, which are imported where they are used.
EXTRAS = {"explore": {"matplotlib", "tqdm", "IPython", "ipywidgets"}}
MODULES = sorted(ROOT.rglob("*.py"))


def imports(path):
    """The dotted names that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def floor(path):
    """The floor of a module: its first folder or file under the package; the top has no name."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    allowed = FLOORS[floor(path)]
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "gradxform":
            assert (rest or [""])[0] in allowed, f"{path.name} imports {name}"
        else:
            assert top in OUTSIDE | EXTRAS.get(floor(path), set()) or top in sys.stdlib_module_names, (
                f"{path.name} imports {name}"
            )


def test_every_floor_is_there():
    assert {floor(path) for path in MODULES} == set(FLOORS)


# The top is a list of names, one a line.
LIST = ROOT / "__init__.py"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != LIST], ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_are_of_a_page_or_two(path):
    assert len(path.read_text().splitlines()) <= 400


def test_core_modules_do_not_import_in_circles():
    graph = {
        path.stem: {name.split(".")[2] for name in imports(path) if name.startswith("gradxform.core.")}
        for path in (ROOT / "core").glob("*.py")
    }
    while graph:
        grounded = {module for module, needs in graph.items() if not needs & set(graph) - {module}}
        assert grounded, f"a circle among {sorted(graph)}"
        graph = {module: needs for module, needs in graph.items() if module not in grounded}


def test_import_brings_in_nothing_beyond_its_dependencies():
    modules = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    own = _python(f"import gradxform; {modules}")
    theirs = _python(f"import jax, optax, chex; {modules}")
    assert own - theirs == {"gradxform"}


def _python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
