"""The way of a gradient: a kind of node of one's own runs as ours do, and the tree is flattened once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

import gradxform as gx


@gx.transform
class MeanOfTwo(gx.Node):
    """The mean of these updates and those before: a kind of node that the core knows nothing of."""

    weight: float = 0.5

    def begin(self, params: gx.Flow, step: gx.Step) -> Any:
        return [jnp.zeros_like(leaf) for leaf in params.updates]

    def advance(self, flow: gx.Flow, record: Any, step: gx.Step) -> tuple[gx.Flow, Any]:
        flow = flow.whole()
        mixed = [self.weight * new + (1 - self.weight) * old for new, old in zip(flow.updates, record, strict=True)]
        return flow.replace(updates=mixed), flow.updates


PARAMS = {"w": jnp.asarray([3.0, 4.0]), "b": jnp.asarray([0.0])}
CHAIN = gx.chain(gx.clip_by_global_norm(1.0), MeanOfTwo(), gx.trace(0.5), MeanOfTwo(0.25), gx.scale(2.0))


def by_hand_of_numpy(steps: int) -> np.ndarray:
    clipped, before, velocity, last = np.asarray([0.6, 0.8]), np.zeros(2), np.zeros(2), np.zeros(2)
    for _ in range(steps):
        mean, before = (clipped + before) / 2, clipped
        velocity = mean + 0.5 * velocity
        out, last = 0.25 * velocity + 0.75 * last, velocity
    return 2 * out


def test_a_node_of_one_s_own_is_a_value():
    assert repr(MeanOfTwo(0.25)) == "MeanOfTwo(weight=0.25)"
    assert [name for name, _ in CHAIN.stages][1::2] == ["mean_of_two", "mean_of_two_2"]
    assert gx.chain(gx.clip_by_global_norm(1.0), MeanOfTwo(), gx.trace(0.5), MeanOfTwo(0.25), gx.scale(2.0)) == CHAIN
    with pytest.raises(TypeError, match="mean_of_two"):
        MeanOfTwo(w=1)


def test_a_node_of_one_s_own_by_hand_and_under_jit_with_donation():
    step = jax.jit(CHAIN.update, donate_argnums=1)
    by_hand, jitted = CHAIN.init(PARAMS), CHAIN.init(PARAMS)
    for number in range(1, 4):
        expected = by_hand_of_numpy(number)
        eager, by_hand = CHAIN.update(PARAMS, by_hand)
        compiled, jitted = step(PARAMS, jitted)
        # float32's rounding of a few products.
        np.testing.assert_allclose(eager["w"], expected, rtol=1e-6)
        np.testing.assert_allclose(compiled["w"], expected, rtol=1e-6)


def test_a_node_of_one_s_own_in_scan():
    def body(state, _):
        updates, state = CHAIN.update(PARAMS, state)
        return state, updates["w"]

    _, seen = lax.scan(body, CHAIN.init(PARAMS), None, length=3)
    np.testing.assert_allclose(seen, [by_hand_of_numpy(n) for n in (1, 2, 3)], rtol=1e-6)


@pytest.mark.parametrize("check_vma", [True, False])
def test_a_node_of_one_s_own_in_shard_map(check_vma):
    mesh = Mesh(jax.devices()[:2], "x")
    tx = CHAIN if check_vma else gx.on_axes(CHAIN, {"w": PartitionSpec("x"), "b": None})
    specs = {"w": PartitionSpec("x"), "b": PartitionSpec()}

    def two_steps(params):
        _, state = tx.update(params, tx.init(params))
        return tx.update(params, state)[0]

    mapped = jax.shard_map(two_steps, mesh=mesh, in_specs=(specs,), out_specs=specs, check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(mapped)(PARAMS)["w"], by_hand_of_numpy(2), rtol=1e-6)


def test_a_node_has_begin_and_advance():
    with pytest.raises(TypeError, match="transform takes a subclass with a method advance"):
        gx.transform(type("Odd", (gx.Node,), {"__module__": __name__}))


@jax.tree_util.register_pytree_node_class
class Counted:
    """A tree of two leaves that counts how often it is flattened."""

    flattened = 0

    def __init__(self, *leaves):
        self.leaves = leaves

    def tree_flatten(self):
        Counted.flattened += 1
        return self.leaves, None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@pytest.mark.parametrize(
    ("tx", "slots"),
    [
        (gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3)), 2),
        (gx.chain(gx.record_norms(), gx.clip_by_global_norm(1.0), gx.trace(0.9), gx.clip(1.0), gx.scale(-1.0)), 1),
        (gx.prodigy(), 4),
    ],
    ids=["clip_adamw", "momentum", "prodigy"],
)
def test_the_tree_is_flattened_once_an_update(tx, slots):
    params = Counted(jnp.ones(3), jnp.ones((2, 2)))
    state = tx.init(params)
    # Within a trace, where nothing but the update itself flattens: JAX asks for the leaves of what enters and leaves.
    traced = {}

    def count(updates, state, params):
        Counted.flattened = 0
        returned = tx.update(updates, state, params)
        traced["count"] = Counted.flattened
        return returned

    jax.eval_shape(count, params, state, params)
    # The gradients once, and the parameters once; each slot once, to be taken to the leaves.
    assert traced["count"] == 2 + slots
