# %% ema
import jax.numpy as jnp

import gradxform as gx

tx, first, second = gx.ema(0.9, debias=True), jnp.array([1.0]), jnp.array([3.0])
_, state = tx.update(first, tx.init(first))
mean, state = tx.update(second, state)
print(mean)  # (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9**2)

# %% trace
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.trace(0.9, nesterov=True), gx.scale_by_learning_rate(0.1))
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=5)
print(run.path[1:] - run.path[:-1])  # a constant gradient gathers speed

# %% velocity
import jax.numpy as jnp

import gradxform as gx

rate = gx.piecewise_constant_schedule(0.1, {3: 0.0})  # no rate from the fourth step on
run = gx.minimise(jnp.sum, jnp.zeros(1), gx.velocity(rate, decay=0.9), steps=6)
print(run.path[1:] - run.path[:-1])  # what has speed goes on

# %% scale_by_adam
import jax.numpy as jnp

import gradxform as gx

adam = gx.scale_by_adam(b1=0.9, b2=0.95, clipping_threshold=1.0)  # with the clipping of StableAdamW
tx = gx.chain(adam, gx.add_decayed_weights(0.1), gx.scale_by_learning_rate(3e-4))
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
params, state = tx.step(params, tx.init(params), params)

# %% scale_by_nadam
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_nadam(momentum_decay=4e-3), gx.scale_by_learning_rate(2e-3))
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
params, state = tx.step(params, tx.init(params), params)
print(params)

# %% scale_by_rms
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_rms(0.99, bias_correction=True), gx.scale_by_learning_rate(1e-3))
grads = {"w": jnp.array([1.0, -100.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.nu)

# %% scale_by_rss
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_rss(initial_accumulator_value=0.0), gx.scale_by_learning_rate(0.1))
grads = {"w": jnp.array([1.0, 0.0, -100.0])}  # often zero, as of words in an embedding
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.sum_of_squares)

# %% scale_by_stddev
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_stddev(0.99, eps_in_sqrt=False), gx.scale_by_learning_rate(1e-3))
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=300)
print(run.path[100:301:50])  # far, where the gradient does not change

# %% scale_by_acprop
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_acprop(paper=True), gx.scale_by_learning_rate(1e-3))
run = gx.minimise(lambda x: jnp.sum(x**2) / 2, jnp.array([5.0]), tx, steps=5)
print(run.path[1:] - run.path[:-1])  # the first step is the gradient times the rate

# %% scale_by_adamax
import jax.numpy as jnp

import gradxform as gx

tx, large, small = gx.scale_by_adamax(b2=0.999), jnp.array([10.0]), jnp.array([0.1])
_, state = tx.update(large, tx.init(large))
updates, state = tx.update(small, state)
print(updates, state.nu)  # the largest gradient so far, which decays

# %% scale_by_adopt
import jax.numpy as jnp

import gradxform as gx

adopt = gx.scale_by_adopt(clip_value_fn=lambda step: 1.0 + 0.1 * step)  # its own bound
tx, grads = gx.chain(adopt, gx.scale_by_learning_rate(1e-3)), {"w": jnp.array([1.0, -2.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.nu)  # the first step only measures the gradient

# %% scale_by_amsgrad
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_amsgrad(bias_correction_nu=False), gx.scale_by_learning_rate(1e-3))
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
print(gx.describe(tx, params))  # three slots: Adam's two, and the largest nu

# %% scale_by_belief
import jax.numpy as jnp

import gradxform as gx

belief = gx.scale_by_belief(eps=1e-8, eps_root=1e-16)
tx = gx.chain(belief, gx.scale_by_learning_rate(1e-3))
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=20)
print(run.x)  # further than 20 steps of 1e-3: a constant gradient is believed

# %% scale_by_novograd
import jax.numpy as jnp

import gradxform as gx

novograd = gx.scale_by_novograd(b1=0.95, b2=0.98, weight_decay=1e-3, mask=gx.by_ndim(at_least=2))
tx, params = gx.chain(novograd, gx.scale_by_learning_rate(1e-2)), {"w": jnp.full((3, 2), 5.0)}
updates, state = tx.update(params, tx.init(params), params)
print(updates, state.nu)  # divided by the norm of the leaf

# %% scale_by_radam
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_radam(b2=0.99), gx.scale_by_learning_rate(1e-3))
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=200)
steps = run.path[:-1] - run.path[1:]
print(steps[[0, 4, 5, 20, 100, 199]])  # momentum, then Adam with a warm-up

# %% scale_by_yogi
import jax.numpy as jnp

import gradxform as gx

tx, large, small = gx.scale_by_yogi(), jnp.array([10.0]), jnp.array([0.1])
_, before = tx.update(large, tx.init(large))
_, after = tx.update(small, before)
print(before.nu - after.nu)  # (1 - b2) times the square of the small gradient

# %% scale_by_adam_mini
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_adam_mini(blocks=0), gx.scale_by_learning_rate(1e-3))
state = tx.init({"embedding": jnp.ones((1000, 64))})
print(state.nu["embedding"].shape)  # a number for each token

# %% scale_by_madgrad
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.add_decayed_weights(1e-4), gx.scale_by_madgrad(1e-2, momentum=0.9))
params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
params, state = tx.step(params, tx.init(params), params)
print(params)  # downhill already: no learning rate follows

# %% scale_by_laprop
import jax.numpy as jnp

import gradxform as gx

tx, small, large = gx.scale_by_laprop(b1=0.9, b2=0.5), jnp.array([1.0]), jnp.array([100.0])
_, state = tx.update(small, tx.init(small))
updates, state = tx.update(large, state)
print(updates)  # about 1: each gradient was divided when it came

# %% scale_by_adan
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.chain(gx.scale_by_adan(), gx.scale_by_learning_rate(1e-3)), {"w": jnp.ones(2)}
_, state = tx.update(grads, tx.init(grads))
updates, state = tx.update({"w": jnp.array([1.0, 2.0])}, state)
print(updates)  # the second gradient changes

# %% scale_by_ademamix
import jax.numpy as jnp

import gradxform as gx

ademamix = gx.scale_by_ademamix(b3=0.9999, alpha=gx.linear_schedule(0.0, 8.0, 10_000))
tx = gx.chain(ademamix, gx.add_decayed_weights(0.1), gx.scale_by_learning_rate(1e-3))
state = tx.init({"w": jnp.ones((3, 2)), "b": jnp.zeros(2)})
print(state.stages["scale_by_ademamix"])  # the fast mean, the slow one, the mean square

# %% scale_by_simplified_ademamix
import jax.numpy as jnp

import gradxform as gx

rule = gx.scale_by_simplified_ademamix(b1=0.99, b2=0.95, alpha=10.0)
tx, grads = gx.chain(rule, gx.scale_by_learning_rate(1e-5)), {"w": jnp.array([1.0, -2.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.m)  # m is a sum: hence the small rate

# %% scale_by_adadelta
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_adadelta(rho=0.9, eps=1e-6), gx.scale_by_learning_rate(1.0))
grads = {"w": jnp.array([1.0, -100.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)  # about sqrt(eps) at first, whatever the gradient

# %% scale_by_optimistic_gradient
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.scale_by_optimistic_gradient(alpha=1.0, beta=1.0), jnp.array([1.0])
_, state = tx.update(grads, tx.init(grads))
updates, state = tx.update(1.5 * grads, state)
print(updates)  # 2: it is expected to change by as much again

# %% scale_by_polyak
import jax.numpy as jnp

import gradxform as gx

polyak = gx.scale_by_polyak(f_min=0.0, max_learning_rate=1.0, variant="sps+")
tx, params = gx.chain(polyak, gx.scale_by_learning_rate(1.0)), jnp.array([3.0, 4.0])
params, state = tx.step(2 * params, tx.init(params), params, value=jnp.sum(params**2))
print(params, gx.metrics(state))  # halfway

# %% scale_by_lion
import jax.numpy as jnp

import gradxform as gx

lion = gx.scale_by_lion(b1=0.9, b2=0.99, mode="refined")  # small gradients make small steps
tx, grads = gx.chain(lion, gx.scale_by_learning_rate(1e-4)), {"w": jnp.array([50.0, -1e-3])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% scale_by_rprop
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_rprop(1e-2, max_step_size=1.0), gx.scale_by_learning_rate(1.0))
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=5)
print(run.path[1:] - run.path[:-1])  # a step grows by 1.2 while its gradient keeps its sign

# %% scale_by_sign
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.ema(0.9), gx.scale_by_sign(), gx.scale_by_learning_rate(1e-3))
grads = {"w": jnp.array([100.0, -1e-6, 0.0])}
updates, state = tx.update(grads, tx.init(grads))
print(updates)

# %% scale_by_param_block_norm
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.normalize(), gx.scale_by_param_block_norm(), gx.scale_by_learning_rate(1e-2))
params = {"w": jnp.array([3.0, 4.0])}
params, state = tx.step({"w": jnp.array([1e3, 0.0])}, tx.init(params), params)
print(params)  # a step of a hundredth of the norm

# %% scale_by_param_block_rms
import jax.numpy as jnp

import gradxform as gx

rules = gx.scale_by_factored_rms(), gx.scale_by_param_block_rms(), gx.scale_by_learning_rate(1e-2)
tx, params = gx.chain(*rules), {"large": jnp.full(3, 10.0), "small": jnp.full(3, 0.1)}
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # each leaf moves by a hundredth of its size

# %% scale_by_trust_ratio
import jax.numpy as jnp

import gradxform as gx

tx = gx.chain(gx.scale_by_adam(), gx.scale_by_trust_ratio(), gx.scale_by_learning_rate(1e-3))
params = {"w": jnp.full((3, 2), 5.0), "b": jnp.full(2, 0.1)}
params, state = tx.step(params, tx.init(params), params)
print(params, gx.metrics(state))  # each leaf moves by a thousandth of its size

# %% scale_by_came
import jax.numpy as jnp

import gradxform as gx

came = gx.scale_by_came(weight_dimension_numbers=gx.MatrixAxes())  # (..., in, out)
tx = gx.chain(came, gx.scale_by_learning_rate(2e-4))
state = tx.init({"layers": jnp.ones((4, 16, 32))})
print(state.v_row["layers"].shape, state.v_col["layers"].shape)

# %% scale_by_factored_rms
import jax.numpy as jnp

import gradxform as gx

factored = gx.scale_by_factored_rms(min_dim_size_to_factor=32)
tx = gx.chain(factored, gx.clip_by_block_rms(1.0), gx.scale_by_learning_rate(1e-2))
state = tx.init({"w": jnp.ones((64, 128)), "b": jnp.zeros(128)})
print(state.v_row["w"].shape, state.v_col["w"].shape, state.v["b"].shape)

# %% scale_by_sm3
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.scale_by_sm3(b1=0.0), {"w": jnp.array([[3.0, 0.0], [1.0, 2.0]])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.mu)  # the largest squares of rows and of columns
