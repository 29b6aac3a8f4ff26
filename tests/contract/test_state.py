"""State has one shape for ever, whatever the dtypes of parameters and gradients; and updates leave as they came."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.case import at, params
from tests.contract.cases import CASES

DTYPES = [
    ("float32", "float32"),
    ("bfloat16", "float32"),
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("float64", "float64"),
    ("float64", "float32"),
    ("float32", "float64"),
    ("complex64", "complex64"),
    ("complex128", "complex64"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def x64(*names):
    """JAX with 64 bits, where one of the dtypes needs them."""
    wide = any(name in ("float64", "complex128") for name in names)
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def abstract(tree):
    """Shapes, dtypes and whether types are weak: what `scan` compares."""
    return jax.tree.map(jax.typeof, tree)


@pytest.mark.parametrize(("of_params", "of_grads"), DTYPES, ids=lambda name: name)
@every_case
def test_state_is_fixed_and_updates_leave_in_the_dtype_that_came(case, of_params, of_grads):
    with x64(of_params, of_grads):
        first, grad = params(jnp.dtype(of_params)), at(0, case.gradients(2, jnp.dtype(of_grads)))
        tx = case.make()
        if case.real_only and "complex" in of_params:
            with pytest.raises(TypeError, match="takes real arrays, got complex"):
                tx.init(first)
            return

        def types_after_two_steps(first, grad):
            state = tx.init(first)
            updates, second = tx.update(grad, state, first, **case.extra)
            _, third = tx.update(grad, second, first, **case.extra)
            seen.extend([abstract(state), abstract(second), abstract(third), abstract(updates)])

        seen = []
        jax.eval_shape(types_after_two_steps, first, grad)
        before, after, later, updates = seen
        assert before == after == later
        expected = jax.tree.map(lambda g, p: (g.dtype, p.shape), grad, first)
        assert jax.tree.map(lambda u: (u.dtype, u.shape), updates) == expected
        for leaf in jax.tree.leaves(before):
            assert leaf.dtype not in (jnp.bfloat16, jnp.float16), "slots of low-precision parameters are float32"


@every_case
def test_abstract_init_equals_init(case):
    first = params()
    tx = case.make()
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), first)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), jax.eval_shape(tx.init, shapes)) == jax.tree.map(
        lambda s: (s.shape, s.dtype), tx.init(first)
    )


@every_case
def test_map_params_reaches_the_slots_that_are_like_the_parameters(case):
    first, tx = params(), case.make()
    state = tx.init(first)
    named = jax.tree.map(lambda p: f"like {p.shape}", first)
    # As in optax, what stands for a leaf that a mask leaves out, or for one array for each axis, is told by is_leaf.
    mapped = optax.tree.map_params(
        tx,
        lambda _, name: name,
        state,
        named,
        transform_non_params=lambda _: "other",
        is_leaf=lambda node: isinstance(node, tuple),
    )
    for stage in tx.stages:
        record = mapped.stages[stage.name]
        for name in (*stage.node.slots, *stage.node.metrics):
            value = getattr(record, name)
            assert value == named if _is_tree(stage.node, name) else set(jax.tree.leaves(value)) == {"other"}
    assert mapped.count == "other"


def _is_tree(rule, name):
    return isinstance(rule, gx.LeafRule) or (name in rule.slots and rule.slots[name].is_like_param)


@every_case
def test_a_first_step_may_donate_parameters_and_state(case):
    tx = case.make()

    def step(params, state, grad):
        updates, state = tx.update(grad, state, params, **case.extra)
        return gx.apply_updates(params, updates), state

    first, grad = params(), at(0, case.gradients(1))
    expected = step(first, tx.init(first), grad)
    state = tx.init(first)
    donated = jax.jit(step, donate_argnums=(0, 1))(first, state, grad)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), donated, expected)
    # Metrics of the step before are not read, and so not donated.
    slots = [getattr(state.stages[stage.name], name) for stage in tx.stages for name in stage.node.slots]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((first, state.count, slots)))


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"a": None},
        {"a": jnp.ones(()), "b": None},
        {"a": jnp.ones((0, 3)), "b": (jnp.ones((2,)), [])},
        jnp.ones((2, 2)),
        [jnp.ones((1, 1, 1, 1))],
    ],
    ids=["empty", "none", "scalar and none", "zero size", "root", "four axes"],
)
@every_case
def test_trees_of_every_kind_work(case, tree):
    # A mask speaks of one tree; the rules beside it do not care.
    if "mask" in case.name or case.name == "adamw":
        tx = gx.adamw(0.1, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree))
    else:
        tx = case.make()
    state = tx.init(tree)
    updates, after = tx.update(case.incoming(tree), state, tree, **case.extra)
    assert abstract(after) == abstract(state)
    assert jax.tree.structure(updates) == jax.tree.structure(tree)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((updates, after)))


def test_numbers_of_python_and_numpy_arrays_are_leaves_too():
    tree = {"number": 0.5, "array": np.ones(3, np.float32)}
    tx = gx.adam(0.1)
    updates, state = tx.update(tree, tx.init(tree), tree)
    assert updates["number"].dtype == updates["array"].dtype == state.stages["scale_by_adam"].mu["number"].dtype
    np.testing.assert_allclose(updates["number"], -0.1, rtol=1e-6)
