"""The reference: a page for each public symbol, with all that a reader looks for."""

import functools
import re
from types import ModuleType

import pytest

import gradxform as gx
from docs.generate import docstring, formulas, memory, pages, reference, symbols, targets

PAGES = {"scale_by_adam", "adamw", "Transform", "Program", "program", "hidden_matrices", "landscapes", "Hyper", "lbfgs"}


@functools.cache
def said(name):
    return docstring.parse(symbols.docstring_of(name))


def arguments_without_words(name, value, about):
    """The arguments that no section speaks of."""
    entries = [*about.sections.get("Args", []), *about.sections.get("Attributes", [])]
    # "Args: as in `other`."
    if any(not entry.names for entry in entries):
        return []
    told = {each for entry in entries for each in entry.names}
    return [argument for argument in pages.arguments_of(value) if argument not in told]


def test_every_symbol_has_all_that_its_page_is_to_say():
    """Counted, and what is missing is listed: its page, its text, each argument, both twins, its place."""
    missing = {}
    for name in symbols.all_names():
        value, about = symbols.object_of(name), said(name)
        place = symbols.place_of(name)
        line = (symbols.ROOT / place.path).read_text().splitlines()[place.line - 1]
        lacks = {
            "a sentence": not about.sentence.rstrip().endswith((".", ":")),
            "what it says of its arguments": arguments_without_words(name, value, about),
            "what optax has": "optax" not in about.twins,
            "what torch has": "torch" not in about.twins,
            "its place": not (
                isinstance(value, ModuleType) or name in line or symbols.source_of(value).__name__ in line
            ),
        }
        if found := {what: lack for what, lack in lacks.items() if lack}:
            missing[name] = found
    assert missing == {}
    assert len(symbols.all_names()) == len(gx.__all__) + 2


def test_no_docstring_speaks_of_arguments_that_are_not_there():
    wrong = {}
    for name in symbols.all_names():
        known = pages.arguments_of(symbols.object_of(name))
        told = {each for entry in said(name).sections.get("Args", []) for each in entry.names}
        if known and (unknown := told - set(known)):
            wrong[name] = sorted(unknown)
    assert wrong == {}


def test_functions_of_modules_say_what_their_arguments_are():
    missing = {}
    for module in ("landscapes", "plots", "recipes"):
        home = symbols.object_of(module)
        for name, value in symbols.public_of(home).items():
            about = docstring.parse(symbols.docstring_of(name, value, home))
            is_data = not isinstance(value, type) and "Landscape" in type(value).__name__
            if not about.sentence or (not is_data and arguments_without_words(name, value, about)):
                missing[f"{module}.{name}"] = arguments_without_words(name, value, about)
    assert missing == {}


def test_pages_differ_on_file_systems_that_do_not_tell_large_letters():
    names = [symbols.page_of(name).lower() for name in symbols.all_names()]
    assert len(set(names)) == len(names)
    assert "index" not in names
    assert symbols.page_of("Program") == "program-class"
    assert symbols.page_of("program") == "program"
    assert symbols.page_of("MatrixAxes") == "MatrixAxes"


def test_every_name_is_in_one_group_and_in_the_index():
    grouped = [name for group in symbols.groups() for name in group.names]
    assert sorted(grouped) == sorted(symbols.all_names())
    index = reference.index()
    for name in grouped:
        assert f"| [`{name}`]({symbols.page_of(name)}.md) | " in index


def test_pages_are_written_and_stay_as_they_are(tmp_path):
    reference.write(tmp_path, tuple(PAGES))
    assert {path.stem for path in tmp_path.iterdir()} == {"index", *map(symbols.page_of, PAGES)}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    reference.write(tmp_path, tuple(PAGES))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_page_shows_what_its_docstring_says():
    page = pages.page("scale_by_adam", {"scale_by_adam": "import gradxform as gx\n\ngx.scale_by_adam()\n"})
    assert "```{py:function} scale_by_adam(b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-08," in page
    assert "```{math}\n\\begin{align*}\\mu &" in page
    assert "```python\nimport gradxform as gx\n\ngx.scale_by_adam()\n```" in page
    assert "`eps_root`\n: added inside the root" in page
    assert "[arXiv:1412.6980](https://arxiv.org/abs/1412.6980)" in page
    assert "In optax\n: `optax.scale_by_adam`, without clipping." in page
    assert "In torch\n: `torch.optim.Adam`, without eps\\_root" in page
    assert re.search(
        r"\[gradxform/rules/adaptive\.py\]\(https://\S+/blob/main/gradxform/rules/adaptive\.py#L\d+\)", page
    )
    assert "8 bytes of state a parameter, measured on a float32 matrix of 1024 x 1024: `mu` 4, `nu` 4." in page


def test_an_optimizer_shows_the_chain_that_it_is():
    assert "    add_decayed_weights(weight_decay=0.0001),\n" in pages.page("adamw")
    assert "## The chain" not in pages.page("scale_by_adam")


def test_a_class_shows_its_attributes_and_methods():
    page = pages.page("Transform")
    assert "`stages`\n: the rules" in page
    assert "```{py:method} Transform.step(grads: Updates, state: Any" in page
    assert "```{py:property} State.hyperparams\n" in pages.page("State")


def test_a_module_shows_its_functions_and_values():
    page = pages.page("landscapes", {"landscapes.quadratic": "gx.landscapes.quadratic(10.0)"})
    assert "### Example\n\n```python\ngx.landscapes.quadratic(10.0)\n```" in page
    assert "```{py:function} quadratic(condition: float = 100.0) -> Landscape\n:module: gradxform.landscapes" in page
    assert "```{py:data} rosenbrock\n" in page
    assert r"100\,\left(x_{2} - x_{1}^{2}\right)^{2}" in page


def test_what_markdown_would_read_is_escaped():
    assert pages.prose("a_b <m, u> of `x_y` |g|, *args") == r"a\_b \<m, u\> of `x_y` \|g\|, \*args"
    assert pages.prose("see github.com/owner/name.") == "see [github.com/owner/name](https://github.com/owner/name)."


def test_memory_is_that_of_a_matrix_whatever_the_transform_holds():
    lean = memory.made("adamw_lean")
    assert lean.dtype == "float32"
    assert lean.slots == {"mu": 1.03125, "nu": 1.03125}
    assert memory.made("kahan").dtype == "bfloat16"
    assert memory.told(memory.made("clip")) == "No state but a few numbers."
    # Its arguments are its user's alone.
    assert memory.made("partition") is None


@pytest.mark.parametrize(
    ("text", "own", "page"),
    [
        ("gx.adamw", None, "adamw"),
        ("adamw", None, "adamw"),
        ("gx.adamw(1e-3, weight_decay=0.1)", None, "adamw"),
        ("gradxform.chain", None, "chain"),
        ("Program", "program", "program-class"),
        ("plots.paths", None, "plots"),
        ("Transform.step", None, "Transform"),
        ("adamw", "adamw", None),
        ("adamw.lr", None, None),
        ("tx.init", None, None),
        ("optax.adamw", None, None),
        ("adamw + 1", None, None),
    ],
)
def test_code_that_names_a_symbol_leads_to_its_page(text, own, page):
    expected = None if page is None else symbols.page_of(page) if page in symbols.all_names() else page
    assert targets.target(text, own) == expected


def test_on_a_page_its_arguments_mean_themselves():
    assert "scale" in targets.own_words("muon")
    assert targets.own_words("index") == frozenset()


def test_a_table_in_a_docstring_is_a_table():
    rows = pages.table("bytes    float32   lean\nweights        4      2\ntogether      12      7")
    assert rows == "| bytes | float32 | lean |\n| --- | --- | --- |\n| weights | 4 | 2 |\n| together | 12 | 7 |"
    assert pages.table("m <- g\nu  = m   for all   leaves") is None
    assert not formulas.is_code("bytes    float32   lean")
