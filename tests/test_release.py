"""What a release says of itself in several files is the same in all, and comes from pyproject.toml and the package."""

import pathlib
import re
import tomllib

import pytest

import gradxform as gx

ROOT = pathlib.Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def recipe_list(name: str) -> list[str]:
    """The entries of a list of the recipe, spaces left out."""
    text = (ROOT / "release" / "recipe.yaml").read_text()
    (block,) = re.findall(rf"^ +{name}:\n((?: +- .*\n)+)", text, re.MULTILINE)
    return [line.strip().removeprefix("- ").replace(" ", "") for line in block.splitlines()]


def test_the_version_is_the_package_s_everywhere():
    assert "version" in PROJECT["dynamic"]
    citation = (ROOT / "CITATION.cff").read_text()
    recipe = (ROOT / "release" / "recipe.yaml").read_text()
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [gx.__version__]
    assert re.findall(r'^  version: "(.*)"$', recipe, re.MULTILINE) == [gx.__version__]
    assert re.search(rf"^## {re.escape(gx.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_recipe_needs_what_the_package_needs():
    python, *others = recipe_list("run")
    assert python == f"python{PROJECT['requires-python']}"
    assert others == PROJECT["dependencies"]
    assert {"pip", *PYPROJECT["build-system"]["requires"]} <= set(recipe_list("host"))


def test_the_floor_of_the_workflow_is_the_floor_of_the_package():
    (pins,) = re.findall(r'pins: "(\S.*)"', (ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert pins.split() == [need.replace(">=", "==") for need in PROJECT["dependencies"]]


def test_the_promise_names_the_floors():
    promise = (ROOT / "docs" / "promise.md").read_text()
    floors = dict(need.split(">=") for need in PROJECT["dependencies"])
    assert floors["jax"] == floors["jaxlib"]
    for name in ("jax", "optax", "chex"):
        (row,) = re.findall(rf"^\| {name}\b.*$", promise, re.MULTILINE | re.IGNORECASE)
        assert f"{floors[name]} or later" in row
    assert f"{PROJECT['requires-python'].removeprefix('>=')} or later" in promise


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_exist(path):
    makefile = (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^([a-z][a-z -]*):", makefile, re.MULTILINE) for name in line.split()}
    called = re.findall(r"run: make ((?:[a-z-]+ ?)+)", path.read_text())
    assert called
    assert targets.issuperset(name for line in called for name in line.split()), called


def test_the_extras_of_the_readme_are_those_of_the_package():
    named = set(re.findall(r"gradxform\[([\w-]+)\]", (ROOT / "README.md").read_text()))
    assert named <= set(PROJECT["optional-dependencies"])
