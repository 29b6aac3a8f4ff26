"""What type checkers know of the library: files of a user's, as pyright and mypy see them."""

import ast
import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
USERS = ("usage.py", "script.py")
PYRIGHT_ALONE = ("decorated.py",)


@pytest.fixture
def users(tmp_path):
    """A folder with a user's files, who has no settings but that a comment without its error is an error."""
    for name in (*USERS, *PYRIGHT_ALONE):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"reportUnnecessaryTypeIgnoreComment": "error"}')
    return tmp_path


def check(users, module, *arguments):
    """What a checker prints of a user's files, and whether it is content."""
    pytest.importorskip(module, reason="the checkers are in the extra `lint`")
    # In front of what is installed, and taken for a package that is.
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=users, env=here, capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode == 0


def test_pyright_finds_the_slips_and_nothing_else(users):
    files = (*USERS, *PYRIGHT_ALONE)
    said, content = check(users, "pyright", "--outputjson", "--pythonpath", sys.executable, *files)
    report = json.loads(said)
    assert not [(one["file"], one["range"]["start"], one["message"]) for one in report["generalDiagnostics"]]
    assert content
    assert report["summary"]["filesAnalyzed"] == len(files)


def test_mypy_at_its_strictest_finds_the_slips_and_nothing_else(users):
    said, content = check(users, "mypy", "--strict", "--cache-dir", os.devnull, *USERS)
    assert content, said
    assert said == f"Success: no issues found in {len(USERS)} source files\n"


def test_the_stubs_are_those_of_the_code():
    """Compared as programs, since what lays them out is in the extra `lint`."""
    made = runpy.run_path(str(ROOT / "docs" / "stubs.py"))["stubs"]()
    package = ROOT / "gradxform"
    assert set(made) == set(package.rglob("*.pyi"))
    for path, text in made.items():
        assert parts(path.read_text()) == parts(text), f"{path}: make it anew with: python docs/stubs.py"
    assert (package / "py.typed").exists()


def parts(stub):
    """What a stub says, whatever the order and the layout of its imports."""
    tree = ast.parse(stub)
    imports = {
        (node.module, alias.name, alias.asname)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return imports, [ast.dump(node) for node in tree.body if not isinstance(node, ast.ImportFrom)]
