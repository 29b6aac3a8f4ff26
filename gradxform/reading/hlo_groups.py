"""Which devices a collective is among: XLA's ways to write it, and the mesh axes that they are."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping

import numpy as np

from gradxform.reading.hlo import Instruction

Groups = tuple[tuple[int, ...], ...]

_LISTED = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
_COUNTED = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^)]*\))? *\{([^}]*)\}")
_AXIS = re.compile(r"'([^']*)'=(\d+)")


def groups_of(instruction: Instruction, devices: int) -> Groups:
    """The groups of devices that exchange, by their places in the order of all; () where it cannot be read.

    `{{0,1},{2,3}}` lists them, `[2,2]<=[4]` counts through, `mesh['x'=2,'y'=2] {'y'}` names axes of a mesh. Pairs of a
    sender and a receiver are a group where they are linked.
    """
    if found := _PAIRS.search(instruction.rest):
        return _linked([_numbers(pair) for pair in re.findall(r"\{(\d+,\d+)\}", found[1])])
    if found := _LISTED.search(instruction.rest):
        groups = re.findall(r"\{([\d,]+)\}", found[1])
        return _tuples([_numbers(each) for each in groups]) if groups else (tuple(range(devices)),)
    if found := _COUNTED.search(instruction.rest):
        shape, axes = _numbers(found[1]), _numbers(found[2])
        ids = np.arange(math.prod(axes)).reshape(axes)
        if found[3]:
            ids = ids.transpose(_numbers(found[3]))
        return _tuples(ids.reshape(shape).tolist())
    if found := _MESH.search(instruction.rest):
        mesh = {name: int(length) for name, length in _AXIS.findall(found[1])}
        chosen = re.findall(r"'([^']*)'", found[2])
        # A part of an axis, as 'x':(2)2, or another order of the devices is left alone.
        if ":" not in found[2] and "device_ids" not in found[0] and set(chosen) <= set(mesh):
            return along(mesh, tuple(chosen))
    return ()


def along(mesh: Mapping[str, int], axes: tuple[str, ...]) -> Groups:
    """The groups of the devices of a mesh that differ along these axes alone."""
    ids = np.arange(math.prod(mesh.values())).reshape(tuple(mesh.values()))
    places = [list(mesh).index(axis) for axis in axes]
    ids = np.moveaxis(ids, places, range(-len(places), 0))
    return _tuples(ids.reshape(-1, math.prod(mesh[axis] for axis in axes)).tolist())


def mesh_axes(groups: Groups, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes along which the devices of each group differ; () where no axes fit."""
    wanted = {frozenset(group) for group in groups}
    long = [axis for axis, length in mesh.items() if length > 1]
    for count in range(1, len(long) + 1):
        for axes in itertools.combinations(long, count):
            if {frozenset(group) for group in along(mesh, axes)} == wanted:
                return axes
    return ()


def _linked(pairs: list[list[int]]) -> Groups:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return _tuples([sorted(group) for group in groups])


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


def _tuples(groups: list[list[int]]) -> Groups:
    return tuple(tuple(group) for group in groups)
