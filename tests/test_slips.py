"""People's slips: each error is a sentence that says what came and what to do."""

import re

import flax.core
import jax
import jax.numpy as jnp
import optax
import pytest

import gradxform as gx

PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "head": jnp.ones(2)}
LOSS = jnp.ones(())
TX, TREE, LIVE = gx.adamw(0.1), gx.prodigy(), gx.live(gx.sgd(0.1))
STATE = TX.init(PARAMS)
DICT = "expected a dict of 'dense', 'head' at the root, as the parameters have, got"
SECOND = "its second part fits: pass that alone, as of value_and_grad's (value, grads)"


def step(updates, state=STATE, tx=TX, params=PARAMS):
    return tx.update(updates, state, params)


UPDATES = {
    "value_and_grad's result": ((LOSS, PARAMS), f"updates: {DICT} a tuple of 2; {SECOND}"),
    "value_and_grad's result with aux": (
        ((LOSS, {"accuracy": LOSS}), PARAMS),
        f"updates: {DICT} a tuple of 2; {SECOND}",
    ),
    "grad's result with aux": ((PARAMS, LOSS), "its first part fits: pass that alone"),
    "the leaves": (jax.tree.leaves(PARAMS), f"updates: {DICT} a list of 3"),
    "a FrozenDict": (flax.core.FrozenDict(PARAMS), f"updates: {DICT} a FrozenDict"),
    "a list within": (
        {**PARAMS, "dense": list(PARAMS["dense"].values())},
        "expected a dict of 'bias', 'kernel' at 'dense', as the parameters have, got a list of 2",
    ),
    "an array for a dict": ({**PARAMS, "dense": LOSS}, "at 'dense', as the parameters have, got float32[]"),
    "a dict for an array": (
        {**PARAMS, "head": {"w": LOSS}},
        "expected float32[2] at 'head', as the parameters have, got a",
    ),
    "a leaf less": (
        {"head": PARAMS["head"]},
        "expected a leaf at 'dense/bias', where the parameters have one, and got none",
    ),
    "float8": (
        {**PARAMS, "head": jnp.ones(2, jnp.float8_e5m2)},
        "updates: expected a floating-point array of 16 bits at least at 'head', got float8_e5m2[2]",
    ),
}


@pytest.mark.parametrize("slip", UPDATES)
def test_updates_of_another_structure_say_what_came(slip):
    updates, words = UPDATES[slip]
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        step(updates)


def test_without_parameters_the_slots_tell():
    with pytest.raises(
        ValueError, match="as the slots mu of scale_by_adam have, got a tuple of 2; its second part fits"
    ):
        step((LOSS, PARAMS), params=None)


@pytest.mark.parametrize(
    ("leaf", "words"), [(None, "got a leaf at 'w'"), (jnp.ones(3), r"expected shape \(3,\) at 'w'")]
)
def test_the_slots_of_a_rule_of_the_whole_tree_are_of_other_parameters(leaf, words):
    with pytest.raises(ValueError, match=rf"updates: {words}.*the slots exp_avg of prodigy have"):
        step({"w": LOSS}, TREE.init({"w": leaf}), TREE, {"w": LOSS})


def test_none_where_the_state_has_a_leaf_of_another_group():
    tx = gx.masked(gx.adam(0.1), {"dense": True, "head": False})
    words = "updates: expected a masked leaf at 'head', as the slots mu of scale_by_adam have, got None"
    with pytest.raises(ValueError, match=words):
        step({**PARAMS, "head": None}, tx.init(PARAMS), tx)


STATES = {
    "optax's": (
        optax.adamw(0.1).init(PARAMS),
        "got tuple; it is optax's: take it over with from_optax(state, tx, params)",
    ),
    "optax's masked": (optax.masked(optax.adam(0.1), True).init(PARAMS), "it is optax's: take it over with from_optax"),
    "Orbax's dict": (
        {"count": LOSS, "stages": {}, "live": {}},
        "without a template: give it tx.init(params), or call migrate(",
    ),
    "another chain's": (gx.sgd(0.1, 0.9).init(PARAMS), "or take over what fits with migrate(state, tx, params)"),
    "the parameters": (PARAMS, "got dict; the order is update(updates, state, params)"),
    "none": (None, "got NoneType; the order is update(updates, state, params)"),
    "update's result": ((PARAMS, STATE), "its second part is one: update returns (updates, state)"),
}


@pytest.mark.parametrize("slip", STATES)
def test_another_state_says_how_to_take_it_over(slip):
    state, words = STATES[slip]
    with pytest.raises(ValueError, match=re.escape(words)):
        step(PARAMS, state)


def test_a_state_that_is_not_live_and_a_transform_that_is_not():
    with pytest.raises(
        ValueError, match=r"the state is not of the live transform: make it with its init, or migrate\("
    ):
        step(PARAMS, gx.sgd(0.1).init(PARAMS), LIVE)
    with pytest.raises(ValueError, match=r"the transform is not live: use the one that live\(tx, \.\.\.\) returned"):
        step(PARAMS, LIVE.init(PARAMS), gx.sgd(0.1))
    # What the words say works.
    taken, _ = gx.migrate(gx.sgd(0.1).init(PARAMS), LIVE, PARAMS)
    step(PARAMS, taken, LIVE)


CALLS = {
    "chain of a list": (lambda: gx.chain([TX]), "of type list; put a star before it: chain(*transforms)"),
    "chain of a tuple": (lambda: gx.chain((TX, TX)), "of type tuple; put a star before it: chain(*transforms)"),
    "chain of a function": (
        lambda: gx.chain(gx.adamw),
        "got <gradxform.optimizers.classic.adamw> of type function; call it to make the transform",
    ),
    "named_chain of a list": (lambda: gx.named_chain([("a", TX)]), "put a star before it: named_chain(*pairs)"),
    "named_chain of a dict": (lambda: gx.named_chain({"a": TX}), "named_chain(*transforms.items())"),
    "named_chain of a transform": (
        lambda: gx.named_chain(TX),
        "named_chain takes pairs of a name and a transform; got",
    ),
    "accumulate of a function": (lambda: gx.accumulate(gx.adamw, 4), "inner must be a transform; got <gradxform"),
    "masked of a function": (lambda: gx.masked(gx.adamw, True), "masked: inner must be a transform; got <gradxform"),
    "masked the wrong way round": (lambda: gx.masked(True, TX), "masked: inner must be a transform; got True"),
    "partition of functions": (
        lambda: gx.partition({"a": gx.adamw}, "a"),
        "partition: transforms['a'] must be a transform",
    ),
    "guard by position": (
        lambda: gx.guard(TX, 1.0),
        "guard() takes inner by position, got 2; by name it takes max_norm",
    ),
    "many rates": (
        lambda: gx.adamw([0.1, 0.2]),
        "learning_rate must be a real number, an array or a function of the step; "
        "got [0.1, 0.2]; to try many values at once, use jax.vmap over the transform",
    ),
    "betas by position": (lambda: gx.adamw(0.1, (0.9, 0.99)), "scale_by_adam: b1 must be a real number"),
    "parameters first": (lambda: gx.adamw(PARAMS), "function of the step; got a dict of 'dense', 'head'"),
    "a rate as text": (lambda: gx.adamw("1e-3"), "learning_rate must be a real number"),
    "lr": (lambda: gx.adamw(lr=0.1), "adamw() has no argument 'lr'; did you mean learning_rate?"),
    "lr of a rule": (lambda: gx.scale_by_learning_rate(lr=0.1), "has no argument 'lr'; did you mean learning_rate?"),
    "lr of optax's": (lambda: gx.muon(lr=0.1), "muon() has no argument 'lr'; did you mean learning_rate?"),
    "lr of a schedule": (lambda: gx.cosine_decay_schedule(lr=0.1), "has no argument 'lr'; did you mean init_value?"),
    "betas": (lambda: gx.adam(0.1, betas=(0.9, 0.99)), "adam() has no argument 'betas'; did you mean b1 and b2?"),
    "beta_1": (lambda: gx.adam(0.1, beta_1=0.9), "did you mean b1?"),
    "epsilon": (lambda: gx.adam(0.1, epsilon=1e-8), "did you mean eps?"),
    "momentum of trace": (lambda: gx.trace(momentum=0.9), "did you mean decay?"),
    "a misspelt name": (lambda: gx.adamw(0.1, weightdecay=0.1), "did you mean weight_decay?"),
    "amsgrad": (lambda: gx.adam(0.1, amsgrad=True), "it is a transform of its own, amsgrad"),
    "lr of an injected one": (
        lambda: gx.inject_hyperparams(gx.adamw)(lr=0.1),
        "adamw() has no argument 'lr'; did you mean learning_rate?",
    ),
    "inject_hyperparams of a transform": (
        lambda: gx.inject_hyperparams(gx.scale(2.0)),
        "takes a function that makes a transform, such as adamw; got scale(step_size=2.0)",
    ),
    "the gradient of an integer": (
        lambda: step(dict(PARAMS, head=jax.grad(lambda x: 1.0, allow_int=True)(3))),
        "updates: got float0 at 'head', which jax.grad has for integers with allow_int=True; take the gradient of",
    ),
    "no such name": (
        lambda: gx.sgd(0.1, xyz=1),
        "sgd() has no argument 'xyz'; it has learning_rate, momentum, nesterov",
    ),
    "adamW": (lambda: gx.adamW, "gradxform has no 'adamW'; did you mean adamw?"),
    "AdamW": (lambda: gx.AdamW, "did you mean adamw?"),
    "lr of replace": (lambda: gx.replace(TX, lr=0.1), "there is no 'lr' among scale_by_adam.b1"),
    "float8 parameters": (
        lambda: TX.init({"a": {"w": jnp.ones(3, jnp.float8_e4m3fn)}}),
        "parameters: expected a floating-point array of 16 bits at least at 'a/w', got float8_e4m3fn[3]",
    ),
    "float8 slots": (lambda: gx.adam(0.1, mu_dtype="float8_e4m3fn"), "mu_dtype must be a dtype of 16 bits at least"),
    "a mask too short": (
        lambda: gx.adamw(0.1, mask={"dense": True}).init(PARAMS),
        "a prefix of the updates; got nothing for the leaf at 'head'",
    ),
    "a mask too long": (
        lambda: gx.adamw(0.1, mask={"dense": True, "head": True, "x": True}).init(PARAMS),
        "got 'x', where there is no leaf",
    ),
    "update's result to apply_updates": (
        lambda: gx.apply_updates(PARAMS, (PARAMS, STATE)),
        "its first part fits: pass that alone, as of update's (updates, state)",
    ),
}


@pytest.mark.parametrize("slip", CALLS)
def test_a_wrong_call_says_what_to_do(slip):
    call, words = CALLS[slip]
    with pytest.raises((TypeError, ValueError, AttributeError), match=re.escape(words)):
        call()


@pytest.mark.parametrize(
    "tx",
    [
        gx.adamw(lambda step: None),
        gx.clip_by_global_norm(lambda step: None),
        gx.inject_hyperparams(gx.sgd)(lambda step: None),
    ],
    ids=["a rule of leaves", "a rule of trees", "injected"],
)
def test_a_schedule_that_returns_none_is_named(tx):
    with pytest.raises(
        TypeError, match=r"(learning_rate|max_norm).*: expected a number or an array .*, got None; a schedule"
    ):
        step(PARAMS, tx.init(PARAMS), tx)


def test_hints_leave_the_functions_as_they_were():
    assert gx.adamw.__name__ == "adamw"
    assert gx.adamw(learning_rate=0.1, b1=0.9) == gx.adamw(0.1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'learning_rate'"):
        gx.adamw()
