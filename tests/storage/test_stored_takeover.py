"""Checkpoints shrink as states do, and a state goes on with a codec, without one, and with another."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import gradxform as gx

PARAMS = {"kernel": jnp.linspace(-1.0, 1.0, 256 * 8).reshape(256, 8), "bias": jnp.linspace(0.5, 1.0, 8)}
PLAIN = gx.adamw(0.1)
INT8 = gx.stored(PLAIN, gx.int8(), min_size=0)
MIXED = gx.stored(PLAIN, mu=gx.int4(), nu=gx.as_dtype("bfloat16"), min_size=0)
NAMED = gx.chain(gx.clip(1e6), gx.stored(gx.scale_by_adam(), gx.int8(), min_size=0), gx.scale(-0.1))


def begun(tx):
    """A state after three steps."""

    @jax.jit
    def run():
        def step(state, scale):
            return tx.update(jax.tree.map(lambda leaf: scale * leaf, PARAMS), state, PARAMS)[1], None

        return jax.lax.scan(step, tx.init(PARAMS), jnp.asarray([1.0, -0.5, 2.0]))[0]

    with jax.numpy_dtype_promotion("standard"):
        return run()


@pytest.fixture(scope="module")
def states():
    return {name: begun(tx) for name, tx in (("plain", PLAIN), ("int8", INT8), ("mixed", MIXED), ("named", NAMED))}


def saved(path, state):
    """The bytes of a checkpoint."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, state)
        checkpointer.wait_until_finished()
    return sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(path) for file in files)


def restored(path, template=None):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, template) if template is not None else checkpointer.restore(path)


def assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_checkpoints_shrink_and_come_back(states, tmp_path):
    sizes = {name: saved(tmp_path / name, states[name]) for name in ("plain", "int8", "mixed")}
    tensors = {name: sum(leaf.nbytes for leaf in jax.tree.leaves(states[name])) for name in sizes}
    # What a checkpoint says of itself is some kilobytes for each array, and zeros and codes compress.
    assert sizes["int8"] < sizes["plain"]
    assert tensors["int8"] < 0.3 * tensors["plain"]
    for name, tx in (("int8", INT8), ("mixed", MIXED)):
        assert_equal(restored(tmp_path / name, jax.eval_shape(tx.init, PARAMS)), states[name])
        # Without a template it is a nested dict, of which the new transform knows what is kept how.
        migrated, report = gx.migrate(restored(tmp_path / name), tx, PARAMS)
        assert_equal(migrated, states[name])
        assert report.new == report.dropped == {}


@pytest.mark.parametrize(("old", "new"), [("plain", INT8), ("int8", MIXED), ("mixed", PLAIN), ("plain", NAMED)])
def test_a_state_goes_on_under_another_codec(states, old, new):
    migrated, report = gx.migrate(states[old], new, PARAMS)
    assert jax.tree.structure(migrated) == jax.tree.structure(jax.eval_shape(new.init, PARAMS))
    assert report.new == {}
    assert migrated.count == 3
    for slot in ("mu", "nu"):
        was, now = (gx.decoded(getattr(state, slot)) for state in (states[old], migrated))
        # A code of four bits is within a seventh of the largest of its block.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.15 * np.abs(a).max()), was, now)
        assert any(f"scale_by_adam.{slot}" in name for name in report.kept)
    updates, _ = jax.jit(new.update)(PARAMS, migrated, PARAMS)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(updates))


def test_migrating_there_and_back_loses_what_one_rounding_does(states):
    there, report = gx.migrate(states["int8"], PLAIN, PARAMS)
    assert set(report.kept.values()) >= {"int8 in blocks of 128 as float32, from stored.scale_by_adam.mu"}
    back, _ = gx.migrate(there, INT8, PARAMS)
    # What was stored of what was loaded is what was kept.
    assert_equal(back, states["int8"])


def test_optax_s_state_goes_on_in_fewer_bits(states):
    theirs = begun(optax.adamw(0.1))
    state, report = gx.from_optax(theirs, INT8, PARAMS)
    assert_equal(
        jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, gx.migrate(states["plain"], INT8, PARAMS)[0])
    )
    assert "float32 as int8 in blocks of 128" in report.kept.values()
    assert report.new == {}


def test_torch_s_state_goes_on_in_fewer_bits(states):
    names = ["bias", ("kernel", (1, 0))]
    kept = [
        {
            "step": 3,
            "exp_avg": np.asarray(states["plain"].mu[name]).T,
            "exp_avg_sq": np.asarray(states["plain"].nu[name]).T,
        }
        for name in ("bias", "kernel")
    ]
    theirs = {"state": dict(enumerate(kept)), "param_groups": [{"params": [0, 1]}]}
    state, _ = gx.from_torch(theirs, INT8, PARAMS, names)
    assert_equal(
        jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, gx.migrate(states["plain"], INT8, PARAMS)[0])
    )
