"""How a module of optax gets a counterpart in which gradxform's names stand where gradxform has them.

Ours are found by their names, and loaded when they are asked for.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import optax
import optax.contrib  # so that it is there as an attribute, as with `import optax`

import gradxform

_MIXED = (optax, optax.contrib, optax.schedules, optax.transforms)
_OURS = frozenset(dir(gradxform))


def mirror(namespace: dict[str, Any], module: ModuleType) -> None:
    """Fills the namespace of a module with the public names of optax's `module`.

    In optax itself, contrib, schedules and transforms, what can be called is gradxform's own, where it has that name.
    What is already in the namespace under one of the names stays.
    """
    names = [name for name in vars(module) if not name.startswith("_")]
    ours = {name for name in names if module in _MIXED and name in _OURS and callable(getattr(module, name))}

    def load(name: str) -> Any:
        if name not in ours:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        namespace[name] = found = getattr(gradxform, name)
        return found

    for name in names:
        if name not in ours:
            namespace.setdefault(name, getattr(module, name))
    namespace.update(__all__=names, __getattr__=load, __dir__=lambda: sorted(names))
