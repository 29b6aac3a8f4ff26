"""A script for optax runs with one changed import, and gives the same losses."""

import importlib
import inspect
import operator
import pathlib
import runpy
import types

import jax
import numpy as np
import optax
import pytest

import gradxform as gx
import gradxform.as_optax

DOCS = pathlib.Path(__file__).parent.parent / "docs"

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
    assert module.__doc__.startswith(f"optax.{name}, ")


TREE = {"w": jax.ShapeDtypeStruct((3, 2), np.float32), "b": jax.ShapeDtypeStruct((2,), np.float32)}
# What a function of optax needs to make a transform, by the names of its arguments; the others are left out.
ARGUMENTS = {
    **dict.fromkeys(("tx", "inner", "optimizer", "base_optimizer", "adv_optimizer"), gradxform.as_optax.sgd(0.1)),
    "fast_optimizer": gradxform.as_optax.adam(0.1),
    **dict.fromkeys(("eta", "learning_rate", "clipping", "noise_multiplier", "gamma"), 0.1),
    **dict.fromkeys(
        ("decay", "slow_step_size", "step_size", "l2_norm_clip", "max_delta", "max_norm", "threshold"), 0.5
    ),
    **dict.fromkeys(("max_backtracking_steps", "max_linesearch_steps", "max_consecutive_errors", "sync_period"), 2),
    "mask": {"w": True, "b": False},
    "freeze_mask": {"w": True, "b": False},
    "seed": 0,
    "step_size_fn": lambda step: 0.5,
    "should_transform_fn": lambda step, **_: True,
    "f": lambda updates, params=None: updates,
    "measure": lambda updates, *_, **__: jax.tree.leaves(updates)[0].sum(),
    "measure_name": "first",
    "transforms": {"one": gradxform.as_optax.adam(0.1), "other": optax.sgd(0.1)},
    "param_labels": {"w": "one", "b": "other"},
}
# What `update` is given: a batch of gradients, or what line searches and the like ask for.
PER_EXAMPLE = {"dpsgd", "differentially_private_aggregate"}
WITH_OBJECTIVE = {"sophia", "hutchinson_estimator_diag_hessian"}
WITH_SEARCH = {"lbfgs", "scale_by_backtracking_linesearch", "scale_by_zoom_linesearch"}
# They make a factory or a measurement; or take parameters in pairs, or only if they are told which are matrices.
OTHERWISE = {"inject_hyperparams", "inject_stateful_hyperparams", "measure_with_ema", "lookahead", "scale_by_muon"}


def loss(params):
    return sum(jax.numpy.sum(leaf**2) for leaf in jax.tree.leaves(params))


def makers():
    makes_a_transform = runpy.run_path(str(DOCS / "names.py"))["makes_a_transform"]
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name, value in vars(module).items():
            if not name.startswith("_") and makes_a_transform(value) and name not in OTHERWISE:
                yield pytest.param(operator.attrgetter(prefix + name)(gradxform.as_optax), id=prefix + name)


@pytest.mark.parametrize("make", list(makers()))
def test_every_function_that_makes_a_transform_is_called_as_in_optax(make):
    """Made with as little as optax asks for, by optax's names, and stepped, by shapes alone."""
    parameters = inspect.signature(make).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    tx = make(**{name: ARGUMENTS[name] for name in needed})
    assert isinstance(tx, gx.Transform) or make is gx.with_extra_args_support
    name = make.__name__
    extra = {"obj_fn": loss} if name in WITH_OBJECTIVE else {"value": 1.0}

    def step(grads, params):
        state = tx.init(params)
        given = {**extra, "grad": grads, "value_fn": loss} if name in WITH_SEARCH else extra
        updates, new = tx.update(grads, state, params, **given)
        return updates, state, new

    grads = jax.tree.map(lambda x: jax.ShapeDtypeStruct((4, *x.shape), x.dtype), TREE) if name in PER_EXAMPLE else TREE
    # optax mixes dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        updates, first, then = jax.eval_shape(step, grads, TREE)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), updates) == jax.tree.map(lambda x: (x.shape, x.dtype), TREE)
    assert jax.tree.structure(first) == jax.tree.structure(then)


@pytest.mark.parametrize("name", [name for name in vars(optax) if not name.startswith("_")])
def test_every_name_is_what_it_is_in_optax_or_ours(name):
    mine, theirs = getattr(gradxform.as_optax, name), getattr(optax, name)
    if name in dir(gx) and callable(theirs):
        assert mine is getattr(gx, name)
    elif isinstance(theirs, types.ModuleType) and theirs.__name__.startswith("optax."):
        public = [key for key in vars(theirs) if not key.startswith("_")]
        assert dir(mine) == sorted(public)
        assert all(hasattr(mine, key) for key in public)
    else:
        assert mine is theirs


def test_dir_and_a_star_have_the_public_names_of_optax():
    here = {}
    exec("from gradxform.as_optax import *", here)
    public = sorted(name for name in vars(optax) if not name.startswith("_"))
    assert dir(gradxform.as_optax) == sorted(here.keys() - {"__builtins__"}) == public
    with pytest.raises(AttributeError, match=r"module 'gradxform.as_optax' has no attribute 'adamm'"):
        operator.attrgetter("adamm")(gradxform.as_optax)


def test_what_scripts_do_with_states_of_optax():
    """What optax's own tests and examples do around a transform, by optax's functions for it."""
    optax = gradxform.as_optax
    params = {"w": jax.numpy.ones((3, 2)), "b": jax.numpy.zeros(2)}
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optax.adamw)(learning_rate=0.1))
    assert isinstance(tx, optax.GradientTransformation)
    state = tx.init(params)
    assert optax.tree.get(state, "learning_rate") == np.float32(0.1)
    state = optax.tree.set(state, learning_rate=jax.numpy.float32(0.5))
    assert gx.hyperparams(tx, state)["inject_hyperparams.learning_rate"] == 0.5
    doubled = optax.tree.map_params(optax.adam(0.1), lambda x: x + 1, optax.adam(0.1).init(params))
    assert float(optax.tree.sum(optax.tree.get(doubled, "mu"))) == 8.0

    skipping = optax.MultiSteps(optax.sgd(0.1), 2, should_skip_update_fn=optax.skip_not_finite)
    with jax.numpy_dtype_promotion("standard"):
        _, state = skipping.update(jax.tree.map(lambda x: x * np.nan, params), skipping.init(params), params)
    assert state.skip_state["should_skip"]


def test_the_table_of_names_is_that_of_the_code():
    table = runpy.run_path(str(DOCS / "names.py"))["table"]
    assert (DOCS / "names.md").read_text() == table(), "make it anew with: python docs/names.py"
