"""Steps in the backward pass: the example's, and what XLA makes of a plain step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
from examples import gradient_release

LAYERS, WIDTH = 6, 128


def layer(params, x):
    return x + jnp.tanh(x @ params["in"]) @ params["out"]


def loss(x):
    return jnp.mean(jnp.square(x))


def params_and_batch():
    keys = jax.random.split(jax.random.key(0), 3)
    leaves = {
        "in": jax.random.normal(keys[0], (LAYERS, WIDTH, 2 * WIDTH)) / 10,
        "out": jax.random.normal(keys[1], (LAYERS, 2 * WIDTH, WIDTH)) / 10,
    }
    return leaves, jax.random.normal(keys[2], (8, WIDTH))


def test_layer_by_layer_it_is_the_step_of_all_layers():
    tx, (params, x) = gx.adamw(1e-2), params_and_batch()

    @jax.jit
    def both():
        def of_all(params):
            return loss(jax.lax.scan(lambda x, of_one: (layer(of_one, x), None), x, params)[0])

        value, grads = jax.value_and_grad(of_all)(params)
        released = gradient_release.step(layer, loss, tx, params, jax.vmap(tx.init)(params), x)
        return (tx.step(grads, tx.init(params), params)[0], value), released

    (expected, value), (found, states, same) = both()
    np.testing.assert_allclose(same, value, rtol=1e-6)
    np.testing.assert_array_equal(states.count, np.ones(LAYERS))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # The first step of Adam is g / |g|, of gradients that are summed in another order.
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_of_layers_that_are_no_loop_xla_frees_each_gradient_by_itself():
    tx, (stacked, x) = gx.adamw(1e-2), params_and_batch()
    params = [jax.tree.map(lambda leaf, index=index: leaf[index], stacked) for index in range(LAYERS)]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, x):
        def of_all(params):
            y = x
            for of_one in params:
                y = layer(of_one, y)
            return loss(y)

        return tx.step(jax.grad(of_all)(params), state, params)

    memory = step.lower(params, tx.init(params), x).compile().memory_analysis()
    gradients = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    # Two layers of six.
    assert memory.temp_size_in_bytes < gradients / 3
    assert memory.alias_size_in_bytes >= 3 * gradients
