"""A script for optax runs with one changed import, and gives the same losses."""

import importlib
import inspect
import pathlib
import runpy
import types

import jax
import numpy as np
import optax
import pytest

import gradxform as gx
import gradxform.as_optax

# A page of training as it is written for optax; the import stands apart, since it is what changes.
SCRIPT = """
import jax, jax.numpy as jnp

schedule = optax.warmup_cosine_decay_schedule(init_value=0.0, peak_value=3e-2, warmup_steps=5, decay_steps=40)
decayed = lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
tx = optax.MultiSteps(
    optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1, mask=decayed)),
    every_k_schedule=2,
)
key = jax.random.key(0)
inputs = jax.random.normal(key, (64, 5))
labels = (inputs @ jnp.arange(5.0) > 0).astype(jnp.int32)
params = {"w": 0.1 * jax.random.normal(jax.random.key(1), (5, 2)), "b": jnp.zeros(2)}
state = tx.init(params)

@jax.jit
def step(params, state, inputs, labels):
    def loss(params):
        logits = inputs @ params["w"] + params["b"][None]
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    value, grads = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value

losses, norms = [], []
for i in range(80):
    rows = jnp.arange(i * 8, i * 8 + 8) % 64
    params, state, value = step(params, state, inputs[rows], labels[rows])
    losses.append(float(value))
    norms.append(float(optax.tree_utils.tree_norm(params)))
counted = int(optax.tree_utils.tree_get(state, "gradient_step"))
"""


def run(import_line):
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(import_line + SCRIPT, names)
    return names


def test_a_training_script_gives_the_same_losses():
    theirs, ours = run("import optax"), run("import gradxform.as_optax as optax")
    assert isinstance(ours["tx"], gx.MultiSteps)
    # 80 steps of float32; optax takes 1 - b2^t in float32, off by 3e-5 at first.
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=2e-4)
    np.testing.assert_allclose(ours["norms"], theirs["norms"], rtol=2e-4)
    assert ours["counted"] == theirs["counted"] == 40
    assert ours["losses"][-1] < 0.5 * ours["losses"][0]


def test_every_public_name_of_optax_is_there():
    mine, theirs = vars(gradxform.as_optax), vars(optax)
    assert {name for name in theirs if not name.startswith("_")} <= set(mine)
    for name, value in theirs.items():
        if isinstance(value, types.ModuleType) and value.__name__ == f"optax.{name}" and not name.startswith("_"):
            assert {key for key in vars(value) if not key.startswith("_")} <= set(vars(mine[name]))


def test_ours_stand_where_optax_s_stood():
    assert gradxform.as_optax.adamw is gx.adamw
    assert gradxform.as_optax.masked is gx.masked
    assert gradxform.as_optax.schedules.linear_schedule is gx.linear_schedule
    assert gradxform.as_optax.contrib.sam is gx.sam
    assert gradxform.as_optax.losses.l2_loss is optax.losses.l2_loss
    assert gradxform.as_optax.global_norm is optax.global_norm


@pytest.mark.parametrize("name", ["contrib", "losses", "schedules", "transforms", "tree_utils", "projections"])
def test_imports_from_submodules_work(name):
    module = importlib.import_module(f"gradxform.as_optax.{name}")
    assert module is getattr(gradxform.as_optax, name)
    assert inspect.getdoc(module) == inspect.getdoc(getattr(optax, name))


def test_the_table_of_names_is_that_of_the_code():
    docs = pathlib.Path(__file__).parent.parent / "docs"
    table = runpy.run_path(str(docs / "names.py"))["table"]
    assert (docs / "names.md").read_text() == table(), "make it anew with: python docs/names.py"
