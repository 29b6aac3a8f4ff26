"""An optax transform inside a gradxform chain."""

from __future__ import annotations

from typing import Any

import jax
import optax

from gradxform.core import keep, placement as placing
from gradxform.core.checks import path_of
from gradxform.core.elementwise import joining
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.placement import Placement, leaf_name, union, varying_axes
from gradxform.core.record import Branch
from gradxform.core.slots import noise_of
from gradxform.core.text import maker, show

# What optax calls means and sums of squares, of which it does not say that they are never negative.
NEVER_NEGATIVE = frozenset(
    ["nu", "nu_max", "sum_of_squares", "e_g", "e_x", "v", "v_row", "v_col", "sum_grad_squared", "diagonal_statistics"]
)
# What optax calls a copy of the parameters that goes on from there, as in schedule_free.
COPIES = frozenset(["z"])


class Guest(Node):
    """A transform that is not ours; it keeps its own state and gets the extra arguments if it takes them.

    A subclass has `pair`, optax's pair, and `name`, under which the state keeps its state.
    """

    any_dtype = True
    is_foreign = True

    @property
    def pair(self) -> optax.GradientTransformation:
        """Optax's pair."""
        raise TypeError(f"{type(self).__name__} has no pair")

    @property
    def name(self) -> str:
        """What it is called in a chain."""
        raise TypeError(f"{type(self).__name__} has no name")

    @property
    def stage_name(self) -> str:
        """Its name."""
        return self.name

    def begin(self, params: Flow, step: Step) -> Any:
        """The guest's own state, kept as `stored` says."""
        state, first = self.init(params.tree()), keep.first_keeper()
        return state if first is None else _first_kept(state, first, params, step.placement)

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """The guest's own step, of trees."""
        updates, new = self.update(flow.tree(), keep.decoded(record), keep.decoded(flow.params_tree()), step.extra)
        return flow.with_tree(updates), keep.encoded_like(new, record, noise_of(step.number, record))

    def init(self, params: Any) -> Any:
        """The guest's own state."""
        return self.pair.init(params)

    def hyperparams(self, state: Any) -> dict[str, Any]:
        """The hyperparameters that the guest's state holds, as they are in the next update."""
        return {}

    def update(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        """The guest's own step. Raises ValueError as `step`."""
        return step(self.name, self.pair, updates, state, params, extra)


def _first_kept(state: Any, first: keep.First, params: Flow, placement: Placement | None) -> Any:
    """A guest's state, its arrays kept as `first` says, by the names of the fields in which they lie."""
    tree = params.tree()
    leaves = {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    told = [None] * len(leaves) if placement is None else placement.cuts("parameters", tree)
    cuts = dict(zip(leaves, told, strict=True))

    def kept(path: tuple[Any, ...], value: Any) -> Any:
        if not isinstance(value, jax.Array):
            return value
        fields = [index for index, key in enumerate(path) if isinstance(key, jax.tree_util.GetAttrKey)]
        # The parameters' own fields, as of modules, are behind that of the state.
        like_params = [index for index in fields if leaf_name(path[index + 1 :]) in shapes]
        at = (like_params or fields[-1:] or [-1])[0]
        name, behind = path[at].name if fields else "", leaf_name(path[at + 1 :])
        cut = cuts[behind] if shapes.get(behind) == value.shape else None
        return first(keep.Beginning(name, behind, value, name not in NEVER_NEGATIVE, name in COPIES, cut))

    return jax.tree_util.tree_map_with_path(kept, state, is_leaf=keep.is_encoded)


def step(
    name: str, pair: optax.GradientTransformation, updates: Any, state: Any, params: Any, extra: dict[str, Any]
) -> tuple[Any, Any]:
    """A step of a transform that knows nothing of devices.

    Raises:
      ValueError: each device has a part of a leaf, and the transform does not treat each element alone.
      TypeError: it was made of a traced number, and is used outside of the function in which that was traced.
    """
    tx = optax.with_extra_args_support(pair)
    if not isinstance(pair, Branch):
        check_alone(name, lambda updates: tx.update(updates, state, params, **extra), updates)
    try:
        return tx.update(updates, state, params, **extra)
    except jax.errors.UnexpectedTracerError as error:
        raise TypeError(
            f"{name} of optax's holds a traced number, which has left the jit or vmap in which it was traced; make the "
            "transform inside the function that uses it, or of gradxform's own, whose numbers are leaves"
        ) from error


def check_alone(name: str, update: Any, updates: Any) -> None:
    """Raises ValueError if a function takes elements of a leaf together of which each device has a part."""
    leaves, told = jax.tree.leaves(updates), placing.current()
    # Only inside a map does a device see parts.
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return
    axes = [varying_axes(x) for x in leaves] if told is None else map(union, told.cuts("updates", updates))
    sharded = [(index, names) for index, names in enumerate(axes) if names]
    if sharded and (operation := joining(update, updates)):
        index, names = sharded[0]
        raise ValueError(
            f"{name} takes the elements of a leaf together ({operation}), and knows nothing of devices, of which each "
            f"has a part of the leaf at {path_of(updates, index)}, sharded over mesh axes {names}; take this step "
            "outside shard_map, with jit over sharded arrays (state_shardings with zero=... divides its state there)"
        )


class Stranger(Guest):
    """A guest of which nothing is known but its two functions."""

    given: Any

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        if not isinstance(self.given, optax.GradientTransformation):
            got = type(self.given).__name__
            hint = "; call it to make the transform" if callable(self.given) else ""
            if isinstance(self.given, list | tuple):
                hint = "; put a star before it: chain(*transforms)"
            raise TypeError(f"chain takes transforms, ours or optax's; got {show(self.given)} of type {got}{hint}")

    def parts(self) -> dict[str, Any]:
        """Nothing: functions do not tell."""
        return {}

    @property
    def pair(self) -> optax.GradientTransformation:
        """Optax's pair."""
        return self.given

    @property
    def name(self) -> str:
        """The name of the function that made it, as far as its `update` tells: 'scale_by_lion'."""
        return maker(self.given)[1]

    def __repr__(self) -> str:
        package, _ = maker(self.given)
        return f"<{package}.{self.name}>" if package else f"<{self.name}>"


def as_node(transform: Any) -> Any:
    """A transform as what may stand in a row: one of ours as it is, another as a guest."""
    return transform if hasattr(transform, "advance") else Stranger(transform)
