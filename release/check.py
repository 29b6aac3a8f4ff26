"""Checks what would be published: builds it, installs it into a clean environment, and tries it there.

    python release/check.py [--tag v0.1.0] [--keep FOLDER]

The source archive is built from the checkout and the wheel from the archive, as an index's users and a distribution
build them. Then the metadata, the files in both, an import with the declared dependencies alone, the types as a checker
sees them, and the core of the contract, by the tests of the archive against the installed wheel.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parent.parent
BYTES = {"sdist": 1_500_000, "wheel": 1_000_000}
# Of each kind one: element by element, over the whole tree, matrices, a wrapper, and what a codec keeps.
CORE = "sgd or adamw or clip_by_global_norm or muon or guard or schedule_free"
# What a user writes; a type checker that does not see the package's types finds no error in the last line.
TYPED = """\
import gradxform as gx

tx: gx.Transform = gx.adamw(1e-3)
reveal_type(gx.adamw)
gx.adamw(learning_rat=1e-3)
"""
TRIED = """\
import sys
import jax.numpy as jnp
import gradxform as gx
import gradxform.as_optax

params = {"w": jnp.ones((3, 2))}
tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3))
params, state = tx.step(params, tx.init(params), params)
assert gx.metrics(state, host=True)["clip_by_global_norm.norm"] > 2
assert gx.from_json(gx.to_json(tx)) == tx
# Every name that is promised can be had, what needs an extra included.
for name in gx.__all__:
    getattr(gx, name)
assert not {"matplotlib", "flax", "tqdm", "sklearn"} & set(sys.modules), "an extra was imported"
print(gx.__version__, gx.__file__)
"""


class UnfitError(Exception):
    """Something that must hold of what is published does not."""


def run(*command: object, cwd: Path) -> str:
    """The output of a command.

    Raises:
      UnfitError: it ended with an error.
    """
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise UnfitError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def built(folder: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from it."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_files(sdist: Path, wheel: Path) -> None:
    """What is in both, and how large they are."""
    inside = zipfile.ZipFile(wheel).namelist()
    with tarfile.open(sdist) as archive:
        packed = [name.partition("/")[2] for name in archive.getnames()]
    for name in ("gradxform/py.typed", "gradxform/__init__.pyi", "gradxform/as_optax/__init__.pyi"):
        if name not in inside:
            raise UnfitError(f"the wheel lacks {name}")
    if strange := [name for name in inside if not name.startswith(("gradxform/", "gradxform-"))]:
        raise UnfitError(f"the wheel has {strange[:5]}")
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "tests/contract/cases.py"):
        if name not in packed:
            raise UnfitError(f"the source archive lacks {name}")
    if heavy := [name for name in packed if name.startswith(("notebooks/", "docs/")) or name.endswith(".png")]:
        raise UnfitError(f"the source archive has {heavy[:5]}")
    for path, kind in ((sdist, "sdist"), (wheel, "wheel")):
        if path.stat().st_size > BYTES[kind]:
            raise UnfitError(f"{path.name} has {path.stat().st_size} bytes; at most {BYTES[kind]}")


def check_metadata(sdist: Path, wheel: Path, tag: str | None) -> None:
    """That an index takes the metadata, and that a tag is that of the version."""
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, cwd=sdist.parent)
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        told = archive.read(f"gradxform-{version}.dist-info/METADATA").decode()
    if lost := re.findall(r"\]\((?!https?:)[^)]+\)", told):
        raise UnfitError(f"the index shows a README with links that lead nowhere: {lost[:5]}")
    if tag is not None and tag != f"v{version}":
        raise UnfitError(f"the tag is {tag}, and the version {version}")
    if tag is not None and f"## {version} (unreleased)" in (ROOT / "CHANGELOG.md").read_text():
        raise UnfitError(f"CHANGELOG.md calls {version} unreleased")


def environment(folder: Path) -> Path:
    """The Python of a new environment with nothing in it."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(python: Path, what: str, folder: Path) -> None:
    """Installs a wheel and what it needs."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what, cwd=folder)


def check_import(python: Path, folder: Path) -> None:
    """A step, a file and every public name, with the declared dependencies alone and warnings as errors."""
    printed = run(python, "-W", "error", "-c", TRIED, cwd=folder)
    if str(ROOT / "gradxform") in printed:
        raise UnfitError(f"the checkout was imported, not what is installed: {printed}")


def check_types(python: Path, folder: Path) -> None:
    """That a type checker sees the package's own types."""
    script = folder / "typed.py"
    script.write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python), str(script)]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    if "def (learning_rate:" not in found or 'Unexpected keyword argument "learning_rat"' not in found:
        raise UnfitError(f"a type checker does not see the types:\n{found}")


def check_contract(python: Path, sdist: Path, folder: Path) -> str:
    """The core of the contract by the archive's tests, without the archive's package beside them."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.glob("gradxform-*")
    (source / "gradxform").rename(source / "not_installed")
    command = (python, "-m", "pytest", "-q", "-n", "2", "tests/contract", "-m", "portable", "-k", CORE)
    return run(*command, cwd=source).strip().splitlines()[-1].strip("= ")


def main() -> None:
    """Runs all checks, and ends with 1 at the first that fails."""
    parser = argparse.ArgumentParser(description="Checks what would be published.")
    parser.add_argument("--tag", help="the tag of the release, which must be v and the version")
    parser.add_argument("--keep", type=Path, help="a folder into which the checked files are put")
    arguments = parser.parse_args()
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as name, console.status("building") as status:
            folder = Path(name)
            dist = folder / "dist"
            dist.mkdir()
            sdist, wheel = built(dist)
            check_files(sdist, wheel)
            check_metadata(sdist, wheel, arguments.tag)
            console.print(f"{sdist.name} and {wheel.name}: built, files and metadata as they should be")
            status.update("installing into a clean environment")
            python = environment(folder / "clean")
            install(python, str(wheel), folder)
            check_import(python, folder)
            check_types(python, folder)
            console.print("installed with its dependencies alone: every name can be had, and the types are seen")
            status.update("running the core of the contract")
            install(python, f"{wheel}[tests]", folder)
            console.print(f"the core of the contract: {check_contract(python, sdist, folder)}")
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                for path in (sdist, wheel):
                    shutil.copy(path, arguments.keep)
    except UnfitError as error:
        console.print(f"[red]not fit to be published:[/red] {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
