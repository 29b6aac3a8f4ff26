"""Route: which leaves of a flow a row of nodes sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from gradxform.core import checks
from gradxform.core.flow import Flow, Node, Step, admitted, scaled
from gradxform.core.guest import as_node
from gradxform.core.placement import leaf_name
from gradxform.core.text import show

# How many leaves an error lists.
_LISTED = 5


class Route(Node):
    """A node that hands each leaf of a flow to one of several transforms, or to none.

    A transform sees a flow of its own leaves, with optax.MaskedNode in the place of the others: its norms and sums are
    those of its own leaves. What it takes and refuses it says itself, so that integers may lie where nothing computes
    with them.

    A subclass has `transforms_by_label`, `labels_of`, and how the states of the transforms are kept, `kept` and
    `states`.
    """

    any_dtype = True
    is_foreign = True

    def transforms_by_label(self) -> Mapping[Any, Any]:
        """The transforms, ours or optax's."""
        raise TypeError(f"{type(self).__name__} has no transforms_by_label(self)")

    def labels_of(self, structure: Any, leaves: Sequence[Any]) -> Sequence[Any]:
        """The label of each leaf; of one that no transform sees it is none of theirs."""
        raise TypeError(f"{type(self).__name__} has no labels_of(self, structure, leaves)")

    def kept(self, states: dict[Any, Any]) -> Any:
        """What it remembers, of the states of its transforms by their labels."""
        return optax.transforms.PartitionState(states)

    def states(self, record: Any) -> Any:
        """The states of its transforms by their labels, of what it remembers."""
        return getattr(record, "inner_states", None)

    def untouched(self, update: Any) -> Any:
        """The update of a leaf that no transform sees: as it came."""
        return update

    def masks_extra(self) -> bool:
        """Whether an extra argument that is a tree like the updates is parted as they are."""
        return False

    def begin(self, params: Flow, step: Step) -> Any:
        """The state of each transform, of its own leaves."""
        parted, nodes = self._parted(params), self._nodes()
        self._rest(params, parted, step, "parameters")
        return self.kept({label: node.begin(params.only(*parted[label]), step) for label, node in nodes.items()})

    def advance(self, flow: Flow, record: Any, step: Step) -> tuple[Flow, Any]:
        """A step of each transform, whose updates come back to their places.

        Raises:
          ValueError: the parameters are another tree than the updates, or a leaf has no label, or an unknown one; the
            state is not of these transforms; one of optax's returns another tree than it was given.
        """
        if flow.params is not None and flow.params_structure != flow.structure:
            trees = flow.structure.unflatten(flow.updates), flow.params_tree()
            checks.same_structure("updates", *trees, "the parameters")
        nodes, states, parted = self._nodes(), self.states(record), self._parted(flow)
        self._check_states(states, nodes)
        updates: list[Any] = [None] * len(flow.updates)
        landed: list[Any] = [None] * len(flow.updates)
        for index, update in self._rest(flow, parted, step, "updates").items():
            left = self.untouched(update)
            # What nothing is left of need not be multiplied.
            updates[index] = left if flow.factor is None or left is not update else scaled(update, flow.factor)
        new = {}
        for label, node in nodes.items():
            indices, structure = parted[label]
            part = flow.only(indices, structure)
            extra = self._extra(step.extra, flow.structure, indices) if self.masks_extra() else step.extra
            part, new[label] = node.advance(part, states[label], step._replace(extra=extra))
            self._check_returned(label, part.structure, structure)
            for index, update in zip(indices, part.whole().updates, strict=True):
                updates[index] = update
            for index, param in zip(indices, part.landed or [], strict=part.landed is not None):
                landed[index] = param
        has_landed = any(param is not None for param in landed)
        return flow.replace(updates=updates, factor=None, landed=landed if has_landed else None), self.kept(new)

    def judge(self, params: Flow, record: Any, step: Step) -> Flow:
        """The parameters to judge a run by: of each transform those of its own leaves."""
        nodes, states, parted = self._nodes(), self.states(record), self._parted(params)
        self._check_states(states, nodes)
        judged = list(params.updates)
        for label, node in nodes.items():
            indices, structure = parted[label]
            part = node.judge(params.only(indices, structure), states[label], step)
            self._check_returned(label, part.structure, structure)
            for index, leaf in zip(indices, part.updates, strict=True):
                judged[index] = leaf
        return params.replace(updates=judged)

    def _nodes(self) -> dict[Any, Any]:
        return {label: as_node(_pair(transform)) for label, transform in self.transforms_by_label().items()}

    def _parted(self, flow: Flow) -> dict[Any, tuple[list[int], Any]]:
        """For each transform the indices of its leaves, and the tree that they are."""
        indices: dict[Any, list[int]] = {label: [] for label in self.transforms_by_label()}
        for index, label in enumerate(self.labels_of(flow.structure, flow.updates)):
            if label in indices:
                indices[label].append(index)
        return {label: (own, jax.tree.structure(_only(flow.structure, own, own))) for label, own in indices.items()}

    def _rest(self, flow: Flow, parted: dict[Any, tuple[list[int], Any]], step: Step, what: str) -> dict[int, Any]:
        """The leaves that no transform sees, by their indices: arrays, of the shapes of the parameters."""
        seen = {index for indices, _ in parted.values() for index in indices}
        indices = [index for index in range(len(flow.updates)) if index not in seen]
        if not indices:
            return {}
        structure = jax.tree.structure(_only(flow.structure, indices, indices))
        rest = admitted([self], flow.only(indices, structure), step.placement, what)
        return dict(zip(indices, rest.updates, strict=True))

    def _extra(self, extra: dict[str, Any], structure: Any, indices: Sequence[int]) -> dict[str, Any]:
        def own(value: Any) -> Any:
            leaves, found = jax.tree.flatten(value)
            return _only(structure, indices, [leaves[index] for index in indices]) if found == structure else value

        return {name: own(value) for name, value in extra.items()}

    def _check_states(self, states: Any, nodes: Mapping[Any, Any]) -> None:
        if not isinstance(states, Mapping) or set(states) != set(nodes):
            got = f"of {', '.join(map(repr, states))}" if isinstance(states, Mapping) else "of another transform"
            raise ValueError(
                f"{self.call_name}: expected states of {', '.join(map(repr, nodes))}, got one {got}; make it with "
                "init, or take over what fits with migrate(state, tx, params)"
            )

    def _check_returned(self, label: Any, structure: Any, expected: Any) -> None:
        if structure != expected:
            raise ValueError(
                f"{self.call_name}: the transform of {label!r} returned {structure} where it was given {expected}"
            )


def labelled(what: str, labels: Any, structure: Any, leaves: Sequence[Any], known: Sequence[Any]) -> list[Any]:
    """The label of each leaf.

    Args:
      what: who asks, for the message.
      labels: a prefix of the tree, of labels; or a function of the tree that returns one.
      structure: of the tree.
      leaves: its leaves.
      known: the labels that there are.

    Raises:
      ValueError: leaves that have no label, or an unknown one, with their paths.
    """
    # Without leaves there is nothing to part; optax.tree.map_params calls init with such a tree of its own.
    if not leaves:
        return []
    tree = structure.unflatten(leaves)
    told = told_of(labels, tree)
    there = f"the labels that there are: {', '.join(map(repr, known)) or 'none'}"
    try:
        found = structure.flatten_up_to(jax.tree.broadcast(told, tree))
    except ValueError as error:
        paths, given = _paths(tree), _paths(told)
        if missing := [path for path in paths if not any(path[: len(each)] == each for each in given)]:
            raise ValueError(f"{what}: got no label for {_listed(map(leaf_name, missing))}; {there}") from None
        surplus = [each for each in given if not any(path[: len(each)] == each for path in paths)]
        told_where = f"got labels for {_listed(map(leaf_name, surplus))}, where there is no leaf" if surplus else error
        raise ValueError(f"{what}: expected labels that are a prefix of the updates; {told_where}") from None
    if unknown := [index for index, label in enumerate(found) if not _is_among(label, known)]:
        paths = _paths(tree)
        pairs = [f"{show(found[index])} for {leaf_name(paths[index])}" for index in unknown]
        raise ValueError(f"{what}: got the unknown label {_listed(pairs)}; {there}")
    return found


def masked_leaves(what: str, mask: Any, structure: Any, leaves: Sequence[Any]) -> list[bool]:
    """What a mask says of each leaf. Raises unless it is a prefix of the tree and its leaves are bools."""
    if not leaves:
        return []
    tree = structure.unflatten(leaves)
    return checks.mask(what, told_of(mask, tree), tree, structure)


def told_of(given: Any, tree: Any) -> Any:
    """Labels or a mask as a tree: what a function returns of the tree, and else as it is.

    A tree may be callable too, as Equinox's modules are; it is a function if its leaves are.
    """
    leaves = jax.tree.leaves(given)
    return given(tree) if leaves and all(map(callable, leaves)) else given


def check_transform(what: str, value: Any) -> None:
    """Raises TypeError for what is no transform."""
    # optax.MultiSteps is no GradientTransformation, and does as one.
    if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "update")):
        hint = "; call it to make the transform" if callable(value) else ""
        raise TypeError(f"{what} must be a transform; got {show(value)}{hint}")


def _pair(transform: Any) -> Any:
    if isinstance(transform, optax.GradientTransformation):
        return transform
    return optax.GradientTransformationExtraArgs(transform.init, transform.update)


def _only(structure: Any, indices: Sequence[int], values: Sequence[Any]) -> Any:
    """A tree of a structure with values at some of its leaves, and no leaf in the place of the others."""
    leaves: list[Any] = [optax.MaskedNode()] * structure.num_leaves
    for index, value in zip(indices, values, strict=True):
        leaves[index] = value
    return structure.unflatten(leaves)


def _is_among(label: Any, known: Sequence[Any]) -> bool:
    try:
        return label in known
    except (TypeError, ValueError):
        # An array, which compares element by element.
        return False


def _paths(tree: Any) -> list[Any]:
    return [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _listed(words: Any) -> str:
    words = list(words)
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more} more" if more > 0 else "")
