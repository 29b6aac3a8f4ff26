"""Functions of the user as transforms that remember nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gradxform.core.rule import TreeRule
from gradxform.core.text import show
from gradxform.core.transform import transform


class Stateless(TreeRule):
    """Makes a transform of a function of the updates and the parameters.

        u = f(g, params)

    The function sees floating-point leaves in the dtype in which rules compute, float32 at least.

    Args:
      f: (updates, params) -> updates, of whole trees; params is None where `update` is called without them.

    Raises:
      TypeError: `f` is no function, or in `update` it makes complex numbers of real ones, or the other way round.
      ValueError: in `update`, it returns another structure or other shapes; or, inside `shard_map`, it combines
        elements of a sharded leaf, of which each device has a part.

    optax: stateless. torch: none.
    """

    f: Callable[[Any, Any], Any]

    any_dtype = True

    def check(self):
        """Raises TypeError for what is no function."""
        check_function(self.call_name, self.f)

    def update(self, updates, slots, tree):
        """The function of both trees."""
        return tree.applied(self.f, updates), slots


class StatelessWithTreeMap(TreeRule):
    """Makes a transform of a function of one update and its parameter.

        u_i = f(g_i, param_i)   for each leaf i

    The function sees floating-point leaves in the dtype in which rules compute, float32 at least.

    Args:
      f: (update, param) -> update, of arrays; param is None where `update` is called without parameters.

    Raises:
      TypeError, ValueError: as `stateless`.

    optax: stateless_with_tree_map. torch: none.
    """

    f: Callable[[Any, Any], Any]

    any_dtype = True

    def check(self):
        """Raises TypeError for what is no function."""
        check_function(self.call_name, self.f)

    def update(self, updates, slots, tree):
        """The function of each leaf."""

        def of_each(updates: Any, params: Any) -> Any:
            if params is None:
                return jax.tree.map(lambda update: self.f(update, None), updates)
            leaves, structure = jax.tree.flatten(updates)
            return structure.unflatten(map(self.f, leaves, jax.tree.leaves(params)))

        return tree.applied(of_each, updates), slots


def check_function(name: str, f: Any) -> None:
    """Raises TypeError for what is no function."""
    if not callable(f):
        raise TypeError(f"{name}: f must be a function of the updates and the parameters; got {show(f)}")


stateless = transform(Stateless)
stateless_with_tree_map = transform(StatelessWithTreeMap)
