"""Wrong input fails where it is, at trace time, in words that name the path, what was expected and what came."""

import functools

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx
from tests.contract.case import at, params
from tests.contract.cases import CASES, KINDS

# Another Python or JAX does not fail of one rule what it passes of its kind.
every_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.portable] * (case in KINDS)) for case in CASES]
)


def replaced(tree, leaf):
    """The tree with another bias."""
    return {**tree, "dense": {**tree["dense"], "bias": leaf}}


def first_state(tx, first):
    """A state in the shapes of the first one: what is checked are shapes and dtypes."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(tx.init, first))


@functools.cache
def given(case):
    """The parameters, a gradient and the state, with which all errors of a case are looked for."""
    first = params()
    return first, at(0, case.gradients(1)), first_state(case.make(), first)


def fails(error, match, case, updates):
    """Asserts the error in eager execution and at trace time."""
    first, _, state = given(case)
    update = functools.partial(case.make().update, **case.extra)
    for call in (update, functools.partial(jax.eval_shape, update)):
        with pytest.raises(error, match=match):
            call(updates, state, first)


@every_case
def test_missing_leaf(case):
    _, grad, _ = given(case)
    without = {**grad, "dense": {"kernel": grad["dense"]["kernel"]}}
    fails(ValueError, r"expected a leaf at 'dense/bias', .*got none", case, without)


@every_case
def test_leaf_too_many(case):
    _, grad, _ = given(case)
    fails(
        ValueError,
        r"got a leaf at 'other', where the parameters have none",
        case,
        {**grad, "other": case.incoming(jnp.ones(2))},
    )


@every_case
def test_other_structure_with_the_same_leaves(case):
    _, grad, _ = given(case)
    fails(ValueError, "expected", case, replaced(grad, [grad["dense"]["bias"]]))


@every_case
def test_shape_that_would_broadcast(case):
    _, grad, _ = given(case)
    wrong = replaced(grad, case.incoming(jnp.ones(1)))
    expected, got = (r"shape \(batch, 3\)", r"\(5, 1\)") if case.batch else (r"shape \(3,\)", r"\(1,\)")
    fails(ValueError, rf"expected .*{expected} at 'dense/bias', .*got {got}", case, wrong)


@every_case
def test_complex_update_of_a_real_parameter(case):
    _, grad, _ = given(case)
    wrong = replaced(grad, case.incoming(jnp.ones(3, jnp.complex64)))
    fails(TypeError, r"(expected real values at|takes real arrays).*'?dense/bias", case, wrong)


@every_case
def test_integer_update(case):
    if case.takes_integers:
        return
    _, grad, _ = given(case)
    wrong = replaced(grad, case.incoming(jnp.ones(3, jnp.int32)))
    fails(TypeError, r"expected a floating-point array at 'dense/bias', got int32\[(5, )?3\]", case, wrong)


@every_case
def test_missing_parameters(case):
    _, grad, state = given(case)
    update = functools.partial(case.make().update, **case.extra)
    if case.needs_params:
        for call in (update, functools.partial(jax.eval_shape, update)):
            with pytest.raises(ValueError, match=r"needs the parameters: call update\(updates, state, params\)"):
                call(grad, state)
    else:
        updates, _ = jax.eval_shape(update, grad, state)
        assert jax.tree.structure(updates) == jax.tree.structure(grad)


NO_FLOATING_POINT_ARRAYS = [
    (jnp.ones(3, jnp.int32), r"expected a floating-point array at 'dense/bias', got int32\[3\]; .*set_to_zero"),
    (jnp.ones(3, bool), r"expected a floating-point array at 'dense/bias', got bool\[3\]"),
    (jax.random.key(0), r"expected a floating-point array at 'dense/bias', got key<fry>\[\]"),
    (3, r"expected an array at 'dense/bias', got 3 of type int"),
    ("relu", r"expected an array at 'dense/bias', got 'relu' of type str"),
    (jax.nn.relu, r"expected an array at 'dense/bias', got <jax.*relu> .*None in its place"),
]


@every_case
def test_parameter_that_is_no_floating_point_array(case):
    tx, (first, *_) = case.make(), given(case)
    for leaf, match in NO_FLOATING_POINT_ARRAYS:
        if case.takes_integers and "expected an array" not in match:
            assert tx.init(replaced(first, leaf)).count == 0
        else:
            with pytest.raises(TypeError, match=match):
                tx.init(replaced(first, leaf))


@every_case
def test_state_of_another_transform(case):
    first, grad, _ = given(case)
    other = gx.chain(gx.scale(1.0), gx.scale(2.0), gx.scale(3.0))
    with pytest.raises(ValueError, match=r"the state has stages \['scale', 'scale_2', 'scale_3'\]"):
        case.make().update(grad, first_state(other, first), first)
    with pytest.raises(ValueError, match="expected the state that init"):
        case.make().update(grad, (), first)
