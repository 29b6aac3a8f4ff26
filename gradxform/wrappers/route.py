"""partition, masked, selective_transform: which leaves a transform sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from optax import GradientTransformation

from gradxform.core.fields import Mask
from gradxform.core.record import factory
from gradxform.core.route import Route, check_transform, labelled, masked_leaves
from gradxform.core.text import show
from gradxform.core.transform import Transform, name_stages


class Partition(Route):
    """Hands the leaves of each label to a transform of their own.

        gx.partition({"train": gx.adamw(1e-3), "keep": gx.set_to_zero()}, {"encoder": "keep", "decoder": "train"})

    A transform sees its own leaves and no others: a global norm in it is that of its leaves, where one in front of
    `partition` in a chain is that of all. Each keeps a state and a count of steps of its own, under its label in
    `state.inner_states`. A leaf that `set_to_zero` gets may be of any dtype.

    Args:
      transforms: the transforms by their labels, ours or optax's.
      param_labels: a tree of labels, a prefix of the parameters; or a function of them that returns one, such as
        `labels({"*/bias": "keep"}, "train")`.
      mask_compatible_extra_args: whether each transform gets its part of those extra arguments of `update` that are
        trees like the updates; else it gets the whole.

    Raises:
      TypeError: `transforms` is no dict of transforms.
      ValueError: in `init` and `update`, leaves with no label, or with one that no transform has, with their paths.

    optax: partition, multi_transform. torch: parameter groups, of one optimizer; or an optimizer for each.
    """

    transforms: Mapping[Any, GradientTransformation]
    param_labels: Any
    mask_compatible_extra_args: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Keeps a dict of its own."""
        if isinstance(self.transforms, Mapping):
            object.__setattr__(self, "transforms", dict(self.transforms))
        super().__post_init__()

    def check(self) -> None:
        """Raises TypeError for what is no dict of transforms, or no bool."""
        if not isinstance(self.transforms, dict):
            raise TypeError(f"partition: transforms must be a dict from labels to them; got {show(self.transforms)}")
        for label, transform in self.transforms.items():
            check_transform(f"partition: transforms[{label!r}]", transform)
        _check_bool(self.call_name, self.mask_compatible_extra_args)

    def parts(self) -> dict[str, Any]:
        """The transforms by their labels, as the state has them, and the other fields."""
        others = {name: value for name, value in self.fields().items() if name != "transforms"}
        return {**others, **{str(label): transform for label, transform in self.transforms.items()}}

    def with_parts(self, **parts: Any) -> Any:
        """A partition with other transforms or other labels."""
        transforms = {label: parts.pop(str(label), transform) for label, transform in self.transforms.items()}
        return type(self)(**{**self.fields(), **parts, "transforms": transforms})

    def transforms_by_label(self) -> Mapping[Any, Any]:
        """The transforms."""
        return self.transforms

    def labels_of(self, structure: Any, leaves: Sequence[Any]) -> Sequence[Any]:
        """The label of each leaf."""
        return labelled(self.call_name, self.param_labels, structure, leaves, list(self.transforms))

    def masks_extra(self) -> bool:
        """As told."""
        return self.mask_compatible_extra_args


class Masked(Route):
    """Hands some leaves to a transform, and leaves the others as they are.

        gx.masked(gx.clip_by_global_norm(1.0), gx.by_ndim(at_least=2))

    The transform sees its own leaves and no others: a global norm in it is that of its leaves.

    Args:
      inner: the transform, ours or optax's.
      mask: True for the leaves that it sees: a tree of bools, a prefix of the parameters; or a function of them that
        returns one, such as `by_ndim(2)`.
      mask_compatible_extra_args: whether it gets its part of those extra arguments of `update` that are trees like the
        updates; else it gets the whole.

    Raises:
      TypeError: `inner` is no transform; in `init` and `update`, a mask that holds something else than bools.
      ValueError: in `init` and `update`, a mask that is no prefix of the parameters, with the first path that parts.

    optax: masked. torch: none; an optimizer gets the parameters that it is to see.
    """

    inner: GradientTransformation
    mask: Mask
    mask_compatible_extra_args: bool = dataclasses.field(default=False, kw_only=True)

    def check(self) -> None:
        """Raises TypeError for what is no transform, no mask or no bool."""
        check_transform(f"{self.call_name}: inner", self.inner)
        _check_mask(self.call_name, "mask", self.mask)
        _check_bool(self.call_name, self.mask_compatible_extra_args)

    def transforms_by_label(self) -> Mapping[Any, Any]:
        """The transform, of what the mask says True of."""
        return {True: self.inner}

    def labels_of(self, structure: Any, leaves: Sequence[Any]) -> Sequence[Any]:
        """What the mask says of each leaf."""
        return masked_leaves(self.call_name, self.mask, structure, leaves)

    def kept(self, states: dict[Any, Any]) -> Any:
        """optax's record, of the state of the transform."""
        return optax.MaskedState(states[True])

    def states(self, record: Any) -> Any:
        """The state of the transform, of optax's record."""
        return {True: record.inner_state} if isinstance(record, optax.MaskedState) else None

    def masks_extra(self) -> bool:
        """As told."""
        return self.mask_compatible_extra_args


class SelectiveTransform(Route):
    """Hands all leaves but frozen ones to an optimizer; the updates of these are 0, and it keeps nothing for them.

        gx.selective_transform(gx.adam(1e-3), freeze_mask=gx.by_path("encoder/*"))

    A frozen leaf may be of any dtype. A global norm in the optimizer is that of the leaves that are not frozen.

    Args:
      optimizer: the transform, ours or optax's.
      freeze_mask: True for the leaves that stay: a tree of bools, a prefix of the parameters; or a function of them
        that returns one.

    Raises:
      TypeError, ValueError: as `masked`.

    optax: selective_transform. torch: requires_grad_(False).
    """

    optimizer: GradientTransformation
    freeze_mask: Mask = dataclasses.field(kw_only=True)

    def check(self) -> None:
        """Raises TypeError for what is no transform or no mask."""
        check_transform(f"{self.call_name}: optimizer", self.optimizer)
        _check_mask(self.call_name, "freeze_mask", self.freeze_mask)

    def parts(self) -> dict[str, Any]:
        """The optimizer by the name that it has in the state, and the mask."""
        return {"train": self.optimizer, "freeze_mask": self.freeze_mask}

    def with_parts(self, **parts: Any) -> Any:
        """One with another optimizer or another mask."""
        whole = {**self.parts(), **parts}
        return type(self)(whole["train"], freeze_mask=whole["freeze_mask"])

    def transforms_by_label(self) -> Mapping[Any, Any]:
        """The optimizer, under optax's name for what is trained."""
        return {"train": self.optimizer}

    def labels_of(self, structure: Any, leaves: Sequence[Any]) -> Sequence[Any]:
        """optax's names for what is trained and what stays."""
        frozen = masked_leaves(self.call_name, self.freeze_mask, structure, leaves)
        return ["freeze" if is_frozen else "train" for is_frozen in frozen]

    def untouched(self, update: Any) -> Any:
        """0."""
        return jnp.zeros_like(update)


def _check_mask(what: str, name: str, mask: Any) -> None:
    if mask is None:
        raise TypeError(f"{what}: {name} must be a tree of bools, or a function that returns one; got None")


def _check_bool(what: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{what}: mask_compatible_extra_args must be True or False; got {show(value)}")


def _transform(node: Route) -> Transform:
    return Transform(name_stages([(None, node)]))


partition = factory(Partition, _transform, Transform)
masked = factory(Masked, _transform, Transform)
selective_transform = factory(SelectiveTransform, _transform, Transform)
# In optax too one is another name of the other.
multi_transform = partition
