# %% sophia
import jax

import gradxform as gx

loss, params = gx.landscapes.rosenbrock, jax.numpy.array([-1.0, 2.0])
tx, grads = gx.sophia(1e-3, update_interval=10, weight_decay=0.1), jax.grad(loss)(params)
params, state = tx.step(grads, tx.init(params), params, obj_fn=loss)
print(params, gx.metrics(state))  # the share of elements that were not clipped

# %% hutchinson_estimator_diag_hessian
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.hutchinson_estimator_diag_hessian(random_seed=0), jnp.array([1.0, 2.0])
diagonal, state = tx.update(params, tx.init(params), params, obj_fn=lambda x: jnp.sum(x**3))
print(diagonal)  # of the Hessian: 6 x

# %% scale_by_sophia
import jax.numpy as jnp

import gradxform as gx

sophia, params = gx.scale_by_sophia(gamma=0.05, clip_threshold=1.0), jnp.array([1.0, 2.0])
tx, grads = gx.chain(sophia, gx.scale_by_learning_rate(1e-3)), 3 * params**2
params, state = tx.step(grads, tx.init(params), params, obj_fn=lambda x: jnp.sum(x**3))
print(gx.metrics(state))

# %% lbfgs
import gradxform as gx

valley = gx.landscapes.rosenbrock
run = gx.minimise(valley, valley.start, gx.lbfgs(), steps=50)  # gets value, grad and value_fn
print(run)

# %% scale_by_backtracking_linesearch
import gradxform as gx

search = gx.scale_by_backtracking_linesearch(max_backtracking_steps=20, store_grad=True)
tx = gx.chain(gx.sgd(1.0), search)
valley = gx.landscapes.quadratic(10.0)
print(gx.minimise(valley, valley.start, tx, steps=200))

# %% scale_by_lbfgs
import gradxform as gx

tx = gx.chain(gx.scale_by_lbfgs(memory_size=10), gx.scale_by_learning_rate(0.5))
valley = gx.landscapes.quadratic()
print(gx.minimise(valley, valley.start, tx, steps=200))  # a fixed rate, no line search

# %% scale_by_zoom_linesearch
import jax

import gradxform as gx

loss, params = gx.landscapes.quadratic(10.0), jax.numpy.array([-3.0, 0.8])
value, grad = jax.value_and_grad(loss)(params)
tx = gx.chain(gx.sgd(1.0), gx.scale_by_zoom_linesearch(max_linesearch_steps=15))
params, state = tx.step(grad, tx.init(params), params, value=value, grad=grad, value_fn=loss)
