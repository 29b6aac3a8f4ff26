"""Recipes: each is made of public names, trains the demo's network, and does what every transform does."""

import ast
import importlib
import inspect
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import gradxform as gx
from gradxform import recipes

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
FOLDER = pathlib.Path(recipes.__file__).parent
STEPS = 8
# A convolution's inputs of all places are the rows of one matrix.
CONVOLUTION = gx.hidden_matrices(axes={"conv2/*": gx.MatrixAxes((0, 1, 2), 3)})
# With what the demo's network is trained: runs and warm-ups of which a few steps see more than the first rates.
TRAINING = {
    "nanochat": {"total_steps": 1143, "weight_dimension_numbers": CONVOLUTION},
    "modded_nanogpt": {"weight_dimension_numbers": CONVOLUTION},
    "kimi_k2": {"total_steps": 1550, "query": None, "weight_dimension_numbers": CONVOLUTION},
    "maxtext": {"total_steps": 20},
    "vit": {"total_steps": 100, "warmup_steps": 4},
    "algoperf_shampoo": {"total_steps": 100},
    "algoperf_schedule_free": {"total_steps": 200},
}
NAMES = sorted(TRAINING)


def recipe(name, **others):
    make = getattr(recipes, name)
    return make(**(TRAINING[name] | others))


@pytest.fixture(scope="module")
def demo():
    """The demo's parameters, and the loss and the gradient of one batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        model = importlib.import_module("digits_model")
    images = model.batch(model.load()[0], 0)
    return model.init(), jax.jit(jax.value_and_grad(lambda params: model.cross_entropy(params, *images)))


def attention():
    """A layer of attention with two heads of depth four, whose queries and keys are clipped."""
    kernel = jnp.asarray(np.random.default_rng(0).standard_normal((8, 2, 4)), jnp.float32)
    return {"attention": {"query": {"kernel": kernel}, "key": {"kernel": 2 * kernel}}, "head": {"kernel": kernel[:, 0]}}


def test_every_recipe_is_tried():
    public = [name for name, value in vars(recipes).items() if inspect.isfunction(value)]
    assert sorted(public) == NAMES


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_recipes_are_made_of_public_names(path):
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert all(name.startswith(("__future__", "typing", "gradxform.recipes")) for name in modules)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gx"
    }
    assert used <= set(gx.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_it_is_from(name):
    document = inspect.getdoc(getattr(recipes, name))
    # A commit of seven digits, or a paper.
    assert (" at " in document and "github.com/" in document) or "arXiv:" in document


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_the_demo(demo, name):
    params, value_and_grad = demo
    tx = recipe(name)
    step, state, losses = jax.jit(tx.step), tx.init(params), []
    # The network adds its biases in the way of NumPy.
    with jax.numpy_rank_promotion("allow"):
        for _ in range(STEPS):
            loss, grads = value_and_grad(params)
            losses.append(float(loss))
            params, state = step(grads, state, params)
        # What the run is judged by falls too: of schedule-free it is the average.
        last = float(value_and_grad(gx.eval_params(tx, state, params))[0])
    # On one batch, whose loss an optimizer that works lowers at any rate; the first rates of warm-ups are 0.
    assert losses[0] > losses[STEPS // 2] > losses[-1] > 0
    assert last < losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_value(demo, name):
    params, _ = demo
    tx, others = recipe(name), {"query": "*/query/kernel"} if name == "kimi_k2" else {}
    assert gx.from_json(gx.to_json(tx)) == tx
    if others:
        params, tx = attention(), recipe(name, **others)
        assert gx.from_json(gx.to_json(tx)) == tx
    assert tx == recipe(name, **others)

    described = gx.describe(tx, params)
    assert described.params.elements == sum(leaf.size for leaf in jax.tree.leaves(params))
    # A page: a schedule alone has up to nine lines.
    assert len(repr(tx).splitlines()) <= 70

    mesh = jax.make_mesh((8,), ("data",))
    replicated = NamedSharding(mesh, PartitionSpec())
    state = jax.eval_shape(tx.init, params)
    shardings = gx.state_shardings(tx, params, replicated)
    assert jax.tree.structure(shardings) == jax.tree.structure(state)

    low = gx.stored(tx, gx.int8(), min_size=1)
    before = jax.eval_shape(low.init, params)
    extra = {"logits": jnp.ones(2)} if others else {}
    updates, after = jax.eval_shape(low.update, params, before, params, **extra)
    assert jax.tree.map(lambda leaf: leaf.shape, updates) == jax.tree.map(jnp.shape, params)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert nbytes(before) < nbytes(state)


def nbytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_kimi_k2_clips_the_logits():
    tx, params = recipe("kimi_k2", query="*/query/kernel"), attention()
    grads = jax.tree.map(jnp.zeros_like, params)
    _, state = jax.jit(tx.update)(grads, tx.init(params), params, logits=jnp.array([400.0, 50.0]))
    assert gx.metrics(state)["qk_clip.clipped"] == 1


def numbers_at(name, step):
    """A recipe's hyperparameters at a step, by the last words of their names."""
    tx = recipe(name)
    state = tx.init({"layer": {"kernel": jnp.ones((4, 4))}})

    # Transforms within transforms count too.
    def counted(path, leaf):
        return jnp.asarray(step, leaf.dtype) if getattr(path[-1], "name", "") == "count" else leaf

    found = gx.hyperparams(tx, jax.tree.map_with_path(counted, state))
    return {key.removeprefix("partition."): value for key, value in found.items()}


RATE = "scale_by_learning_rate.learning_rate"


@pytest.mark.parametrize("step", [0, 1, 2, 10, 19])
def test_the_rate_of_maxtext(step):
    """Of create_learning_rate_schedule: the cosine's last value is at the last step."""
    cosine = 0.5 * (np.cos(np.pi * (step - 2) / (18 - 1)) + 1)
    fraction = step / 2 if step < 2 else cosine + 0.1 * (1 - cosine)
    # Rounding of float32, which the cosine's argument has too.
    np.testing.assert_allclose(numbers_at("maxtext", step)[RATE], 3e-5 * fraction, rtol=1e-5)


@pytest.mark.parametrize("step", [0, 3, 4, 52, 100])
def test_the_rate_of_vit(step):
    """Of create_learning_rate_schedule of big_vision's utils.py; decay follows it and not the peak."""
    fraction = min(1, step / 4) * 0.5 * (1 + np.cos(np.pi * max(step - 4, 0) / 96))
    numbers = numbers_at("vit", step)
    # Where it ends at 0 the cosine has its rounding.
    np.testing.assert_allclose(numbers[RATE], fraction, rtol=1e-5, atol=1e-7)
    assert (numbers["scale.step_size"], numbers["add_decayed_weights.weight_decay"]) == (
        np.float32(1e-3),
        np.float32(1e-4),
    )


@pytest.mark.parametrize(("step", "fraction"), [(0, 0), (250, 0.5), (500, 1), (1000, 1), (1275, 0.55), (1550, 0.1)])
def test_the_rate_of_kimi_k2(step, fraction):
    np.testing.assert_allclose(numbers_at("kimi_k2", step)[RATE], 2e-4 * fraction, rtol=1e-5)


@pytest.mark.parametrize("step", [0, 20, 39, 40, 399, 400, 401, 1000, 1142])
def test_the_rates_of_nanochat(step):
    """Of get_lr_multiplier, get_muon_momentum and get_weight_decay in scripts/base_train.py."""
    total, falling = 1143, 743
    early = total - falling
    left, late = (total - step) / falling, (step - early) / falling
    numbers = numbers_at("nanochat", step)
    multiplier = (step + 1) / 40 if step < 40 else 1.0 if step <= early else left + (1 - left) * 0.05
    momentum = 0.85 + 0.12 * step / 400 if step < 400 else 0.97 * (1 - late) + 0.9 * late
    np.testing.assert_allclose(numbers[RATE], multiplier, rtol=1e-5)
    np.testing.assert_allclose(numbers["hidden.scale_by_normuon.beta"], momentum, rtol=1e-5)
    decay = 0.14 * (1 + np.cos(np.pi * step / total))
    # At the last steps the cosine is near -1, where a rounding of float32 is 1e-7 of 1.
    np.testing.assert_allclose(numbers["hidden.add_decayed_weights.weight_decay"], decay, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("step", [0, 150, 300, 513, 514, 900, 1235, 1284])
def test_the_rates_of_modded_nanogpt(step):
    """Of get_lr, without its stages, and get_muon_momentum in train_gpt.py; decay follows the square of the rate."""
    fraction = max(0, step - 514) / 771
    multiplier = 1 - fraction + 0.15 * fraction
    numbers = numbers_at("modded_nanogpt", step)
    momentum = min(0.85 + 0.1 * step / 300, 0.95) if step <= 1235 else 0.95 - 0.1 * (step - 1235) / 50
    np.testing.assert_allclose(numbers[RATE], multiplier, rtol=1e-5)
    np.testing.assert_allclose(numbers["matrices.scale_by_normuon.beta"], momentum, rtol=1e-5)
    peaks = {"matrices": 1.2 * 0.023, "rest": 0.005 * 150 * 0.008}
    for group, peak in peaks.items():
        np.testing.assert_allclose(numbers[f"{group}.add_decayed_weights.weight_decay"], peak * multiplier, rtol=1e-5)
