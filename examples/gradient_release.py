"""Gradient release: layers of one shape step one after the other in the backward pass, and no gradient waits.

Parameters and states of all layers lie in arrays with an axis of layers in front, and are changed where they are. What
needs the gradients of all layers at once, such as a global norm, has no place in it. Donate params and states.
"""

import jax
from jax import lax

import gradxform as gx


def step(layer, loss, tx: gx.Transform, params, states, x):
    """One step of each layer, from the last to the first.

    Args:
      layer, loss: (params of one layer, x) -> x of the same shape; x behind the last layer -> a number.
      tx: the transform of one layer; `states` is `jax.vmap(tx.init)(params)`.
    """
    x, inputs = lax.scan(lambda x, of_one: (layer(of_one, x), x), x, params)
    value, way = jax.value_and_grad(loss)(x)
    count = len(inputs)

    def back(done, carry):
        params, states, way = carry
        index = count - 1 - done

        def at(tree):
            return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False), tree)

        of_one = at(params)
        _, pullback = jax.vjp(layer, of_one, at(inputs))
        grads, way = pullback(way)
        stepped = tx.step(grads, at(states), of_one)
        put = jax.tree.map(
            lambda all, one: lax.dynamic_update_index_in_dim(all, one, index, 0), (params, states), stepped
        )
        return *put, way

    return *lax.fori_loop(0, count, back, (params, states, way))[:2], value
