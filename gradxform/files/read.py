"""From plain values to what they tell of: the other way of `written`."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from gradxform.core import registry
from gradxform.core.chain import chain, named_chain
from gradxform.core.flow import Node
from gradxform.core.placement import Placement
from gradxform.core.transform import Transform, name_stages
from gradxform.files.functions import named_function
from gradxform.files.written import ARRAYS, MARKS

Place = tuple[str | int, ...]
NEWER = "; a file of a newer gradxform may have more"


def read(form: Any, place: Place = ()) -> Any:
    """What a plain value tells of.

    Args:
      form: what `written` returned, or the like.
      place: where it is in the file, by keys and indices.

    Raises:
      ValueError, TypeError: what cannot be told, or what the transform's own checks refuse, with its place.
    """
    if form is None or type(form) in (bool, int, float, str):
        return form
    if isinstance(form, list | tuple):
        return tuple(read(item, (*place, index)) for index, item in enumerate(form))
    if not isinstance(form, dict):
        raise TypeError(f"{_at(place)}: expected None, a bool, a number, a string, a list or a dict, got {form!r}")
    mark = next((mark for mark in MARKS if mark in form), None)
    if mark is None:
        return {key: read(item, (*place, key)) for key, item in form.items()}
    if mark == "call":
        made = _call(form, place)
        return Transform(name_stages([(None, made)])) if isinstance(made, Node) else made
    reader, *others = _READERS[mark]
    if surplus := [key for key in form if key not in (mark, *others)]:
        raise ValueError(
            f"{_at(place)}: expected {_listed(others) or 'nothing'} beside {mark!r}, got {_listed(surplus)}; "
            f'a dict that has the key {mark!r} is written {{"dict": [[key, value], ...]}}'
        )
    return reader(form, place)


def _call(form: dict[str, Any], place: Place) -> Any:
    name = form["call"]
    entry = registry.entries().get(name) if isinstance(name, str) else None
    if entry is None:
        raise ValueError(f"{_at(place)}: {_unknown(name)}")
    parameters = entry.parameters
    if surplus := [key for key in form if key != "call" and key not in parameters]:
        raise ValueError(f"{_at(place)}: {name} has no {_listed(surplus)}; it has {_listed(parameters)}{NEWER}")
    if missing := [key for key, p in parameters.items() if p.default is p.empty and key not in form]:
        raise ValueError(f"{_at(place)}: {name} needs {_listed(missing)}, which is missing")
    arguments = {key: read(item, (*place, key)) for key, item in form.items() if key != "call"}
    with _placed(place):
        return entry.make(**arguments)


def _unknown(name: Any) -> str:
    """What to say of a name that is not registered."""
    known = sorted(registry.entries())
    if not isinstance(name, str):
        return f"expected the name of a rule, a schedule or a mask, got {name!r}"
    module, _, cls = name.partition(":")
    if cls and module not in sys.modules:
        return f"{name} is not known here; import {module} first, which is to define it"
    if cls:
        return f"{name} is not known: {module} has no rule {cls} at its top that went through gx.transform"
    library = sys.modules[__name__.split(".")[0]]
    if name in dir(library) and callable(getattr(library, name)):
        return f"{name} is no rule, but made of rules; write the chain of them, as to_json(gx.{name}(...)) does"
    if near := difflib.get_close_matches(name, known, 4):
        return f"there is no {name!r}; did you mean {' or '.join(near)}?"
    return f"there is no {name!r}; there are {_listed(known)}{NEWER}"


def _chain(form: dict[str, Any], place: Place) -> Transform:
    here = (*place, "chain")
    links = [_link(link, (*here, index)) for index, link in enumerate(_list(form["chain"], here))]
    with _placed(place):
        return _told(chain(*links), form, here)


def _named_chain(form: dict[str, Any], place: Place) -> Transform:
    here = (*place, "named_chain")
    pairs = [_pair(pair, (*here, index)) for index, pair in enumerate(_list(form["named_chain"], here))]
    for index, (name, _) in enumerate(pairs):
        if not isinstance(name, str):
            raise ValueError(f"{_at((*here, index, 0))}: expected a name, got {name!r}")
    links = [(name, _link(link, (*here, index, 1))) for index, (name, link) in enumerate(pairs)]
    with _placed(place):
        return _told(named_chain(*links), form, here)


def _told(tx: Transform, form: dict[str, Any], place: Place) -> Transform:
    """The transform with what `on_axes` told of it."""
    if "on_axes" not in form:
        return tx
    here = (*place[:-1], "on_axes")
    specs = read(form["on_axes"], here)
    with _placed(here):
        return Transform(tx.stages, Placement(specs))


def _partition_spec(form: dict[str, Any], place: Place) -> PartitionSpec:
    here = (*place, "partition_spec")
    entries = read(_list(form["partition_spec"], here), here)
    for entry in entries:
        names = entry if isinstance(entry, tuple) else (entry,)
        if entry is not None and not all(isinstance(name, str) for name in names):
            raise ValueError(f"{_at(here)}: expected names of mesh axes, lists of them or None, got {entry!r}")
    return PartitionSpec(*entries)


def _link(form: Any, place: Place) -> Transform:
    value = read(form, place)
    if not isinstance(value, Transform):
        raise ValueError(f"{_at(place)}: expected a transform, got {json.dumps(form)}")
    return value


def _function(form: dict[str, Any], place: Place) -> Any:
    name = form["function"]
    found = named_function(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"{_at(place)}: expected the name of a function of gradxform, optax, jax or numpy, got {name!r}"
        )
    return found


def _array(form: dict[str, Any], place: Place) -> Any:
    numbers, kind = read(form["array"], (*place, "array")), form.get("type", ARRAYS[jax.Array])
    with _placed(place):
        if kind not in ARRAYS.values():
            raise ValueError(f"expected a type among {_listed(ARRAYS.values())}, got {kind!r}")
        if "dtype" not in form:
            raise ValueError("an array needs its dtype beside it")
        dtype = np.dtype(jnp.dtype(form["dtype"]))
        array = np.asarray(numbers, dtype)
        if kind != ARRAYS[jax.Array]:
            return array if kind == ARRAYS[np.ndarray] else array[()]
        made = jnp.asarray(numbers if form.get("weak_type") else array)
        if made.dtype != dtype:
            raise ValueError(f"an array of {dtype.name} needs jax_enable_x64")
        return made


def _random_key(form: dict[str, Any], place: Place) -> jax.Array:
    data, impl = read(form["random_key"], (*place, "random_key")), form.get("impl")
    try:
        return jax.random.wrap_key_data(jnp.asarray(np.asarray(data, np.uint32)), impl=impl)
    except (TypeError, ValueError, OverflowError) as error:
        got = f"{json.dumps(form['random_key'])} and {impl!r}"
        raise ValueError(f"{_at(place)}: expected the data of a key and its implementation, got {got}") from error


def _dtype(form: dict[str, Any], place: Place) -> np.dtype[Any]:
    with _placed(place):
        return np.dtype(jnp.dtype(form["dtype"]))


def _float(form: dict[str, Any], place: Place) -> float:
    if form["float"] not in ("inf", "-inf", "nan"):
        raise ValueError(f"{_at(place)}: expected 'inf', '-inf' or 'nan', got {form['float']!r}")
    return float(form["float"])


def _python_list(form: dict[str, Any], place: Place) -> list[Any]:
    here = (*place, "list")
    return [read(item, (*here, index)) for index, item in enumerate(_list(form["list"], here))]


def _python_dict(form: dict[str, Any], place: Place) -> dict[Any, Any]:
    here = (*place, "dict")
    pairs = [_pair(pair, (*here, index)) for index, pair in enumerate(_list(form["dict"], here))]
    return {read(key, (*here, i, 0)): read(value, (*here, i, 1)) for i, (key, value) in enumerate(pairs)}


# For each mark what reads it, and what may stand beside it.
_READERS: dict[str, Any] = {
    "chain": (_chain, "on_axes"),
    "named_chain": (_named_chain, "on_axes"),
    "function": (_function,),
    "array": (_array, "dtype", "type", "weak_type"),
    "random_key": (_random_key, "impl"),
    "dtype": (_dtype,),
    "float": (_float,),
    "partition_spec": (_partition_spec,),
    "list": (_python_list,),
    "dict": (_python_dict,),
}


def _list(value: Any, place: Place) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{_at(place)}: expected a list, got {value!r}")
    return value


def _pair(value: Any, place: Place) -> Any:
    if len(_list(value, place)) != 2:
        raise ValueError(f"{_at(place)}: expected a list of two, got {value!r}")
    return value


@contextmanager
def _placed(place: Place) -> Iterator[None]:
    """Says in an error of what a transform is made of where in the file it is."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{_at(place)}: {error}") from error


def _at(place: Place) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return f"from_dict: {where[1:]}" if place else "from_dict"


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names))
