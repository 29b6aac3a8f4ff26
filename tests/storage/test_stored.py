"""stored: the state is kept by codecs, whatever holds it, and the numbers stay near those of the transform alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core.keep import is_encoded

PARAMS = {"kernel": jnp.linspace(-1.0, 1.0, 48).reshape(8, 6), "bias": jnp.linspace(0.5, 1.0, 6)}
LABELS = {"kernel": "fast", "bias": "slow"}
KERNEL = {"kernel": True, "bias": False}
INT8 = gx.int8(4)


def small(tx, *args, **kwargs):
    """`stored` of small leaves too."""
    return gx.stored(tx, *args, min_size=0, **kwargs)


# What a codec is put around, or within: (with it, without it).
AROUND = {
    "a rule": lambda keep: keep(gx.scale_by_adam()),
    "a chain": lambda keep: keep(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1))),
    "named": lambda keep: keep(gx.named_chain(("first", gx.trace(0.9)), ("second", gx.adam(0.1)))),
    "in a chain": lambda keep: gx.chain(gx.clip(1.0), keep(gx.scale_by_lion()), gx.scale(-0.1)),
    "partition": lambda keep: keep(gx.partition({"fast": gx.adam(0.1), "slow": gx.sgd(0.1, 0.9)}, LABELS)),
    "in a partition": lambda keep: gx.partition({"fast": keep(gx.adam(0.1)), "slow": gx.sgd(0.1, 0.9)}, LABELS),
    "masked": lambda keep: keep(gx.masked(gx.adam(0.1), KERNEL)),
    "accumulate": lambda keep: keep(gx.accumulate(gx.adam(0.1), 2)),
    "in accumulate": lambda keep: gx.accumulate(keep(gx.adam(0.1)), 2),
    "guard": lambda keep: keep(gx.guard(gx.adam(0.1))),
    "in guard": lambda keep: gx.guard(keep(gx.adam(0.1))),
    "in MultiSteps": lambda keep: gx.MultiSteps(keep(gx.adam(0.1)), 2),
    "injected": lambda keep: keep(gx.inject_hyperparams(gx.adam)(0.1)),
    "muon": lambda keep: keep(gx.muon(0.1)),
    "soap": lambda keep: keep(gx.soap(0.1, precondition_frequency=2)),
    "schedule_free": lambda keep: keep(gx.schedule_free_adamw(0.1)),
    "tuple slots": lambda keep: keep(gx.adafactor(0.1, min_dim_size_to_factor=2)),
    "optax's alone": lambda keep: keep(optax.adamw(0.1)),
    "optax's in a chain": lambda keep: gx.chain(gx.clip(1.0), keep(optax.lion(0.1))),
    "in optax's chain": lambda keep: optax.chain(keep(gx.adam(0.1)), optax.trace(0.9)),
    "in optax's MultiSteps": lambda keep: optax.MultiSteps(keep(gx.adam(0.1)), 2).gradient_transformation(),
    "both": lambda keep: keep(optax.chain(gx.adam(0.1), optax.trace(0.9))),
}


def gradients(params):
    """Of a bowl whose curvature is another in each direction."""
    return jax.tree.map(lambda leaf: leaf * jnp.linspace(0.5, 2.0, leaf.size).reshape(leaf.shape), params)


def run(tx, steps=6):
    """The state and the parameters after some steps of a scan, which wants one structure, shape and dtype for ever."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradients(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=steps)[0]


def encoded(state):
    """What codecs keep of a state."""
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=is_encoded) if is_encoded(leaf)]


# Orthogonal factors make all singular values 1, also those of an error; of SOAP the bases are rounded too.
MAGNIFIED = {"muon": 0.25, "soap": 0.7}


@pytest.mark.parametrize("name", AROUND)
def test_goes_as_without_it(name):
    make = AROUND[name]
    kept, plain = make(lambda tx: small(tx, INT8)), make(lambda tx: tx)
    # optax's transforms mix dtypes.
    with jax.numpy_dtype_promotion("standard"):
        (params, state), (expected, alone) = jax.jit(lambda: (run(kept), run(plain)))()
    assert encoded(state)
    assert len(jax.tree.leaves(jax.eval_shape(gx.decoded, state))) >= len(jax.tree.leaves(alone))
    for leaf, start in PARAMS.items():
        way, error = (np.linalg.norm(np.subtract(expected[leaf], other)) for other in (start, params[leaf]))
        # A code is within 1% of the largest of four, and updates of Adam's kind divide one such by the root of another.
        assert error < MAGNIFIED.get(name, 0.08) * way, leaf


def test_a_step_is_that_of_the_loaded_state_and_is_stored():
    plain, tx = gx.adam(0.1), small(gx.adam(0.1), INT8)

    @jax.jit
    def both(state):
        updates, new = tx.update(PARAMS, state, PARAMS)
        loaded = gx.decoded(state).stages["stored"]
        return updates, new.stages["stored"], *plain.update(PARAMS, loaded, PARAMS)

    state = tx.init(PARAMS)
    for _ in range(3):
        updates, new, expected, plain_new = both(state)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)
        for name in ("mu", "nu"):
            for leaf in PARAMS:
                kept = getattr(new, name)[leaf]
                stored = INT8.store(getattr(plain_new, name)[leaf], kept, None)
                np.testing.assert_allclose(np.asarray(kept), np.asarray(stored), rtol=1e-6)
        state = state._replace(stages={"stored": new})


CODECS = [
    gx.int8(),
    gx.int8(companded=False),
    gx.int8(stochastic=True),
    gx.int4(),
    gx.int4(stochastic=False),
    gx.int4(companded=False),
    gx.int4(companded=False, stochastic=False),
    gx.as_dtype("bfloat16"),
    gx.as_dtype("float16"),
    gx.as_dtype("float8_e4m3fn"),
    gx.as_dtype("float8_e4m3fn", companded=False),
    gx.as_dtype("float8_e4m3fn", stochastic=False),
    gx.as_dtype("float8_e5m2"),
]


def test_a_constant_gradient_is_remembered_by_every_codec():
    """The line of bfloat16 on which optax's nu sticks at 0.5, and to the nearest any 16 bits would."""
    codecs, grad = [*CODECS, gx.as_dtype("bfloat16", stochastic=False)], jnp.ones(160)

    @jax.jit
    def nus():
        transforms = [small(gx.scale_by_adam(), codec) for codec in codecs]

        def step(states, _):
            return [tx.update(grad, state)[1] for tx, state in zip(transforms, states, strict=True)], None

        states = jax.lax.scan(step, [tx.init(grad) for tx in transforms], length=3000)[0]
        return [gx.decoded(state.nu) for state in states]

    *found, stuck = nus()
    for codec, nu in zip(codecs, found, strict=False):
        np.testing.assert_allclose(nu.mean(), 0.950, rtol=0.02, err_msg=repr(codec))
        # One element of 16 bits rounded at random strays by a few of its steps of 1/256.
        np.testing.assert_allclose(nu, 0.950, rtol=0.06, err_msg=repr(codec))
    assert np.all(stuck < 0.6)


def test_noisy_gradients_are_divided_by_what_they_are_divided_by_alone():
    nearest = gx.as_dtype("bfloat16", stochastic=False)
    codecs = [None, gx.int8(), *(codec for codec in CODECS if codec.stochastic), nearest]
    sizes = jnp.exp(jnp.linspace(-2.0, 0.0, 256))

    @jax.jit
    def nus():
        transforms = [gx.scale_by_adam() if codec is None else small(gx.scale_by_adam(), codec) for codec in codecs]

        def step(states, key):
            grad = sizes * jax.random.normal(key, sizes.shape)
            return [tx.update(grad, state)[1] for tx, state in zip(transforms, states, strict=True)], None

        states = [tx.init(sizes) for tx in transforms]
        states = jax.lax.scan(step, states, jax.random.split(jax.random.key(0), 2500))[0]
        return [jnp.asarray(state.nu, jnp.float32) for state in states]

    alone, *found, stuck = nus()
    for codec, nu in zip(codecs[1:], found, strict=False):
        # Of 256 elements, each of which strays by less than all of itself.
        np.testing.assert_allclose(np.mean(np.sqrt(alone / nu)), 1, atol=0.1, err_msg=repr(codec))
    # Rounded to the nearest, 16 bits take only the steps up that are large.
    assert np.mean(np.sqrt(alone / stuck)) < 0.92


def test_what_is_not_0_is_not_divided_by_eps():
    """A mean in more bits than its square: where the gradient stops, the square may not be 0 before the mean is."""
    sizes = jnp.asarray([1.0, 0.01, 0.01, 0.01])
    for nu in (gx.int4(4), gx.int4(4, stochastic=False), gx.int4(4, companded=False), gx.as_dtype("float8_e4m3fn", 4)):
        tx = small(gx.scale_by_adam(), mu=gx.as_dtype("bfloat16"), nu=nu)

        def step(state, is_on, tx=tx):
            updates, state = tx.update(sizes * jnp.where(is_on, 1.0, 0.0), state)
            return state, jnp.abs(updates).max()

        largest = jax.jit(lambda tx=tx, step=step: jax.lax.scan(step, tx.init(sizes), jnp.arange(20) < 10)[1])()
        # A gradient that did not change before has an update of 1.
        assert np.all(largest < 1.5), nu


def test_rates_in_vmap_have_states_of_their_own():
    rates = jnp.asarray([0.1, 0.01])

    @jax.jit
    def both(rates):
        def of(rate):
            return run(small(gx.adam(rate), gx.int8(4, stochastic=True)), 3)

        return jax.vmap(of)(rates), jax.lax.map(of, rates)

    one, other = both(rates)
    assert one[1].mu["kernel"].shape == (2, 8, 6)
    # Products may be fused otherwise.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *map(gx.decoded, (one, other)))


def test_a_donated_state_is_reused_whole():
    tx = small(gx.adam(0.1), INT8)
    state = tx.init(PARAMS)
    step = jax.jit(lambda state, grads: (tx.update(grads, state)[1],), donate_argnums=0)
    before = jax.tree.leaves(state)
    (state,) = step(state, PARAMS)
    assert all(leaf.is_deleted() for leaf in before)
    assert step.lower(state, PARAMS).compile().memory_analysis().alias_size_in_bytes >= sum(
        leaf.nbytes for leaf in jax.tree.leaves(state)
    )


def test_by_hand_it_is_compiled_once_for_many_rates():
    traces = []

    @gx.transform
    class Counted(gx.LeafRule):
        """A momentum that tells when it is traced."""

        decay: gx.Hyper = 0.9
        mu = gx.Slot()

        def update(self, grad, slots, leaf):
            traces.append(leaf)
            mu = self.decay * slots.mu + grad
            return mu, slots._replace(mu=mu)

    vector = jnp.linspace(0.1, 1.0, 12)
    state = small(Counted(0.5), INT8).init(vector)
    for decay in np.linspace(0.1, 0.9, 300):
        updates, state = small(Counted(float(decay)), INT8).update(vector, state)
    assert len(traces) == 1
    assert np.all(np.isfinite(updates))


def test_random_rounding_is_another_at_each_step_leaf_and_slot_and_the_same_again():
    leaf = jnp.full(64, 0.3)
    tx = small(gx.scale_by_adam(b1=0.5, b2=0.5), gx.int8(64, stochastic=True, axis=0))
    other = small(gx.scale_by_adam(b1=0.5, b2=0.5), gx.int8(64, stochastic=True, axis=0, seed=1))
    tree = {"a": leaf.at[0].set(1.0), "b": leaf.at[0].set(1.0)}

    @jax.jit
    def codes(tx):
        def step(state, _):
            state = tx.update(tree, state)[1]
            kept = {(slot, leaf): getattr(state, slot)[leaf] for slot in ("mu", "nu") for leaf in tree}
            return state, {place: each.parts["codes"] for place, each in kept.items()}

        return jax.lax.scan(step, tx.init(tree), length=2)[1]

    found = codes(tx)
    jax.tree.map(np.testing.assert_array_equal, found, codes(tx))
    rounded = [*np.concatenate(list(map(np.asarray, found.values()))), *codes(other)["mu", "a"]]
    assert len({array.tobytes() for array in rounded}) == len(rounded)


def test_lookahead_begins_anew_in_as_many_bits():
    tx = small(gx.lookahead(gx.adam(0.1), 2, 0.5, reset_state=True), INT8)
    params = optax.LookaheadParams.init_synced(PARAMS)

    @jax.jit
    def run():
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(gradients(params.fast), state, params)
            return (gx.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=4)[0]

    _, state = run()
    assert encoded(state)
    np.testing.assert_array_equal(gx.decoded(state.mu["kernel"]), 0)
