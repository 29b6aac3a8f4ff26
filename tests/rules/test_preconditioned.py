"""What all rules of preconditioned matrices do alike: stacks, zeros, NaN, single rows, low precision, turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.rules.preconditioned import CLOSE, gradients, ran, updates_of

STACKED = gx.MatrixAxes()
RULES = {
    "soap": lambda **kwargs: gx.scale_by_soap(**{"precondition_frequency": 2, **kwargs}),
    "shampoo": lambda **kwargs: gx.scale_by_shampoo(**{"eps": 1e-6, "precondition_frequency": 2, **kwargs}),
    "kl_shampoo": lambda **kwargs: gx.scale_by_kl_shampoo(**{"precondition_frequency": 2, **kwargs}),
    "psgd_kron": lambda **kwargs: gx.scale_by_psgd_kron(**{"precondition_frequency": 2, **kwargs}),
}
REFRESHED = {
    "soap": ("left_basis", "right_basis"),
    "shampoo": ("left_root", "right_root"),
    "kl_shampoo": ("left_basis", "right_basis"),
    "psgd_kron": ("left", "right"),
}
every_rule = pytest.mark.parametrize("name", RULES)


def state_of(state, name):
    return state.stages[f"scale_by_{name}"]


@every_rule
@pytest.mark.parametrize("batched", [False, True])
def test_a_stack_is_its_matrices(name, batched):
    grads = gradients((2, 4, 3))
    stacked = updates_of(RULES[name](weight_dimension_numbers=STACKED), grads)
    alone = updates_of(RULES[name](batched=batched), {f"layer{i}": grads[:, i] for i in range(2)})
    for i in range(2):
        np.testing.assert_allclose(stacked[:, i], alone[f"layer{i}"], **CLOSE)


@every_rule
def test_parts_of_a_fused_kernel_are_its_matrices(name):
    grads = gradients((4, 9))
    fused = updates_of(RULES[name](weight_dimension_numbers=gx.MatrixAxes(split_columns=3), spread=True), grads)
    alone = updates_of(RULES[name](weight_dimension_numbers=STACKED, spread=True), np.stack(np.split(grads, 3, -1), 1))
    np.testing.assert_allclose(fused, np.concatenate(list(np.moveaxis(alone, 1, 0)), -1), **CLOSE)


@every_rule
def test_zeros_stay_zeros_and_what_follows_is_finite(name):
    grads = gradients((4, 3), 6) * (np.arange(6) >= 3)[:, None, None]
    updates, state = ran(RULES[name](), grads)
    np.testing.assert_array_equal(updates[:3], 0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((updates, state)))
    assert np.all(np.any(updates[4:] != 0, axis=(1, 2)))


@every_rule
def test_a_matrix_with_a_nan_becomes_nan_and_no_other_does(name):
    grads = gradients((3, 4, 3), 6)
    grads[2, 1, 0, 0] = np.nan
    rule = RULES[name](weight_dimension_numbers=STACKED)
    updates = updates_of(rule, grads)
    assert np.all(np.isnan(updates[3:, 1]))
    others = np.delete(updates, 1, 1)
    grads[2, 1, 0, 0] = 0.0
    np.testing.assert_allclose(others, np.delete(updates_of(rule, grads), 1, 1), **CLOSE)


@every_rule
def test_a_single_row_or_column_has_finite_updates(name):
    updates, state = ran(RULES[name](), [gradients(shape) for shape in ((1, 5), (5, 1), (1, 1))])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((updates, state)))
    for each in updates:
        assert np.all(np.any(each[2:] != 0, axis=(1, 2))), each.shape


@every_rule
def test_bfloat16_is_computed_and_kept_in_float32(name):
    grads = jnp.asarray(gradients((4, 3)), jnp.bfloat16)
    first = np.zeros((4, 3), jnp.bfloat16)
    updates, state = ran(RULES[name](), grads, first)
    assert updates.dtype == jnp.bfloat16
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating))
    wide = updates_of(RULES[name](), grads.astype(np.float32))
    # bfloat16 rounds by 2^-9 of each.
    np.testing.assert_allclose(updates.astype(np.float32), wide, rtol=2**-8, atol=1e-6)


@every_rule
def test_each_matrix_has_its_own_turn(name):
    every, count, steps = 3, 4, 9
    rule = RULES[name](precondition_frequency=every, spread=True, weight_dimension_numbers=STACKED)
    grads = gradients((count, 4, 3), steps)
    turns = [[] for _ in range(count)]
    with jax.enable_x64(True):
        state = rule.init(jnp.zeros((count, 4, 3)))
        for step in range(steps):
            before = state_of(state, name)
            _, state = rule.update(jnp.asarray(grads[step]), state)
            after = state_of(state, name)
            for i in range(count):
                changed = {
                    slot: not np.array_equal(getattr(before, slot)[i], getattr(after, slot)[i])
                    for slot in REFRESHED[name]
                }
                assert len({*changed.values()}) == 1, "both sides have one turn"
                if changed[REFRESHED[name][0]]:
                    turns[i].append(step)
    assert turns == [[step for step in range(steps) if step == 0 or (step + i) % every == 0] for i in range(count)]


@every_rule
@pytest.mark.parametrize("spread", [False, True])
def test_what_is_not_due_is_not_computed(name, spread):
    """All decompositions, systems and roots stand inside a branch of the program."""
    rule = RULES[name](spread=spread, weight_dimension_numbers=STACKED)
    params = jnp.zeros((3, 4, 3))
    program = jax.make_jaxpr(lambda grad, state: rule.update(grad, state))(params, rule.init(params))
    found = list(costly(program.jaxpr))
    assert found
    assert all(inside for _, inside in found), found


COSTLY = ("eigh", "geqrf", "householder_product", "qr", "triangular_solve", "while")


def costly(jaxpr, inside=False):
    """The costly operations of a program, and whether each is inside a branch."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in COSTLY:
            yield name, inside
        for value in equation.params.values():
            for each in value if isinstance(value, tuple | list) else [value]:
                if inner := getattr(each, "jaxpr", each if hasattr(each, "eqns") else None):
                    yield from costly(inner, inside or name == "cond")


@pytest.mark.parametrize("name", [name for name in RULES if name != "psgd_kron"])
def test_complex_matrices_are_turned_with_the_gradient(name):
    """Unitary matrices on both sides of real gradients turn the updates, whatever they do in between."""
    grads = gradients((4, 3))
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)))[0] for n in (4, 3))
    expected = left @ updates_of(RULES[name](), grads) @ right
    np.testing.assert_allclose(updates_of(RULES[name](), left @ grads @ right), expected, **CLOSE)


@every_rule
def test_a_frequency_may_be_a_schedule(name):
    grads = gradients((4, 3), 11)
    plain = updates_of(RULES[name](precondition_frequency=3), grads)
    scheduled = updates_of(RULES[name](precondition_frequency=lambda step: jnp.where(step < 4, 3, 6)), grads)
    # Both are due at steps 1, 4 and 7, and one alone at 10.
    np.testing.assert_allclose(scheduled[:9], plain[:9], **CLOSE)
    assert not np.allclose(scheduled[10], plain[10])
