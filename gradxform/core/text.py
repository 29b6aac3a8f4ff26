"""How values are written: as the calls that make them."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer


def written_call(name: str, arguments: list[str]) -> str:
    """A call as text: in one line if that is short, else an argument a line."""
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= 88 and "\n" not in line:
        return line
    indented = [argument.replace("\n", "\n    ") for argument in arguments]
    return f"{name}(\n    " + ",\n    ".join(indented) + ",\n)"


def snake_case(name: str) -> str:
    """`ScaleByAdam` as `scale_by_adam`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def show(value: Any) -> str:
    """How a field's value is written in the call that makes its record."""
    if isinstance(value, Tracer):
        return f"<traced {value.aval.str_short()}>"
    if isinstance(value, np.dtype):
        return repr(value.name)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"jax.random.wrap_key_data({show(jax.random.key_data(value))})"
    if isinstance(value, jax.Array):
        return show(np.asarray(value))
    if isinstance(value, np.ndarray):
        return f"jnp.{value.dtype.name}({value.tolist()!r})"
    if (
        isinstance(value, optax.GradientTransformation)
        and type(value).__repr__ is optax.GradientTransformation.__repr__
    ):
        package, name = maker(value)
        return f"<{package}.{name}>"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(show, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {show(item)}' for key, item in value.items())}}}"
    if callable(value) and hasattr(value, "__qualname__") and not isinstance(value, type):
        return f"<{value.__module__}.{value.__qualname__}>"
    return repr(value)


def described(value: Any) -> str:
    """The dtype and the shape of an array, as `float32[3, 2]`; of what is none its type."""
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def maker(pair: optax.GradientTransformation) -> tuple[str, str]:
    """The package and the name of the function that made a pair, as far as its `update` tells: 'optax' and 'chain'."""
    made_by = getattr(pair.update, "__qualname__", "").split(".")[0]
    package = getattr(pair.update, "__module__", "").split(".")[0]
    return package, made_by if made_by.isidentifier() else "guest"
