"""Weight decay has one spelling: every optimizer that takes it has weight_decay, mask, independent and cautious."""

import functools
import inspect
import pickle

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"dense": {"kernel": np.linspace(1.0, 2.0, 6).reshape(2, 3), "bias": np.array([0.5, -1.0, 2.0])}}
GRADS = {"dense": {"kernel": np.array([[1.0, -0.5, 0.25], [2.0, 1.0, -1.5]]), "bias": np.array([-1.0, 0.5, 0.75])}}
MASK = {"dense": {"kernel": True, "bias": False}}
RATE, DECAY = 0.3, 0.1


def objective(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


# What each needs beside a learning rate; and of what the decay is not simply times the rate, with the reason.
EXTRA = {
    "sophia": {"obj_fn": objective},
    **{name: {"value": 1.5} for name in ("momo", "momo_adam", "polyak_sgd")},
}
ARGUMENTS = {"momo_adam": {"learning_rate": RATE}, "polyak_sgd": {"scaling": RATE}}
NOT_SIMPLY = {
    **dict.fromkeys(("adadelta", "cocob", "dog", "dowg", "madgrad", "lars"), "an L2 penalty, as in optax"),
    **dict.fromkeys(("dadapt_adamw", "prodigy"), "times the rate that is found"),
    **dict.fromkeys(("momo", "momo_adam"), "in the model of the loss"),
    "lamb": "part of what gets the size of the layer",
    "novograd": "gathered with the gradients",
}
WITHOUT = {
    "adamh": "its matrices keep their norms",
    "fromage": "shrinks the weights by itself",
    "rprop": "has no rate that all elements share",
    "optimistic_adam": "has its rate inside; optimistic_adam_v2 decays",
    "scion": "its weights decay with the rate, or not at all where they may leave their balls",
}


def takes_decay(name):
    return {"weight_decay", "mask", "independent", "cautious"} <= set(inspect.signature(getattr(gx, name)).parameters)


OPTIMIZERS = sorted(name for name in vars(gx) if callable(getattr(gx, name)) and not name.startswith("_"))
DECAYING = [name for name in OPTIMIZERS if takes_decay(name)]


def second_update_at(params, name, masked=False, **decay):
    """The update of the second step, with the parameters as they were: at the first some methods only look."""
    arguments = {"learning_rate": RATE} if "learning_rate" in inspect.signature(getattr(gx, name)).parameters else {}
    if name == "dpsgd":
        arguments |= {"l2_norm_clip": 10.0, "noise_multiplier": 0.0, "seed": 0}
    decay |= {"mask": MASK} if masked else {}
    tx = getattr(gx, name)(**{**arguments, **ARGUMENTS.get(name, {})}, **decay)
    # Operation by operation, of which all optimizers have most in common, and so the programs that are compiled.
    with jax.enable_x64(True), jax.disable_jit():
        params = jax.tree.map(jnp.asarray, params)
        state = tx.init(params)
        for size in (1.0, 0.5):
            grads = jax.tree.map(lambda g, size=size: size * (g[None] if name == "dpsgd" else g), GRADS)
            updates, state = tx.update(grads, state, params, **EXTRA.get(name, {}))
        return jax.tree.map(np.asarray, updates)


@functools.cache
def second_update(name, masked=False, **decay):
    return second_update_at(PARAMS, name, masked, **decay)


def without_decay(name):
    return second_update(name, weight_decay=0.0)


def change(name, **decay):
    """What the decay adds to the update."""
    return jax.tree.map(np.subtract, second_update(name, **decay), without_decay(name))


def assert_trees(ours, expected):
    # In float64; the change is a difference of numbers of about 1.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), ours, expected)


def test_every_optimizer_that_can_takes_it():
    whole = {name for name in OPTIMIZERS if getattr(gx, name).__module__.startswith("gradxform.optimizers")}
    whole |= {"dadapt_adamw", "prodigy", "momo", "momo_adam", "fromage"}
    # They take optax's arguments, and their decay is within the steps that are averaged: `test_judged` holds them.
    whole -= {"schedule_free_adamw", "schedule_free_sgd"}
    # They hold an optimizer, or take optax's arguments.
    whole -= {"galore", "hyperball", "scale_by_galore"}
    assert whole - set(DECAYING) == set(WITHOUT)


def decayed(name, by):
    """What a decay adds: to matrices alone where these have a rule, beside which the rest has a decay of its own."""
    parts = "adam_weight_decay" in inspect.signature(getattr(gx, name)).parameters
    return jax.tree.map(lambda p: -by * p if p.ndim == 2 or not parts else 0 * p, PARAMS)


@pytest.mark.parametrize("name", sorted(set(DECAYING) - set(NOT_SIMPLY)))
def test_is_decoupled_and_times_the_rate(name):
    assert_trees(change(name, weight_decay=DECAY), decayed(name, RATE * DECAY))


@pytest.mark.parametrize("name", sorted(set(DECAYING) - {"momo", "momo_adam"}))
def test_independent_does_not_follow_the_rate(name):
    assert_trees(change(name, weight_decay=DECAY, independent=True), decayed(name, DECAY))


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_independent_in_a_model_of_the_loss_shrinks_by_1_over_1_plus_w(name):
    expected = jax.tree.map(lambda p: -DECAY / (1 + DECAY) * p, PARAMS)
    # The longest step is so short that the model does not change it.
    tx = getattr(gx, name)(learning_rate=1e-9, weight_decay=DECAY, independent=True)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        updates, _ = tx.update(params, tx.init(params), params, value=100.0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), updates, expected)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("name", DECAYING)
def test_mask_leaves_leaves_out(name, independent):
    masked = second_update(name, masked=True, weight_decay=DECAY, independent=independent)["dense"]
    everywhere = second_update(name, weight_decay=DECAY, independent=independent)["dense"]
    without = without_decay(name)["dense"]
    assert np.abs(masked["kernel"] - without["kernel"]).max() > 1e-9
    if name in ("momo", "momo_adam") or (name in ("dog", "dowg") and not independent):
        # One number for all leaves, which the decay of the kernel changes: of the bias only what is left of it.
        assert not np.allclose(masked["bias"], everywhere["bias"], rtol=1e-9, atol=0)
    else:
        np.testing.assert_allclose(masked["bias"], without["bias"], rtol=1e-12)


def where_cautious(name, whole):
    """What of a decay is left where the update without it does not move an element away from 0."""
    return jax.tree.map(lambda d, u, p: np.where(u * p <= 0, d, 0), whole, without_decay(name), PARAMS)


@pytest.mark.parametrize("name", sorted(set(DECAYING) - (set(NOT_SIMPLY) - {"dadapt_adamw", "prodigy"})))
def test_cautious_decays_where_the_step_goes_the_same_way(name):
    whole = change(name, weight_decay=DECAY) if name in NOT_SIMPLY else decayed(name, RATE * DECAY)
    assert_trees(change(name, weight_decay=DECAY, cautious=True), where_cautious(name, whole))


# Of the others each goes by `descent`, as adamw does.
@pytest.mark.parametrize("name", ["adamw", *sorted(set(NOT_SIMPLY) - {"momo", "momo_adam"})])
def test_cautious_and_independent(name):
    expected = where_cautious(name, decayed(name, DECAY))
    assert_trees(change(name, weight_decay=DECAY, independent=True, cautious=True), expected)


@pytest.mark.parametrize("name", sorted(set(NOT_SIMPLY) - {"dadapt_adamw", "prodigy"}))
def test_cautious_where_the_decay_is_not_simply_times_the_rate(name):
    """By the gradient where it is an L2 penalty: the kernel is of its signs, and the bias of the opposite ones."""
    alike = jax.tree.map(lambda g, p: np.copysign(p, g), GRADS, PARAMS)["dense"]
    params = {"dense": {"kernel": alike["kernel"], "bias": -alike["bias"]}}
    cautious = second_update_at(params, name, weight_decay=DECAY, cautious=True)
    assert_trees(cautious, second_update_at(params, name, masked=True, weight_decay=DECAY))


@pytest.mark.parametrize("name", ["galore", "schedule_free_adamw", "schedule_free_sgd"])
def test_cautious_of_those_that_take_optax_s_arguments(name):
    make = functools.partial(getattr(gx, name), RATE, weight_decay=DECAY)
    assert "cautious=True" in repr(make(cautious=True))
    assert "cautious" not in repr(make())


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_masked_model_of_the_loss_steps_to_its_lower_bound(name):
    """Where the step is not cut short, the model's value at the new parameters is the lower bound."""
    tx = getattr(gx, name)(1e9, lower_bound=-2.0, weight_decay=1e-10, mask=MASK)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        grads = jax.tree.map(lambda p: 2 * p, params)
        _, state = tx.update(grads, tx.init(params), params, value=1.5)
        record = state.stages[name]
        w = 0.1
        mean, tau = record.exp_avg["dense"], record.step_size
        scale = (
            jax.tree.map(lambda v: 1 / (1e-8 + jnp.sqrt(v / 0.001)), record.exp_avg_sq["dense"])
            if name == "momo_adam"
            else jax.tree.map(jnp.ones_like, mean)
        )
        # y = (x - tau m) / (1 + w) where weights decay, x - tau m where they do not.
        new = jax.tree.map(lambda p, m, s: p - tau * m * s, params["dense"], mean, scale)
        new["kernel"] = new["kernel"] / (1 + w)
        weight = 0.1 if name == "momo_adam" else 1.0
        model = record.barf - record.gamma + sum(jnp.sum(mean[key] * new[key]) for key in new)
        np.testing.assert_allclose(model, weight * -2.0, rtol=1e-9)


@pytest.mark.parametrize("name", ["adadelta", "adafactor", "lars", "sophia"])
def test_optax_s_name_for_the_mask_is_accepted(name):
    decay = {"weight_decay": DECAY}
    assert getattr(gx, name)(RATE, **decay, weight_decay_mask=MASK) == getattr(gx, name)(RATE, **decay, mask=MASK)
    with pytest.raises(ValueError, match="one of mask and weight_decay_mask"):
        getattr(gx, name)(RATE, **decay, mask=MASK, weight_decay_mask=MASK)


@pytest.mark.parametrize("argument", [{"mask": MASK}, {"independent": True}, {"cautious": True}])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "dog", "adafactor"])
def test_how_to_decay_without_decay_is_an_error(name, argument):
    with pytest.raises(ValueError, match="give weight_decay with them"):
        getattr(gx, name)(RATE, **argument)


def test_decay_twice_is_an_error():
    with pytest.raises(ValueError, match="one of weight_decay and weight_decay_rate"):
        gx.adafactor(RATE, weight_decay=0.1, weight_decay_rate=0.1)


def test_rmsprop_does_not_gather_the_decay():
    decay = {"weight_decay": DECAY, "momentum": 0.9}
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        zeros = jax.tree.map(jnp.zeros_like, params)
        tx = gx.rmsprop(RATE, **decay)
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(zeros, state, params)
    assert_trees(updates, jax.tree.map(lambda p: -RATE * DECAY * p, PARAMS))


def test_a_decay_of_zero_needs_no_parameters():
    tx = gx.lion(RATE, weight_decay=0.0)
    assert np.isfinite(tx.update(PARAMS, tx.init(PARAMS))[0]["dense"]["bias"]).all()


# The ready mask.


class Network(nn.Module):
    """A layer of each kind, under flax's names."""

    @nn.compact
    def __call__(self, x):
        x = nn.Embed(10, 8)(x)
        x = nn.LayerNorm()(nn.Dense(8)(x))
        x = nn.RMSNorm(name="attention_norm")(x)
        x = nn.Conv(4, (3,), name="convolution")(x)
        return nn.BatchNorm(use_running_average=True)(x)


def chosen(params, **arguments):
    mask = gx.not_biases_or_norms(**arguments)(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_flatten_with_path(mask)[0]
        if leaf
    }


def test_not_biases_or_norms_of_flax():
    params = Network().init(jax.random.key(0), jnp.zeros((2, 5), int))["params"]
    kernels = {"Dense_0/kernel", "convolution/kernel"}
    assert chosen(params) == kernels | {"Embed_0/embedding"}
    assert chosen(params, also=("embedding",)) == kernels


def test_not_biases_or_norms_of_equinox():
    key = jax.random.key(0)
    layers = {"linear": eqx.nn.Linear(3, 4, key=key), "ln1": eqx.nn.LayerNorm((4, 4)), "bn": eqx.nn.LayerNorm(4)}
    assert chosen(eqx.filter(layers, eqx.is_array)) == {"linear/weight"}


def test_not_biases_or_norms_of_stacked_layers():
    params = {
        "blocks": {"w": jnp.ones((12, 4, 4)), "b": jnp.ones((12, 4)), "scale": jnp.ones((12, 4))},
        "block_b": {"kernel": jnp.ones((4, 4))},
        "normal_map": jnp.ones((4, 4)),
        "RMSNorm": {"weight": jnp.ones((12, 4))},
    }
    assert chosen(params) == {"blocks/w", "block_b/kernel", "normal_map"}


def test_not_biases_or_norms_in_an_optimizer():
    tx = gx.adamw(RATE, weight_decay=DECAY, mask=gx.not_biases_or_norms())
    assert "mask=not_biases_or_norms()" in repr(tx)
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["dense"]["bias"], 0)
    np.testing.assert_allclose(updates["dense"]["kernel"], -RATE * DECAY * PARAMS["dense"]["kernel"], rtol=1e-6)


def test_not_biases_or_norms_is_a_mask_of_optax_too():
    theirs = optax.adamw(RATE, weight_decay=DECAY, mask=gx.not_biases_or_norms())
    ours = gx.adamw(RATE, weight_decay=DECAY, mask=gx.not_biases_or_norms())
    with jax.numpy_dtype_promotion("standard"):
        a, b = (tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0] for tx in (ours, theirs))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), a, b)


def test_not_biases_or_norms_is_a_value():
    mask, other = gx.not_biases_or_norms(), gx.not_biases_or_norms(also=("embedding",))
    assert mask == gx.not_biases_or_norms() != other
    assert len({mask, gx.not_biases_or_norms(), other}) == 2
    tx = gx.adamw(RATE, mask=mask)
    assert tx == gx.adamw(RATE, mask=gx.not_biases_or_norms()) != gx.adamw(RATE, mask=other)
    assert pickle.loads(pickle.dumps(tx)) == tx == eval(repr(tx), vars(gx))
    assert hash(tx) == hash(pickle.loads(pickle.dumps(tx)))


@pytest.mark.parametrize("also", ["embedding", ["embedding"], (1,)])
def test_not_biases_or_norms_takes_a_tuple_of_words(also):
    with pytest.raises(TypeError, match="also must be a tuple of strings"):
        gx.not_biases_or_norms(also=also)
