"""program says in words what XLA made of a step: here of steps for the CPU, one and eight of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gradxform as gx

PARAMS = {"w": jax.ShapeDtypeStruct((512, 600), jnp.float32), "b": jax.ShapeDtypeStruct((600,), jnp.float32)}
TX = gx.adamw(0.1)
STATE = jax.eval_shape(TX.init, PARAMS)
SIZE = 4 * (512 * 600 + 600)
SQUARE = jax.ShapeDtypeStruct((300, 300), jnp.float32)


def ordered(params, state, grads):
    """A step that returns what it is given, in the same order."""
    updates, state = TX.update(grads, state, params)
    return gx.apply_updates(params, updates), state


def swapped(params, state, grads):
    """A step that returns it in another order."""
    return ordered(params, state, grads)[::-1]


def of(step, donated=(), *args):
    """The program of a step, some of whose arguments are donated."""
    return gx.program(jax.jit(step, donate_argnums=donated), *(args or (PARAMS, STATE, PARAMS)))


def paths(arguments):
    return [each.path for each in arguments]


@pytest.fixture(scope="module")
def right():
    return of(ordered, (0, 1))


def test_a_step_that_gives_back_what_it_is_given_copies_nothing(right):
    assert right.copies == right.wasted == right.collectives == right.conditionals == right.loops == ()
    assert [(each.path, each.output) for each in right.donated] == [
        ("params['b']", "output[0]['b']"),
        ("params['w']", "output[0]['w']"),
        ("state.count", "output[1].count"),
        ("state.stages['scale_by_adam'].mu['b']", "output[1].stages['scale_by_adam'].mu['b']"),
        ("state.stages['scale_by_adam'].mu['w']", "output[1].stages['scale_by_adam'].mu['w']"),
        ("state.stages['scale_by_adam'].nu['b']", "output[1].stages['scale_by_adam'].nu['b']"),
        ("state.stages['scale_by_adam'].nu['w']", "output[1].stages['scale_by_adam'].nu['w']"),
    ]
    assert paths(right.kept) == ["grads['b']", "grads['w']"]
    assert (right.platform, right.devices, right.outputs) == ("cpu", 1, 7)


def test_a_step_of_adamw_moves_seven_arrays_a_parameter(right):
    # Parameters, both slots and gradients are read, all but gradients written. With a kernel for each result, as XLA
    # makes them for a CPU, the gradients are read twice and the new slots once more. The rest are numbers.
    assert 7 * SIZE <= right.bytes == right.least_bytes < 10 * SIZE + 1000
    assert right.argument_bytes == 4 * SIZE + 4
    assert right.reused_bytes == 3 * SIZE + 4
    assert right.temporary_bytes is not None
    assert right.temporary_bytes < 1000


def test_a_step_that_gives_it_back_in_another_order_copies_it(right):
    # XLA pairs donated arguments with outputs of their shape in order: parameters with the first moment.
    wrong = of(swapped, (0, 1))
    assert wrong.wasted == ()
    taken = {each.path: each.output for each in wrong.donated}
    assert taken["params['w']"] == "output[0].stages['scale_by_adam'].mu['w']"
    reasons = {each.source: each.reason for each in wrong.copies}
    assert reasons["params['w']"] == "its memory is used by output[0].stages['scale_by_adam'].mu['w']"
    assert wrong.bytes >= right.bytes + 2 * SIZE
    assert "params['w'] (its memory is used by output[0].stages['scale_by_adam'].mu['w'])" in one_line(wrong)


def test_what_was_not_donated_is_said():
    some = of(ordered, (0,))
    assert paths(some.donated) == ["params['b']", "params['w']"]
    assert "not donated state (5 arrays, 2.46 MB); grads (2 arrays, 1.23 MB)" in one_line(some)
    none = gx.program(ordered, PARAMS, STATE, PARAMS)
    assert none.donated == ()
    assert len(none.kept) == 9


def test_what_was_donated_in_vain_is_said_without_a_warning():
    lost = of(lambda x, y: x[0] + y[0], 0, SQUARE, SQUARE)
    assert paths(lost.wasted) == ["x"]
    assert "donated 1 array: 0 of them reused not reused 1 array, 360 kB: x (float32[300,300])" in one_line(lost)


def test_arguments_are_called_as_the_function_calls_them():
    def step(used, unused, *rest, scale, **more):
        return used["it's"] * scale + rest[1] + more["last"][0]

    found = gx.program(step, {"it's": SQUARE, "no": SQUARE}, 1.0, SQUARE, SQUARE, scale=2.0, last=[SQUARE], lost=SQUARE)
    named = {each.path: each.array is not None for each in found.arguments}
    assert named == {
        """used["it's"]""": True,
        "used['no']": False,
        "unused": False,
        "rest[0]": False,
        "rest[1]": True,
        "more['last'][0]": True,
        "lost": False,
        "scale": True,
    }
    assert "not used used['no']; unused; rest[0]; lost not donated" in one_line(found)


def test_static_arguments_are_none_of_the_program_s():
    jitted = jax.jit(lambda x, times, y: x * times + y, static_argnums=1, donate_argnums=2)
    assert [(each.path, each.donated) for each in gx.program(jitted, SQUARE, 3, SQUARE).arguments] == [
        ("x", False),
        ("y", True),
    ]


def test_the_same_from_what_is_lowered_and_what_is_compiled(right):
    lowered = jax.jit(ordered, donate_argnums=(0, 1)).lower(PARAMS, STATE, PARAMS)
    assert gx.program(lowered) == gx.program(lowered.compile()) == right


def test_it_is_plain_numbers_and_strings(right):
    found = json.loads(json.dumps(right.to_dict()))
    assert found["bytes"] == right.bytes
    weight = {"dtype": "float32", "shape": [512, 600], "bytes": 4 * 512 * 600}
    assert found["arguments"][1] == {
        "path": "params['w']",
        "array": weight,
        "donated": True,
        "output": "output[0]['w']",
    }


def test_nothing_is_run_and_arrays_stay():
    x = jnp.ones(3)
    assert gx.program(jax.jit(lambda x: x + 1, donate_argnums=0), x).wasted == ()
    assert not x.is_deleted()


def test_dtypes_are_called_as_jax_calls_them():
    given = [jax.ShapeDtypeStruct((2,), dtype) for dtype in (jnp.bfloat16, jnp.int8, jnp.uint32, bool, jnp.complex64)]
    found = gx.program(lambda *given: [jnp.concatenate([each, each]) for each in given], *given)
    assert [each.array.dtype for each in found.arguments] == ["bfloat16", "int8", "uint32", "bool", "complex64"]


def test_ways_through_a_conditional():
    found = gx.program(lambda x: lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x), SQUARE)
    (conditional,) = found.conditionals
    assert conditional.source.endswith("cond")
    assert len(conditional.branches) == 2
    spread = max(each.bytes for each in conditional.branches) - min(each.bytes for each in conditional.branches)
    # The product reads its two operands, which are one array here, and writes a third.
    assert found.bytes - found.least_bytes == spread >= 4 * 2 * 300 * 300
    assert "; at least " in one_line(found)


def test_loops_that_xla_can_count_and_others():
    counted = gx.program(lambda x: lax.fori_loop(0, 5, lambda _, x: jnp.sin(x) @ x, x), SQUARE)
    assert [each.trips for each in counted.loops] == [5]
    assert counted.bytes == counted.least_bytes > 5 * 3 * 4 * 300 * 300
    other = gx.program(lambda x: lax.while_loop(lambda x: x[0, 0] < 5, lambda x: jnp.sin(x) @ x, x), SQUARE)
    assert [each.trips for each in other.loops] == [None]
    assert other.least_bytes < other.bytes
    assert "runs an unknown number of times, counted as one" in one_line(other)


def test_large_temporaries_are_named():
    found = gx.program(lambda x: jnp.sort(x @ x) @ x, jax.ShapeDtypeStruct((600, 600), jnp.float32))
    assert found.temporary_bytes is not None
    assert found.temporary_bytes >= 4 * 600 * 600
    assert str(found.temporaries[0].array) == "float32[600,600]"
    assert "among them float32[600,600] of jit(<lambda>)/" in one_line(found)


def test_outputs_and_what_a_branch_hands_on_are_no_temporaries():
    def either(x):
        return lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x)

    def large(step):
        return [each.source.rpartition("/")[2] for each in gx.program(step, SQUARE).temporaries if each.array.bytes > 8]

    assert large(lambda x: x @ x) == []
    assert large(lambda x: jnp.sin(x) @ x) == ["sin"]
    assert "cond" not in large(either)
    # What the conditional gives is there once: the product in its branch is written in that place.
    assert large(lambda x: either(x) @ x) == ["cond"]


def test_what_is_returned_unchanged_is_copied_where_it_is_not_donated():
    (copy,) = gx.program(lambda x: x, SQUARE).copies
    assert (copy.source, copy.output, copy.reason) == ("x", "output", "it is not donated")
    assert gx.program(jax.jit(lambda x: x, donate_argnums=0), SQUARE).copies == ()


def test_what_is_updated_in_place_moves_the_update_only():
    def update(buffer, row, at):
        return lax.dynamic_update_slice(buffer, row, (at, 0))

    row = jax.ShapeDtypeStruct((1, 300), jnp.float32)
    donated = gx.program(jax.jit(update, donate_argnums=0), SQUARE, row, 3)
    assert donated.bytes < 4 * 4 * 300
    assert gx.program(update, SQUARE, row, 3).bytes >= donated.bytes + 2 * SQUARE.size * 4


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.asarray(jax.devices()).reshape(4, 2), ("data", "model"))


def test_collectives_of_a_clipped_step(mesh):
    def placed(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, P("data")))

    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))
    grads = jax.tree.map(placed, PARAMS)
    found = gx.program(lambda grads: tx.update(grads, tx.init(grads))[0], grads)
    assert {(each.kind, each.axes, each.conditional) for each in found.collectives} == {
        ("all-reduce", ("data",), False)
    }
    assert found.devices == 8
    assert found.arguments[1].array is not None
    assert found.arguments[1].array.shape == (128, 600)
    assert "all-reduce over data" in one_line(found)
    assert "program for 8 x cpu, numbers for one of them" in one_line(found)


def test_kinds_and_axes_of_collectives(mesh):
    def exchange(x):
        ring = [(i, (i + 1) % 4) for i in range(4)]
        return (
            lax.psum(x, ("data", "model")),
            lax.all_gather(x, "model"),
            lax.psum_scatter(x, "data", tiled=True),
            lax.ppermute(x, "data", ring),
        )

    specs = (P(), P(None, "data"), P("data", "model"), P("data", "model"))
    mapped = jax.shard_map(exchange, mesh=mesh, in_specs=P("data", "model"), out_specs=specs, check_vma=False)
    x = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=NamedSharding(mesh, P("data", "model")))
    own = 4 * 16 * 16
    assert {(each.kind, each.axes, each.bytes) for each in gx.program(mapped, x).collectives} == {
        ("all-reduce", ("data", "model"), own),
        ("all-gather", ("model",), 2 * own),
        ("reduce-scatter", ("data",), own),
        ("collective-permute", ("data",), own),
    }


def test_no_step():
    with pytest.raises(TypeError, match=r"program takes a function or what jax\.jit lowered or compiled, got int"):
        gx.program(3)
    with pytest.raises(TypeError, match=r"has its arguments: call gx\.program\(step\) alone"):
        gx.program(jax.jit(jnp.sin).lower(1.0), 1.0)


def one_line(program):
    """Its words without their lines."""
    return " ".join(repr(program).split())
