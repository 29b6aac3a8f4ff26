"""Transforms in a row: chain and named_chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import optax

from gradxform.core.guest import Stranger
from gradxform.core.placement import Placement
from gradxform.core.transform import Transform, name_stages


def chain(*args: optax.GradientTransformation) -> Transform:
    """Applies transforms one after the other, the first to the gradients.

    Chains in the chain are flattened: the whole has one step counter, and its state keeps a record for each rule under
    the rule's name (`state.stages["scale_by_adam"]`, a second one under `"scale_by_adam_2"`). optax's transforms may
    stand in it; they keep their own states, and the extra arguments of `update` reach those that take them.

    Args:
      *args: transforms, ours or optax's. None at all gives a transform that changes nothing.

    Returns:
      A Transform.

    Raises:
      TypeError: an argument that is no transform, such as a function that was not called.
      ValueError: transforms of which `on_axes` told different specs.

    optax: chain, whose state is a tuple. torch: none.
    """
    return Transform(name_stages([pair for tx in args for pair in _nodes(tx)]), _placement("chain", args))


def named_chain(*args: tuple[str, optax.GradientTransformation]) -> Transform:
    """Applies named transforms one after the other; the state keeps their records under these names.

    Args:
      *args: pairs of a name and a transform. The rules of a transform with more than one go under `name.rule`.

    Returns:
      A Transform.

    Raises:
      TypeError: an argument that is no pair of a name and a transform.
      ValueError: two transforms of one name.

    optax: named_chain, whose state is an ordered dict. torch: none.
    """
    for arg in args:
        if not (isinstance(arg, tuple) and len(arg) == 2 and isinstance(arg[0], str)):
            stars = {list: "*pairs", tuple: "*pairs", dict: "*transforms.items()"}
            hint = f"; put a star before it: named_chain({stars[type(arg)]})" if type(arg) in stars else ""
            raise TypeError(f"named_chain takes pairs of a name and a transform; got {arg!r}{hint}")
    names = [name for name, _ in args]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"named_chain: expected names of their own, got more than one {', '.join(repeated)}")
    nodes: list[tuple[str | None, Any]] = []
    for name, tx in args:
        inner = _nodes(tx)
        nodes += [(name if len(inner) == 1 else f"{name}.{stage}", node) for stage, node in inner]
    return Transform(name_stages(nodes), _placement("named_chain", [tx for _, tx in args]))


def with_extra_args_support(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The transform as one whose `update` may be given extra arguments, such as the loss's value, and needs none.

    Args:
      tx: a transform, ours or optax's.

    Returns:
      A transform of ours as it is, since all of them take extra arguments; of optax's one with the same state.

    optax: with_extra_args_support. torch: none.
    """
    return optax.with_extra_args_support(tx)


def _placement(what: str, transforms: Iterable[Any]) -> Placement | None:
    """What `on_axes` told of any of the transforms, which is told of all."""
    told = {tx.placement for tx in transforms if isinstance(tx, Transform)} - {None}
    if len(told) > 1:
        raise ValueError(f"{what}: on_axes told of the parameters of its transforms in different ways")
    return told.pop() if told else None


def _nodes(tx: Any) -> list[tuple[str, Any]]:
    stages = tx.stages if isinstance(tx, Transform) else name_stages([(None, Stranger(tx))])
    return [(stage.name, stage.node) for stage in stages]
