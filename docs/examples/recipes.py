"""Recipes: how published runs were trained."""

# %% recipes.nanochat
import jax.numpy as jnp

from gradxform import recipes

params = {"embed": jnp.ones((16, 8)), "mlp": jnp.ones((8, 32)), "norm": jnp.ones(8)}
tx = recipes.nanochat(total_steps=10_000)
params, state = tx.step(params, tx.init(params), params)
print(tx)

# %% recipes.modded_nanogpt
import jax.numpy as jnp

from gradxform import recipes

params = {"embed": jnp.ones((16, 8)), "mlp": jnp.ones((8, 32)), "norm": jnp.ones(8)}
tx = recipes.modded_nanogpt()
params, state = tx.step(params, tx.init(params), params)
print(tx)

# %% recipes.kimi_k2
import jax.numpy as jnp

from gradxform import recipes

params = {"embed": jnp.ones((16, 8)), "mlp": jnp.ones((8, 32)), "norm": jnp.ones(8)}
tx = recipes.kimi_k2(total_steps=10_000, query=None)
params, state = tx.step(params, tx.init(params), params)
print(tx)

# %% recipes.maxtext
from gradxform import recipes

tx = recipes.maxtext(total_steps=10_000, learning_rate=3e-4)
print(tx)

# %% recipes.vit
from gradxform import recipes

tx = recipes.vit(total_steps=111_492)
print(tx)

# %% recipes.algoperf_shampoo
from gradxform import recipes

tx = recipes.algoperf_shampoo(total_steps=10_000)
print(tx)

# %% recipes.algoperf_schedule_free
import jax.numpy as jnp

import gradxform as gx
from gradxform import recipes

params, tx = {"w": jnp.ones((3, 2))}, recipes.algoperf_schedule_free(total_steps=10_000)
params, state = tx.step(params, tx.init(params), params)
print(gx.eval_params(tx, state, params))

# %% recipes
import gradxform as gx
from gradxform import recipes

tx = recipes.maxtext(total_steps=10_000, learning_rate=3e-4)
print(gx.replace(tx, weight_decay=0.01))
