"""Which axes of a leaf are the rows and the columns of its matrices, and which count matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers

from gradxform.core.placement import leaf_name
from gradxform.core.record import Record
from gradxform.core.registry import register
from gradxform.core.text import show


class MatrixAxes(Record, is_leaf=True):
    """Which axes of a weight are the rows and the columns of its matrices; all others count matrices.

        gx.MatrixAxes()                    # (..., in, out): stacked layers, experts
        gx.MatrixAxes(0, (1, 2))           # (in, heads, head_dim), one matrix of in x (heads head_dim)
        gx.MatrixAxes(0, 2)                # the same, a matrix for each head
        gx.MatrixAxes(split_columns=3)     # (in, 3 out): queries, keys and values in one, a matrix for each
        gx.MatrixAxes((0, 1, 2), 3)        # a convolution (height, width, in, out)

    Rows are the inputs and columns the outputs, as in the kernels of JAX's libraries: y = x W.

    Args:
      rows, columns: the axis, or the axes that are joined in this order.
      split_rows, split_columns: into which parts the rows, or the columns, are split, each part a matrix of its own: a
        number of equal parts, or a tuple of their sizes, as (4096, 1024, 1024). None: they are not split.

    Raises:
      TypeError: axes or sizes that are no integers.
      ValueError: in `init` and `update`, axes that the leaf has not, or sizes that do not add up, with its path.

    optax: contrib.MuonDimensionNumbers(reduction_axis, output_axis), which is taken everywhere as well. torch: none.
    """

    rows: int | tuple[int, ...] = -2
    columns: int | tuple[int, ...] = -1
    split_rows: int | tuple[int, ...] | None = None
    split_columns: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Keeps tuples, whatever sequence came."""
        for name, value in self.fields().items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        super().__post_init__()

    def check(self) -> None:
        """Raises TypeError for what are no integers, ValueError for parts of no size."""
        for name, value in self.fields().items():
            each = value if isinstance(value, tuple) else [] if value is None else [value]
            if not all(isinstance(number, int) and not isinstance(number, bool) for number in each) or value == ():
                raise TypeError(f"MatrixAxes: {name} must be an integer or a tuple of them; got {show(value)}")
            if name.startswith("split") and not all(number > 0 for number in each):
                raise ValueError(f"MatrixAxes: {name} must be more than 0; got {show(value)}")

    def __repr__(self) -> str:
        named = [f"{name}={show(value)}" for name, value in self.fields().items() if name.startswith("split") and value]
        return f"MatrixAxes({', '.join([show(self.rows), show(self.columns), *named])})"


register(MatrixAxes, "MatrixAxes", MatrixAxes)
register(MuonDimensionNumbers, "MuonDimensionNumbers", MuonDimensionNumbers)


class View:
    """How a leaf of a shape is a stack of matrices, or several stacks where parts have sizes of their own.

    Attributes:
      batch: the axes of the leaf that count matrices, in order.
      rest: the other axes, in order.
      rows, columns: how many there are, joined.
    """

    def __init__(self, shape: tuple[int, ...], axes: MatrixAxes) -> None:
        rows, columns = (_axes(shape, given) for given in (axes.rows, axes.columns))
        if len({*rows, *columns}) < len(rows) + len(columns):
            raise ValueError(f"{axes} names an axis twice")
        self.shape, self.axes = shape, axes
        self.batch = tuple(axis for axis in range(len(shape)) if axis not in rows + columns)
        self.rest = tuple(axis for axis in range(len(shape)) if axis not in self.batch)
        self._order = tuple(self.rest.index(axis) for axis in rows + columns)
        self._joined = tuple(shape[axis] for axis in rows), tuple(shape[axis] for axis in columns)
        self.rows, self.columns = map(math.prod, self._joined)
        cuts = [_sizes("rows", self.rows, axes.split_rows), _sizes("columns", self.columns, axes.split_columns)]
        if any(len(sizes) > 1 for _, sizes in cuts):
            # Beside parts of several sizes those that are alike are taken one by one too.
            cuts = [(1, sizes * parts) for parts, sizes in cuts]
        self._cuts = tuple(cuts)

    @property
    def _key(self) -> Any:
        return tuple(self.shape[axis] for axis in self.rest), self._order, self._joined, self._cuts, len(self.batch) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def is_plain(self) -> bool:
        """Whether its matrices are the leaf's own, in order, so that their transposes are those of the leaf."""
        return self._order == (0, 1) and all(count == 1 for count, _ in self._cuts) and self.is_even

    @property
    def is_even(self) -> bool:
        """Whether all its matrices are of one shape."""
        return all(len(sizes) == 1 for _, sizes in self._cuts)

    @property
    def is_split(self) -> bool:
        """Whether its matrices are parts of what the leaf's own axes make."""
        return any(count * len(sizes) > 1 for count, sizes in self._cuts)

    @property
    def count(self) -> int:
        """How many elements of the batch there are."""
        return math.prod(self.shape[axis] for axis in self.batch)

    @property
    def parts(self) -> int:
        """How many matrices an element of the batch is."""
        return sum(math.prod(front) for *front, _, _ in self.pieces)

    @property
    def pieces(self) -> list[tuple[int, ...]]:
        """The shape of each stack of an element: (rows, columns), with a number in front where parts are alike."""
        (row_parts, row_sizes), (column_parts, column_sizes) = self._cuts
        front = () if row_parts * column_parts == 1 else (row_parts * column_parts,)
        return [(*front, rows, columns) for rows in row_sizes for columns in column_sizes]

    def stacked(self, leaf: jax.Array) -> jax.Array:
        """The leaf with the axes that count matrices joined in front; without such axes as it is."""
        if not self.batch:
            return leaf
        return leaf.transpose(self.batch + self.rest).reshape(-1, *(leaf.shape[axis] for axis in self.rest))

    def unstacked(self, stack: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The leaf, or the part of it that has a shape on this device, of what `stacked` made of it."""
        if not self.batch:
            return stack
        whole = stack.reshape(*(shape[axis] for axis in self.batch), *(shape[axis] for axis in self.rest))
        return whole.transpose(np.argsort(self.batch + self.rest).tolist())

    def matrices(self, stack: jax.Array) -> list[jax.Array]:
        """The stacks of matrices of an array whose last axes are the leaf's own but those that count matrices."""
        front = stack.shape[: stack.ndim - len(self.rest)]
        order = (*range(len(front)), *(len(front) + axis for axis in self._order))
        joined = stack.transpose(order).reshape(*front, self.rows, self.columns)
        (row_parts, row_sizes), (column_parts, column_sizes) = self._cuts
        if self.is_even and row_parts * column_parts > 1:
            (rows,), (columns,) = row_sizes, column_sizes
            parts = joined.reshape(*front, row_parts, rows, column_parts, columns)
            return [jnp.moveaxis(parts, -2, -3).reshape(*front, row_parts * column_parts, rows, columns)]
        return [part for band in _cut(joined, row_sizes, -2) for part in _cut(band, column_sizes, -1)]

    def joined(self, matrices: Sequence[jax.Array]) -> jax.Array:
        """What `matrices` made these of."""
        (row_parts, row_sizes), (column_parts, column_sizes) = self._cuts
        if self.is_even and row_parts * column_parts > 1:
            (rows,), (columns,) = row_sizes, column_sizes
            front = matrices[0].shape[:-3]
            parts = matrices[0].reshape(*front, row_parts, column_parts, rows, columns)
            whole = jnp.moveaxis(parts, -3, -2).reshape(*front, self.rows, self.columns)
        else:
            width = len(column_sizes)
            bands = [matrices[first : first + width] for first in range(0, len(matrices), width)]
            whole = _joined([_joined(band, -1) for band in bands], -2)
        front = whole.shape[:-2]
        split = whole.reshape(*front, *self._joined[0], *self._joined[1])
        return split.transpose(*range(len(front)), *(len(front) + axis for axis in np.argsort(self._order)))


def axes_of(who: str, given: Any, structure: Any, leaves: Sequence[Any]) -> list[MatrixAxes | None]:
    """For each leaf of a tree its `MatrixAxes`, None for one that is told to have none.

    Args:
      who: what asks, for errors.
      given: MatrixAxes or MuonDimensionNumbers for all leaves, a prefix of the tree that holds them and None, or a
        function of the tree that returns one of these. None: each leaf has two axes.
      structure: of the tree.
      leaves: arrays or their shapes.

    Raises:
      TypeError: something else among what is given.
      ValueError: it is no prefix of the tree, or nothing is given for a leaf of other than two axes, with its path.
    """
    # Without leaves there is nothing to choose; optax.tree.map_params calls init with such a tree of its own.
    if not leaves:
        return []
    tree = structure.unflatten(leaves)
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    if given is None:
        for path, leaf in zip(paths, leaves, strict=True):
            if np.ndim(leaf) != 2:
                raise ValueError(_not_served(who, path, leaf))
        return [MatrixAxes()] * len(leaves)
    told = given(tree) if callable(given) else given
    found = _one_a_leaf(who, told, tree, paths)
    for path, axes in zip(paths, found, strict=True):
        if axes is not None and not is_axes(axes):
            raise TypeError(
                f"{who}: expected MatrixAxes, MuonDimensionNumbers or None for the leaf at {leaf_name(path)}, got "
                f"{show(axes)}"
            )
    return list(map(as_ours, found))


def axes_labels(who: str, given: Any, params: Any, matrices: str, rest: str) -> Any:
    """A tree of labels: one for leaves whose axes are told, another for the others. Raises as `axes_of`.

    Where nothing is given, matrices are the leaves of two axes.
    """
    leaves, structure = jax.tree.flatten(params)
    if given is None:
        # Of what is no array, another transform is to say what it makes of it.
        return structure.unflatten(matrices if np.ndim(leaf) == 2 else rest for leaf in leaves)
    axes = axes_of(who, given, structure, leaves)
    return structure.unflatten(rest if each is None else matrices for each in axes)


def views(who: str, given: Any, structure: Any, leaves: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[View]:
    """How each leaf, of a shape on all devices together, is a stack of matrices. Raises as `axes_of`, and for None."""
    found = []
    tree = structure.unflatten(leaves)
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    for path, leaf, axes, shape in zip(paths, leaves, axes_of(who, given, structure, leaves), shapes, strict=True):
        if axes is None:
            raise ValueError(_not_served(who, path, leaf))
        try:
            found.append(View(shape, axes))
        except ValueError as error:
            raise ValueError(f"{who}: for the leaf at {leaf_name(path)}, of shape {shape}, {error}") from None
    return found


def _not_served(who: str, path: Any, leaf: Any) -> str:
    return (
        f"{who} takes matrices, and the leaf at {leaf_name(path)} has shape {np.shape(leaf)}; say which axes are "
        "its rows and columns with weight_dimension_numbers, as MatrixAxes() for (..., in, out), or give it to another "
        "transform: partition({'matrices': ..., 'rest': ...}, matrices_and_rest)"
    )


def as_ours(axes: Any) -> Any:
    """MatrixAxes in the place of optax's MuonDimensionNumbers; anything else as it is."""
    if not isinstance(axes, MuonDimensionNumbers):
        return axes
    rows, columns = (each if isinstance(each, int) else tuple(each) for each in axes)
    return MatrixAxes(rows, columns)


def is_axes(value: Any) -> bool:
    """Whether something says of one leaf which axes are its matrices, or that it has none."""
    return value is None or isinstance(value, MatrixAxes | MuonDimensionNumbers)


def _one_a_leaf(who: str, told: Any, tree: Any, paths: Sequence[Any]) -> list[Any]:
    """What is told of each leaf, by the longest path that leads to it."""
    given = jax.tree_util.tree_flatten_with_path(told, is_leaf=is_axes)[0]
    masked = [
        path for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_masked)[0] if _is_masked(node)
    ]
    found = []
    for path in paths:
        fitting = [axes for start, axes in given if path[: len(start)] == start]
        if not fitting:
            raise ValueError(f"{who}: got no MatrixAxes for the leaf at {leaf_name(path)}")
        found.append(fitting[0])
    for start, axes in given:
        # A wrapper may leave out leaves, of which there is told all the same.
        fits = any(path[: len(start)] == start or start[: len(path)] == path for path in [*paths, *masked])
        if axes is not None and not fits:
            raise ValueError(f"{who}: got MatrixAxes for {leaf_name(start)}, where there is no leaf")
    return found


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _axes(shape: tuple[int, ...], given: int | tuple[int, ...]) -> tuple[int, ...]:
    axes = (given,) if isinstance(given, int) else given
    if missing := [axis for axis in axes if not -len(shape) <= axis < len(shape)]:
        raise ValueError(f"there is no axis {missing[0]}")
    return tuple(axis % len(shape) for axis in axes)


def _sizes(name: str, whole: int, split: int | tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
    """How many parts are alike and handed on as one, and the sizes of those that are not."""
    if split is None:
        return 1, (whole,)
    parts = split if isinstance(split, int) else len(split)
    if isinstance(split, int) and whole % split:
        raise ValueError(f"{split} parts do not divide its {whole} {name}")
    if not isinstance(split, int) and sum(split) != whole:
        raise ValueError(f"parts of {split} do not add up to its {whole} {name}")
    if isinstance(split, int) or len(set(split)) == 1:
        return parts, (whole // parts,)
    return 1, split


def _cut(array: jax.Array, sizes: tuple[int, ...], axis: int) -> list[jax.Array]:
    return [array] if len(sizes) == 1 else jnp.split(array, np.cumsum(sizes)[:-1].tolist(), axis)


def _joined(arrays: Sequence[jax.Array], axis: int) -> jax.Array:
    return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis)
