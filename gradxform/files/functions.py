"""Functions of libraries by their names in a file."""

from __future__ import annotations

import sys
from typing import Any

# Where a name means the same in every version; and whose own modules may be named where it is in none of these.
_PUBLIC = ("gradxform", "optax", "optax.contrib", "optax.losses", "jax.numpy", "jax.nn", "jax.lax", "jax", "numpy")
_OWN = ("gradxform", "optax")


def function_name(value: Any) -> str | None:
    """The dotted name of a library's function or type, such as 'jax.numpy.abs'; None for all others."""
    name = getattr(value, "__name__", None)
    own = getattr(value, "__module__", None)
    if not callable(value) or not isinstance(name, str) or not isinstance(own, str):
        return None
    for module in (*_PUBLIC, *((own,) if own.split(".")[0] in _OWN else ())):
        if getattr(sys.modules.get(module), name, None) is value:
            return f"{module}.{name}"
    return None


def named_function(name: str) -> Any:
    """The function of a name that `function_name` gives; None for other names. Nothing is imported for it."""
    module, _, last = name.rpartition(".")
    value = getattr(sys.modules.get(module), last, None) if module.split(".")[0] in (*_PUBLIC, *_OWN) else None
    return value if function_name(value) is not None else None
