"""One kernel a leaf: what is kept is loaded, the rules themselves are run, and what is new is stored, block by block.

As plain operations each pass over a block, to find its largest value, is a pass over memory. In a kernel blocks stay
where they are computed with, and a step moves what it must: gradients in, parameters and codes in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import ManualAxisType

from gradxform.core import keep
from gradxform.core.keep import Encoded
from gradxform.core.noise import Noise
from gradxform.core.parting import Parted
from gradxform.core.placement import types_tell, union, varying_axes

# How many elements a block has at most. On a TPU a dozen of such blocks of float32, each twice, are in 16 MiB of
# memory beside the core; on a GPU they are in registers, on a CPU in its caches.
LARGEST = {"tpu": 1 << 16, "gpu": 1 << 11, "cpu": 1 << 17}


class Result(NamedTuple):
    """What comes out of a kernel.

    Attributes:
      position: among the results of what is done to blocks.
      like: the index of what it is kept in the place of; None for what leaves as float32.
      noise: with which it is stored, of the whole leaf; None for none.
      added: the index of what it is added to before; None for nothing.
    """

    position: int
    like: int | None
    noise: Noise | None = None
    added: int | None = None


class Work(NamedTuple):
    """A step of a leaf, as a kernel does it.

    Attributes:
      kept: what goes in, arrays and what codecs keep, all of the leaf's shape.
      parted: what is done to them once they are loaded.
      results: what comes out.
    """

    kept: list[Any]
    parted: Parted
    results: list[Result]


class Tiling(NamedTuple):
    """How a leaf is taken in blocks.

    Attributes:
      shape: of the leaf.
      axis: along which the codec's blocks are.
      block: the shape of a block.
    """

    shape: tuple[int, ...]
    axis: int
    block: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many blocks there are along each axis, that of the codec's blocks last."""
        counts = [size // block for size, block in zip(self.shape, self.block, strict=True)]
        return (*counts[: self.axis], *counts[self.axis + 1 :], counts[self.axis])

    def has(self, noise: Noise) -> bool:
        """Whether the noise of a shard can be told by the blocks' places: on a GPU only of leaves with two axes."""
        return noise.start is None or len(noise.start) in (2, len(self.shape))

    def placed(self, noise: Noise) -> Noise:
        """The noise of a leaf, or of a shard of it, in as many axes as the blocks have."""
        if noise.start is None or noise.whole is None:
            return Noise(noise.salt, [0] * len(self.shape), self.shape)
        missing = len(self.shape) - len(noise.start)
        return Noise(noise.salt, [*[0] * missing, *noise.start], (*[1] * missing, *noise.whole))

    def place(self, *ids: Any) -> tuple[Any, ...]:
        """The block's number along each axis, of its place in the grid."""
        return (*ids[: self.axis], ids[-1], *ids[self.axis : -1])


def tiling(kept: Sequence[Any], platform: str) -> Tiling | None:
    """How a leaf is taken in blocks on a "tpu", a "gpu" or a "cpu"; None where its shape does not allow it."""
    layouts = {each.layout for each in kept if isinstance(each, Encoded) and hasattr(each.layout, "size")}
    shape = kept[0].shape
    axes = {layout.axis for layout in layouts} or {-2}
    if len(shape) < 2 or len(axes) != 1 or any(layout.missing for layout in layouts):
        return None
    axis = axes.pop() + len(shape)
    if platform != "tpu":
        # The axes before and behind are one each: but on a TPU the same memory.
        shape = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        axis = 1
    # Without blocks of a codec as many rows as divide the leaf, or all.
    divisors = [size for size in (128, 64, 32, 16, 8) if shape[axis] % size == 0]
    rows = max((layout.size for layout in layouts), default=max(divisors, default=shape[axis]))
    if shape[axis] % rows or any(rows % layout.size for layout in layouts):
        return None
    if platform == "cpu":
        most = LARGEST["cpu"] // max(shape[-1], 1)
        fitting = [many for many in range(rows, most + 1, rows) if shape[axis] % many == 0]
        return Tiling(shape, axis, (1, max(fitting, default=rows), shape[-1]))
    if axis == len(shape) - 1:
        return None
    most, last = LARGEST[platform] // rows, shape[-1]
    if platform == "gpu":
        columns = min(last & -last, 1 << max(most.bit_length() - 1, 0))
        return Tiling(shape, axis, (1, rows, columns)) if rows & (rows - 1) == 0 else None
    between = math.prod(shape[axis + 1 : -1])
    fitting = [size for size in range(128, last, 128) if last % size == 0 and between * size <= most]
    columns = last if between * last <= most else max(fitting, default=0)
    if not columns:
        return None
    while 2 * rows * between * columns <= LARGEST[platform] and shape[axis] % (2 * rows) == 0:
        rows *= 2
    return Tiling(shape, axis, (*(1 for _ in shape[:axis]), rows, *shape[axis + 1 : -1], columns))


class Part(NamedTuple):
    """An array of which a kernel sees a block, or all rows of some columns.

    Attributes:
      tiles: how the leaf is taken in blocks.
      shape: of the array, in as many axes as the leaf; along the axis of the codec's blocks it may be shorter.
      is_resident: whether a kernel sees all rows, because those of a block are too few to be a block on a TPU.
    """

    tiles: Tiling
    shape: tuple[int, ...]
    is_resident: bool

    @classmethod
    def of(cls, array: Any, tiles: Tiling, platform: str) -> Part:
        """The part that an array is."""
        shape, axis = array.shape, tiles.axis
        if platform != "tpu":
            front, behind = tiles.shape[0], tiles.shape[2]
            shape = (front, math.prod(shape) // (front * behind), behind)
        rows = tiles.block[axis] * shape[axis] // tiles.shape[axis]
        return cls(tiles, shape, platform == "tpu" and axis == len(shape) - 2 and rows % 8 != 0)

    @property
    def rows(self) -> int:
        """How many rows belong to a block of the leaf."""
        axis = self.tiles.axis
        return self.tiles.block[axis] * self.shape[axis] // self.tiles.shape[axis]

    @property
    def spec(self) -> Any:
        """Which block of it a kernel sees."""
        from jax.experimental import pallas as pl

        axis, block = self.tiles.axis, self.tiles.block

        def place(*ids: Any) -> tuple[Any, ...]:
            found = self.tiles.place(*ids)
            return (*found[:axis], 0 if self.is_resident else found[axis], *found[axis + 1 :])

        rows = self.shape[axis] if self.is_resident else self.rows
        return pl.BlockSpec((*block[:axis], rows, *block[axis + 1 :]), place)

    def where(self, ids: tuple[Any, ...]) -> Any:
        """The index of the block's rows among those that a kernel sees."""
        from jax.experimental import pallas as pl

        if not self.is_resident:
            return ...
        axis = self.tiles.axis
        return (*(slice(None) for _ in range(axis)), pl.ds(ids[axis] * self.rows, self.rows))


def noises_of(work: Work, tiles: Tiling) -> tuple[list[Noise | None], list[Any]]:
    """The noise of each result, and the numbers in it: of each the salt, and where the shard of this device begins."""
    noises = [None if result.noise is None else tiles.placed(result.noise) for result in work.results]
    return noises, [number for noise in noises if noise is not None for number in (noise.salt, *(noise.start or ()))]


def computed(work: Work, tiles: Tiling, kept: Sequence[Any], numbers: Sequence[Any]) -> list[jax.Array]:
    """The values of all results of one block, in float32.

    Args:
      work: what is done.
      tiles: how the leaf is taken in blocks.
      kept: the block of each array that goes in, and of what codecs keep.
      numbers: those of `work.parted`, and of the noises.
    """
    loaded = [keep.load(each, lambda x: x.astype(jnp.float32)) for each in kept]
    values = work.parted.within(loaded, numbers[: len(work.parted.numbers)])
    found = [jnp.broadcast_to(values[result.position], tiles.block).astype(jnp.float32) for result in work.results]
    return [
        value if result.added is None else loaded[result.added] + value
        for result, value in zip(work.results, found, strict=True)
    ]


def stored(
    work: Work,
    tiles: Tiling,
    values: Sequence[jax.Array],
    kept: Sequence[Any],
    numbers: Sequence[Any],
    noises: Sequence[Noise | None],
    ids: Sequence[Any],
) -> Iterator[jax.Array]:
    """The arrays of all results of one block, each kept as what it replaces.

    Args:
      work, tiles, kept, numbers: as for `computed`.
      values: what that returned.
      noises: of the results.
      ids: which block it is along each axis.
    """
    counts = iter(numbers[len(work.parted.numbers) :])
    inner = [number * size for number, size in zip(ids, tiles.block, strict=True)]
    for result, value, noise in zip(work.results, values, noises, strict=True):
        own = noise
        if noise is not None:
            salt, *start = [next(counts) for _ in range(1 + len(inner))]
            own = Noise(salt, [before + each for before, each in zip(start, inner, strict=True)], noise.whole)
        yield from jax.tree.leaves(value if result.like is None else keep.store(value, kept[result.like], own))


def run(work: Work, tiles: Tiling, platform: str, interpret: bool = False) -> list[Any]:
    """The results of the work, each kept as what it replaces."""
    from jax.experimental import pallas as pl

    noises, counts = noises_of(work, tiles)
    packed, unpacked = _packed([*work.parted.numbers, *counts])
    flat, structures = zip(*(jax.tree.flatten(based(each, tiles)) for each in work.kept), strict=True)
    ins = [Part.of(array, tiles, platform) for arrays in flat for array in arrays]
    first = [len(packed) + sum(map(len, flat[:index])) for index in range(len(flat))]
    names = union(map(varying_axes, jax.tree.leaves(work.kept))) if types_tell() else ()
    outs, shapes, aliases = [], [], {}
    for result in work.results:
        replaced = [work.kept[0]] if result.like is None else flat[result.like]
        for offset, array in enumerate(replaced):
            if result.like is not None:
                aliases[first[result.like] + offset] = len(outs)
            outs.append(Part.of(array, tiles, platform))
            shapes.append(_shaped(outs[-1].shape, jnp.float32 if result.like is None else array.dtype, names))

    def kernel(*refs: Any) -> None:
        ids = tiles.place(*map(pl.program_id, range(len(tiles.grid))))
        numbers = unpacked(refs[: len(packed)])
        given = zip(refs[len(packed) : len(packed) + len(ins)], ins, strict=True)
        blocks = iter([ref[part.where(ids)] for ref, part in given])
        kept = [structure.unflatten([next(blocks) for _ in range(structure.num_leaves)]) for structure in structures]
        found = zip(refs[len(packed) + len(ins) :], outs, strict=True)
        values = computed(work, tiles, kept, numbers)
        for array in stored(work, tiles, values, kept, numbers, noises, ids):
            ref, part = next(found)
            ref[part.where(ids)] = array

    call = pl.pallas_call(
        kernel,
        shapes,
        grid=tiles.grid,
        in_specs=[*_specs_of_numbers(packed, platform), *(part.spec for part in ins)],
        out_specs=[part.spec for part in outs],
        input_output_aliases=aliases,
        interpret=interpret,
        name="step_of_a_leaf",
        compiler_params=None if interpret else _compiled(platform),
    )
    arrays = [array.reshape(part.shape) for array, part in zip((a for own in flat for a in own), ins, strict=True)]
    done = iter(call(*packed, *arrays))
    return [
        next(done).reshape(work.kept[0].shape)
        if result.like is None
        else jax.tree.map(lambda old: next(done).reshape(old.shape), work.kept[result.like])
        for result in work.results
    ]


def based(kept: Any, tiles: Tiling) -> Any:
    """What is kept, with its blocks along the axis along which they are in a kernel."""
    if not isinstance(kept, Encoded) or not hasattr(kept.layout, "axis"):
        return kept
    return Encoded(kept.codec, kept.layout._replace(axis=tiles.axis - len(tiles.shape)), kept.parts)


def _packed(numbers: Sequence[Any]) -> tuple[list[jax.Array], Callable[[Sequence[Any]], list[Any]]]:
    """Numbers as two vectors, of float32 and of int32, and the function that has them back from their references."""
    numbers = [jnp.asarray(number) for number in numbers]
    is_float = [jnp.issubdtype(number.dtype, jnp.floating) for number in numbers]
    floats = [number.astype(jnp.float32) for number, floating in zip(numbers, is_float, strict=True) if floating]
    whole = [_as_int(number) for number, floating in zip(numbers, is_float, strict=True) if not floating]
    vectors = [jnp.stack(own) for own in (floats, whole) if own]

    def unpacked(refs: Sequence[Any]) -> list[Any]:
        given = iter(refs)
        of_floats = next(given) if floats else None
        of_whole = next(given) if whole else None
        found, counts = [], {True: 0, False: 0}
        for number, floating in zip(numbers, is_float, strict=True):
            ref = of_floats if floating else of_whole
            assert ref is not None
            found.append(_as_it_was(ref[counts[floating]], number.dtype))
            counts[floating] += 1
        return found

    return vectors, unpacked


def _as_int(number: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(number, jnp.int32) if number.dtype == jnp.uint32 else number.astype(jnp.int32)


def _as_it_was(value: Any, dtype: Any) -> Any:
    if dtype == jnp.bool_:
        return value != 0
    return lax.bitcast_convert_type(value, dtype) if dtype == jnp.uint32 else value.astype(dtype)


def _specs_of_numbers(vectors: Sequence[jax.Array], platform: str) -> list[Any]:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu

    if platform == "tpu":
        return [pl.BlockSpec(memory_space=tpu.SMEM) for _ in vectors]
    return [pl.BlockSpec(vector.shape, lambda *_: (0,)) for vector in vectors]


def _shaped(shape: tuple[int, ...], dtype: Any, names: Sequence[str]) -> jax.ShapeDtypeStruct:
    """A shape whose type says that it varies over mesh axes."""
    if not names:
        return jax.ShapeDtypeStruct(shape, dtype)
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=ManualAxisType(varying=frozenset(names)))


def _compiled(platform: str) -> Any:
    from jax.experimental.pallas import tpu, triton

    return tpu.CompilerParams() if platform == "tpu" else triton.CompilerParams(num_warps=4)
