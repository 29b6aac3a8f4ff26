"""What a MatrixRule may ask for beside its matrices and its slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradxform.core import branches
from gradxform.core.context import Context, Leaf
from gradxform.core.matrix_axes import View
from gradxform.core.placement import place_among
from gradxform.core.precision import real_dtype
from gradxform.core.reductions import mean_along, norm_along


def normal_of_each(keys: jax.Array, like: Any) -> jax.Array:
    """Draws from N(0, 1) in the shape and dtype of an array (..., rows, columns), by the `keys` of its matrices."""
    rest = like.shape[keys.ndim :]
    drawn = jax.vmap(lambda key: jax.random.normal(key, rest, like.dtype))(keys.reshape(-1))
    return drawn.reshape(like.shape)


class MatrixLeaf(Leaf):
    """The context of a MatrixRule before its matrices are put together: that of a leaf, and how it is matrices."""

    def __init__(self, *args: Any, view: View) -> None:
        super().__init__(*args)
        self._view = view

    def of_each(self, function: Callable[[int, int], Any]) -> jax.Array:
        """What a function of rows and columns returns for each matrix, a number, in a shape that fits the leaf."""
        dtype = real_dtype(self._update.dtype)
        if self._view.is_even:
            return jnp.asarray(function(*self._view.pieces[0][-2:]), dtype)
        each = [jnp.full(piece, function(*piece), dtype) for piece in self._view.pieces]
        whole = jnp.expand_dims(self._view.joined(each), self._view.batch)
        for axis in self._view.rest:
            if names := self._cut[axis] if self._cut else ():
                # This device's own part.
                size = self._update.shape[axis]
                whole = lax.dynamic_slice_in_dim(whole, place_among(names) * size, size, axis)
        return whole

    def norms(self, x: jax.Array) -> Any:
        """The Frobenius norm of each matrix of an array like the leaf, on all devices together.

        Returns:
          What a MatrixSlot of shape (1, 1) keeps: (axes that count matrices, 1, 1), and where the leaf is cut into
          parts of several shapes a tuple of these.

        ValueError for a leaf that is spread over devices, unless `on_axes` tells along which of its axes; and for one
        that is cut over devices where its matrices are parts of it.
        """
        return self._along_matrices(x, self.norm_along, norm_along)

    def means(self, x: jax.Array) -> Any:
        """The mean of the elements of each matrix, as `norms`."""
        return self._along_matrices(x, self.mean_along, mean_along)

    def _along_matrices(self, x: jax.Array, along: Callable[..., jax.Array], of_parts: Callable[..., jax.Array]) -> Any:
        view = self._view
        if not view.is_split:
            return jnp.squeeze(along(x, view.rest), view.rest)[..., None, None]
        # On a mesh with explicit axes the types tell.
        if self.cut_over or any(jax.typeof(x).sharding.spec):
            raise ValueError(
                f"{self._rule}: a leaf of shape {self.shape} is cut over devices, and its matrices are parts of it; "
                "give each its own leaf"
            )
        found = [of_parts(piece, (-2, -1), ()) for piece in view.matrices(view.stacked(x))]
        batch = tuple(x.shape[axis] for axis in view.batch)
        found = [each.reshape(*batch, *each.shape[bool(batch) :]) for each in found]
        return found[0] if len(found) == 1 else tuple(found)

    def spread(self, numbers: Any) -> jax.Array:
        """Numbers of each matrix, as `norms` returns them, in a shape that fits the leaf."""
        view = self._view
        if not view.is_split:
            return jnp.expand_dims(numbers[..., 0, 0], view.rest)
        front = (view.count,) if view.batch else ()
        each = numbers if isinstance(numbers, tuple) else (numbers,)
        pieces = [
            jnp.broadcast_to(of.reshape(*front, *piece[:-2], 1, 1), (*front, *piece))
            for of, piece in zip(each, view.pieces, strict=True)
        ]
        return view.unstacked(view.joined(pieces), self._update.shape)


class Matrices(Context):
    """The context of a MatrixRule: what it may ask for beside its matrices, which are whole."""

    def __init__(self, rule: str, step: jax.Array, extra: Mapping[str, Any], numbers: jax.Array) -> None:
        super().__init__(rule, step, extra)
        self._numbers = numbers

    def keys(self, key: jax.Array) -> jax.Array:
        """A random key of each matrix, made of one of the rule's: the same wherever the matrix is computed."""
        return jax.vmap(partial(jax.random.fold_in, key))(self._numbers.reshape(-1)).reshape(self._numbers.shape)

    def random_normal(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """Draws from N(0, 1) in the shape and dtype of an array (..., rows, columns): of each matrix its own."""
        return normal_of_each(self.keys(key), like)

    def refreshed(self, every: Any, function: Callable[..., Any], *arrays: Any, kept: Any, spread: bool = False) -> Any:
        """function(*arrays) at the first step and at each `every`-th, else what is kept, of the same shapes.

        Args:
          every: how many steps lie between, a number or an array of shape ().
          function: of arrays that count matrices in front; what it is not due for is not computed.
          arrays: pytrees of such arrays.
          kept: what it returned last.
          spread: whether each matrix has its own turn, so that the work of one refresh is spread over the steps.
        """
        every = jnp.maximum(jnp.asarray(every).astype(jnp.int32), 1)
        turn = self.step - 1 + (self._numbers if spread else 0)
        is_due = (turn % every == 0) | (self.step == 1)

        def of_each(is_due: jax.Array, kept: Any, *arrays: Any) -> Any:
            if is_due.ndim:
                return lax.map(lambda each: of_each(*each), (is_due, kept, *arrays))

            def new() -> Any:
                return jax.tree.map(lambda value, old: value.astype(old.dtype), function(*arrays), kept)

            return branches.either(is_due, new, lambda: kept)

        return of_each(is_due, kept, *arrays)
