"""Every transform computes what optax computes, or where optax has it not, what the paper's formula gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.contract.case import at, gradients
from tests.contract.cases import CASES, DISTINCT, KINDS, LISTED
from tests.contract.runs import STEPS, compiled, exactly

WITH_OPTAX = [case for case in LISTED if case.optax]
# What makes a transform of another or of a file, what only works where devices are mapped, and what takes parameters in
# pairs: with tests of their own.
WITHOUT_A_CASE = {
    *("from_dict", "from_json", "live", "on_axes", "pmean_updates", "psum_updates", "replace", "zero"),
    "lookahead",
}
WITH_FORMULA = [case for case in LISTED if case.reference]


def assert_close(ours, theirs, rtol, atol):
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.portable
@pytest.mark.parametrize("case", WITH_OPTAX, ids=lambda case: case.name)
def test_equals_optax_over_100_steps_in_float64(case):
    run = exactly(case)
    # 100 steps of rounding in float64, with what an eps of 1e-8 in a root makes of it.
    assert_close(run.ours, run.theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.portable
@pytest.mark.parametrize("case", WITH_FORMULA, ids=lambda case: case.name)
def test_equals_the_formula_over_100_steps(case):
    with jax.enable_x64(True):
        # As NumPy's arrays, of which a step is taken without a program.
        grads = jax.tree.map(np.asarray, case.of_few(case.gradients(STEPS, np.float64)))
        formula = case.reference([jax.tree.leaves(at(i, grads)) for i in range(STEPS)])
    updates, _ = exactly(case).ours
    assert len(formula) == STEPS
    # The same operations in another order, in float64.
    assert_close(updates, [np.stack(leaves) for leaves in zip(*formula, strict=True)], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", DISTINCT, ids=lambda case: case.name)
def test_float32_equals_float64_over_100_steps(case):
    ours, exact = at(0, compiled(case)), exactly(case).ours
    # What is beyond float32's range is infinite there.
    with np.errstate(over="ignore"):
        expected = jax.tree.map(np.float32, exact)
    # Updates of size 1 leave the rounding of the sum over 100 steps in the parameters, 8e-5, however small those are.
    assert_close((ours.updates, ours.params), expected, rtol=2e-4, atol=8e-5)


def test_every_public_transform_is_in_the_list_with_something_to_be_held_against():
    public = {name for name, value in vars(gx).items() if callable(value) and _makes_a_transform(value)}
    assert public - WITHOUT_A_CASE == {case.public_name for case in CASES}
    assert all((case.optax is None) != (case.reference is None) for case in CASES)


def test_what_is_looked_at_by_its_numbers_alone_has_rules_of_which_all_is_looked_at():
    left_out = [case for case in CASES if case not in DISTINCT]
    assert {"lion", "rmsprop", "adagrad"} <= {case.name for case in left_out}
    assert not {case.name for case in KINDS} & {case.name for case in left_out}
    rules = {stage.node.call_name for case in DISTINCT for stage in case.make().stages}
    for case in left_out:
        found = {stage.node.call_name for stage in case.make().stages}
        # With one rule alone, nothing is left of how rules go together but what every chain has.
        assert len(found - {"scale", "scale_by_learning_rate", "add_decayed_weights"}) <= 1
        assert found <= rules


def _makes_a_transform(value):
    if isinstance(value, type):
        return issubclass(value, gx.Transform) and value is not gx.Transform
    signature = getattr(value, "__signature__", None)
    returns = signature.return_annotation if signature else getattr(value, "__annotations__", {}).get("return")
    return returns in (gx.Transform, "Transform")


def test_the_list_has_gradients_of_many_sizes():
    sizes = jnp.stack([jnp.linalg.norm(leaf.reshape(STEPS, -1), axis=1) for leaf in jax.tree.leaves(gradients(STEPS))])
    assert sizes.min() < 0.2 < 2 < sizes.max()
