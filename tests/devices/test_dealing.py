"""Whole matrices are dealt out over devices: the same numbers everywhere, each moved twice and computed once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradxform as gx
from gradxform.core.dealing import shares

SHAPES = {
    "rows": (16, 32),
    "columns": (16, 32),
    "transposed": (32, 16),
    "both": (16, 16),
    "replicated": (16, 16),
    "layers": (3, 16, 32),
    "experts": (8, 16, 16),
    "heads": (16, 4, 8),
    "fused": (16, 24),
}
SPECS = {
    "rows": P("x"),
    "columns": P(None, "y"),
    "transposed": P(("x", "y")),
    "both": P("x", "y"),
    "replicated": P(),
    "layers": P(None, "y", "x"),
    "experts": P("x", "y"),
    "heads": P(None, "x"),
    "fused": P(None, "x"),
}
AXES = {name: gx.MatrixAxes() for name in SHAPES} | {
    "heads": gx.MatrixAxes(0, 2),
    "fused": gx.MatrixAxes(split_columns=(16, 4, 4)),
}


def fields(rule, rows, columns):
    return rows, rows


def wide(rule, rows, columns):
    return (columns,) if columns > 16 else None


@gx.transform
class Everything(gx.MatrixRule):
    """What a matrix rule may have: slots of leaves and of matrices, random numbers, work that is not always done."""

    weight_dimension_numbers: gx.WeightAxes | None = None
    every: gx.Hyper = 2
    seed: gx.Seed = 0

    mu = gx.Slot()
    gram = gx.MatrixSlot(shape=fields, init=0.1, diagonal=True)
    seldom = gx.MatrixSlot(shape=fields)
    lengths = gx.MatrixSlot(shape=wide, signed=False)
    key = gx.Key("seed")

    def prepare(self, grad, slots, leaf):
        mu = 0.9 * slots.mu + grad
        return leaf.of_each(lambda rows, columns: columns / rows) * mu, slots._replace(mu=mu)

    def update(self, grad, slots, matrix):
        gram = 0.5 * slots.gram + grad @ grad.mT
        seldom = matrix.refreshed(self.every, jnp.tanh, gram, kept=slots.seldom, spread=True)
        lengths = slots.lengths
        if isinstance(lengths, jax.Array):
            lengths = lengths + jnp.sum(jnp.square(grad), axis=-2)
        noise = matrix.random_normal(slots.key, grad)
        return seldom @ grad + 0.1 * noise, slots._replace(gram=gram, seldom=seldom, lengths=lengths)


RULES = {"everything": lambda: Everything(AXES), "muon": lambda: gx.scale_by_muon(weight_dimension_numbers=AXES)}


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


PARAMS, GRADS = drawn(0), [drawn(seed) for seed in (1, 2, 3)]


@jax.jit
def moved(params, updates):
    return jax.tree.map(lambda p, u: p + 0.1 * u, params, updates)


def step(tx, params, state, grad):
    updates, state = tx.update(grad, state, params)
    return moved(params, updates), state


def three_steps(run, params, state, grads):
    for grad in grads:
        params, state = run(params, state, grad)
    return params, state


@pytest.fixture(scope="module")
def references():
    made = {name: make() for name, make in RULES.items()}
    return {name: three_steps(jax.jit(partial(step, tx)), PARAMS, tx.init(PARAMS), GRADS) for name, tx in made.items()}


def grid(kind):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind,) * 2)


def by_jit(tx, kind):
    on = grid(kind)
    shardings = {name: NamedSharding(on, spec) for name, spec in SPECS.items()}
    with jax.set_mesh(on):
        params, grads = jax.device_put((PARAMS, GRADS), (shardings, [shardings] * len(GRADS)))
        state = gx.init_sharded(tx, params)
        kept = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
        return three_steps(jax.jit(partial(step, tx), out_shardings=kept), params, state, grads)


def by_hand(tx, kind):
    on = grid(kind)
    shardings = {name: NamedSharding(on, spec) for name, spec in SPECS.items()}
    params, grads = jax.device_put((PARAMS, GRADS), (shardings, [shardings] * len(GRADS)))
    return three_steps(partial(step, tx), params, gx.init_sharded(tx, params), grads)


def by_shard_map(tx, check_vma):
    tx, on = gx.on_axes(tx, SPECS), grid(AxisType.Auto)
    of_state = gx.state_specs(tx, PARAMS, SPECS, on)
    of_grads = {name: P(None, *spec) for name, spec in SPECS.items()}

    def from_the_first(params, grads):
        return jax.lax.scan(lambda carry, grad: (step(tx, *carry, grad), None), (params, tx.init(params)), grads)[0]

    run = jax.shard_map(
        from_the_first, mesh=on, in_specs=(SPECS, of_grads), out_specs=(SPECS, of_state), check_vma=check_vma
    )
    return jax.jit(run)(PARAMS, jax.tree.map(lambda *steps: np.stack(steps), *GRADS))


WAYS = {
    "jit, automatic axes": lambda tx: by_jit(tx, AxisType.Auto),
    "jit, automatic axes, told": lambda tx: by_jit(gx.on_axes(tx, SPECS), AxisType.Auto),
    "jit, explicit axes": lambda tx: by_jit(tx, AxisType.Explicit),
    "by hand": lambda tx: by_hand(tx, AxisType.Auto),
    "shard_map": lambda tx: by_shard_map(tx, True),
    "shard_map without types": lambda tx: by_shard_map(tx, False),
}


# `test_matrix.py` has muon in all ways.
@pytest.mark.parametrize(("rule", "way"), [*(("everything", way) for way in WAYS), ("muon", "shard_map")])
def test_same_numbers_and_state(references, rule, way):
    found, expected = WAYS[way](RULES[rule]()), references[rule]
    assert jax.tree.structure(found[1]) == jax.tree.structure(expected[1])
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Products of other shapes round otherwise, relative to the largest element.
        scale = max(1.0, float(np.max(np.abs(np.asarray(theirs, np.float64)), initial=0.0)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)


def test_untold_leaves_are_dealt_out_by_types_or_are_an_error():
    tx, on = gx.scale_by_muon(), jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))

    def first(grad):
        return tx.update(grad, tx.init(grad))[0]

    grads = {"w": GRADS[0]["rows"]}
    whole = jax.jit(jax.shard_map(first, mesh=on, in_specs=P(), out_specs=P()))
    np.testing.assert_allclose(whole(grads)["w"], first(grads)["w"], atol=1e-6)
    assert "all-gather" in whole.lower(grads).compile().as_text()
    parted = jax.shard_map(first, mesh=on, in_specs=P("x"), out_specs=P("x"))
    with pytest.raises(ValueError, match=r"scale_by_muon decides by the shape of a leaf.*tell it with on_axes"):
        jax.eval_shape(parted, grads)


def test_where_nothing_tells_devices_may_train_parameters_of_their_own():
    tx = gx.scale_by_muon()
    many = jnp.stack([GRADS[0]["rows"] * (1 + device) for device in range(8)])
    found = jax.pmap(lambda grad: tx.update(grad, tx.init(grad))[0], axis_name="models")(many)
    expected = tx.update(many[0], tx.init(many[0]))[0]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)


def test_zero_divides_the_momentum_and_deals_out_matrices():
    inner = gx.muon(0.1)
    tx, on = gx.zero(inner, "x", min_size=8), jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    params = {"w": PARAMS["rows"], "v": PARAMS["transposed"], "b": jnp.ones(16)}
    specs = gx.state_specs(tx, params, P(), on)
    assert specs.stages["zero"].stages["partition"].inner_states["muon"].stages["scale_by_muon"].mu["w"] == P(None, "x")
    update = jax.shard_map(tx.update, mesh=on, in_specs=(P(), specs, P()), out_specs=(P(), specs), check_vma=False)
    state = jax.jit(tx.init, out_shardings=jax.tree.map(lambda spec: NamedSharding(on, spec), specs))(params)
    found, _ = jax.jit(update)(params, state, params)
    expected, _ = inner.update(params, inner.init(params), params)
    for name in params:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


# So small that nothing is in a loop, whose operations XLA counts once.
WIDTH = 32
LAYER = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
MATRICES = {f"{name}/{layer}": shape for layer in range(8) for name, shape in LAYER.items()}
BYTES = 4 * sum(rows * columns for rows, columns in MATRICES.values())


def step_program(on, spec):
    tx, sharding = gx.scale_by_muon(), NamedSharding(on, spec)
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for k, shape in MATRICES.items()}
    shardings = gx.state_shardings(tx, params)
    state = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(tx.init, params),
        shardings,
    )

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    kept = (jax.tree.map(lambda leaf: leaf.sharding, params), shardings)
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=kept).lower(params, state, params).compile()


@pytest.fixture(scope="module")
def operations_of_one():
    on = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    return step_program(on, P()).cost_analysis()["flops"]


# What a device gives or gets, of all bytes: an eighth there and an eighth back; with two mesh axes, which automatic
# ones are moved one after the other, twice that; of replicated matrices all come back.
LAYOUTS = {
    "rows": (((8,), ("x",)), P("x"), 2 / 8),
    "columns": (((8,), ("x",)), P(None, "x"), 2 / 8),
    "replicated": (((8,), ("x",)), P(), 1),
    "tensor parallelism": (((4, 2), ("x", "y")), P("x", "y"), 4 / 8),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_matrix_moves_twice_and_is_computed_once(operations_of_one, layout):
    (shape, names), spec, moved = LAYOUTS[layout]
    on = jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))
    compiled = step_program(on, spec)
    program = gx.program(compiled)
    assert not any(exchange.conditional for exchange in program.collectives)
    assert {exchange.kind for exchange in program.collectives} <= {"all-to-all", "all-gather"}
    assert sum(exchange.bytes for exchange in program.collectives) <= 1.01 * moved * BYTES
    # Where it is replicated, each device has the whole momentum to compute: a few operations an element.
    elementwise = 8 * BYTES / 4 if layout == "replicated" else 0
    assert compiled.cost_analysis()["flops"] <= 1.1 / 8 * operations_of_one + elementwise
    assert not program.wasted


def test_explicit_axes_of_two_are_moved_at_once():
    on = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(on):
        program = gx.program(step_program(on, P("x", "y")))
    assert sum(exchange.bytes for exchange in program.collectives) <= 1.01 * 2 / 8 * BYTES


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 100)), min_size=1, max_size=6), st.sampled_from([1, 3, 8]))
def test_all_matrices_are_dealt_out_evenly(groups, devices):
    dealt = shares([("all", devices, count, cost) for count, cost in groups])
    loads = np.zeros(devices, int)
    for (count, cost), share in zip(groups, dealt, strict=True):
        assert share.each * devices + share.rest == count
        assert 0 <= share.first <= devices - share.rest
        loads += share.each * cost
        loads[share.first : share.first + share.rest] += cost
    # One more matrix of each group than an even share, at most.
    assert loads.max() <= sum(count * cost for count, cost in groups) / devices + sum(cost for _, cost in groups)
