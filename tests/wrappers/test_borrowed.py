"""optax's wrappers, reachable from gradxform: they print with what they wrap, compare, pickle, and compute the same."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx

PARAMS = {"w": jnp.arange(1.0, 4.0), "b": jnp.ones(2)}
MATRICES = {"w": jnp.arange(1.0, 7.0).reshape(3, 2) ** 2, "b": jnp.array([[2.0, 1.0], [0.5, 3.0]])}


# Each a function of the library: ours and optax's make the same.
CASES = {
    "flatten": lambda lib: lib.flatten(lib.adam(0.1)),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adam(0.1), 3),
    "conditionally_transform": lambda lib: lib.conditionally_transform(lib.sgd(0.1), lambda step: step > 1),
    "conditionally_mask": lambda lib: lib.conditionally_mask(lib.sgd(0.1), lambda step: step > 1),
    "split_real_and_imaginary": lambda lib: (lib if lib is gx else optax.contrib).split_real_and_imaginary(
        lib.sgd(0.1)
    ),
    "stateless": lambda lib: lib.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates)),
    "stateless_with_tree_map": lambda lib: lib.stateless_with_tree_map(lambda update, param: update + param),
    "MultiSteps": lambda lib: lib.MultiSteps(lib.adam(0.1), 2),
}
WITH_FUNCTIONS = ("conditionally", "stateless")
every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_computes_what_optax_computes(name):
    def trajectory(library):
        tx = CASES[name](library)
        params = PARAMS
        state = tx.init(params)
        for _ in range(4):
            updates, state = tx.update(params, state, params)
            params = optax.apply_updates(params, updates)
        return params

    # optax's wrappers mix dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        ours, theirs = trajectory(gx), trajectory(optax)
    # optax takes Adam's 1 - b2^t in float32, off by 3e-5.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, theirs)


@every_case
def test_prints_with_what_it_wraps(name):
    tx = CASES[name](gx)
    assert "0x" not in repr(tx)
    assert repr(tx).startswith(f"{name}(")
    if name in ("apply_if_finite", "MultiSteps"):
        assert "scale_by_adam(b1=0.9" in repr(tx)
    if not any(word in name for word in WITH_FUNCTIONS) and name != "MultiSteps":
        assert eval(repr(tx), {**vars(gx)}) == tx


def test_multi_steps_prints_by_what_a_step_is_skipped_if_one_is():
    assert "should_skip_update_fn" not in repr(gx.MultiSteps(gx.sgd(0.1), 2))
    skipping = gx.MultiSteps(gx.sgd(0.1), 2, should_skip_update_fn=optax.skip_not_finite)
    assert "should_skip_update_fn=<optax.transforms._accumulation.skip_not_finite>" in repr(skipping)


@pytest.mark.parametrize("name", [n for n in CASES if n != "MultiSteps" and not any(w in n for w in WITH_FUNCTIONS)])
def test_is_a_value(name):
    one, other = CASES[name](gx), CASES[name](gx)
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert gx.chain(gx.clip(1.0), one) != gx.chain(gx.clip(2.0), other)


def test_an_argument_that_is_the_default_is_as_if_it_was_not_given():
    tx = gx.scale_by_backtracking_linesearch(20)
    assert gx.scale_by_backtracking_linesearch(20, slope_rtol=float("1e-4"), increase_factor=float("1.5")) == tx
    assert gx.scale_by_backtracking_linesearch(20, slope_rtol=1e-3) != tx


def test_a_wrong_argument_is_an_error_at_construction():
    with pytest.raises(TypeError, match="missing a required argument: 'max_backtracking_steps'"):
        gx.scale_by_backtracking_linesearch()


@pytest.mark.parametrize(
    "solver",
    [
        gx.lbfgs(),
        gx.chain(gx.scale_by_lbfgs(), gx.scale(-1.0), gx.scale_by_zoom_linesearch(20)),
        gx.chain(gx.scale(-1.0), gx.scale_by_backtracking_linesearch(20, store_grad=True)),
        gx.chain(gx.clip_by_global_norm(10.0), optax.lbfgs()),
    ],
    ids=lambda solver: solver.stages[-1].name,
)
def test_line_searches_and_lbfgs_work_in_a_chain(solver):
    def loss(x):
        return jnp.sum(jnp.array([1.0, 3.0, 5.0]) * jnp.square(x - 1.0))

    @jax.jit
    def step(x, state):
        value, grad = optax.value_and_grad_from_state(loss)(x, state=state)
        updates, state = solver.update(grad, state, x, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(x, updates), state

    x = jnp.zeros(3)
    # optax's line searches mix dtypes.
    with jax.numpy_dtype_promotion("standard"):
        state = solver.init(x)
        for _ in range(30):
            x, state = step(x, state)
    np.testing.assert_allclose(x, 1.0, atol=1e-3)


def test_numbers_within_a_wrapper_within_a_wrapper():
    tx = gx.masked(gx.guard(gx.chain(gx.clip_by_norm(3.0), gx.accumulate(gx.sgd(0.1), 2))), {"w": True, "b": False})
    leaves, structure = jax.tree.flatten(tx)
    assert leaves == [0.99, 3.0, 0.1]
    assert jax.tree.unflatten(structure, leaves) == tx
    assert repr(jax.tree.unflatten(structure, leaves)) == repr(tx)
    assert jax.tree.map(lambda number: 2 * number, tx) != tx


def test_leaves_of_which_each_device_has_a_part_are_an_error():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("data")
    tx = gx.lbfgs(linesearch=None)
    run = jax.shard_map(lambda w: tx.update(w, tx.init(w), w)[0], mesh=mesh, in_specs=spec, out_specs=spec)
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        pytest.raises(ValueError, match=r"lbfgs takes the elements of a leaf together.*leaf at 'w'.*outside shard_map"),
    ):
        jax.eval_shape(run, {"w": jnp.ones((4, 2))})


def test_a_vmap_over_the_numbers_of_a_borrowed_wrapper_leaks_no_tracer():
    rates = jnp.array([0.1, 0.2])

    def borrowed(rate):
        return gx.lbfgs(rate, linesearch=None)

    def stepped(tx):
        return tx.update(MATRICES, tx.init(MATRICES), MATRICES)[0]

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # While JAX looks for leaks it keeps no compiled program: what is done by hand is compiled at each call.
        with jax.checking_leaks():
            mapped = jax.vmap(borrowed)(rates)
            np.testing.assert_array_equal(jax.tree.leaves(mapped)[0], rates)
            found = jax.jit(jax.vmap(stepped))(mapped)
            made = jax.jit(borrowed)(rates[1])
            assert made == borrowed(rates[1])
        for index, rate in enumerate([0.1, 0.2]):
            expected = stepped(borrowed(rate))
            jax.tree.map(lambda a, b, index=index: np.testing.assert_allclose(a[index], b, rtol=1e-5), found, expected)


def test_an_optax_transform_that_was_made_of_a_traced_number_says_so():
    txs = jax.vmap(lambda rate: gx.chain(optax.sgd(rate)))(jnp.array([0.1, 0.2]))
    with pytest.raises(TypeError, match=r"of optax's holds a traced number.*inside the function that uses it"):
        txs.update(PARAMS, txs.init(PARAMS), PARAMS)
