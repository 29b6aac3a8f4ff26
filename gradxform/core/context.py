"""What a rule may ask for beside its gradient and its slots: the one door to the outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import lax

from gradxform.core import alike, branches, checks, keep, reductions
from gradxform.core.flow import Flow, Step, keeps_params, stepped
from gradxform.core.guest import as_node, check_alone
from gradxform.core.placement import Axes, Cut, spread_axes, union, whole_shape
from gradxform.core.precision import fitting, is_complex, is_inexact, real_dtype, rounded
from gradxform.core.text import show
from gradxform.maths import Axis


class Context:
    """What leaf and tree rules share.

    Attributes:
      step: int32 of shape (): the number of this step, from 1 on.
      extra: the extra arguments that the rule declares with `Extra()`, by name.
    """

    def __init__(self, rule: str, step: jax.Array, extra: Mapping[str, Any]) -> None:
        self._rule, self.step, self.extra = rule, step, extra

    def either(self, pred: jax.Array, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """What one of two functions returns; only that one runs. `pred` is a bool of shape (), alike on all devices."""
        return branches.either(pred, yes, no)

    def _no_params(self) -> NoReturn:
        raise ValueError(f"{self._rule} needs the parameters: call update(updates, state, params)")


class Leaf(Context):
    """The context of a LeafRule: reductions are over the whole leaf, on all devices together.

    Attributes:
      decays: whether the rule's `DecayMask` lets this leaf decay.
      cut_over: the mesh axes over which it is told to be cut.
    """

    def __init__(
        self,
        rule: str,
        step: jax.Array,
        extra: Mapping[str, Any],
        param: jax.Array | None,
        decays: bool,
        update: jax.Array,
        cut: Cut | None,
    ) -> None:
        super().__init__(rule, step, extra)
        self._param, self.decays, self._update, self._cut = param, decays, update, cut
        self.cut_over = tuple(name for names in cut or () for name in names)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the leaf on all devices together.

        ValueError for a leaf that is sharded, unless `on_axes` tells along which of its axes.
        """
        return whole_shape(self._rule, self._update, self._cut)

    @property
    def param(self) -> jax.Array:
        """The parameter, in the dtype of computation. ValueError if `update` was called without parameters."""
        if self._param is None:
            self._no_params()
        return self._param

    def norm(self, x: jax.Array, ord: float = 2) -> jax.Array:
        """The norm of order `ord` of the leaf, of shape ()."""
        return reductions.norm([x], [self._axes(x)], ord)

    def norm_along(self, x: jax.Array, axis: Axis) -> jax.Array:
        """The L2 norms over some axes (None: all), which stay with length 1.

        ValueError for a leaf that is spread over devices, unless `on_axes` tells along which of its axes it is cut.
        """
        return reductions.norm_along(x, axis, self._axes_along(x, "norms", axis))

    def mean_along(self, x: jax.Array, axis: Axis) -> jax.Array:
        """The means over some axes (None: all), which stay with length 1; 0 of no elements.

        ValueError as in `norm_along`.
        """
        return reductions.mean_along(x, axis, self._axes_along(x, "means", axis))

    def max_along(self, x: jax.Array, axis: Axis) -> jax.Array:
        """The largest of values that are at least 0, over some axes, which stay with length 1; 0 where there are none.

        ValueError as in `norm_along`.
        """
        return reductions.max_along(x, axis, self._axes_along(x, "maxima", axis))

    def rms(self, x: jax.Array) -> jax.Array:
        """The root of the mean square of the leaf, of shape (); 0 for an empty leaf."""
        return self.norm(x) / max(reductions.total_size(x, self._axes(x)), 1) ** 0.5

    def any(self, x: jax.Array) -> jax.Array:
        """Whether any element is true, of shape ()."""
        return reductions.any_true(x, self._axes(x))

    def _axes(self, x: jax.Array) -> Axes:
        return spread_axes(self._rule, x, self._cut)

    def _axes_along(self, x: jax.Array, what: str, axis: Axis) -> Axes:
        """The mesh axes over which a leaf is cut along some of its axes."""
        spread = self._axes(x)
        chosen = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        if self._cut is not None:
            return union(self._cut[each] for each in chosen)
        # Over all of its axes it is of no matter along which it is cut.
        if {each % x.ndim for each in chosen} == set(range(x.ndim)):
            return spread
        if spread:
            raise ValueError(
                f"{self._rule} takes {what} along axes {show(axis)} of a leaf that is spread over mesh axes {spread}, "
                "and its type does not tell along which of its own axes it is cut; tell it with on_axes"
            )
        return ()


class Tree(Context):
    """The context of a TreeRule: reductions are over all leaves, on all devices together.

    What a tree rule sees of a tree is the list of its leaves, which is a pytree as well; `whole` makes the tree of it.

    Attributes:
      decays: for each leaf, whether the rule's `DecayMask` lets it decay.
    """

    def __init__(
        self,
        rule: str,
        flow: Flow,
        step: Step,
        extra: Mapping[str, Any],
        dtypes: Sequence[Any],
        decays: list[bool],
    ) -> None:
        super().__init__(rule, step.number, extra)
        self._flow, self._step, self._dtypes, self.decays = flow, step, dtypes, decays
        self._structure = jax.tree.structure(decays)

    @property
    def params(self) -> list[jax.Array]:
        """The parameters, in the dtype of computation. ValueError if `update` was called without them."""
        return list(map(fitting(*self._dtypes), self._own_params()))

    def _own_params(self) -> list[jax.Array]:
        """The parameters in their own dtypes. ValueError if there are none."""
        return self._no_params() if self._flow.params is None else self._flow.params

    @property
    def whole_params(self) -> Any:
        """The parameters as the tree that the user knows, None if `update` was called without them."""
        return None if self._flow.params is None else self._flow.params_structure.unflatten(self.params)

    @property
    def all_extra(self) -> Mapping[str, Any]:
        """All extra arguments of `update` by name, also those that the rule does not declare."""
        return self._step.extra

    def whole(self, leaves: Sequence[Any]) -> Any:
        """A list of leaves as the tree that the user knows, for functions and masks of the user."""
        return self._flow.structure.unflatten(leaves)

    def applied(self, function: Callable[[Any, Any], Any], updates: list[jax.Array]) -> list[Any]:
        """What a function of the user, which knows nothing of devices, makes of the tree of updates and that of params.

        ValueError for another structure, or if it takes elements of a leaf together of which each device has a part.
        """

        def call(tree: Any) -> Any:
            return function(tree, self.whole_params)

        tree = self.whole(updates)
        check_alone(self._rule, call, tree)
        returned = call(tree)
        checks.same_structure(self._rule, returned, tree, "the updates that came")
        return jax.tree.leaves(returned)

    def norm(self, tree: Any, ord: float = 2) -> jax.Array:
        """The norm of order `ord` of all leaves together, of shape ()."""
        return reductions.norm(jax.tree.leaves(tree), self._axes(tree), ord)

    def norms(self, tree: Any, ord: float = 2) -> list[jax.Array]:
        """The norm of order `ord` of each leaf, of shape ()."""
        leaves = zip(jax.tree.leaves(tree), self._axes(tree), strict=True)
        return [reductions.norm([leaf], [axes], ord) for leaf, axes in leaves]

    def norm_of(self, mask: Any, tree: Any, ord: float = 2) -> jax.Array:
        """The norm of those leaves of which a mask says True: a prefix of the tree, or a function that returns one.

        ValueError or TypeError for a mask that does not fit.
        """
        whole = self.whole(tree)
        chosen = checks.mask(self._rule, mask(whole) if callable(mask) else mask, whole, self._flow.structure)
        axes = self._axes(tree)
        kept = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        return reductions.norm([tree[i] for i in kept], [axes[i] for i in kept], ord)

    def distance(self, left: Any, right: Any) -> jax.Array:
        """The L2 norm of the difference of two trees, all leaves together, of shape ()."""
        return reductions.distance(jax.tree.leaves(left), jax.tree.leaves(right), self._axes(left, right))

    def vdot(self, left: Any, right: Any) -> jax.Array:
        """The inner product of two trees, of shape (); for complex leaves its real part."""
        return reductions.vdot(jax.tree.leaves(left), jax.tree.leaves(right), self._axes(left, right))

    def sum(self, tree: Any) -> jax.Array:
        """The sum of all elements of all leaves, real numbers or bools, of shape ()."""
        return reductions.total(jax.tree.leaves(tree), self._axes(tree), real_dtype(*self._dtypes))

    def counts(self, tree: Any) -> list[jax.Array]:
        """How many elements of each leaf of bools are true, real numbers of shape ()."""
        return reductions.counts(jax.tree.leaves(tree), self._axes(tree), real_dtype(*self._dtypes))

    def any(self, tree: Any) -> jax.Array:
        """Whether any element of any leaf of bools is true, on any device, of shape ()."""
        leaves = jax.tree.leaves(tree)
        # Each device counts its own; what is true on one is true for all in one reduction over devices.
        count = reductions.total(leaves, [()] * len(leaves), real_dtype(*self._dtypes))
        return self.on_any_device(count > 0)

    def size(self, tree: Any) -> int:
        """How many elements all leaves have."""
        return sum(self.sizes(tree))

    def sizes(self, tree: Any) -> list[int]:
        """How many elements each leaf has."""
        return list(map(reductions.total_size, jax.tree.leaves(tree), self._axes(tree)))

    def on_any_device(self, flag: jax.Array) -> jax.Array:
        """Whether a bool of shape () is true on any of the devices over which `shard_map` or `pmap` maps."""
        return self.largest_of_devices(flag)

    def mean_of_devices(self, x: jax.Array) -> jax.Array:
        """The mean of an array over the devices over which a map maps; NaN if one of them has NaN."""
        axes = jax.sharding.get_abstract_mesh().manual_axes
        return lax.pmean(x, axes) if axes else x

    def largest_of_devices(self, tree: Any) -> Any:
        """Of each array, bools among them, the largest value on any of the devices over which a map maps."""
        axes = jax.sharding.get_abstract_mesh().manual_axes

        def largest(x: jax.Array) -> jax.Array:
            # XLA has no maximum of bools over devices.
            return lax.pmax(x.astype(jnp.int32), axes).astype(bool) if x.dtype == bool else lax.pmax(x, axes)

        return jax.tree.map(lambda x: largest(jnp.asarray(x)), tree) if axes else tree

    def count_examples(self, tree: Any) -> int:
        """How many examples the leaves of per-example updates hold; 1 where there are no leaves."""
        return len(jax.tree.leaves(tree)[0]) if jax.tree.leaves(tree) else 1

    def full(self, tree: Any, value: Any) -> Any:
        """A tree of one value, in the shapes, dtypes and shardings of another.

        Its types say that it is the same on all devices over which `shard_map` maps, whatever those of the other say.
        """

        def filled(leaf: jax.Array) -> jax.Array:
            return lax.full(leaf.shape, value, leaf.dtype, sharding=jax.typeof(leaf).sharding)

        return jax.tree.map(filled, tree)

    def random_signs(self, key: jax.Array, like: Any) -> Any:
        """A tree of -1 and 1, each as likely, in the shapes and dtypes of the leaves of `like`."""
        return self._drawn(jax.random.rademacher, key, like)

    def random_normal(self, key: jax.Array, like: Any) -> Any:
        """A tree of draws from N(0, 1), complex ones in each part, in the shapes and dtypes of the leaves of `like`."""

        def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
            # JAX halves the variance between the parts.
            parts = 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
            return parts**0.5 * jax.random.normal(key, shape, dtype)

        return self._drawn(draw, key, like)

    def _drawn(self, draw: Callable[..., jax.Array], key: jax.Array, like: Any) -> Any:
        leaves, structure = jax.tree.flatten(like)
        keys = reductions.own_keys(key, self._axes(like))
        return structure.unflatten([draw(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)])

    def inner(
        self, transform: Any, updates: list[jax.Array], state: Any, params: list[jax.Array] | None = None
    ) -> tuple[list[jax.Array], Any]:
        """One step of a transform that the rule holds, with the parameters if there are any and all extra arguments.

        `params` are others in the place of the rule's own.

        The new state has the dtypes of the old one, so that a branch in which the transform rests may stand beside it.
        """
        flow, new = self._advanced(transform, updates, state, params)
        return list(map(_like, flow.whole().updates, updates)), new

    def measured(self, transform: Any, updates: list[jax.Array], state: Any) -> tuple[Any, Any]:
        """As `inner`, of a transform that returns a measurement in the place of updates: any pytree of arrays."""
        flow, new = self._advanced(transform, updates, state)
        return flow.structure.unflatten(flow.whole().updates), new

    def first(self, transform: Any, state: Any) -> Any:
        """The state of a transform that the rule holds as before the first step, kept as its state now."""
        first = transform.init(self.whole(self._own_params()))
        return jax.tree.map(_like, keep.encoded_like(first, state, None), state)

    def stepped(self, updates: list[jax.Array]) -> list[jax.Array]:
        """The parameters after the step, rounded to their dtypes, if nothing changes the updates any more."""
        params, fit = self._own_params(), fitting(*self._dtypes)
        new = stepped(params, self._flow.replace(updates=updates).leaving())
        return [rounded(fit(leaf), param.dtype) for leaf, param in zip(new, params, strict=True)]

    def as_params(self, params: list[jax.Array]) -> list[jax.Array]:
        """Other parameters in the dtypes of the rule's own."""
        return [leaf.astype(param.dtype) for leaf, param in zip(params, self._own_params(), strict=True)]

    def _advanced(
        self, transform: Any, updates: list[jax.Array], state: Any, params: list[jax.Array] | None = None
    ) -> tuple[Flow, Any]:
        flow = self._flow.replace(updates=updates, came=updates, lands=False)
        if params is not None:
            flow = flow.replace(params=params)
        # What decides what the parameters become must see them as they lie.
        elif flow.params is not None and not keeps_params(transform):
            flow = flow.replace(params=self.params)
        flow, new = as_node(transform).advance(flow, state, self._step)
        return flow, jax.tree.map(_like, new, state)

    def selected(self, pred: jax.Array, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """As `either`, where `yes` is what mostly runs; on an accelerator both run, in one program with the rest."""
        return branches.selected(pred, yes, no)

    def at_most_once(self, pred: jax.Array, function: Callable[[Any], Any], carry: Any) -> Any:
        """function(carry) where `pred`, a bool of shape () alike on all devices, is true; else the carry as it is."""
        return branches.at_most_once(pred, function, carry)

    def _axes(self, *trees: Any) -> list[Axes]:
        """The mesh axes over which each leaf of a tree, or of one of several alike, is spread."""
        columns = list(zip(*map(jax.tree.leaves, trees), strict=True))
        cuts = self._flow.cuts
        if any(jax.tree.structure(tree) != self._structure for tree in trees):
            if any(cut is not None for cut in cuts):
                raise ValueError(f"{self._rule} reduces over a tree unlike the parameters: on_axes cannot tell of it")
            cuts = [None] * len(columns)
        return [
            union(spread_axes(self._rule, leaf, cut) for leaf in leaves)
            for leaves, cut in zip(columns, cuts, strict=True)
        ]

    def map(self, function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
        """`function` of each leaf and of the leaves of `rest` in its place; traced once for leaves that are alike."""
        leaves, structure = jax.tree.flatten(tree)
        columns = [leaves, *map(structure.flatten_up_to, rest)]
        return structure.unflatten(alike.each(function, list(zip(*columns, strict=True))))


def _like(new: Any, old: Any) -> Any:
    """In the precision of the old array; what is another kind of number stays, for the engine to find."""
    if not hasattr(new, "dtype"):
        # A number of Python's own, which the engine makes an array.
        return new
    are_alike = is_inexact(new) and is_inexact(old) and is_complex(new) == is_complex(old)
    return new.astype(old.dtype) if are_alike and new.dtype != old.dtype else new
