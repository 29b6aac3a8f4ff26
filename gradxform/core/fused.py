"""Which leaves of a run are done by one kernel, and what that kernel does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

from gradxform.core import branches, keep, kernels, loops
from gradxform.core.flow import added
from gradxform.core.keep import Encoded
from gradxform.core.kernels import Result, Work
from gradxform.core.noise import Noise
from gradxform.core.parting import Name, Parted, parted
from gradxform.core.placement import Cut, types_tell
from gradxform.core.precision import fitting, real_dtype
from gradxform.core.runs import OfLeaf, Program, Shared, Target

# What `lax.platform_dependent` calls them.
_PLATFORMS = {"tpu": "tpu", "gpu": "cuda", "cpu": "cpu"}

_interpreted: ContextVar[Target | None] = ContextVar("interpreted", default=None)


@contextmanager
def interpreted(platform: str) -> Iterator[None]:
    """Kernels for a "tpu" or a "gpu" are run by JAX's interpreter on any device; a CPU's loops as they are."""
    token = _interpreted.set(Target(platform, True))
    try:
        yield
    finally:
        _interpreted.reset(token)


def target() -> Target | None:
    """For what kernels are made here, and for nothing else is one traced; None for a device that has none."""
    if found := _interpreted.get():
        return found
    # A device for which a program is only compiled, on a machine without it.
    described = jax.sharding.get_abstract_mesh().abstract_device
    kind = jax.default_backend() if described is None else described.device_kind.lower()
    platforms = {"tpu": "tpu", "gpu": "gpu", "nvidia": "gpu", "cpu": "cpu"}
    return next((Target(platform) for word, platform in platforms.items() if word in kind), None)


def is_worth(leaf: OfLeaf) -> bool:
    """Whether plain operations would pass over memory more than once: where what is kept is in blocks with scales."""
    return any(isinstance(each, Encoded) and each.codec.is_in_blocks for each in _kept(leaf.records))


def step(
    program: Program, leaf: OfLeaf, shared: Shared, maths: Callable[..., Any], plain: Callable[..., OfLeaf]
) -> OfLeaf | None:
    """A step of a leaf by one kernel, on the backend that has it; None where the plain way is the only one.

    Args:
      program, leaf, shared: the run, what the step of the leaf begins with, and what all leaves share.
      maths: what the rules do to arrays that are loaded.
      plain: the step in plain operations.
    """
    target = program.kind.target
    work = None if target is None else _work(program, leaf, shared, maths, target.platform)
    if target is None or work is None:
        return None
    what, tiles, rebuilt = work

    def by_kernel() -> OfLeaf:
        if target.platform == "cpu":
            return rebuilt(loops.run(what, tiles, shared.step))
        return rebuilt(kernels.run(what, tiles, target.platform, interpret=target.is_interpreted))

    def otherwise() -> OfLeaf:
        done = plain(program, leaf, shared)
        return done._replace(param=_landed(leaf, done.update, program.kind.cut)) if program.kind.lands else done

    # What is compiled for another device than there is by default goes the plain way.
    if target.is_interpreted:
        return by_kernel()
    return branches.by_backend(otherwise, {_PLATFORMS[target.platform]: by_kernel})


def _kept(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=keep.is_encoded)


def _landed(leaf: OfLeaf, update: jax.Array, cut: Cut | None) -> Any:
    """The parameter after the step, kept as it is before it."""
    if not isinstance(leaf.param, Encoded):
        return added(leaf.param, update)
    return keep.with_added(leaf.param, update, _noise_of_param(leaf), cut)


def _noise_of_param(leaf: OfLeaf) -> Noise | None:
    return None if leaf.noise is None else leaf.noise.of_param()


def _work(program: Program, leaf: OfLeaf, shared: Shared, maths: Callable[..., Any], platform: str) -> Any:
    """What a kernel does, in which blocks, and how its results are put together; None where there is no kernel."""
    old, structure = jax.tree.flatten(leaf.records, is_leaf=keep.is_encoded)
    shape, is_large = leaf.update.shape, [bool(each.shape) for each in old]
    kept = [leaf.update, *(each for each, large in zip(old, is_large, strict=True) if large)]
    kept += [] if leaf.param is None else [leaf.param]
    if not _fits(kept, shape) or _is_on_a_mesh(leaf):
        return None
    tiles = kernels.tiling(kept, platform)
    if tiles is None or (platform == "cpu" and (math.prod(tiles.grid) == 1 or types_tell())):
        # One block needs no loop; and in a map with types a loop must end with the types with which it began.
        return None
    numbers = shared, [each for each, large in zip(old, is_large, strict=True) if not large]

    def function(blocks: list[Any], numbers: Any) -> list[Any]:
        shared, small = numbers
        of_blocks, of_numbers = iter(blocks[1:]), iter(small)
        loaded = [next(of_blocks) if large else next(of_numbers) for large in is_large]
        records = structure.unflatten(loaded)
        param = None if leaf.param is None else blocks[-1]
        update, new = maths(program, blocks[0], records, param, shared)
        whole = tuple(own if each is None else each for own, each in zip(records, new, strict=True))
        return [update, *structure.flatten_up_to(whole)]

    done = _parted(function, tiles.block, shape, len(kept), numbers)
    # A number of the whole leaf that its elements have a part in is beyond a kernel that sees blocks.
    if done is None or any(
        isinstance(each, Name) for each, large in zip(done.results[1:], is_large, strict=True) if not large
    ):
        return None
    lands = program.kind.lands and leaf.param is not None
    results = [Result(0, len(kept) - 1, _noise_of_param(leaf), len(kept) - 1) if lands else Result(0, None)]
    at = iter(range(1, 1 + sum(is_large)))
    noises = _noises(program, leaf)
    results += [
        Result(1 + index, next(at), noise)
        for index, (large, noise) in enumerate(zip(is_large, noises, strict=True))
        if large
    ]
    results = [result._replace(noise=_noise_within(result, kept, shape, program.kind.cut)) for result in results]
    if any(result.noise is not None and not tiles.has(result.noise) for result in results):
        return None

    def rebuilt(found: list[Any]) -> OfLeaf:
        new_first, *slots = found
        of_slots = iter(slots)
        leaves = [
            next(of_slots) if large else jnp.asarray(done.results[1 + index]).astype(old[index].dtype)
            for index, large in enumerate(is_large)
        ]
        records = structure.unflatten(leaves)
        if not lands:
            return type(leaf)(new_first, records, None, None)
        # Nobody asks for it, as nothing comes behind.
        after, before = (keep.load(each, fitting(jnp.float32)) for each in (new_first, leaf.param))
        update = after - before
        return type(leaf)(update, records, new_first, None)

    return Work(kept, done, results), tiles, rebuilt


def _noises(program: Program, leaf: OfLeaf) -> list[Noise | None]:
    """The noise of each slot, as the plain way has it."""
    found: list[Noise | None] = []
    for place, (rule, record) in enumerate(zip(program.rules, leaf.records, strict=True)):
        for field in record._fields:
            for index, _ in enumerate(_kept(getattr(record, field))):
                own = None if leaf.noise is None else leaf.noise.of(place).of(rule.State._fields.index(field), index)
                found.append(own)
    return found


def _noise_within(result: Result, kept: list[Any], shape: tuple[int, ...], cut: Cut | None) -> Noise | None:
    """The noise of a result on this device; None where nothing is rounded at random."""
    if result.like is None or result.noise is None or not keep.is_random(kept[result.like]):
        return None
    return keep.noise_of_part(result.noise, shape, kept[result.like], cut)


def _fits(kept: list[Any], shape: tuple[int, ...]) -> bool:
    """Whether all is of one shape, and computed with in float32."""
    dtypes = keep.dtypes(kept)
    is_real = not any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes)
    return (
        all(each.shape == shape and hasattr(each, "dtype") for each in kept)
        and not any(map(keep.is_on_host, jax.tree.leaves(kept)))
        and len(dtypes) == len(kept)
        and is_real
        and real_dtype(*dtypes) == jnp.float32
    )


def _is_on_a_mesh(leaf: OfLeaf) -> bool:
    """Whether the partitioner divides the leaf, which divides no kernel."""
    mesh = jax.typeof(leaf.update).sharding.mesh
    return not mesh.empty and len(mesh.manual_axes) < len(mesh.axis_names)


def _parted(function: Any, block: tuple[int, ...], shape: tuple[int, ...], count: int, numbers: Any) -> Parted | None:
    """What is done to each block; None where a rule asks for the leaf's shape."""
    found = [parted(function, [jax.ShapeDtypeStruct(each, jnp.float32)] * count, numbers) for each in (block, shape)]
    of_block, of_whole = found
    if of_block is None or of_whole is None:
        return None
    return of_block if of_block.outline() == of_whole.outline() else None
