"""A state goes on under a chain with other rules, with the same next steps, and a report of what became of what."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import gradxform as gx

PARAMS = {"dense": {"kernel": jnp.arange(6.0).reshape(3, 2) / 6, "bias": jnp.ones(2)}, "layers": [jnp.ones(3)]}
KERNELS = {"dense": {"kernel": True, "bias": False}, "layers": [True]}
LABELS = {"dense": {"kernel": "fast", "bias": "slow"}, "layers": ["fast"]}


def grads_of(params):
    return jax.tree.map(lambda leaf: leaf - 0.3 * jnp.cos(3 * leaf), params)


def run(tx, params, state, steps):
    """Parameters and state after some steps, and the parameters after each."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grads_of(params), state, params)
        params = gx.apply_updates(params, updates)
        return (params, state), params

    # optax's transforms mix dtypes.
    with jax.numpy_dtype_promotion("standard"):
        (params, state), path = jax.lax.scan(step, (params, state), length=steps)
    return params, state, path


def begun(tx, steps=5):
    return run(tx, PARAMS, tx.init(PARAMS), steps)[:2]


def through_orbax(tmp_path, state):
    """What Orbax makes of a state that it restores without a template."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(tmp_path / "state")


def assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


# The old transform, and one with a rule more that changes nothing: what was there goes on exactly as it would have.
INSERTED = {
    "before all": (gx.adamw(0.1), gx.chain(gx.clip_by_global_norm(1e6), gx.adamw(0.1))),
    "in the middle": (
        gx.chain(gx.trace(0.5), gx.adam(0.1)),
        gx.chain(gx.trace(0.5), gx.clip(1e6), gx.zero_nans(), gx.adam(0.1)),
    ),
    "with slots": (
        gx.adam(gx.linear_schedule(0.1, 0.0, 20)),
        gx.chain(gx.trace(0.0), gx.adam(gx.linear_schedule(0.1, 0.0, 20))),
    ),
    "in a mask": (
        gx.masked(gx.sgd(0.1, 0.9), KERNELS),
        gx.masked(gx.chain(gx.clip(1e6), gx.sgd(0.1, 0.9)), KERNELS),
    ),
    "in a group": (
        gx.partition({"fast": gx.adam(0.1), "slow": gx.sgd(0.1, 0.9)}, LABELS),
        gx.partition({"fast": gx.chain(gx.clip(1e6), gx.adam(0.1)), "slow": gx.sgd(0.1, 0.9)}, LABELS),
    ),
    "in MultiSteps": (gx.MultiSteps(gx.adam(0.1), 2), gx.MultiSteps(gx.chain(gx.clip(1e6), gx.adam(0.1)), 2)),
    "with live hyperparameters": (
        gx.live(gx.adam(0.1), "learning_rate"),
        gx.chain(gx.clip(1e6), gx.live(gx.adam(0.7), "learning_rate")),
    ),
    "an optax transform": (gx.adam(0.1), gx.chain(optax.clip(1e6), gx.adam(0.1))),
    "around an optax transform": (
        gx.chain(optax.scale_by_adam(), gx.scale(-0.1)),
        gx.chain(gx.clip(1e6), optax.scale_by_adam(), gx.scale(-0.1)),
    ),
}


@pytest.mark.parametrize("restored", [False, True], ids=["as it was", "through Orbax"])
@pytest.mark.parametrize("name", INSERTED)
@pytest.mark.parametrize("goes", ["in", "out"])
def test_other_rules_go_on_as_before(name, goes, restored, tmp_path):
    old, new = INSERTED[name] if goes == "in" else reversed(INSERTED[name])
    params, state = begun(old)
    _, _, expected = run(old, params, state, 20)
    migrated, report = gx.migrate(through_orbax(tmp_path, state) if restored else state, new, params)
    assert jax.tree.structure(migrated) == jax.tree.structure(new.init(params))
    _, _, path = run(new, params, migrated, 20)
    # Exactly: the rule that is more, or was, changes no bit.
    assert_equal(path, expected)
    assert not any("scale_by_adam." in name for name in (*report.new, *report.dropped))


def test_same_transform_keeps_all(tmp_path):
    tx = gx.chain(gx.add_noise(0.1, 0.5, 1), gx.scale_by_sm3(), gx.scale_by_factored_rms(min_dim_size_to_factor=2))
    _, state = begun(tx)
    for old in (state, through_orbax(tmp_path, state)):
        migrated, report = gx.migrate(old, tx, PARAMS)
        assert_equal(migrated, state)
        assert report.new == report.dropped == {}
        assert report.notes == ()
        assert set(report.kept.values()) == {"as it was"}
        assert len(report.kept) == len(jax.tree.leaves(state))


def test_report_tells_what_was_kept_new_and_dropped():
    _, state = begun(gx.chain(gx.clip_by_global_norm(1.0), gx.trace(0.9), gx.live(gx.adam(0.1), "b1")))
    new = gx.chain(gx.live(gx.adam(0.1), "b2"), gx.ema(0.9))
    migrated, report = gx.migrate(state, new, PARAMS)
    assert migrated.count == 5
    assert (
        str(report)
        == """\
kept
  count                        as it was
  scale_by_adam.mu (3 arrays)  as it was
  scale_by_adam.nu (3 arrays)  as it was
new
  ema.ema (3 arrays)     not in the old state
  live.scale_by_adam.b2  not in the old state
dropped
  clip_by_global_norm.norm  no place in the new state
  trace.trace (3 arrays)    no place in the new state
  live.scale_by_adam.b1     no place in the new state
notes
  ema begins at step 6 with slots that saw no gradient; bias corrections take them for older"""
    )
    kept, begun_anew, dropped, notes = report
    assert kept["scale_by_adam.mu/dense/kernel"] == "as it was"
    assert report._asdict() == {"kept": kept, "new": begun_anew, "dropped": dropped, "notes": notes}
    assert str(gx.MigrationReport({}, {}, {}, ())) == "kept: nothing\nnew: nothing\ndropped: nothing"


def test_what_does_not_fit_is_new_with_both_shapes():
    params, state = begun(gx.adam(0.1))
    grown = {**params, "dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(2)}}
    migrated, report = gx.migrate(state, gx.adam(0.1), grown)
    assert report.new == dict.fromkeys(
        ["scale_by_adam.mu/dense/kernel", "scale_by_adam.nu/dense/kernel"], "shape (3, 4), was (3, 2)"
    )
    assert not np.any(migrated.stages["scale_by_adam"].mu["dense"]["kernel"])
    assert_equal(migrated.stages["scale_by_adam"].mu["layers"], state.stages["scale_by_adam"].mu["layers"])
    assert report.notes != ()


def test_dtypes_are_those_of_the_new_transform():
    _, state = begun(gx.adam(0.1))
    migrated, report = gx.migrate(state, gx.adam(0.1, mu_dtype="bfloat16"), PARAMS)
    assert migrated.stages["scale_by_adam"].mu["dense"]["bias"].dtype == jnp.bfloat16
    assert report.kept["scale_by_adam.mu/dense/bias"] == "float32 as bfloat16, which is narrower"
    back, report = gx.migrate(migrated, gx.adam(0.1), PARAMS)
    assert back.stages["scale_by_adam"].mu["dense"]["bias"].dtype == jnp.float32
    assert report.kept["scale_by_adam.mu/dense/bias"] == "bfloat16 as float32"
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state)
    _, report = gx.migrate(wide._replace(count=state.count), gx.adam(0.1), PARAMS)
    assert report.kept["scale_by_adam.mu/dense/bias"] == "float64 as float32, which is narrower"


def test_numbers_of_another_kind_do_not_fit():
    _, state = begun(gx.trace(0.9))
    strange = jax.tree.map(lambda leaf: leaf.astype(jnp.complex64), state.stages)
    _, report = gx.migrate(state._replace(stages=strange), gx.trace(0.9), PARAMS)
    assert report.new["trace.trace/dense/bias"] == "float32, was complex64"


def test_names_say_what_belongs_together():
    old = gx.chain(gx.trace(0.9), gx.scale(-0.1))
    new = gx.chain(gx.trace(0.0), gx.trace(0.9), gx.scale(-0.1))
    params, state = begun(old)
    _, unsure = gx.migrate(state, new, params)
    assert (
        "there are 2 stages trace where there were 1; they were matched by their names; if others belong together, "
        "say so: names={'trace_2': ...}"
    ) in unsure.notes
    migrated, report = gx.migrate(state, new, params, names={"trace_2": "trace"})
    assert report.kept["trace_2.trace/dense/bias"] == "as it was, from trace.trace"
    assert not any("stages trace" in note for note in report.notes)
    assert_equal(run(new, params, migrated, 20)[2], run(old, params, state, 20)[2])


def test_names_of_named_chains_and_of_live_hyperparameters():
    old = gx.live(gx.named_chain(("opt", gx.adam(0.1))), "b1", "learning_rate")
    new = gx.live(gx.named_chain(("clip", gx.clip(1e6)), ("optimizer", gx.adam(0.3))), "b1", "learning_rate")
    params, state = begun(old)
    state = gx.adjust(state, b1=0.7)
    names = {f"optimizer.{rule}": f"opt.{rule}" for rule in ("scale_by_adam", "scale_by_learning_rate")}
    migrated, report = gx.migrate(state, new, params, names=names)
    assert report.kept["live.optimizer.scale_by_adam.b1"] == "as it was, from live.opt.scale_by_adam.b1"
    assert_equal(run(new, params, migrated, 20)[2], run(old, params, state, 20)[2])


def test_a_rule_moves_into_a_mask_with_its_count():
    old, everything = gx.adam(0.1), jax.tree.map(lambda _: True, PARAMS)
    new = gx.masked(gx.adam(0.1), everything)
    params, state = begun(old)
    migrated, _ = gx.migrate(state, new, params, names={"masked.inner_state.scale_by_adam": "scale_by_adam"})
    assert_equal(run(new, params, migrated, 20)[2], run(old, params, state, 20)[2])
    # Two arrays, as a step that donates its state needs.
    jax.jit(new.update, donate_argnums=1)(params, migrated, params)


def test_rules_of_different_counts_do_not_meet():
    _, state = begun(gx.chain(gx.trace(0.9), gx.masked(gx.adam(0.1), KERNELS)))
    masked = state.stages["masked"].inner_state._replace(count=jnp.int32(3))
    state = state._replace(stages={**state.stages, "masked": optax.MaskedState(masked)})
    names = {"scale_by_adam": "masked.inner_state.scale_by_adam"}
    with pytest.raises(
        ValueError, match="scale_by_adam comes from a state after 3 steps, others beside it from one after 5"
    ):
        gx.migrate(state, gx.chain(gx.trace(0.9), gx.adam(0.1)), PARAMS, names=names)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"scale_by_adam_2": "trace"}, "migrate: names: there is no 'scale_by_adam_2' among trace, scale_by_adam"),
        ({"trace": "velocity"}, "in the old state: there is no 'velocity' among trace, scale_by_adam, scale_by_lea"),
        ({"trace": "trace", "scale_by_adam": "trace"}, "names takes trace of the old state for more than one stage"),
    ],
)
def test_names_that_are_not_there_are_errors(names, match):
    tx = gx.chain(gx.trace(0.9), gx.adam(0.1))
    with pytest.raises(ValueError, match=match):
        gx.migrate(tx.init(PARAMS), tx, PARAMS, names=names)


def test_a_state_of_which_nothing_fits_is_an_error():
    with pytest.raises(ValueError, match="nothing of the old state fits the transform; the old state has opt_state"):
        gx.migrate({"params": PARAMS, "opt_state": gx.adam(0.1).init(PARAMS)}, gx.adam(0.1), PARAMS)
    with pytest.raises(TypeError, match="takes a transform as its second argument, got function"):
        gx.migrate(gx.adam(0.1).init(PARAMS), gx.adam, PARAMS)


def test_arrays_lie_where_those_of_the_new_state_lie():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    params = {"w": jax.device_put(jnp.arange(4.0), split)}
    # As Orbax returns them: bound to one device.
    old = jax.device_put(gx.adam(0.1).init({"w": jnp.arange(4.0)}), jax.devices()[0])
    state, _ = gx.migrate(old, gx.adam(0.1), params)
    assert state.stages["scale_by_adam"].mu["w"].sharding == split
    # The count, which is bound to one device, would not go with parameters on two.
    jax.jit(gx.adam(0.1).update)(params, state, params)
