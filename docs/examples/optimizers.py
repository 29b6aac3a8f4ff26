# %% sgd
import gradxform as gx

valley = gx.landscapes.ravine(1000.0)
for tx in (gx.sgd(1.0), gx.sgd(0.5, momentum=0.95, nesterov=True)):
    print(gx.minimise(valley, valley.start, tx))

# %% rmsprop
import jax.numpy as jnp

import gradxform as gx

tx = gx.rmsprop(1e-3, decay=0.99, eps_in_sqrt=False, momentum=0.9)  # as in torch
params = {"w": jnp.array([100.0, 0.01])}
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # large and small gradients make steps of one size

# %% adagrad
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(jnp.sum, jnp.zeros(1), gx.adagrad(0.1, initial_accumulator_value=0.0), steps=5)
print(run.path[1:] - run.path[:-1])  # of a gradient of 1, steps fall as 1 / sqrt(t)

# %% adam
import gradxform as gx

valley = gx.landscapes.beale
run = gx.minimise(valley, valley.start, gx.adam(0.1), steps=500)
print(run)

# %% adamw
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
tx = gx.adamw(3e-4, b2=0.95, weight_decay=0.1, mask=gx.not_biases_or_norms())
params, state = tx.step(params, tx.init(params), params)
print(gx.describe(tx, params))

# %% nadam
import jax.numpy as jnp

import gradxform as gx

for tx in (gx.adam(2e-3), gx.nadam(2e-3), gx.nadam(2e-3, momentum_decay=4e-3)):
    updates, _ = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
    print(updates)  # the first step; the last is that of torch.optim.NAdam

# %% nadamw
import jax.numpy as jnp

import gradxform as gx

tx = gx.nadamw(2e-3, b2=0.98, weight_decay=0.05, mask=gx.not_biases_or_norms())
params = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
params, state = tx.step(params, tx.init(params), params)
print(params)

# %% adamw_lean
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.zeros((512, 2048), jnp.bfloat16), "bias": jnp.zeros(2048, jnp.bfloat16)}
tx = gx.adamw_lean(3e-4, weight_decay=0.1, mask=gx.not_biases_or_norms())
print(gx.describe(tx, params))  # 3 bytes a parameter, where AdamW keeps 8

# %% acprop
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.acprop(1e-3, weight_decay=1e-2), {"w": jnp.array([0.5, 0.5])}
_, state = tx.update(params, tx.init(params), params)
updates, state = tx.update({"w": jnp.array([0.5, 50.0])}, state, params)
print(updates)  # what divides the second gradient does not know it yet

# %% adabelief
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(jnp.sum, jnp.zeros(1), gx.adabelief(1e-3), steps=20)
steps = run.path[:-1] - run.path[1:]
print(steps[[0, 4, 9, 19]])  # they grow, as a constant gradient is what it expects

# %% adam_mini
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 64)), "b": jnp.zeros(64)}
print(gx.describe(gx.adam(1e-3), params))
print(gx.describe(gx.adam_mini(1e-3), params))  # half the bytes: one nu for each leaf

# %% adamax
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.adamax(2e-3), {"w": jnp.array([1.0, 1e-3, 1e3])}
updates, state = tx.update(grads, tx.init(grads))
print(updates, state.nu)  # nu is the largest gradient so far, and decays

# %% adamaxw
import jax.numpy as jnp

import gradxform as gx

tx = gx.adamaxw(2e-3, weight_decay=1e-2, mask=gx.by_ndim(at_least=2))
params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
params, state = tx.step(params, tx.init(params), params)
print(params["w"][0, 0], params["b"][0])  # the bias does not decay

# %% adopt
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(jnp.sum, jnp.zeros(1), gx.adopt(1e-3), steps=4)
print(run.path)  # the first step only measures the gradient

# %% amsgrad
import jax.numpy as jnp

import gradxform as gx

tx, large, small = gx.amsgrad(1e-3, b2=0.9), jnp.array([10.0]), jnp.array([0.1])
_, state = tx.update(large, tx.init(large))
_, state = tx.update(small, state)
print(state.nu, state.nu_max)  # nu falls after a large gradient, and nu_max does not

# %% laprop
import gradxform as gx

valley = gx.landscapes.rosenbrock
run = gx.minimise(valley, valley.start, gx.laprop(0.02, b1=0.9, b2=0.5), steps=1000)
print(run)  # b1 may be larger than b2

# %% novograd
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 64)), "b": jnp.zeros(64)}
tx = gx.novograd(1e-2, b1=0.95, b2=0.98, weight_decay=1e-3)
print(gx.describe(tx, params))  # nu is one number a leaf

# %% radam
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(jnp.sum, jnp.zeros(1), gx.radam(1e-3), steps=200)
steps = run.path[:-1] - run.path[1:]
print(steps[[0, 4, 5, 50, 100, 199]])  # five steps of momentum, then Adam with a warm-up

# %% yogi
import jax.numpy as jnp

import gradxform as gx

tx, large, small = gx.yogi(1e-2), jnp.array([10.0]), jnp.array([0.1])
_, state = tx.update(large, tx.init(large))
_, after = tx.update(small, state)
print(state.nu, after.nu)  # nu shrinks by (1 - b2) times the small gradient's square, no more

# %% adan
import gradxform as gx

valley = gx.landscapes.rosenbrock
run = gx.minimise(valley, valley.start, gx.adan(0.01), steps=2000)
print(run)

# %% ademamix
import jax.numpy as jnp

import gradxform as gx

alpha = gx.linear_schedule(0.0, 8.0, 10_000)  # the slow mean comes in slowly
tx = gx.ademamix(1e-3, b3=0.9999, alpha=alpha, weight_decay=0.1)
print(gx.describe(tx, {"w": jnp.ones((3, 2))}))

# %% madgrad
import gradxform as gx

valley = gx.landscapes.quadratic()
run = gx.minimise(valley, valley.start, gx.madgrad(0.1, momentum=0.9), steps=500)
print(run)

# %% simplified_ademamix
import jax.numpy as jnp

import gradxform as gx

tx = gx.simplified_ademamix(1e-5, b1=0.99, b2=0.95, alpha=0.0)
run = gx.minimise(jnp.sum, jnp.zeros(1), tx, steps=500)
print(run.x)  # nearly as far as 500 steps of Adam with 1e-3

# %% adafactor
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 512)), "b": jnp.zeros(512)}
tx = gx.adafactor(1e-2, multiply_by_parameter_scale=True)
print(gx.describe(tx, params))  # a row and a column in the place of a matrix

# %% came
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 512)), "b": jnp.zeros(512)}
tx = gx.came(2e-4, weight_decay=1e-2, mask=gx.by_ndim(at_least=2))
print(gx.describe(tx, params))  # mu, and rows and columns of two matrices

# %% lamb
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.full((3, 2), 10.0), "b": jnp.full(2, 0.1)}
tx = gx.lamb(2e-3, weight_decay=1e-2, mask=gx.by_ndim(at_least=2))
_, state = tx.step(params, tx.init(params), params)
print(gx.metrics(state))  # each layer moves by 2e-3 of its own size

# %% lars
import jax.numpy as jnp

import gradxform as gx

weights = gx.not_biases_or_norms()
tx = gx.lars(1.0, weight_decay=1e-4, mask=weights, trust_ratio_mask=weights)
params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
print(gx.metrics(tx.step(params, tx.init(params), params)[1]))

# %% sm3
import jax.numpy as jnp

import gradxform as gx

params = {"w": jnp.ones((256, 512)), "b": jnp.zeros(512)}
state = gx.sm3(0.1, momentum=0.9).init(params)
print([vector.shape for vector in state.mu["w"]])  # for 131072 weights

# %% fromage
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.fromage(1e-2), {"w": jnp.array([3.0, 4.0])}
grads = {"w": jnp.array([-400.0, 300.0])}  # across the weights
params, state = tx.step(grads, tx.init(params), params)
print(params, jnp.linalg.norm(params["w"]))  # turned by 1e-2, as long as before

# %% adadelta
import jax.numpy as jnp

import gradxform as gx

run = gx.minimise(jnp.sum, jnp.zeros(1), gx.adadelta(1.0, rho=0.9, eps=1e-6), steps=100)
print(run.path[::20])  # the step size grows by itself; 1 is the paper's rate

# %% lion
import jax.numpy as jnp

import gradxform as gx

params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
tx = gx.lion(1e-4, weight_decay=0.3, mask=gx.not_biases_or_norms())
updates, state = tx.update(params, tx.init(params), params)
print(updates)  # the rate of AdamW over 3, and its decay times 3

# %% noisy_sgd
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.noisy_sgd(0.1, eta=0.01, gamma=0.55, key=0), jnp.zeros(3)
updates, state = tx.update(grads, tx.init(grads))
print(updates)  # where there is no gradient, the noise alone

# %% optimistic_adam
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.optimistic_adam(1e-3, optimism=5e-4), {"w": jnp.ones((3, 2))}
params, state = tx.step(params, tx.init(params), params)
print(tx)  # the rate of the update, and that of its change

# %% optimistic_adam_v2
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.optimistic_adam_v2(1e-3, weight_decay=1e-2), {"w": jnp.ones((3, 2))}
params, state = tx.step(params, tx.init(params), params)
print(tx)  # the forecast is of the updates of Adam

# %% optimistic_gradient_descent
import jax.numpy as jnp

import gradxform as gx

tx, game = gx.optimistic_gradient_descent(0.3), {"x": jnp.ones(1), "y": jnp.ones(1)}
state = tx.init(game)
for _ in range(100):  # x makes x y small, y makes it large: both go to 0, where sgd flies off
    game, state = tx.step({"x": game["y"], "y": -game["x"]}, state, game)

# %% polyak_sgd
import jax.numpy as jnp

import gradxform as gx

tx, params = gx.polyak_sgd(max_learning_rate=1.0, f_min=0.0), jnp.array([3.0, 4.0])
loss = jnp.sum(params**2) / 2
params, state = tx.step(params, tx.init(params), params, value=loss)
print(params, gx.metrics(state))

# %% rprop
import gradxform as gx

valley = gx.landscapes.quadratic(1e4)
run = gx.minimise(valley, valley.start, gx.rprop(1e-2), steps=500)
print(run)  # it reads signs alone, so that a flat axis does not slow it

# %% sign_sgd
import jax.numpy as jnp

import gradxform as gx

tx, grads = gx.sign_sgd(1e-3), {"w": jnp.array([100.0, -1e-6, 0.0])}
updates, _ = tx.update(grads, tx.init(grads))
print(updates)

# %% signum
import jax.numpy as jnp

import gradxform as gx

tx = gx.signum(1e-4, beta=0.9, weight_decay=0.1)
params, grads = jnp.zeros(2), (jnp.array([1.0, 1.0]), jnp.array([1.0, -5.0]))
_, state = tx.update(grads[0], tx.init(params), params)
print(tx.update(grads[1], state, params)[0])  # the sign of the mean of both
