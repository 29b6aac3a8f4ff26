"""State has one shape for ever, whatever the dtypes of parameters and gradients; and updates leave as they came."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from tests.contract.case import at, params, rules
from tests.contract.cases import DISTINCT, KINDS
from tests.contract.runs import by_hand

DTYPES = [
    ("bfloat16", "float32"),
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("float64", "float64"),
    ("float64", "float32"),
    ("float32", "float64"),
    ("complex64", "complex64"),
    ("complex128", "complex64"),
]
# Of what sees a whole tree, each pair is traced alone: there float32 is what scans are of, and float16 is as bfloat16.
OF_ELEMENTS = [("float32", "float32"), ("float16", "float16"), *DTYPES]
TREES = {
    "empty": {},
    "none": {"a": None},
    "root": jnp.ones((2, 2)),
    # A scalar, nothing, an array of no elements, a node of no leaves, and four axes.
    "of all": {
        "a": jnp.ones(()),
        "b": None,
        "c": jnp.ones((0, 3)),
        "d": (jnp.ones((2,)), [], [jnp.ones((1, 1, 1, 1))]),
    },
}
every_distinct = pytest.mark.parametrize("case", DISTINCT, ids=lambda case: case.name)
every_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.name)


def x64(*names):
    """JAX with 64 bits, where one of the dtypes needs them."""
    wide = any(name in ("float64", "complex128") for name in names)
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def abstract(tree):
    """Shapes, dtypes and whether types are weak: what `scan` compares."""
    return jax.tree.map(jax.typeof, tree)


@every_distinct
def test_state_is_fixed_and_updates_leave_in_the_dtype_that_came(case):
    first, grad = case.of_few(params()), case.of_few(at(0, case.gradients(1)))
    is_of_elements = len(jax.tree.leaves(first)) == 1
    pairs = OF_ELEMENTS if is_of_elements else DTYPES
    if case.real_only:
        pairs = [pair for pair in pairs if "complex" not in pair[0]]
        with pytest.raises(TypeError, match="takes real arrays, got complex"):
            jax.eval_shape(case.make().init, of_dtype(first, "complex64"))
    if is_of_elements:
        # Of what treats each element alone, leaves of all dtypes beside each other, which are traced at once.
        firsts, grads = ({pair: of_dtype(tree, pair[of]) for pair in pairs} for of, tree in enumerate((first, grad)))
        with jax.enable_x64(True):
            assert_fixed(case, firsts, grads)
        return
    for pair in pairs:
        with x64(*pair):
            assert_fixed(case, of_dtype(first, pair[0]), of_dtype(grad, pair[1]))


def assert_fixed(case, first, grad):
    tx = case.make()

    def types_after_a_step(first, grad):
        state = tx.init(first)
        updates, new = tx.update(grad, state, first, **case.extra)
        seen.extend([abstract(state), abstract(new), abstract(updates)])

    seen = []
    jax.eval_shape(types_after_a_step, first, grad)
    before, after, updates = seen
    dtypes = jax.tree.map(lambda leaf: leaf.dtype.name, (first, grad))
    # And so after any number of steps: the next one is traced from the same types.
    assert before == after, dtypes
    expected = jax.tree.map(lambda g, p: (g.dtype, p.shape), grad, first)
    assert jax.tree.map(lambda u: (u.dtype, u.shape), updates) == expected, dtypes
    # What Kahan's sum keeps is of the parameters' dtype, and no slot.
    for leaf in jax.tree.leaves(before) if case.name != "kahan" else ():
        assert leaf.dtype not in (jnp.bfloat16, jnp.float16), "slots of low-precision parameters are float32"


def of_dtype(tree, dtype):
    """The shapes of a tree, in a dtype."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), tree)


@every_distinct
def test_abstract_init_equals_init(case):
    start, _ = by_hand(case)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), case.of_few(params()))
    assert jax.tree.map(lambda s: (s.shape, s.dtype), jax.eval_shape(case.make().init, shapes)) == jax.tree.map(
        lambda s: (s.shape, s.dtype), start
    )


@every_distinct
def test_map_params_reaches_the_slots_that_are_like_the_parameters(case):
    if case.name in ("flatten", "galore", "scale_by_galore"):
        pytest.skip("its state is of one vector, or of reduced shapes, and has nothing that is like the parameters")
    first, tx = case.of_few(params()), case.make()
    state, _ = by_hand(case)
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
    for rule, record in rules(tx, mapped):
        if not isinstance(rule, gx.LeafRule | gx.MatrixRule | gx.TreeRule):
            # What keeps a state otherwise has it as its own.
            inner = record if isinstance(record, gx.State) else record.inner_state
            assert inner.stages["scale_by_adam"].mu == named
            continue
        for name in (*rule.slots, *rule.metrics):
            value = getattr(record, name)
            assert value == named if _is_tree(rule, name) else set(jax.tree.leaves(value)) <= {"other"}
    assert mapped.count == "other"


def _is_tree(rule, name):
    # What `adagc` measures is a number for each leaf.
    if name == "running_norm":
        return True
    return isinstance(rule, gx.LeafRule | gx.MatrixRule) or (name in rule.slots and rule.slots[name].is_tree)


def stepped(case, tree):
    """The state before and after a step of a tree like nothing that masks speak of, and the updates."""
    if "mask" in case.name.split(":")[-1] or case.name == "adamw":
        tx = gx.adamw(0.1, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree))
    else:
        tx = case.make()
    state = tx.init(tree)
    return state, *tx.update(case.incoming(tree), state, tree, **case.extra)


def assert_works(tree, state, updates, after):
    assert abstract(after) == abstract(state)
    assert jax.tree.structure(updates) == jax.tree.structure(tree)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((updates, after)))


@every_distinct
def test_trees_of_every_kind_work(case):
    results = jax.jit(lambda trees: {name: stepped(case, tree) for name, tree in trees.items()})(TREES)
    for name, tree in TREES.items():
        assert_works(tree, *results[name])


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@every_kind
def test_trees_of_every_kind_work_by_hand(case, tree):
    assert_works(tree, *stepped(case, tree))


def test_numbers_of_python_and_numpy_arrays_are_leaves_too():
    tree = {"number": 0.5, "array": np.ones(3, np.float32)}
    tx = gx.adam(0.1)
    updates, state = tx.update(tree, tx.init(tree), tree)
    assert updates["number"].dtype == updates["array"].dtype == state.stages["scale_by_adam"].mu["number"].dtype
    np.testing.assert_allclose(updates["number"], -0.1, rtol=1e-6)
