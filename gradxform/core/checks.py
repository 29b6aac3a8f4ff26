"""Assertions on what comes in, at trace time: each error names the leaf's path, what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from gradxform.core.hints import did_you_mean, make_a_state
from gradxform.core.placement import leaf_name, varying_axes
from gradxform.core.precision import is_complex, is_inexact, is_too_small
from gradxform.core.text import described, show

if TYPE_CHECKING:
    import chex
else:

    class _Later(ModuleType):
        """A module that is imported when something in it is first asked for."""

        def __getattr__(self, name: str) -> Any:
            vars(self)[name] = found = getattr(import_module(self.__name__), name)
            return found

    # It takes a seventh of the time of optax and JAX to import, and nothing is asserted before the first `init`.
    chex = _Later("chex")

LEAVE_OUT = "keep it out of the optimizer, with None in its place, in the parameters and in the gradients"
FREEZE = "keep it out of the optimizer, with None in its place, or with partition and set_to_zero"


def path_of(tree: Any, index: int) -> str:
    """Where the index-th leaf of a tree, or of a structure, is, as 'dense/kernel'."""
    if isinstance(tree, jax.tree_util.PyTreeDef):
        tree = tree.unflatten(range(tree.num_leaves))
    path, _ = jax.tree_util.tree_flatten_with_path(tree)[0][index]
    return leaf_name(path)


def arrays(what: str, tree: Any, leaves: Sequence[Any], *, any_dtype: bool, real_only: str | None) -> list[Any]:
    """The leaves of a tree, as arrays that a rule can compute with.

    Args:
      what: what the tree is, for the message.
      tree: the tree, or its structure.
      leaves: its leaves.
      any_dtype: whether integers and the like may pass.
      real_only: the name of a rule that takes no complex leaves, if there is one.

    Raises:
      TypeError: a leaf that is not an array, not floating-point, or complex where it may not be.
    """
    admitted = []
    for index, leaf in enumerate(map(_as_array, leaves)):
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            raise TypeError(
                f"{what}: expected an array at {path_of(tree, index)}, got {show(leaf)} of type "
                f"{type(leaf).__name__}; {LEAVE_OUT}"
            )
        if leaf.dtype == jax.dtypes.float0:
            raise TypeError(
                f"{what}: got float0 at {path_of(tree, index)}, which jax.grad has for integers with allow_int=True; "
                "take the gradient of the other leaves alone, with None in its place"
            )
        if not any_dtype and not is_inexact(leaf):
            raise TypeError(
                f"{what}: expected a floating-point array at {path_of(tree, index)}, "
                f"got {described(leaf)}; make it floating-point, or {FREEZE}"
            )
        if not any_dtype and is_too_small(leaf.dtype):
            raise TypeError(
                f"{what}: expected a floating-point array of 16 bits at least at {path_of(tree, index)}, got "
                f"{described(leaf)}, which JAX lets meet no other dtype; keep it in bfloat16, and cast where it is used"
            )
        if real_only and is_complex(leaf):
            raise TypeError(f"{what}: {real_only} takes real arrays, got {described(leaf)} at {path_of(tree, index)}")
        admitted.append(leaf)
    return admitted


def _as_array(leaf: Any) -> Any:
    """Numbers and NumPy's arrays as JAX's, where float64 is float32 unless 64 bits are enabled; the rest as it is."""
    is_numpy = isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fc"
    return jnp.asarray(leaf) if is_numpy or isinstance(leaf, float | complex) else leaf


def same_structure(what: str, tree: Any, reference: Any, reference_name: str) -> None:
    """Raises ValueError, with the first path that parts, unless two trees have the same structure."""
    try:
        chex.assert_trees_all_equal_structs(tree, reference)
    except AssertionError:
        mine, theirs = _paths(tree), _paths(reference)
        if parted := _parted((), tree, reference):
            path, other, node = parted
            detail = (
                f"expected {_node(node)} at {leaf_name(path)}, as {reference_name} have, got {_node(other)}"
                f"{_part_that_fits(tree, reference)}"
            )
        elif missing := [path for path in theirs if path not in mine]:
            detail = f"expected a leaf at {missing[0]!r}, where {reference_name} have one, and got none"
        elif surplus := [path for path in mine if path not in theirs]:
            detail = f"got a leaf at {surplus[0]!r}, where {reference_name} have none"
        else:
            detail = f"expected {jax.tree.structure(reference)}, got {jax.tree.structure(tree)}"
        raise ValueError(f"{what}: {detail}") from None


def each_kept(what: str, tree: Any, kept: Sequence[Any], kept_by: str) -> None:
    """Raises ValueError for the first leaf in whose place a state has None, as for a parameter that it was not of."""
    if any(value is None for value in kept):
        where = path_of(tree, next(index for index, value in enumerate(kept) if value is None))
        raise ValueError(f"{what}: got a leaf at {where}, where {kept_by} have none; make the state with init anew")


def same_shapes(what: str, tree: Any, leaves: Sequence[Any], references: Sequence[Any], reference_name: str) -> None:
    """Raises ValueError for the first leaf whose shape is not its reference's."""
    # By chex it takes thirty times as long, which a thousand leaves feel.
    for index, (leaf, reference) in enumerate(zip(leaves, references, strict=True)):
        if leaf.shape != reference.shape:
            raise ValueError(
                f"{what}: expected shape {reference.shape} at {path_of(tree, index)}, as {reference_name} have, "
                f"got {leaf.shape}"
            )


def examples(what: str, tree: Any, leaves: Sequence[Any], references: Sequence[Any] | None = None) -> None:
    """Raises ValueError unless all leaves hold the gradients of as many examples, in an axis in front.

    Args:
      what: what the tree is, for the message.
      tree: the tree.
      leaves: its leaves.
      references: what has the shapes without that axis. None: any shapes will do.
    """
    for index, leaf in enumerate(leaves):
        shape = leaf.shape[1:] if references is None else references[index].shape
        try:
            chex.assert_shape(leaf, (None, *shape))
        except AssertionError:
            expected = f"({', '.join(map(str, ('batch', *shape)))}{',' * (not shape)})"
            raise ValueError(
                f"{what}: expected per-example gradients of shape {expected} at {path_of(tree, index)}, "
                f"got {leaf.shape}; take them with jax.vmap(jax.grad(...))"
            ) from None
        if len(leaf) != len(leaves[0]):
            raise ValueError(
                f"{what}: expected the gradients of {len(leaves[0])} examples at {path_of(tree, index)}, "
                f"as at {path_of(tree, 0)}, got {len(leaf)}"
            )


def examples_here(rule: str, tree: Any, leaves: Sequence[Any]) -> None:
    """Raises ValueError unless there are examples, and each device has all of them, as far as the types tell."""
    for index, leaf in enumerate(leaves):
        if not len(leaf):
            raise ValueError(f"{rule}: expected the gradient of one example at least, got {leaf.shape}")
        if axes := varying_axes(leaf):
            raise ValueError(
                f"{rule}: expected the gradients of all examples on each device, got {path_of(tree, index)} spread "
                f"over mesh axes {axes}; take this step outside shard_map, with jit over sharded arrays"
            )


def same_kinds(what: str, tree: Any, leaves: Sequence[Any], references: Sequence[Any], reference_name: str) -> None:
    """Raises TypeError for the first leaf that is complex where its reference is real, or real where it is complex."""
    for index, (leaf, reference) in enumerate(zip(leaves, references, strict=True)):
        if is_complex(leaf) != is_complex(reference):
            raise TypeError(
                f"{what}: expected {_kind(reference)} values at {path_of(tree, index)}, as {reference_name} have, "
                f"got {leaf.dtype}"
            )


def whole_numbers(what: str, tree: Any, leaves: Sequence[Any], params: Sequence[Any]) -> None:
    """Raises TypeError for the first update of an integer parameter that is no integer itself."""
    for index, (leaf, param) in enumerate(zip(leaves, params, strict=True)):
        if is_inexact(leaf) and not is_inexact(param):
            raise TypeError(
                f"{what}: got {leaf.dtype} at {path_of(tree, index)}, where the parameter is {described(param)}, to "
                f"which no fraction can be added; make it floating-point, or {FREEZE}"
            )


def number(what: str, value: Any) -> jax.Array:
    """What a schedule returned, or a hyperparameter, as an array. TypeError for what is no number."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{what}: expected a number or an array of shape (), got {show(value)}; a schedule returns its value at "
            "the step that it is given"
        ) from None


def scalar(what: str, value: jax.Array) -> jax.Array:
    """A hyperparameter's array, which must be a real number of shape ()."""
    try:
        chex.assert_shape(value, ())
    except AssertionError:
        raise ValueError(
            f"{what}: expected a number or an array of shape (), got shape {value.shape}; "
            "to try many values at once, use jax.vmap over the transform"
        ) from None
    return value


def norm_order(rule: str, ord: float) -> None:
    """Raises ValueError for an order of which no norm is."""
    if not ord >= 1:
        raise ValueError(f"{rule}: ord must be at least 1, or infinity; got {ord!r}")


def mask(rule: str, mask: Any, tree: Any, structure: Any) -> list[bool]:
    """A rule's mask as one bool a leaf. Raises unless it is a prefix of the tree and its leaves are bools."""
    try:
        leaves = structure.flatten_up_to(jax.tree.broadcast(mask, tree))
    except ValueError as error:
        told, there = _paths(mask), _paths(tree)
        detail = str(error)
        if missing := [path for path in there if not any(_leads_to(each, path) for each in told)]:
            detail = f"got nothing for the leaf at {missing[0]!r}"
        elif surplus := [each for each in told if not any(_leads_to(each, path) for path in there)]:
            detail = f"got {surplus[0]!r}, where there is no leaf"
        raise ValueError(f"{rule}: expected a mask that is a prefix of the updates; {detail}") from None
    for index, leaf in enumerate(leaves):
        if not isinstance(leaf, bool | np.bool_) and not _is_bool_array(leaf):
            raise TypeError(f"{rule}: expected True or False in the mask at {path_of(tree, index)}, got {show(leaf)}")
    return [bool(leaf) for leaf in leaves]


def _is_bool_array(leaf: Any) -> bool:
    is_known = isinstance(leaf, jax.Array | np.ndarray) and not isinstance(leaf, Tracer)
    return is_known and leaf.dtype == bool and leaf.shape == ()


def pair(rule: str, first: str, result: Any, state_type: type) -> tuple[Any, Any]:
    """What a rule returned. Raises TypeError unless it is a pair of which the second is the rule's slots."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], state_type)):
        raise TypeError(f"{rule}: expected the rule to return ({first}, slots), got {show(result)}")
    return result


def leaf_result(rule: str, update: Any, grad: jax.Array) -> None:
    """Raises unless a leaf rule returned an update of the leaf's shape and kind."""
    try:
        chex.assert_shape(update, grad.shape)
    except AssertionError:
        raise ValueError(f"{rule}: expected an update of shape {grad.shape}, got {jnp.shape(update)}") from None
    if is_complex(update) != is_complex(grad):
        raise TypeError(f"{rule}: expected a {_kind(grad)} update, got {update.dtype}")


def first_of_chain(rule: str, before: Sequence[str]) -> None:
    """Raises ValueError if a rule that takes per-example gradients has others before it."""
    if before:
        raise ValueError(
            f"{rule} takes per-example gradients, and must be the first of its chain; got it after {before[-1]}"
        )


def last_of_chain(rule: str, after: Sequence[str]) -> None:
    """Raises ValueError if a rule that returns a measurement has others after it."""
    if after:
        raise ValueError(
            f"{rule} returns a measurement in the place of updates, and must be the last of its chain, for monitor; "
            f"got {after[0]} after it"
        )


def nothing_after(rule: str, does: str, after: Sequence[str]) -> None:
    """Raises ValueError if what sees or decides the parameters after the step has others after it in its chain."""
    if after:
        raise ValueError(
            f"{rule} {does} the parameters after the step, and must be the last of its chain; got {after[0]} after it"
        )


def tree_result(rule: str, structure: Any, updates: Any, came: Sequence[Any]) -> None:
    """Raises unless a tree rule returned a list of updates of the shapes and kinds that came."""
    same_structure(rule, updates, list(came), "the updates that came, a list of leaves,")
    same_shapes(rule, structure, updates, came, "the updates that came")
    same_kinds(rule, structure, updates, came, "the updates that came")


def slot_shape(rule: str, name: str, value: Any, kept: jax.Array) -> None:
    """Raises ValueError unless the new value of a slot has the shape in which it is kept."""
    try:
        chex.assert_shape(value, kept.shape)
    except AssertionError:
        raise ValueError(f"{rule}: slot {name} is kept with shape {kept.shape}, got {jnp.shape(value)}") from None


def state_kind(rule: str, name: str, value: Any, kept: jax.Array) -> None:
    """Raises TypeError if a transform within a rule made floating-point numbers of what began as something else."""
    if is_inexact(jnp.asarray(value)) and not is_inexact(kept):
        raise TypeError(
            f"{rule}: {name} began with {kept.dtype} and became {jnp.asarray(value).dtype} in a step; a state has one "
            "dtype for ever"
        )


def state_of(names: Sequence[str], state: Any, state_type: type) -> None:
    """Raises ValueError unless a state was made by this transform."""
    if not isinstance(state, state_type):
        came = type(state).__name__
        raise ValueError(f"expected the state that init(params) returned, got {came}; {make_a_state(state)}")
    if set(state.stages) != set(names):
        raise ValueError(
            f"the state has stages {sorted(state.stages)}, the transform has {sorted(names)}; make it with its init, "
            "or take over what fits with migrate(state, tx, params)"
        )


def found(what: str, name: str, names: Sequence[str]) -> str:
    """The one among dotted names that is `name` or ends with it.

    Raises:
      ValueError: none or more than one, with the names there are.
    """
    if name in names:
        return name
    ends = [each for each in names if each.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ValueError(f"{what}: {name!r} may be any of {', '.join(ends)}; say which")
    hint = did_you_mean(name, dict.fromkeys(each.split(".")[-1] for each in names))
    among = ", ".join(names) or "no names at all"
    raise ValueError(f"{what}: there is no {name!r} among {among}{'; ' * bool(hint)}{hint}")


def _parted(path: Any, tree: Any, reference: Any) -> tuple[Any, Any, Any] | None:
    """The first path at which there is one kind of node in a tree and another in its reference, with both nodes."""
    if tree is reference:
        return None
    if tree is None or reference is None:
        # Of a leaf that is missing, or one too many, there are words of their own.
        return None if jax.tree.leaves((tree, reference)) else (path, tree, reference)
    leaf = jax.tree.structure(0)
    are_leaves = [jax.tree.structure(node) == leaf for node in (tree, reference)]
    if any(are_leaves) or type(tree) is not type(reference):
        return None if all(are_leaves) else (path, tree, reference)
    mine, theirs = (dict(_children(node)) for node in (tree, reference))
    parts = (_parted((*path, *key), mine[key], theirs[key]) for key in theirs if key in mine)
    return next((part for part in parts if part is not None), None)


def _children(node: Any) -> Any:
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)[0]


def _node(node: Any) -> str:
    if hasattr(node, "dtype") and hasattr(node, "shape"):
        return described(node)
    kind = type(node).__name__
    if node is None or jax.tree.structure(node) == jax.tree.structure(optax.MaskedNode()):
        return "None" if node is None else "a masked leaf"
    if isinstance(node, dict):
        return f"a {kind} of {', '.join(map(repr, node)) or 'nothing'}"
    return f"a {kind} of {len(node)}" if isinstance(node, tuple | list) else f"a {kind}"


def _part_that_fits(tree: Any, reference: Any) -> str:
    """A hint where a pair was passed whole of which one part is meant."""
    if type(tree) is tuple and len(tree) == 2:
        for number, part in zip(("first", "second"), tree, strict=True):
            if jax.tree.structure(part) == jax.tree.structure(reference):
                of = "update's (updates, state)" if number == "first" else "value_and_grad's (value, grads)"
                return f"; its {number} part fits: pass that alone, as of {of}"
    return ""


def _kind(array: Any) -> str:
    return "complex" if is_complex(array) else "real"


def _leads_to(prefix: str, path: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _paths(tree: Any) -> list[str]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat]
