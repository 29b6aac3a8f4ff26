"""Preconditioners and what they keep are dealt out over devices as matrices are: the same numbers everywhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx

# Square, as bases of what a first gradient has not seen are arbitrary.
SHAPES = {"rows": (16, 16), "replicated": (16, 16), "layers": (9, 16, 16)}
SPECS = {"rows": P("x"), "replicated": P(), "layers": P(None, "y", "x")}
AXES = gx.MatrixAxes()
RULES = {
    "soap": lambda: gx.scale_by_soap(precondition_frequency=2, spread=True, weight_dimension_numbers=AXES),
    "shampoo": lambda: gx.scale_by_shampoo(
        b2=0.9, eps=1e-3, precondition_frequency=2, block_size=12, graft="adam", weight_dimension_numbers=AXES
    ),
    "kl_shampoo": lambda: gx.scale_by_kl_shampoo(precondition_frequency=2, weight_dimension_numbers=AXES),
    "psgd_kron": lambda: gx.scale_by_psgd_kron(
        precondition_frequency=2, max_size_triangular=8, spread=True, weight_dimension_numbers=AXES
    ),
}
STEPS = 3


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def steps(update, state, grads):
    found = []
    for grad in grads:
        updates, state = update(grad, state)
        found.append(updates)
    return found, state


def grid(kind):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind,) * 2)


def by_jit(tx, params, grads, kind):
    on = grid(kind)
    shardings = {name: NamedSharding(on, spec) for name, spec in SPECS.items()}
    with jax.set_mesh(on):
        params, grads = jax.device_put((params, grads), (shardings, [shardings] * len(grads)))
        state = gx.init_sharded(tx, params)
        kept = shardings, jax.tree.map(lambda leaf: leaf.sharding, state)
        return steps(jax.jit(tx.update, out_shardings=kept), state, grads)


def by_shard_map(tx, params, grads):
    tx, on = gx.on_axes(tx, SPECS), grid(AxisType.Auto)
    of_state = gx.state_specs(tx, params, SPECS, on)
    update = jax.shard_map(tx.update, mesh=on, in_specs=(SPECS, of_state), out_specs=(SPECS, of_state))
    begin = jax.shard_map(tx.init, mesh=on, in_specs=(SPECS,), out_specs=of_state)
    return steps(jax.jit(update), jax.jit(begin)(params), grads)


WAYS = {
    "jit, automatic axes": partial(by_jit, kind=AxisType.Auto),
    "jit, explicit axes": partial(by_jit, kind=AxisType.Explicit),
    "shard_map": by_shard_map,
}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("soap", "jit, automatic axes"),
        ("soap", "shard_map"),
        ("shampoo", "jit, explicit axes"),
        ("kl_shampoo", "jit, automatic axes"),
        ("psgd_kron", "jit, automatic axes"),
        ("psgd_kron", "shard_map"),
    ],
)
def test_same_numbers(name, way):
    # In float64, as bases amplify rounding by the inverse of the distance of eigenvalues.
    with jax.enable_x64(True):
        tx, params, grads = RULES[name](), drawn(0), [drawn(seed) for seed in range(1, 1 + STEPS)]
        expected, _ = steps(jax.jit(tx.update), tx.init(params), grads)
        found, state = WAYS[way](tx, params, grads)
        shapes = jax.eval_shape(tx.init, params)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)
    assert jax.tree.map(lambda leaf: leaf.shape, state) == jax.tree.map(lambda leaf: leaf.shape, shapes)
