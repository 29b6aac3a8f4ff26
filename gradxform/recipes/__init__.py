"""Recipes: how published runs were trained, each a chain of public names, with its source.

    from gradxform import recipes
    tx = recipes.nanochat(total_steps=10_000)

A recipe has the hyperparameters of its source at one commit, which its docstring names, with what of it is left out.
It is a place to begin from, and says what its authors did at their scale: print it, and copy what you need.

optax: none. torch: none.
"""

from gradxform.recipes.algoperf import (
    algoperf_schedule_free as algoperf_schedule_free,
    algoperf_shampoo as algoperf_shampoo,
)
from gradxform.recipes.language_models import (
    kimi_k2 as kimi_k2,
    maxtext as maxtext,
    modded_nanogpt as modded_nanogpt,
    nanochat as nanochat,
)
from gradxform.recipes.vision import vit as vit
