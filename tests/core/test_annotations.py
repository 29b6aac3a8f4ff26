"""The role of a field is told by what its annotation stands for, and not by how that is spelt."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Optional

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import Hyper as Number, Mask as Where

MaybeNumber = Number | None


class Half(gx.LeafRule):
    """Renamed imports, postponed."""

    by: Number = 2.0
    where: Where | None = None

    def update(self, grad, slots, leaf):
        return grad / self.by, slots


def test_a_renamed_annotation_keeps_its_role():
    tx = gx.transform(Half)(2.0, {"a": True, "b": False})
    assert jax.tree.leaves(tx) == [2.0]
    grads = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, _ = tx.update(grads, tx.init(grads))
    assert jax.tree.map(lambda leaf: float(leaf[0]), updates) == {"a": 0.5, "b": 1.0}


def roles(cls):
    return {name: declared[:2] for name, declared in cls.declared.items()}


def rule(namespace=None, **annotations):
    """A class whose annotations are these, as a module of these names has it."""
    body = {"__annotations__": annotations, "__module__": __name__, **(namespace or {})}
    return type("Made", (gx.LeafRule,), body)


@pytest.mark.parametrize(
    ("annotation", "role", "is_optional"),
    [
        ("Number", gx.Hyper, False),
        ("gx.Decay | None", gx.Decay, True),
        ("MaybeNumber", gx.Hyper, True),
        ("Optional[Number]", gx.Hyper, True),
        (Optional["Number"], gx.Hyper, True),
        ("'Number | None'", gx.Hyper, True),
        ("typing.Annotated[Number, 'its doc']", gx.Hyper, False),
        (typing.Annotated[Number, "its doc"], gx.Hyper, False),
        (tuple[Number, Number] | None, gx.Hyper, True),
        ("dict[str, Number]", gx.Hyper, False),
        # Imported for type checkers alone, it is known by its own name.
        ("Hyper", gx.Hyper, False),
        ("Callable[[Number], Any]", None, False),
        ("typing.Literal['Hyper']", None, False),
        (Callable[[Number], Any], None, False),
        ("Any", None, False),
        ("tuple[int, ...] | None", None, True),
        ("Made", None, False),
    ],
    # Of what is no string the text holds addresses, by which the workers of a parallel run could not agree.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_role_is_found_wherever_it_stands(annotation, role, is_optional):
    assert roles(rule(x=annotation)) == {"x": (role, is_optional)}


def test_what_is_called_as_a_role_and_is_none_has_no_role(monkeypatch):
    monkeypatch.setitem(globals(), "Mask", int)
    assert roles(rule(x="Mask")) == {"x": (None, False)}


def test_a_class_in_a_function_reads_the_names_of_the_function():
    from gradxform import Decay as Share

    def inner():
        here = Number

        class Local(gx.LeafRule):
            x: Share
            y: here

        return Local

    assert roles(inner()) == {"x": (gx.Decay, False), "y": (gx.Hyper, False)}


def test_inherited_fields_are_read_where_they_were_written(monkeypatch):
    module = types.ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    code = "from __future__ import annotations\nfrom gradxform import LeafRule, Hyper as There\n"
    exec(f"{code}class Base(LeafRule):\n    x: There = 1.0\n", vars(module))

    class Sub(module.Base):
        y: Number = 2.0

    assert Sub.numeric == ("x", "y")


@pytest.mark.parametrize("annotation", ["AtLeastZero", "AtLeastZero | None", "missing.Number", "a rate"])
def test_an_annotation_that_cannot_be_read_is_an_error(annotation):
    with pytest.raises(TypeError, match=r"Made: x is annotated with .*nothing tells what .* is.*TYPE_CHECKING"):
        rule(x=annotation)


def test_inject_hyperparams_reads_renamed_annotations():
    def factory(rate: Number, where: Where = None, order: int | None = None):
        return gx.chain(gx.add_decayed_weights(0.1, where), gx.sgd(rate))

    tx = gx.inject_hyperparams(factory)(1, lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 0, tree))
    state = tx.init(jnp.ones(2))
    assert list(state.hyperparams) == ["rate"]
    np.testing.assert_array_equal(state.hyperparams["rate"], 1)
