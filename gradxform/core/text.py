"""How values are written: as the calls that make them."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

# Of what has more items, so many are written.
MOST, FEW = 40, 3


def written_call(name: str, arguments: list[str]) -> str:
    """A call as text: in one line if that is short, else an argument a line."""
    return bracketed(f"{name}(", arguments, ")")


def bracketed(opening: str, items: list[str], closing: str) -> str:
    """Items between brackets: in one line if that is short, else an item a line."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= 88 and "\n" not in line:
        return line
    indented = [item.replace("\n", "\n    ") for item in items]
    return f"{opening}\n    " + ",\n    ".join(indented) + f",\n{closing}"


def and_more(count: int) -> list[str]:
    """An item that says how many others are not written."""
    return [f"... {count} more"] if count > 0 else []


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
    if isinstance(value, jax.Array | np.ndarray) and value.size > MOST:
        return f"<{described(value)}>"
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
        return f"({_first_of(value, map(show, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{_first_of(value, map(show, value))}]"
    if isinstance(value, dict):
        return f"{{{_first_of(value, (f'{key!r}: {show(item)}' for key, item in value.items()))}}}"
    if isinstance(value, functools.partial):
        keywords = [f"{key}={show(item)}" for key, item in value.keywords.items()]
        return f"functools.partial({', '.join([*map(show, (value.func, *value.args)), *keywords])})"
    if callable(value) and hasattr(value, "__qualname__") and not isinstance(value, type):
        return f"<{value.__module__}.{value.__qualname__}>"
    return repr(value)


def _first_of(container: Any, items: Iterator[str]) -> str:
    """All items of a container, or if there is more in it than anybody reads, the first and how many there are."""
    few = len(container) if _size(container) <= MOST else FEW
    return ", ".join([*itertools.islice(items, few), *and_more(len(container) - few)])


def _size(value: Any) -> int:
    if isinstance(value, dict | list | tuple) and not hasattr(value, "_fields"):
        return sum(map(_size, value.values() if isinstance(value, dict) else value))
    return 1


def described(value: Any) -> str:
    """The dtype and the shape of an array, as `float32[3, 2]`; of what is none its type."""
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def maker(pair: optax.GradientTransformation) -> tuple[str, str]:
    """The package and the name of the function that made a pair, as far as its `update` tells: 'optax' and 'chain'."""
    made_by = getattr(pair.update, "__qualname__", "").split(".")[0]
    package = getattr(pair.update, "__module__", "").split(".")[0]
    return package, made_by if made_by.isidentifier() else "guest"
