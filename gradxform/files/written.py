"""From values to plain ones: what a file says of a transform and of all that it holds."""

from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.sharding import PartitionSpec

from gradxform.core import registry
from gradxform.core.fields import DecayMask, Dtype, Mask, WeightAxes
from gradxform.core.guest import Stranger
from gradxform.core.record import Function, Record
from gradxform.core.text import show
from gradxform.core.transform import Transform, name_stages
from gradxform.files.functions import function_name

# What an object of the format may begin with; see `config`. A dict that has one of them as a key is told by pairs.
MARKS = (
    "call",
    "chain",
    "named_chain",
    "function",
    "array",
    "random_key",
    "dtype",
    "float",
    "partition_spec",
    "list",
    "dict",
)
ARRAYS: dict[type[Any], str] = {jax.Array: "jax.Array", np.ndarray: "numpy.ndarray", np.generic: "numpy.generic"}
SCHEDULE = "write it as a schedule of gradxform, which has a name in a file"
AXES = "write it as axes of gradxform, such as matrix_axes or hidden_matrices"
MASK = "write it as a mask of gradxform, such as by_path, by_ndim or not_biases_or_norms"
FUNCTION = (
    "a file names functions of gradxform, optax, jax and numpy only; of masks and labels it has by_path, by_ndim, "
    "not_biases_or_norms and labels"
)
PAIR = "make it with gradxform's function of that name; `import gradxform.as_optax as optax` has them all"

# What to do about a function in a field of a role.
_HINTS: dict[Any, str] = {Mask: MASK, DecayMask: MASK, WeightAxes: AXES}

Path = tuple[str, ...]


def written(value: Any, path: Path = (), hint: str = FUNCTION) -> Any:
    """A value as None, bools, numbers, strings, lists and dicts.

    Args:
      value: a transform, or anything that one holds.
      path: where it is, by the names of stages and fields.
      hint: what to do if it is a function that has no name.

    Raises:
      TypeError: what has no such form, with its place.
    """
    # The very types: numpy's float64 is a float, and an enum may be a string.
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Transform):
        return _chain(value, path)
    if isinstance(value, Function):
        return written(value.function, path, SCHEDULE)
    if isinstance(value, Record) and not isinstance(value, Stranger):
        return _call(value, path)
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, jax.Array | np.ndarray | np.generic) and not isinstance(value, Tracer):
        return _array(value, path)
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        items = [written(item, (*path, str(index)), hint) for index, item in enumerate(value)]
        return items if type(value) is tuple else {"list": items}
    if isinstance(value, tuple) and registry.name_of(type(value)):
        # A NamedTuple of another library, such as MuonDimensionNumbers.
        fields = cast(Any, value)._asdict()
        arguments = {name: written(item, (*path, name), hint) for name, item in fields.items()}
        return {"call": registry.name_of(type(value)), **arguments}
    if isinstance(value, PartitionSpec):
        return {"partition_spec": [list(entry) if isinstance(entry, tuple) else entry for entry in value]}
    if type(value) is dict:
        return _dict(value, path)
    if name := function_name(value):
        return {"function": name}
    raise _refused(value, path, hint)


def _chain(tx: Transform, path: Path) -> dict[str, Any]:
    nodes = [(stage.name, written(stage.node, (*path, stage.name))) for stage in tx.stages]
    told = {} if tx.placement is None else {"on_axes": written(tx.placement.specs, (*path, "on_axes"))}
    if tx.stages == name_stages([(None, stage.node) for stage in tx.stages]):
        return {"chain": [node for _, node in nodes], **told}
    return {"named_chain": [[name, node] for name, node in nodes], **told}


def _call(record: Record, path: Path) -> dict[str, Any]:
    key, arguments = record.saved()
    name = registry.name_of(key)
    if name is None:
        raise TypeError(
            f"to_dict: {_place(path)} is of the class {key.__module__}.{key.__qualname__}, which has no name in a "
            "file: pass the class through gx.transform at the top of a module, and no other of its name after it"
        )
    if "call" in arguments:
        raise TypeError(f"to_dict: {_place(path)} has a field 'call', which in a file is the name of the rule")
    form = {"call": name}
    for field, value in arguments.items():
        role = record.roles.get(field)
        if role is Dtype and isinstance(value, np.dtype):
            form[field] = value.name
        else:
            form[field] = written(value, (*path, field), _HINTS.get(role, FUNCTION))
    return form


def _array(value: Any, path: Path) -> dict[str, Any]:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value)).tolist()
        return {"random_key": data, "impl": str(jax.random.key_impl(value))}
    array = np.asarray(value)
    is_number = any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    # Of (0, 3), lists keep no 3.
    if not is_number or (array.size == 0 and array.ndim > 1):
        raise TypeError(f"to_dict: {_place(path)} is {show(value)}; a file holds arrays of real numbers only")
    kind = next(kind for kind in (jax.Array, np.ndarray, np.generic) if isinstance(value, kind))
    form = {"array": _numbers(array.tolist(), path), "dtype": array.dtype.name, "type": ARRAYS[kind]}
    # Only of a number on its own JAX makes a weak array again.
    is_weak = array.ndim == 0 and getattr(value, "weak_type", False)
    return {**form, "weak_type": True} if is_weak else form


def _numbers(value: Any, path: Path) -> Any:
    return [_numbers(item, path) for item in value] if isinstance(value, list) else written(value, path)


def _dict(value: dict[Any, Any], path: Path) -> dict[str, Any]:
    items = [(written(key, path), written(item, (*path, str(key)))) for key, item in value.items()]
    if all(type(key) is str and key not in MARKS for key in value):
        return dict(items)
    return {"dict": [list(item) for item in items]}


def _refused(value: Any, path: Path, hint: str) -> TypeError:
    pair = value.given if isinstance(value, Stranger) else value
    if isinstance(pair, optax.GradientTransformation):
        return TypeError(f"to_dict: {_place(path)} is {show(pair)}, of which only its functions are known; {PAIR}")
    if callable(value):
        what = "the function " if hasattr(value, "__name__") else ""
        return TypeError(f"to_dict: {_place(path)} is {what}{show(value)}; {hint}")
    hint = "save it outside of jit" if isinstance(value, Tracer) else f"a file has no form for {type(value).__name__}"
    return TypeError(f"to_dict: {_place(path)} is {show(value)}; {hint}")


def _place(path: Path) -> str:
    return ".".join(path) or "it"
