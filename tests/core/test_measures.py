"""What a rule of the whole tree may keep and return beyond updates: measured trees, and the states of a dict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx


@gx.transform
class Largest(gx.TreeRule):
    """Returns the largest element so far, and no update."""

    memory = gx.Slot(measure="first")
    is_measure = True

    def first(self, tree):
        return {"value": jnp.zeros(()), "where": jnp.zeros((), jnp.int32)}

    def update(self, updates, slots, tree):
        leaf = jnp.ravel(updates[0])
        value = jnp.maximum(slots.memory["value"], jnp.max(leaf))
        return value, slots._replace(memory={"value": value, "where": jnp.argmax(leaf)})


def test_a_slot_may_be_any_tree_and_a_measure_returns_what_it_likes():
    tree = jnp.asarray([1.0, 3.0, 2.0], jnp.bfloat16)
    tx = Largest()
    state = tx.init(tree)
    measured, after = jax.jit(tx.update)(tree, state)
    # One array came and one leaves; its dtype is the measurement's all the same.
    assert (measured.shape, measured.dtype, float(measured)) == ((), jnp.float32, 3.0)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
    assert after.stages["largest"].memory["where"] == 1
    assert gx.metrics(after) == {}


def test_a_measure_stands_last():
    chain = gx.chain(gx.scale(2.0), Largest())
    measured, _ = chain.update(jnp.ones(2), chain.init(jnp.ones(2)))
    assert measured == 2
    with pytest.raises(ValueError, match=r"largest returns a measurement in the place of updates.*got scale after it"):
        gx.chain(Largest(), gx.scale(2.0))


@pytest.mark.parametrize(
    "body",
    [{"kept": gx.Slot(measure="first")}, {"kept": gx.Metric(measure="first")}, {"is_measure": True}],
    ids=["slot", "metric", "result"],
)
def test_only_a_rule_of_the_whole_tree_measures(body):
    with pytest.raises(TypeError, match="Odd: only a TreeRule measures"):
        type("Odd", (gx.LeafRule,), body)


def test_a_rule_may_hold_a_dict_of_transforms_and_need_no_parameters():
    @gx.transform
    class Both(gx.TreeRule):
        held: dict

        states = gx.Inner("held")
        norm = gx.Metric(each="held")

        def update(self, updates, slots, tree):
            norms, states = {}, {}
            for name, tx in self.held.items():
                new, states[f"{name}_state"] = tree.inner(tx, updates, slots.states[f"{name}_state"])
                norms[name] = tree.norm(new)
            return updates, slots._replace(states=states, norm=norms)

    tree = {"w": jnp.asarray([3.0, 4.0])}
    tx = Both({"twice": gx.scale(2.0), "mean": gx.ema(0.5)})
    _, state = jax.jit(tx.update)(tree, tx.init(tree))
    assert gx.metrics(state) == {"both.norm/twice": 10, "both.norm/mean": 5}
    np.testing.assert_array_equal(state.stages["both"].states["mean_state"].stages["ema"].ema["w"], [1.5, 2.0])
