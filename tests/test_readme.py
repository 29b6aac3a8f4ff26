"""The README does what it says: its Python runs, in order, and what it prints is what it shows."""

import pathlib
import re

import jax

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs(capsys):
    names = {"__name__": __name__}
    # As a stranger has JAX, not as the tests set it.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for language, block in BLOCKS:
            if language == "python":
                exec(block, names)
    out = capsys.readouterr().out
    assert "clip_by_global_norm.norm" in out
    # The chain prints as shown.
    ((at, _),) = [(at, block) for at, (_, block) in enumerate(BLOCKS) if block == "print(tx)\n"]
    assert BLOCKS[at + 1][1] in out
    assert names["sixteen"].shape == (16,)
    assert names["ScaleByLion"](b2=0.98) == names["ScaleByLion"](0.9, 0.98)


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_the_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_files_of_the_readme_exist():
    # Not in folders such as .venv, which hold all that was ever installed.
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    files = [path.as_posix() for folder in (ROOT, *folders) for path in folder.glob("*" if folder == ROOT else "**/*")]
    for name in re.findall(r"`([\w/]+\.(?:py|md))`", README + (ROOT / "CONTRIBUTING.md").read_text()):
        assert any(file.endswith(f"/{name}") for file in files), name


def test_the_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []
