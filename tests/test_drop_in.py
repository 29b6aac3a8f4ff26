"""Moving over is one word: optax's names have optax's arguments, in optax's order, with optax's defaults."""

import inspect
import pickle

import optax
import pytest

import gradxform as gx
from tests.contract.cases import CASES

PUBLIC = [name for name in dir(gx) if callable(getattr(gx, name))]
OPTAX = {**vars(optax.contrib), **vars(optax)}
IN_OPTAX = [name for name in PUBLIC if callable(OPTAX.get(name))]
FACTORIES = [name for name in PUBLIC if hasattr(getattr(gx, name), "record")]
# optax makes these of adam and adamw by presetting nesterov, which is left in their signatures.
PRESET = {"nadam": {"nesterov"}, "nadamw": {"nesterov"}}


def test_the_names_of_the_issue_are_in_optax():
    assert {"chain", "named_chain", "apply_updates", "adamw", "clip_by_global_norm", "sgdr_schedule"} <= set(IN_OPTAX)
    schedules = [name for name in IN_OPTAX if name.endswith(("schedule", "schedules", "exponential_decay"))]
    assert len(set(schedules) - {"scale_by_schedule"}) == 14


@pytest.mark.parametrize("name", IN_OPTAX)
def test_arguments_are_optax_s(name):
    ours = inspect.signature(getattr(gx, name)).parameters
    theirs = dict(inspect.signature(OPTAX[name]).parameters)
    for preset in PRESET.get(name, ()):
        del theirs[preset]
    shared = [ours[argument] for argument in theirs]
    assert [p.name for p in ours.values()][: len(theirs)] == list(theirs)
    assert [p.kind for p in shared] == [p.kind for p in theirs.values()]
    assert [_default(p) for p in shared] == [_default(p) for p in theirs.values()]
    for added in list(ours.values())[len(theirs) :]:
        assert added.kind is inspect.Parameter.KEYWORD_ONLY, f"{added} is ours, and so keyword-only"
        assert added.default is not inspect.Parameter.empty


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("adamm", r"gradxform has no 'adamm'; did you mean adam or "),
        ("clip_by_globalnorm", "did you mean clip_by_global_norm or "),
        ("l2_loss", r"has no 'l2_loss'; optax has it: take it from there, or `import gradxform.as_optax as optax`"),
        ("xyzzy", "docs/names.md lists what there is"),
    ],
)
def test_a_name_that_is_not_there_is_an_error_that_says_what_is(name, match):
    with pytest.raises(AttributeError, match=match):
        getattr(gx, name)
    assert not hasattr(gx, name)


def test_from_import_of_a_name_that_is_not_there():
    with pytest.raises(ImportError, match="adamm"):
        from gradxform import adamm  # noqa: F401 # pyright: ignore[reportAttributeAccessIssue]: that is the test


def _default(parameter):
    """A default as something to compare: of a function what it computes, of a transform that it is one."""
    if isinstance(parameter.default, optax.GradientTransformation):
        return "a transform"
    if not inspect.isfunction(parameter.default):
        return parameter.default
    arguments = (3.0, 0.8)[: len(inspect.signature(parameter.default).parameters)]
    return round(float(parameter.default(*arguments)), 6)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_has_the_name_the_docstring_and_the_module_of_a_function(name):
    function = getattr(gx, name)
    assert inspect.isfunction(function)
    # Of two names for one function it has one.
    own = {"multi_transform": "partition"}.get(name, name)
    assert function.__name__ == function.__qualname__ == own
    assert function.__module__.startswith("gradxform.")
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", sorted({case.public_name for case in CASES} - {"chain", "named_chain"}))
def test_a_docstring_says_what_where_from_and_what_others_call_it(name):
    doc = inspect.getdoc(getattr(gx, name))
    first, *_ = doc.split("\n\n")
    # A sentence; after a colon it may be a formula.
    assert first.endswith(".") or ": " in first
    assert "optax" in doc
    assert "torch" in doc
    arguments = list(inspect.signature(getattr(gx, name)).parameters)
    assert not arguments or "Args:" in doc
    for argument in arguments:
        assert argument in doc, f"{name} says nothing of {argument}"
