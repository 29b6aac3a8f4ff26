"""What trains parameters of 16 bits as wider ones: the node, which is the same for all codecs of parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gradxform.core import alike, checks, keep
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.keep import Encoded
from gradxform.core.noise import Noise, salt_of
from gradxform.core.placement import Cut
from gradxform.core.precision import compute_dtype, is_inexact, rounded
from gradxform.storage.weights import ParamCodec

LOW = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))


class ParamsKept(Node):
    """A transform that sees parameters as they are loaded, and whose new parameters are stored.

    A subclass has `codec`, and `State`, a record of the state of the transform and of what the codec keeps beside.
    Parameters of more than 16 bits are left to the transform.
    """

    any_dtype = True
    is_foreign = True
    keeps_params = True

    State: ClassVar[Any]

    inner: optax.GradientTransformation
    strict: bool = dataclasses.field(default=True, kw_only=True)

    @property
    def codec(self) -> ParamCodec:
        """The codec of parameters."""
        raise TypeError(f"{type(self).__name__} has no codec")

    def check(self) -> None:
        """Raises TypeError for what is no transform, ValueError for one that keeps parameters itself."""
        self.check_transform("inner", may_keep_params=False)
        if not isinstance(self.strict, bool):
            raise TypeError(f"{self.call_name}: strict must be True or False; got {self.strict!r}")

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of the transform, and what is kept beside each parameter.

        Raises:
          TypeError: a parameter that is no array, or none of 16 bits; with the path.
        """
        codec, leaves = self.codec, _arrays(params.structure, params.updates)
        self._check_dtypes(params.structure, leaves)
        rests = [codec.rest(leaf) if _is_low(leaf) else None for leaf in leaves]
        trees = {
            name: params.structure.unflatten(optax.MaskedNode() if rest is None else rest[name] for rest in rests)
            for name in codec.beside
        }
        inner = as_node(self.inner).begin(params.replace(updates=leaves, came=_wide(leaves)), step)
        return self.State(inner, **trees)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of the transform, whose updates are added to the parameters as they are loaded.

        Raises:
          ValueError: it was called without parameters, or with a state that is not of these.
        """
        if flow.params is None:
            raise ValueError(f"{self.call_name} needs the parameters: call update(updates, state, params)")
        codec, params = self.codec, _arrays(flow.params_structure, flow.params)
        columns = self._columns(flow.params_structure, params, record)
        old = self._loaded(params, columns)
        wide = _wide(flow.came)
        inner, state = as_node(self.inner).advance(flow.replace(params=old, came=wide), record.inner_state, step)
        if inner.structure != flow.params_structure:
            trees = inner.structure.unflatten(inner.updates), flow.params_tree()
            checks.same_structure("updates", *trees, "the parameters")
        narrow = {id(new): came for new, came in zip(wide, flow.came, strict=True)}
        came = [narrow.get(id(each), each) for each in inner.came]
        landed: list[Any] = [None] * len(old) if inner.landed is None else list(inner.landed)
        kept = [index for index, param in enumerate(old) if keep.is_encoded(param)]
        if any(landed[index] is None for index in kept):
            inner = inner.whole()
        base = Noise(salt_of(step.number)) if codec.is_random else None
        # Told is of the updates, of which lookahead's parameters are two each.
        cuts = flow.cuts if len(flow.cuts) == len(old) else [None] * len(old)
        if step.placement is not None:
            cuts = step.placement.cuts("parameters", flow.params_structure.unflatten(flow.params))
        noises = [None if base is None else base.of(index).of_param() for index in kept]
        lows = [_low(came[index], params[index]) if flow.is_rounded else None for index in kept]
        news = alike.each(
            _stored,
            [
                (old[index], landed[index], inner.updates[index], noise, low, cuts[index])
                for index, noise, low in zip(kept, noises, lows, strict=True)
            ],
        )
        updates = list(inner.updates)
        for index, (new, change) in zip(kept, news, strict=True):
            updates[index], landed[index] = change, new.parts["param"]
            for name, column in columns.items():
                column[index] = new.parts[name]
        out = inner.replace(updates=updates, came=came, params=params, landed=landed if flow.lands else None)
        trees = {name: flow.params_structure.unflatten(column) for name, column in columns.items()}
        return out, self.State(state, **trees)

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: those that the transform makes of the loaded ones."""
        columns = self._columns(params.structure, params.updates, record)
        loaded = keep.decoded(self._loaded(params.updates, columns))
        return as_node(self.inner).judge(params.replace(updates=loaded), record.inner_state, step)

    def _loaded(self, params: Sequence[Any], columns: dict[str, list[Any]]) -> list[Any]:
        """The parameters with what is kept beside them; those that are not kept as they are."""
        return [
            self.codec.together(leaf, {name: column[index] for name, column in columns.items()})
            if _is_low(leaf)
            else leaf
            for index, leaf in enumerate(params)
        ]

    def _columns(self, structure: Any, params: Sequence[Any], record: Any) -> dict[str, list[Any]]:
        """What is kept beside each parameter, by name. ValueError where it does not fit the parameters."""
        columns = {}
        for name in self.codec.beside:
            tree, kept_by = getattr(record, name), f"the {name} of {self.call_name}"
            try:
                column = structure.flatten_up_to(tree)
            except ValueError:
                checks.same_structure("parameters", structure.unflatten(params), tree, kept_by)
                raise
            checks.each_kept("parameters", structure, column, kept_by)
            left = [isinstance(rest, optax.MaskedNode) for rest in column]
            for index, (leaf, is_left) in enumerate(zip(params, left, strict=True)):
                if _is_low(leaf) == is_left:
                    raise ValueError(
                        f"{self.call_name}: the parameter at {checks.path_of(structure, index)} is {leaf.dtype}, which "
                        "it was not when the state was made; make it with init anew"
                    )
            like = [leaf if is_left else rest for leaf, rest, is_left in zip(params, column, left, strict=True)]
            checks.same_shapes("parameters", structure, params, like, kept_by)
            columns[name] = list(column)
        return columns

    def _check_dtypes(self, structure: Any, params: Sequence[Any]) -> None:
        floating = [index for index, leaf in enumerate(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        if self.strict and floating and not any(map(_is_low, params)):
            raise TypeError(
                f"{self.call_name} keeps parameters of bfloat16 or float16; got {params[floating[0]].dtype} at "
                f"{checks.path_of(structure, floating[0])}, which needs nothing beside it; cast the parameters, or let "
                "them be with strict=False"
            )


def _is_low(leaf: Any) -> bool:
    return leaf.dtype in LOW


def _arrays(structure: Any, params: Sequence[Any]) -> list[Any]:
    """Parameters as arrays. TypeError for what is none, with its path."""
    return list(map(jnp.asarray, checks.arrays("parameters", structure, params, any_dtype=True, real_only=None)))


def _wide(leaves: Sequence[Any]) -> list[Any]:
    """What updates, or parameters, are to the transform within, which trains wider parameters."""

    def wide(leaf: Any) -> Any:
        is_array = hasattr(leaf, "dtype") and is_inexact(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, compute_dtype(leaf.dtype)) if is_array else leaf

    return list(map(wide, leaves))


def _low(came: Any, param: jax.Array) -> Any:
    """The dtype of 16 bits in which an update may have to leave: that in which it came, here or in front of others."""
    dtype = jnp.result_type(came)
    return dtype if dtype in LOW else param.dtype


def _stored(
    old: Encoded, landed: Any, update: jax.Array, noise: Noise | None, low: Any, cut: Cut | None
) -> tuple[Encoded, jax.Array]:
    """A parameter after its update, and what takes the old one there."""
    new = keep.with_added(old, update, noise, cut) if landed is None else landed
    return new, _change(old.parts["param"], new.parts["param"], low)


def _change(old: jax.Array, new: jax.Array, low: Any) -> jax.Array:
    """What is to be added to a parameter so that it becomes another, in the dtype of computation.

    It is a number of the dtype `low` if there is one that does. None: any.
    """
    wide = compute_dtype(old.dtype)
    before, after = old.astype(wide), new.astype(wide)
    change = after - before
    if low is None:
        return change
    # Those that do are an interval around the difference: if any of the dtype is in it, one of these two is.
    nearest = rounded(change, low)
    towards = jnp.where(change > nearest, jnp.inf, -jnp.inf).astype(low)
    other = lax.nextafter(nearest.astype(low), towards).astype(wide)
    for candidate in (other, nearest):
        change = jnp.where(rounded(before + candidate, old.dtype) == after, candidate, change)
    return change
