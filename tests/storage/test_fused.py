"""One kernel a leaf: the same numbers as plain operations, for every rule that treats each element alone."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradxform as gx
from gradxform.core import fused, kernels
from tests.contract.cases import DISTINCT

# A kernel and plain operations round alike but where XLA contracts a product and a sum; a code may then be its
# neighbour's, by a step of 1/127 of the block's largest value, which is about 2 here.
ROUNDING = {"rtol": 1e-5, "atol": 2e-6}


def arrays(seed, shape=(8, 4), dtype=np.float32):
    return {"kernel": jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)}


def traced(step, *args):
    """The program of a step as text; of a function of its own, as JAX keeps what it has traced."""
    return str(jax.make_jaxpr(lambda *args: step(*args))(*args))


def has_kernel(tx, params, **extra):
    state = jax.eval_shape(tx.init, params)
    with fused.interpreted("tpu"):
        return "pallas_call" in traced(lambda g, s, p: tx.step(g, s, p, **extra), params, state, params)


def stored(tx, codec=None, **options):
    return gx.stored(tx, gx.int8() if codec is None else codec, min_size=0, **options)


def by_update(tx):
    """A step as loops take it that do not know of `tx.step`."""

    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    return step


def ways(tx, params, platforms, grads, by=None):
    """Parameters and state after steps in plain operations and by each platform's kernels, of one program."""

    def run(params, grads):
        def step(carry, grad):
            params, state = carry
            return (by or tx.step)(grad, state, params), None

        # One step is compiled, however many there are.
        params, state = jax.lax.scan(step, (params, tx.init(params)), grads)[0]
        return params, gx.decoded(state)

    def all_ways(params, grads):
        done = [run(params, grads)]
        for platform in platforms:
            with fused.interpreted(platform):
                done.append(run(params, grads))
        return done

    return jax.jit(all_ways)(params, jax.tree.map(lambda *steps: jnp.stack(steps), *grads))


def assert_alike(plain, by_kernel, **tolerance):
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(by_kernel), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), **{**ROUNDING, **tolerance})


@functools.cache
def elementwise():
    """One case for each row of rules that has a kernel, by name."""
    found, seen = {}, set()
    for case in DISTINCT:
        tx = case.make()
        rules = tuple(type(stage.node) for stage in tx.stages)
        if case.batch or case.extra or rules in seen:
            continue
        try:
            is_fused = has_kernel(stored(tx), arrays(0))
        except ValueError:
            # A mask of another tree than this one.
            continue
        if is_fused:
            seen.add(rules)
            found[case.name] = tx
    return found


def test_as_many_rules_have_a_kernel_as_treat_each_element_alone():
    assert len(elementwise()) >= 50
    rules = {"lion", "ademamix", "adopt", "adan", "yogi", "rms"}
    assert {"adam", "radam", *(f"scale_by_{rule}" for rule in rules)} <= {*elementwise()}
    assert {"lamb", "clip_by_block_rms", "scale_by_muon", "add_noise"}.isdisjoint(elementwise())


@pytest.mark.parametrize("share", range(5))
def test_kernels_of_all_elementwise_rules_have_the_numbers_of_plain_operations(share):
    """A fifth of them each time, in one program."""
    names = sorted(elementwise())[share::5]
    params, grad = arrays(0), arrays(1)

    def all_of(platform):
        found = {}
        for name in names:
            tx = stored(elementwise()[name])
            state = tx.init(params)
            if platform is None:
                found[name] = tx.step(grad, state, params)
            else:
                with fused.interpreted(platform):
                    found[name] = tx.step(grad, state, params)
            found[name] = gx.decoded(found[name])
        return found

    plain, by_kernel = jax.jit(lambda: (all_of(None), all_of("tpu")))()
    for name in names:
        assert_alike(plain[name], by_kernel[name], err_msg=name)


CODECS = {
    "int8": gx.int8(block=32),
    "int4": gx.int4(block=32, stochastic=False),
    "at random": gx.int8(block=32, stochastic=True),
    "linear": gx.int8(block=32, companded=False),
}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_kernels_of_several_blocks(codec):
    """Blocks along the axis of the codec, more columns than one kernel takes, and three axes."""
    # The last two have their blocks along the first axis, and along the last, which a TPU's kernel has not. In layouts
    # the linear codec is as the first.
    for shape in ((96, 640), (2, 64, 48), (64, 12, 8), (4, 64))[: 1 if codec is CODECS["linear"] else None]:
        params, grads = arrays(0, shape), [arrays(1, shape), arrays(2, shape)]
        plain, *by_kernels = ways(stored(gx.adamw(1e-2), codec), params, ["tpu", "gpu"], grads)
        for by_kernel in by_kernels:
            # One code more or less, of the 7 that int4 has on a side, moves an update by less than a third of the rate.
            assert_alike(plain, by_kernel, atol=0.3)
            close = [
                np.isclose(a, b, **ROUNDING).mean()
                for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(by_kernel), strict=True)
            ]
            assert min(close) > 0.999


WIDER = (gx.split_weights, gx.stochastic_rounding, gx.kahan, gx.master_weights)


@pytest.mark.parametrize("around", WIDER, ids=lambda around: around.__name__)
def test_low_precision_parameters_land_in_the_kernel(around):
    shape = (32, 16)
    params, grads = arrays(0, shape, jnp.bfloat16), [arrays(1, shape, jnp.bfloat16)]
    tx = around(stored(gx.adamw(1e-2)))
    assert has_kernel(tx, params)
    plain, *by_kernels = ways(tx, params, ["tpu", "gpu"], grads)
    assert plain[0]["kernel"].dtype == jnp.bfloat16
    for by_kernel in by_kernels:
        # Bits beyond those of bfloat16 are kept as integers, of which one is little: so as they are loaded.
        np.testing.assert_array_equal(plain[0]["kernel"], by_kernel[0]["kernel"])


def test_updates_leave_a_kernel_as_they_leave_plain_operations():
    params, grads = arrays(0), [arrays(1)]
    tx = gx.chain(gx.clip_by_global_norm(0.5), stored(gx.adam(1e-2)))
    assert_alike(*ways(tx, params, ["tpu"], grads, by_update(tx)))


def test_what_a_kernel_cannot_do_goes_the_plain_way():
    class ByItsSize(gx.LeafRule):
        """Asks for the shape of what it sees, which in a kernel would be that of a block."""

        total = gx.Slot()

        def update(self, grad, slots, leaf):
            total = slots.total + grad / grad.size
            return total, slots._replace(total=total)

    class WhereItIs(gx.LeafRule):
        """Asks where an element is."""

        total = gx.Slot()

        def update(self, grad, slots, leaf):
            total = slots.total + grad * jnp.arange(grad.shape[-1], dtype=grad.dtype).reshape(1, -1)
            return total, slots._replace(total=total)

    # More than one block.
    params = arrays(0, (512, 256))
    for rule in (ByItsSize, WhereItIs):
        assert not has_kernel(stored(gx.transform(rule)()), params)
    for tx in (gx.lamb(1e-2), gx.chain(gx.scale_by_adam(), gx.clip_by_block_rms(1.0))):
        assert not has_kernel(stored(tx), params)
    # Blocks that do not divide, one axis, blocks along the last axis, float64, complex numbers.
    tx = stored(gx.adam(1e-2))
    assert has_kernel(tx, params)
    assert not has_kernel(tx, arrays(0, (200, 256)))
    assert not has_kernel(tx, arrays(0, (256,)))
    assert not has_kernel(stored(gx.adam(1e-2), gx.int8(axis=-1)), params)
    with jax.enable_x64(True):
        assert not has_kernel(tx, arrays(0, (256, 256), np.float64))


def test_is_on_by_default_only_where_plain_operations_pass_twice():
    params = arrays(0, (256, 256))
    assert not has_kernel(gx.adam(1e-2), params)
    assert not has_kernel(stored(gx.adam(1e-2), gx.as_dtype("bfloat16")), params)
    assert not has_kernel(stored(gx.adam(1e-2), fused=False), params)
    assert has_kernel(gx.stored(gx.adam(1e-2), fused=True), params)
    # What is around the transform and behind it is as before.
    tx = gx.chain(gx.stored(gx.scale_by_adam(), fused=True), gx.scale_by_learning_rate(1e-2))
    with fused.interpreted("tpu"):
        program = traced(lambda g, s, p: tx.step(g, s, p), params, tx.init(params), params)
    assert program.count("pallas_call") == 1


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_loop_over_blocks_on_a_cpu(codec, monkeypatch):
    """The same numbers, and of what is loaded one block at a time; in `update` as in `step`."""
    monkeypatch.setitem(kernels.LARGEST, "cpu", 1 << 10)
    shape = (96, 40)
    params, grads = arrays(0, shape, jnp.bfloat16), [arrays(1, shape, jnp.bfloat16)]
    tx = gx.split_weights(stored(gx.adamw(1e-2), codec), 16)
    for by in (None, by_update(tx)):
        plain, by_loop = ways(tx, params, ["cpu"], grads, by)
        np.testing.assert_array_equal(plain[0]["kernel"], by_loop[0]["kernel"])


def test_blocks_of_two_sizes_that_do_not_divide_each_other_go_the_plain_way():
    params, tx = arrays(0, (96, 40)), gx.stored(gx.adam(1e-2), mu=gx.int8(24), nu=gx.int8(32), min_size=0)
    state = jax.eval_shape(tx.init, params)
    kept = [params["kernel"], state.mu["kernel"], state.nu["kernel"]]
    assert [kernels.tiling(kept, platform) for platform in ("tpu", "gpu", "cpu")] == [None] * 3


def test_a_loop_counts_in_64_bits_too(monkeypatch):
    monkeypatch.setitem(kernels.LARGEST, "cpu", 1 << 10)
    params, tx = arrays(0, (96, 40)), stored(gx.adamw(1e-2), gx.int8(stochastic=True))
    with jax.enable_x64(True):
        plain, by_loop = ways(tx, params, ["cpu"], [arrays(1, (96, 40))])
    assert by_loop[0]["kernel"].dtype == np.float32
    assert_alike(plain[0], by_loop[0])


def test_a_cpu_holds_no_more_than_its_largest_leaf():
    shapes = {f"kernel{index}": (2048, 1024) for index in range(6)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}

    def compiled(tx):
        state = jax.eval_shape(tx.init, params)
        step = jax.jit(lambda p, s, g: tx.step(g, s, p), donate_argnums=(0, 1))
        return step.lower(params, state, params).compile()

    def temporaries(program):
        return program.memory_analysis().temp_size_in_bytes

    largest = 4 * 2048 * 1024
    by_loop = compiled(gx.stored(gx.adamw(1e-3), gx.int8()))
    assert temporaries(by_loop) <= largest / 3
    assert temporaries(compiled(gx.stored(gx.adamw(1e-3), gx.int8(), fused=False))) > 4 * largest
    # In a loop that reads and writes an array in one turn, XLA may copy all of it for each block.
    text = by_loop.as_text()
    assert re.search(r"= s8\[1,2048,1024\]\S* (fusion|dynamic-update-slice)\(", text)
    assert not re.search(r"= \w+\[(1,)?2048,1024\]\S* copy\(", text)


def test_nothing_is_traced_for_an_accelerator_where_there_is_none():
    params, tx = arrays(0, (256, 256)), stored(gx.adam(1e-2))
    assert fused.target() == fused.Target("cpu")
    assert "pallas_call" not in traced(lambda g, s, p: tx.step(g, s, p), params, tx.init(params), params)


def test_rates_in_a_vmap_and_shards_have_kernels_of_their_own():
    params, grads = arrays(0, (64, 16)), arrays(1, (64, 16))
    rates = jnp.asarray([1e-2, 1e-3])

    def step(rate, grads, params):
        tx = stored(gx.adam(rate), gx.int8(block=8))
        return tx.update(grads, tx.init(params), params)[0]

    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    sharded = functools.partial(
        jax.shard_map, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"), check_vma=False
    )

    def run():
        one = jax.vmap(step, (0, None, None))(rates, grads, params)
        return one, sharded(functools.partial(step, rates[0]))(grads, params)

    plain = jax.jit(lambda: run())()
    with fused.interpreted("tpu"):
        by_kernel = jax.jit(lambda: run())()
    assert_alike(plain, by_kernel)
    np.testing.assert_allclose(by_kernel[0]["kernel"][0], by_kernel[1]["kernel"], rtol=1e-6)


def test_the_partitioner_divides_no_kernel():
    params, tx = arrays(0, (256, 256)), stored(gx.adam(1e-2))
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    state = tx.init(params)
    placed = jax.device_put(params, NamedSharding(mesh, PartitionSpec("data")))
    with fused.interpreted("tpu"):
        assert "pallas_call" not in traced(lambda g, s, p: tx.step(g, s, p), placed, state, placed)


def test_derivatives_go_through_plain_operations():
    params, grads = arrays(0), arrays(1)
    state = stored(gx.adam(1e-2)).init(params)

    def moved(rate):
        return stored(gx.adam(rate)).update(grads, state, params)[0]["kernel"].sum()

    slope = jax.jit(jax.grad(moved))(1e-2)
    np.testing.assert_allclose(slope, moved(1e-2) / 1e-2, rtol=1e-5)
