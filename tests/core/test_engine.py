"""What the engine gives to every rule: one trace for each shape, schedules, precision, metrics, masks, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.core import leaves


def counting_rule(calls):
    """A rule that notes each time that it is traced."""

    @gx.transform
    class Counting(gx.LeafRule):
        factor: gx.Hyper = 2.0

        memory = gx.Slot()

        def update(self, grad, slots, leaf):
            calls.append(grad.shape)
            return self.factor * grad, slots._replace(memory=slots.memory + grad)

    return Counting


def test_a_rule_is_traced_once_for_each_distinct_leaf():
    calls = []
    tx = gx.chain(counting_rule(calls)(), gx.scale(2.0))
    params = [jnp.ones((4, 3))] * 20 + [jnp.ones(7)] * 20
    state = jax.eval_shape(tx.init, params)
    jax.jit(tx.update).lower(params, state, params)
    assert sorted(calls) == [(4, 3), (7,)]


def test_a_second_trace_of_an_equal_transform_finds_the_first():
    calls = []
    make = counting_rule(calls)
    params = [jnp.ones((4, 3))] * 20
    for _ in range(3):
        tx = make()
        jax.jit(tx.update).lower(params, jax.eval_shape(tx.init, params))
    assert len(calls) == 1


def test_eager_steps_compile_once():
    tx = gx.adamw(0.1)
    params = {"a": jnp.ones((5, 4)), "b": jnp.ones((5, 4))}
    state = tx.init(params)
    _, state = tx.update(params, state, params)
    compiled = leaves.advance._cache_size()
    for _ in range(5):
        _, state = tx.update(params, state, params)
    assert leaves.advance._cache_size() == compiled


def test_bias_corrections_are_computed_once_for_all_leaves():
    tx = gx.scale_by_adam()
    params = {str(i): jnp.ones((300 + i, 300)) for i in range(5)}
    compiled = jax.jit(tx.update).lower(params, tx.init(params)).compile().as_text()
    assert compiled.count("exponential-minus-one(") == 2


def test_a_schedule_is_taken_at_the_number_of_updates_before():
    seen = []

    def schedule(step):
        seen.append(int(step))
        return 0.5**step

    tx = gx.sgd(schedule)
    state = tx.init(jnp.ones(()))
    rates = []
    for _ in range(3):
        updates, state = tx.update(jnp.ones(()), state)
        rates.append(-float(updates))
    assert seen == [0, 1, 2]
    assert rates == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), jnp.asarray(0.5), 1, lambda step: 0.5])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "complex64"])
def test_a_hyperparameter_may_be_any_number_under_strict_promotion(value, dtype):
    grads = jnp.ones(3, dtype)
    tx = gx.chain(gx.scale(value), gx.clip_by_global_norm(value), gx.ema(0.5 if value == 1 else value))
    updates, _ = tx.update(grads, tx.init(grads))
    assert updates.dtype == grads.dtype
    assert jnp.all(jnp.isfinite(updates))


def test_a_hyperparameter_that_is_no_scalar_is_an_error():
    tx = gx.scale(jnp.ones(3))
    with pytest.raises(ValueError, match=r"scale: step_size: expected .* shape \(\), got shape \(3,\); .*jax.vmap"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
    tx = gx.sgd(lambda step: jnp.ones(2))
    with pytest.raises(ValueError, match=r"learning_rate at this step: expected .* got shape \(2,\)"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


@pytest.mark.parametrize("wrong", ["fast", None, True, [0.1, "x"], jnp.ones(3, bool), 1j], ids=repr)
def test_a_hyperparameter_that_is_no_number_is_an_error_at_construction(wrong):
    with pytest.raises(TypeError, match=r"scale: step_size must be a real number, .* or a function of the step; got"):
        gx.scale(wrong)


@pytest.mark.parametrize("wrong", ["float33", int, "relu"], ids=repr)
def test_a_dtype_that_is_none_is_an_error_at_construction(wrong):
    with pytest.raises(TypeError, match="trace: accumulator_dtype must be a"):
        gx.trace(0.9, accumulator_dtype=wrong)


def test_slots_are_kept_in_the_dtype_that_was_asked_and_computed_in_float32():
    tx = gx.trace(0.5, accumulator_dtype="bfloat16")
    grads = jnp.ones(2)
    state = tx.init(grads)
    assert state.stages["trace"].trace.dtype == jnp.bfloat16
    updates, state = tx.update(grads / 3, state)
    assert updates.dtype == jnp.float32
    np.testing.assert_array_equal(updates, grads / 3)
    assert state.stages["trace"].trace.dtype == jnp.bfloat16


def test_a_real_slot_for_complex_parameters_is_an_error_with_the_path():
    with pytest.raises(TypeError, match=r"trace: expected a complex dtype for the slots at 'w', .* got bfloat16"):
        gx.trace(0.9, accumulator_dtype="bfloat16").init({"w": jnp.ones(2, jnp.complex64)})


def test_precision_is_kept_between_the_rules_of_a_chain():
    # In bfloat16 1 / 3 times 3 is not 1 - 2^-9 nor 1; in float32, cast once at the end, it is.
    tx = gx.chain(gx.scale(1 / 3), gx.scale(1 + 2**-9), gx.scale(3.0), gx.scale(1 / (1 + 2**-9)))
    grads = jnp.ones(2, jnp.bfloat16)
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_array_equal(updates, grads)


def test_float64_numbers_stay_exact():
    with jax.enable_x64(True):
        grads = jnp.asarray([1e300, 1.0])
        tx = gx.clip_by_global_norm(1.0)
        updates, state = tx.update(grads, tx.init(grads))
        np.testing.assert_allclose(updates, [1.0, 1e-300], rtol=1e-15)
        np.testing.assert_allclose(state.stages["clip_by_global_norm"].norm, 1e300, rtol=1e-15)


@pytest.mark.parametrize(
    "mask",
    [
        {"dense": {"w": True, "b": False}, "out": True},
        {"dense": {"w": True, "b": False}, "out": np.True_},
        lambda tree: {"dense": {"w": True, "b": False}, "out": True},
    ],
)
def test_a_mask_says_where_weights_decay(mask):
    params = {"dense": {"w": jnp.ones(2), "b": jnp.ones(2)}, "out": jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = gx.add_decayed_weights(0.5, mask)
    updates, _ = tx.update(zeros, tx.init(params), params)
    assert jax.tree.map(lambda leaf: float(leaf[0]), updates) == {"dense": {"w": 0.5, "b": 0.0}, "out": 0.5}


def test_a_decay_mask_is_read_by_rules_of_leaves_and_of_trees():
    @gx.transform
    class OfLeaves(gx.LeafRule):
        mask: gx.DecayMask | None = None

        def update(self, grad, slots, leaf):
            return grad - leaf.param if leaf.decays else grad, slots

    @gx.transform
    class OfTrees(gx.TreeRule):
        mask: gx.DecayMask | None = None

        def update(self, updates, slots, tree):
            return tree.map(lambda d, u, p: u - p if d else u, tree.decays, updates, tree.params), slots

    params = {"a": jnp.ones(2), "b": {"c": jnp.ones(2), "d": jnp.ones(2)}}
    for make in (OfLeaves, OfTrees):
        for mask, left in ((None, [0, 0, 0]), ({"a": False, "b": True}, [1, 0, 0])):
            tx = make(mask)
            updates, _ = tx.update(params, tx.init(params), params)
            np.testing.assert_array_equal([leaf[0] for leaf in jax.tree.leaves(updates)], left)


def test_a_mask_may_be_a_prefix():
    params = {"dense": {"w": jnp.ones(2), "b": jnp.ones(2)}, "out": jnp.ones(2)}
    tx = gx.add_decayed_weights(0.5, {"dense": False, "out": True})
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    assert jax.tree.map(lambda leaf: float(leaf[0]), updates) == {"dense": {"w": 0.0, "b": 0.0}, "out": 0.5}


def test_masks_are_compared_and_hashed_by_value():
    one, other = (gx.add_decayed_weights(0.5, {"a": True, "b": [False]}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != gx.add_decayed_weights(0.5, {"a": True, "b": [True]})


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        ({"a": True}, ValueError, "add_decayed_weights: expected a mask that is a prefix of the updates"),
        ({"a": 1, "b": True}, TypeError, "expected True or False in the mask at 'a', got 1"),
    ],
)
def test_a_mask_that_does_not_fit_is_an_error(mask, error, match):
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    with pytest.raises(error, match=match):
        gx.add_decayed_weights(0.5, mask).init(params)


def test_slots_of_a_masked_rule_are_kept_only_where_the_mask_is_true():
    @gx.transform
    class MaskedSum(gx.LeafRule):
        mask: gx.Mask | None = None

        total = gx.Slot()

        def update(self, grad, slots, leaf):
            total = slots.total + grad
            return total, slots._replace(total=total)

    tx = MaskedSum({"a": True, "b": False})
    grads = {"a": jnp.ones(2), "b": jnp.ones(2)}
    state = tx.init(grads)
    assert len(jax.tree.leaves(state.stages["masked_sum"].total)) == 1
    for expected in (1.0, 2.0):
        updates, state = tx.update(grads, state)
        assert jax.tree.map(lambda leaf: float(leaf[0]), updates) == {"a": expected, "b": 1.0}
    with pytest.raises(ValueError, match="masked_sum: expected a mask that is a prefix of the updates"):
        tx.update({"b": jnp.ones(2)}, state)


def test_a_user_s_own_rule_gets_everything():
    @gx.transform
    class SignOfMean(gx.LeafRule):
        """The sign of the running mean."""

        decay: gx.Hyper
        floor: float = 0.0

        mean = gx.Slot()
        size = gx.Metric()

        def update(self, grad, slots, leaf):
            mean = self.decay * slots.mean + (1 - self.decay) * grad
            return jnp.sign(mean), slots._replace(mean=mean, size=leaf.norm(mean))

    assert SignOfMean.__doc__ == "The sign of the running mean."
    tx = gx.chain(SignOfMean(lambda step: 0.5), gx.scale(-0.1))
    params = {"w": jnp.ones(4, jnp.bfloat16)}
    state = tx.init(params)
    updates, after = jax.jit(tx.update)({"w": jnp.full(4, 3.0)}, state, params)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)
    assert after.stages["sign_of_mean"].mean["w"].dtype == jnp.float32
    assert gx.metrics(after) == {"sign_of_mean.size/w": 3.0}
    assert gx.hyperparams(tx, after)["sign_of_mean.decay"] == 0.5


def test_a_tree_rule_of_one_s_own():
    @gx.transform
    class Centre(gx.TreeRule):
        moved = gx.Slot(init=1.0)
        steps = gx.Slot(axes=())
        mean = gx.Metric()

        def update(self, updates, slots, tree):
            mean = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates)) / 4
            moved = tree.map(lambda old, u: old + u, slots.moved, updates)
            new = slots._replace(moved=moved, steps=slots.steps + tree.step.astype(float), mean=mean)
            return tree.map(lambda u, p: u - mean + 0 * p, updates, tree.params), new

    tx = Centre()
    grads = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 6.0])}
    state = tx.init(grads)
    updates, state = jax.jit(tx.update)(grads, state, grads)
    assert jax.tree.map(lambda leaf: leaf.tolist(), updates) == {"a": [-2.0, -1.0], "b": [0.0, 3.0]}
    record = state.stages["centre"]
    assert (float(record.mean), float(record.steps), record.moved["b"].tolist()) == (3.0, 1.0, [4.0, 7.0])
    with pytest.raises(ValueError, match="centre needs the parameters"):
        tx.update(grads, state)


@pytest.mark.parametrize(
    ("body", "error", "match"),
    [
        (lambda self, grad, slots, leaf: grad, TypeError, r"wrong: expected the rule to return \(update, slots\), got"),
        (lambda self, grad, slots, leaf: (grad[:1], slots), ValueError, r"wrong: expected an update of shape \(3,\)"),
        (lambda self, grad, slots, leaf: (grad * 1j, slots), TypeError, "wrong: expected a real update, got complex64"),
        (
            lambda self, grad, slots, leaf: (grad, slots._replace(memory=jnp.ones(()))),
            ValueError,
            r"wrong: slot memory is kept with shape \(3,\), got \(\)",
        ),
    ],
    ids=["no pair", "shape", "kind", "slot"],
)
def test_a_rule_that_returns_what_it_may_not_is_told(body, error, match):
    rule = type("Wrong", (gx.LeafRule,), {"memory": gx.Slot(), "update": body, "__module__": __name__})
    tx = gx.transform(rule)()
    # Multiplying by 1j changes the dtype, which the rule may do as far as JAX is concerned.
    with pytest.raises(error, match=match), jax.numpy_dtype_promotion("standard"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


@pytest.mark.parametrize("wrong", [3, gx.adam, int, gx.LeafRule, type("Empty", (gx.TreeScaleRule,), {})])
def test_transform_takes_rules_with_maths(wrong):
    with pytest.raises(TypeError, match="transform takes a subclass"):
        gx.transform(wrong)


def test_a_hyperparameter_with_a_name_that_is_taken_is_an_error():
    with pytest.raises(TypeError, match="Taken: metrics has a meaning of its own in every rule"):
        type("Taken", (gx.LeafRule,), {"__annotations__": {"metrics": gx.Hyper}, "metrics": 1.0})


def test_a_mask_on_a_rule_of_the_whole_tree_is_an_error():
    with pytest.raises(TypeError, match="Whole: only a LeafRule takes a mask"):
        type("Whole", (gx.TreeRule,), {"__annotations__": {"mask": gx.Mask}, "mask": None})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gx.sgd(-0.1), "scale_by_learning_rate: learning_rate must be at least 0; got -0.1"),
        (lambda: gx.adam(0.1, b1=1.0), "scale_by_adam: b1 must be at least 0 and less than 1; got 1.0"),
        (lambda: gx.adam(0.1, b2=-0.5), "scale_by_adam: b2 must be at least 0 and less than 1; got -0.5"),
        (lambda: gx.adam(0.1, eps=float("nan")), "scale_by_adam: eps must be at least 0; got nan"),
        (lambda: gx.clip_by_global_norm(-1.0), "clip_by_global_norm: max_norm must be at least 0; got -1.0"),
        (lambda: gx.clip(np.float32(-1)), r"clip: max_delta must be at least 0; got np.float32\(-1.0\)"),
        (lambda: gx.ema(jnp.asarray(2.0)), r"ema: decay must be at least 0 and less than 1; got jnp.float32\(2.0\)"),
    ],
)
def test_a_hyperparameter_out_of_range_is_an_error_at_construction(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_schedules_and_traced_numbers_are_not_asked_for_their_range():
    def schedule(step):
        raise AssertionError("called at construction")

    assert gx.sgd(schedule) == gx.sgd(schedule)
    assert jax.jit(lambda rate: gx.sgd(rate).update(jnp.ones(()), gx.sgd(rate).init(jnp.ones(())))[0])(-1.0) == 1.0


def test_slots_of_some_axes_of_copies_and_of_random_keys():
    @gx.transform
    class Everything(gx.LeafRule):
        key: gx.Seed = 0

        rows = gx.Slot(axes=lambda rule, shape: tuple(range(len(shape) - 1)) or None)
        each = gx.Slot(axes=lambda rule, shape: [(axis,) for axis in range(len(shape))])
        first = gx.Slot(copy=True)
        rng = gx.Key()

        def update(self, grad, slots, leaf):
            noise = jax.random.normal(slots.rng, grad.shape)
            each = tuple(jnp.ones_like(value) for value in slots.each)
            return noise, slots._replace(each=each)

    params = {"a": jnp.full((4, 3), 2.0), "b": jnp.full((4, 3), 3.0), "c": jnp.ones(5)}
    tx = Everything()
    state = tx.init(params)
    record = state.stages["everything"]
    assert record.rows["a"].shape == (4,)
    assert jax.tree.leaves(record.rows["c"]) == []
    assert [array.shape for array in record.each["b"]] == [(4,), (3,)]
    np.testing.assert_array_equal(record.first["b"], 3.0)
    assert record.first["b"].unsafe_buffer_pointer() != params["b"].unsafe_buffer_pointer()
    assert record.rng.dtype == jnp.uint32

    noise, after = jax.jit(tx.update)(params, state, params)
    again, _ = tx.update(params, state, params)
    other, _ = tx.update(params, after, params)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
    np.testing.assert_array_equal(noise["a"], again["a"])
    assert not np.any(noise["a"] == other["a"])
    assert not np.any(noise["a"] == noise["b"])
    assert tx == Everything(0) != Everything(1)
    assert hash(Everything(jax.random.key(3))) == hash(Everything(jax.random.key(3)))


def test_a_metric_may_be_any_tree_that_is_measured():
    @gx.transform
    class Watch(gx.TreeRule):
        seen = gx.Metric(measure="look")

        def look(self, tree):
            return {"all": tree, "steps": 3, "first": jnp.max(tree["a"])}

        def update(self, updates, slots, tree):
            return updates, slots._replace(seen=self.look(tree.whole(updates)))

    params = {"a": jnp.full(2, 2.0, jnp.bfloat16)}
    tx = Watch()
    state = tx.init(params)
    seen = state.stages["watch"].seen
    assert seen["first"] == 2
    assert seen["all"]["a"].dtype == jnp.float32
    _, after = jax.jit(tx.update, donate_argnums=1)({"a": jnp.ones(2)}, state, params)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, tx.init(params))
    np.testing.assert_array_equal(after.stages["watch"].seen["all"]["a"], 1.0)


def test_a_tree_rule_gets_a_new_key_at_each_step():
    @gx.transform
    class Noise(gx.TreeRule):
        key: gx.Seed

        rng = gx.Key()

        def update(self, updates, slots, tree):
            return tree.map(lambda u: u + jax.random.normal(slots.rng, u.shape), updates), slots

    tx = Noise(jax.random.key(1))
    state = tx.init(jnp.zeros(3))
    one, state = tx.update(jnp.zeros(3), state)
    other, state = tx.update(jnp.zeros(3), state)
    assert not np.any(one == other)
    with pytest.raises(TypeError, match=r"noise: key must be an integer, or a key of jax.random; got 'seed'"):
        Noise("seed")


def test_a_tree_rule_may_keep_vectors():
    @gx.transform
    class Counts(gx.TreeRule):
        length: int = 3
        first: gx.Hyper = 0.5

        counts = gx.Slot(init="first", axes=(), length="length")

        def update(self, updates, slots, tree):
            return updates, slots._replace(counts=self.first + jnp.arange(3.0))

    params = {"a": jnp.ones(2, jnp.bfloat16)}
    tx = Counts()
    state = tx.init(params)
    _, after = jax.jit(tx.update)(params, state)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
    np.testing.assert_array_equal(after.stages["counts"].counts, [0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match=r"slot counts is kept with shape \(2,\), got \(3,\)"):
        Counts(2).update(params, Counts(2).init(params))
    with pytest.raises(TypeError, match="length='n' is for slots that keep no axes of the parameter"):
        gx.Slot(length="n")


class Mean(gx.TreeRule):
    """The mean over the examples."""

    wrong: bool = False

    per_example = True

    def update(self, updates, slots, tree):
        return (updates if self.wrong else tree.map(lambda u: u.mean(0), updates)), slots


def test_a_rule_that_takes_per_example_gradients():
    tx, params = gx.chain(gx.transform(Mean)(), gx.trace(0.9)), {"a": jnp.ones(3, jnp.bfloat16)}
    grads = {"a": jnp.arange(6.0).reshape(2, 3).astype(jnp.bfloat16)}
    for given in (params, None):
        updates, _ = tx.update(grads, tx.init(params), given)
        assert updates["a"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(updates["a"], [1.5, 2.5, 3.5])
    wrong = gx.transform(Mean)(wrong=True)
    with pytest.raises(
        ValueError, match=r"mean: expected shape \(3,\) at 'a', as the updates that came have, got \(2, 3\)"
    ):
        wrong.update(grads, wrong.init(params), params)


@pytest.mark.parametrize("kind", [gx.LeafRule, gx.TreeScaleRule])
def test_only_a_tree_rule_takes_per_example_gradients(kind):
    with pytest.raises(TypeError, match="Wrong: only a TreeRule with an update takes per-example gradients"):
        type("Wrong", (kind,), {"per_example": True})
