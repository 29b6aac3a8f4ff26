"""The text of compiled programs, as XLA writes it for a TPU and for a GPU, is read and counted.

The samples are short programs in the form of those that the two compilers give. Matrices are of 64 kB.
"""

import textwrap

import pytest

from gradxform.reading import hlo, hlo_groups
from gradxform.reading.hlo_counts import Counts, Path, outputs

MATRIX = 128 * 128 * 4


def parsed(entry, others="", header="HloModule jit_step, is_scheduled=true"):
    """A program of these instructions."""
    body = textwrap.indent(textwrap.dedent(entry).strip(), "  ")
    return hlo.parse(f"{header}\n\n{textwrap.dedent(others)}\nENTRY %main (p: f32[]) -> f32[] {{\n{body}\n}}\n")


def cost(entry, others="", platform="gpu"):
    """The least and the most that a program costs."""
    module = parsed(entry, others)
    return Counts(module, platform).cost(module.entry.name)


DOUBLE = """
%double (x: f32[128,128]) -> f32[128,128] {
  %x = f32[128,128]{1,0} parameter(0)
  ROOT %sum = f32[128,128]{1,0} add(%x, %x)
}
"""


def test_instructions_of_a_program():
    module = parsed(
        r"""
        %g.1 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0), metadata={op_name="grads[\'a \"b\" (c)\']"}
        %scale = f32[]{:T(128)S(6)} constant(0.5)
        ROOT %out = (f32[8,128]{1,0:T(8,128)S(1)}, /*index=1*/(s8[3]{0}, pred[])) fusion(%g.1, %scale), calls=%f
        """,
        header="HloModule jit_step, input_output_alias={ {0}: (2, {}, may-alias), {1}: (0, {}, must-alias) }, x={1}",
    )
    assert module.aliases == {0: 2, 1: 0}
    first, scale, out = module.entry.instructions
    assert (first.opcode, first.index, first.source) == ("parameter", 0, "grads['a \"b\" (c)']")
    assert first.shapes == (hlo.Shape("bf16", (8, 128)),)
    assert scale.shapes == (hlo.Shape("f32", (), 6),)
    assert out.operands == ("g.1", "scale")
    assert out.called("calls") == ("f",)
    assert out.shapes == (hlo.Shape("f32", (8, 128), 1), hlo.Shape("s8", (3,)), hlo.Shape("pred", ()))
    assert out.parts == (range(1), range(1, 3))
    assert module.entry.root == "out"


@pytest.mark.parametrize(
    ("dtype", "bytes"),
    [("f32", 40), ("bf16", 20), ("f64", 80), ("c64", 80), ("pred", 10), ("s4", 5), ("f8e4m3fn", 10), ("token", 0)],
)
def test_bytes_of_a_dtype(dtype, bytes):
    assert hlo.Shape(dtype, (10,)).bytes == bytes


def test_text_that_is_no_program():
    with pytest.raises(ValueError, match="it has no line that begins with ENTRY"):
        hlo.parse("module @jit_step {}")


def test_a_kernel_moves_what_it_takes_and_gives_once():
    moved = cost(
        """
        %a = f32[128,128]{1,0} parameter(0)
        %two = (f32[128,128]{1,0}, f32[128,128]{1,0}) fusion(%a, %a), kind=kLoop, calls=%double_twice
        %first = f32[128,128]{1,0} get-tuple-element(%two), index=0
        %flat = f32[16384]{0} bitcast(%first)
        ROOT %out = (f32[16384]{0}) tuple(%flat)
        """,
        """
        %double_twice (x: f32[128,128], y: f32[128,128]) -> (f32[128,128], f32[128,128]) {
          %x = f32[128,128]{1,0} parameter(0)
          %y = f32[128,128]{1,0} parameter(1)
          %sum = f32[128,128]{1,0} add(%x, %y)
          ROOT %t = (f32[128,128]{1,0}, f32[128,128]{1,0}) tuple(%sum, %sum)
        }
        """,
    )
    assert moved == (Path(3 * MATRIX, 1), Path(3 * MATRIX, 1))


# A TPU fetches arrays into its own memory, S(1), beside the kernels, and works on numbers in S(6).
TPU = """
    %a = f32[128,128]{1,0:T(8,128)} parameter(0)
    %n = f32[]{:T(128)} parameter(1)
    %half = f32[]{:T(128)S(6)} constant(0.5)
    %scaled = f32[]{:T(128)S(6)} multiply(%n, %half), backend_config={"x":[]}
    %copy-start = (f32[128,128]{1,0:T(8,128)S(1)}, f32[128,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%a)
    %copy-done = f32[128,128]{1,0:T(8,128)S(1)} copy-done(%copy-start)
    ROOT %out = f32[128,128]{1,0:T(8,128)} fusion(%copy-done), calls=%double, backend_config={"estimated_cycles":"1828"}
"""


def test_what_is_on_a_tpu_s_chip_is_not_moved():
    assert cost(TPU, DOUBLE, "tpu")[1] == Path(2 * MATRIX, 1, 1828)


def test_memory_spaces_of_a_gpu_are_all_the_main_memory():
    assert cost(TPU, DOUBLE, "gpu")[1].bytes == 4 * MATRIX


def test_asynchronous_slices_move_the_slice():
    moved = cost(
        """
        %a = f32[1024,128]{1,0} parameter(0)
        %start = ((f32[1024,128]{1,0}), f32[128,128]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:128], [0:128]}
        %done = f32[128,128]{1,0:S(1)} slice-done(%start)
        ROOT %out = f32[128,128]{1,0:S(1)} custom-call(%done), custom_call_target="ConcatBitcast"
        """,
        platform="tpu",
    )
    assert moved[1] == Path(MATRIX, 0)


@pytest.mark.parametrize("rows", [4, 256])
def test_a_scatter_reads_and_writes_the_rows_in_their_place(rows):
    moved = cost(
        f"""
        %a = f32[128,128]{{1,0}} parameter(0)
        %at = s32[{rows},1]{{1,0}} parameter(1)
        %more = f32[{rows},128]{{1,0}} parameter(2)
        ROOT %out = f32[128,128]{{1,0}} scatter(%a, %at, %more), update_window_dims={{1}}, to_apply=%sum
        """,
    )
    # Of more rows than there are some meet, and no more than the whole is counted.
    assert moved[1].bytes == 4 * rows + 512 * rows + min(2 * 512 * rows, MATRIX)


def test_of_a_slice_taken_or_replaced_in_a_kernel_the_slice_is_moved():
    row = 128 * 4
    moved = cost(
        """
        %a = f32[128,128]{1,0} parameter(0)
        %row = f32[1,128]{1,0} parameter(1)
        %i = s32[] parameter(2)
        ROOT %out = f32[128,128]{1,0} fusion(%a, %row, %i), kind=kLoop, calls=%replace
        """,
        """
        %replace (a: f32[128,128], row: f32[1,128], i: s32[]) -> f32[128,128] {
          %a = f32[128,128]{1,0} parameter(0)
          %row = f32[1,128]{1,0} parameter(1)
          %i = s32[] parameter(2)
          %zero = s32[] constant(0)
          %old = f32[1,128]{1,0} dynamic-slice(%a, %i, %zero), dynamic_slice_sizes={1,128}
          %new = f32[1,128]{1,0} add(%old, %row)
          ROOT %updated = f32[128,128]{1,0} dynamic-update-slice(%a, %new, %i, %zero)
        }
        """,
    )
    assert moved[1] == Path(3 * row + 4, 1)


BRANCHES = (
    DOUBLE
    + """
%dear (t: (f32[128,128])) -> f32[128,128] {
  %t = (f32[128,128]{1,0}) parameter(0)
  %x.1 = f32[128,128]{1,0} get-tuple-element(%t), index=0
  ROOT %d = f32[128,128]{1,0} fusion(%x.1), kind=kLoop, calls=%double
}

%cheap (t.1: (f32[128,128])) -> f32[128,128] {
  %t.1 = (f32[128,128]{1,0}) parameter(0)
  ROOT %x.2 = f32[128,128]{1,0} get-tuple-element(%t.1), index=0
}
"""
)


@pytest.mark.parametrize(
    "branches",
    ["branch_computations={%cheap, %dear}", "true_computation=%dear, false_computation=%cheap"],
    ids=["numbered", "true and false"],
)
def test_a_conditional_costs_one_branch(branches):
    least, most = cost(
        f"""
        %which = s32[] parameter(0)
        %a = f32[128,128]{{1,0}} parameter(1)
        %tuple = (f32[128,128]{{1,0}}) tuple(%a)
        ROOT %out = f32[128,128]{{1,0}} conditional(%which, %tuple, %tuple), {branches}
        """,
        BRANCHES,
    )
    assert (least, most) == (Path(), Path(2 * MATRIX, 1))


LOOP = (
    DOUBLE
    + """
%body (b: f32[128,128]) -> f32[128,128] {
  %b = f32[128,128]{1,0} parameter(0)
  ROOT %d = f32[128,128]{1,0} fusion(%b), kind=kLoop, calls=%double
}

%goes_on (c: f32[128,128]) -> pred[] {
  %c = f32[128,128]{1,0} parameter(0)
  ROOT %true = pred[] constant(true)
}
"""
)


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [(', backend_config={"known_trip_count":{"n":"5"}}', 5, 5), ("", 0, 1)],
    ids=["known", "unknown"],
)
def test_a_loop_costs_its_body_as_often_as_is_known(told, least, most):
    found = cost(
        f"""
        %a = f32[128,128]{{1,0}} parameter(0)
        ROOT %out = f32[128,128]{{1,0}} while(%a), condition=%goes_on, body=%body{told}
        """,
        LOOP,
    )
    assert found == (Path(least * 2 * MATRIX, least), Path(most * 2 * MATRIX, most))


# What is started counts once, with what will be there in the end.
STARTED = [
    ("f32[128,128]{1,0} all-reduce-start(%a), to_apply=%sum", "f32[128,128]{1,0} all-reduce-done", 2),
    ("(f32[128,128]{1,0}, f32[512,128]{1,0}) all-gather-start(%a)", "f32[512,128]{1,0} all-gather-done", 5),
    (
        "(f32[128,128]{1,0}, f32[128,128]{1,0}, u32[], u32[]) collective-permute-start(%a)",
        "f32[128,128]{1,0} collective-permute-done",
        2,
    ),
    (
        "((f32[128,128]{1,0}), f32[32,128]{1,0}, s32[]) async-start(%a), calls=%scattered",
        "f32[32,128]{1,0} async-done",
        1.25,
    ),
]


@pytest.mark.parametrize(("start", "done", "matrices"), STARTED, ids=lambda each: str(each).split("(")[0][-20:])
def test_an_asynchronous_collective_counts_once(start, done, matrices):
    module = parsed(
        f"""
        %a = f32[128,128]{{1,0}} parameter(0)
        %start = {start}
        ROOT %done = {done}(%start)
        """,
        """
        %scattered (x: f32[128,128]) -> f32[32,128] {
          %x = f32[128,128]{1,0} parameter(0)
          ROOT %r = f32[32,128]{1,0} reduce-scatter(%x), dimensions={0}, to_apply=%sum
        }
        """,
    )
    counts = Counts(module, "gpu")
    assert counts.cost("main")[1] == Path(int(matrices * MATRIX), 1)
    assert [each.name for each in module.entry.instructions if counts.collective(each)] == ["start"]
    assert counts.kind(module.entry.by_name["start"]) in start + "reduce-scatter"


GROUPS = {
    "replica_groups={{0,1},{2,3}}": ((0, 1), (2, 3)),
    "replica_groups={}": ((0, 1, 2, 3),),
    "replica_groups=[2,2]<=[4]": ((0, 1), (2, 3)),
    "replica_groups=[2,2]<=[2,2]T(1,0)": ((0, 2), (1, 3)),
    "replica_groups=mesh['x'=2,'y'=2] {'y'}": ((0, 1), (2, 3)),
    "replica_groups=mesh['x'=2,'y'=2] {'x'}": ((0, 2), (1, 3)),
    "replica_groups=mesh['x'=4] {'x':(1)2}": (),
    "source_target_pairs={{0,2},{2,0},{1,3},{3,1}}": ((0, 2), (1, 3)),
}


@pytest.mark.parametrize(("written", "groups"), GROUPS.items(), ids=GROUPS)
def test_groups_of_devices(written, groups):
    module = parsed(f"ROOT %r = f32[] all-reduce(%a), channel_id=1, {written}, use_global_device_ids=true")
    assert hlo_groups.groups_of(module.entry.instructions[0], devices=4) == groups


def test_groups_as_mesh_axes():
    mesh = {"data": 2, "one": 1, "model": 2, "stage": 2}
    for axes in [("data",), ("model",), ("data", "stage"), ("data", "model", "stage")]:
        assert hlo_groups.mesh_axes(hlo_groups.along(mesh, axes), mesh) == axes
    assert hlo_groups.mesh_axes(((0, 7), (1, 6), (2, 5), (3, 4)), mesh) == ()


def test_places_know_which_arguments_values_are():
    module = parsed(
        """
        %which = s32[] parameter(0)
        %a = f32[128,128]{1,0} parameter(1)
        %tuple = (f32[128,128]{1,0}) tuple(%a)
        %same = f32[128,128]{1,0} copy(%a)
        ROOT %out = f32[128,128]{1,0} conditional(%which, %tuple, %tuple), branch_computations={%cheap, %dear}
        """,
        BRANCHES,
    )
    places = {place.computation.name: (place.origins, place.conditional) for place in Counts(module, "gpu").places()}
    assert places["main"] == ({"which": 0, "a": 1, "tuple": (1,), "same": 1}, False)
    assert places["dear"] == ({"t": (1,), "x.1": 1}, True)


def test_outputs_are_found_behind_other_names():
    module = parsed(
        """
        %a = f32[2]{0} parameter(0)
        %two = (f32[2]{0}, f32[2]{0}) fusion(%a), kind=kLoop, calls=%f
        %second = f32[2]{0} get-tuple-element(%two), index=1
        %flat = f32[2,1]{1,0} bitcast(%second)
        ROOT %out = (f32[2]{0}, f32[2,1]{1,0}) tuple(%a, %flat)
        """
    )
    assert outputs(module.entry) == {("a", None): 0, ("two", 1): 1}
