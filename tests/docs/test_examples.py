"""Every public symbol has an example, which runs as a stranger pastes it."""

import re

import jax
import pytest

from docs.generate import cells, symbols

EXAMPLES = cells.examples()
LINE = 100


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_symbol_runs(name):
    # As a stranger has JAX, not as the tests set it.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(EXAMPLES[name], f"the example of {name}", "exec"), {"__name__": "__main__"})


def test_each_example_is_of_its_symbol():
    # Of what is in a module of gradxform: `landscapes.saddle`, or `saddle` imported from there.
    assert [name for name, cell in EXAMPLES.items() if not re.search(rf"\b{name}\b", cell)] == []


def test_every_public_symbol_has_an_example():
    modules = ("landscapes", "plots", "recipes")
    inside = {f"{module}.{name}" for module in modules for name in symbols.public_of(symbols.object_of(module))}
    named = {*symbols.all_names(), *inside}
    assert (sorted(named - set(EXAMPLES)), sorted(set(EXAMPLES) - named)) == ([], [])


def test_lines_fit_on_the_page():
    wide = [name for name, cell in EXAMPLES.items() if max(map(len, cell.splitlines())) > LINE]
    assert wide == []


def test_two_examples_of_a_symbol_are_an_error(tmp_path):
    (tmp_path / "rules.py").write_text("# %% clip\nprint(1)\n\n# %% ema\nprint(2)\n")
    assert cells.examples(tmp_path) == {"clip": "print(1)\n", "ema": "print(2)\n"}
    (tmp_path / "twice.py").write_text("# %% ema\nprint(3)\n")
    with pytest.raises(ValueError, match=r"twice\.py: ema has an example already"):
        cells.examples(tmp_path)


def test_an_example_that_is_too_long_is_an_error(tmp_path):
    lines = [f"print({line})\n" for line in range(cells.LONGEST)]
    (tmp_path / "rules.py").write_text("# %% clip\n" + "\n".join(lines))
    assert list(cells.examples(tmp_path)) == ["clip"]
    (tmp_path / "rules.py").write_text("# %% clip\n" + "\n".join([*lines, "print()\n"]))
    with pytest.raises(ValueError, match=r"rules\.py: the example of clip has 7 lines; at most 6"):
        cells.examples(tmp_path)
