"""Records: frozen values that print as the call that makes them, compare, pickle and are pytrees.

Rules, schedules and guests are records. What a record holds is told by its annotations: a `Hyper` field is a leaf of
the pytree (a number, an array or a function of the step), every other field is static.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import (
    Any,
    ClassVar,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    dataclass_transform,
)

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradxform.core.annotations import Declared, declared
from gradxform.core.fields import Dtype, Hyper, Seed, check_number, check_seed, float_dtype, is_numeric, role_of_atom
from gradxform.core.hints import check_arguments
from gradxform.core.registry import register, register_class
from gradxform.core.text import show, snake_case, written_call

P = ParamSpec("P")
T = TypeVar("T", covariant=True)

_LEAF = jax.tree.structure(0)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Record:
    """A frozen dataclass that is a value: a subclass lists annotated fields and checks them in `check`.

    A subclass made with `is_leaf=True` is no pytree: a leaf, as functions are, for where optax looks for one.
    """

    call_name: ClassVar[str]
    numeric: ClassVar[tuple[str, ...]]
    roles: ClassVar[dict[str, Any]]
    declared: ClassVar[dict[str, Declared]]

    def __init_subclass__(cls, is_leaf: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        # A class that is called by another name than its own says so.
        cls.call_name = vars(cls).get("call_name", snake_case(cls.__name__))
        # As Python calls it in the error for an argument that is missing.
        cls.__init__.__qualname__ = cls.call_name
        cls.declared = declared(cls, role_of_atom)
        cls.roles = {name: told.role for name, told in cls.declared.items()}
        cls.numeric = tuple(name for name, role in cls.roles.items() if is_numeric(role))
        if not is_leaf:
            jax.tree_util.register_pytree_with_keys(cls, _flatten_with_keys, _unflatten(cls), _flatten)

    def __post_init__(self) -> None:
        for name, role in self.roles.items():
            value, where = getattr(self, name), f"{self.call_name}: {name}"
            if value is None and self.declared[name].is_optional:
                continue
            if name in self.numeric:
                value = jax.tree.map(partial(_number, where, role), value, is_leaf=_is_record_or_none)
            elif role is Dtype:
                value = float_dtype(where, value)
            elif role is Seed:
                check_seed(where, value)
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Raises ValueError or TypeError for field values that make no sense together or alone."""

    def replace(self, **values: Any) -> Any:
        """A record with other field values, unchecked, so that any object may stand in a field."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, **values)
        return new

    def fields(self) -> dict[str, Any]:
        """The values by field name, in the order of the call."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))}

    def parts(self) -> dict[str, Any]:
        """What it is made of, by name: of a record its fields."""
        return self.fields()

    def with_parts(self, **parts: Any) -> Any:
        """A record with other parts, checked as when it is made."""
        return type(self)(**{**self.fields(), **parts})

    def saved(self) -> tuple[Any, dict[str, Any]]:
        """By what it is registered, and the arguments by name with which a file makes it anew."""
        return type(self), self.fields()

    def __repr__(self) -> str:
        shown = []
        for field in dataclasses.fields(cast(Any, self)):
            value = getattr(self, field.name)
            # Numbers are shown always, but for those that may be given by name and are not.
            is_left_out = field.kw_only and value is None and field.default is None
            if (field.name in self.numeric and not is_left_out) or _key(value) != _key(field.default):
                shown.append(f"{field.name}={show(value)}")
        # A rule that is named by its decorator is called by the class's own name.
        is_called = hasattr(sys.modules.get(type(self).__module__), self.call_name)
        return written_call(self.call_name if is_called else type(self).__name__, shown)

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and _key(self) == _key(other))

    def __hash__(self) -> int:
        return hash(_key(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self).__module__, type(self).__qualname__, self.fields())


class Factory(Protocol, Generic[P, T]):
    """The function that users call: the signature and docstring of a record, and what it makes of one."""

    record: type[Any]
    State: Any
    __name__: str
    __signature__: inspect.Signature

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the record's fields make."""
        ...


def factory(record: Callable[P, Any], make: Callable[[Any], T], returns: type[Any]) -> Factory[P, T]:
    """The public function of a record class: `ScaleByAdam` gives `scale_by_adam`, which returns `make(record)`."""
    cls = cast(type[Record], record)

    parameters = inspect.signature(cls).parameters

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        check_arguments(cls.call_name, parameters, args, kwargs)
        return make(record(*args, **kwargs))

    call.__name__ = call.__qualname__ = cls.call_name
    call.__module__ = cls.__module__
    call.__doc__ = cls.__doc__
    made = cast(Factory[P, T], call)
    made.__signature__ = inspect.signature(cls).replace(return_annotation=returns)
    # Where a decorator gave the class's name to this function, pickle looks here for the class and for its state's.
    made.record, made.State = cls, getattr(cls, "State", None)
    register_class(cls, cls.call_name)
    return made


def _number(where: str, role: Any, value: Any) -> Any:
    """Lets numbers in a range, arrays and functions of the step through, the last as records."""
    if isinstance(value, Live):
        _number(where, role, value.value)
        return value
    if isinstance(value, Record):
        return value
    if callable(value):
        return Function(value)
    check_number(where, role, value)
    return value


def _is_record_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Record)


@dataclasses.dataclass(frozen=True, eq=False)
class _Static:
    """What is not a leaf, hashable for the compilation caches: two alike compare equal."""

    values: tuple[Any, ...]
    key: Hashable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Branch:
    """What is a pytree of numbers itself, wherever a record holds it: a transform within a rule or a wrapper."""


_HOLE = object()


def _flatten_with_keys(record: Record) -> tuple[list[tuple[Any, Any]], _Static]:
    children: list[tuple[Any, Any]] = [(jax.tree_util.GetAttrKey(n), getattr(record, n)) for n in record.numeric]
    others = {name: value for name, value in record.fields().items() if name not in record.numeric}
    values = tuple(_without_branches(name, value, children) for name, value in others.items())
    return children, _Static(values, tuple(map(_key, values)))


def _flatten(record: Record) -> tuple[tuple[Any, ...], _Static]:
    children, static = _flatten_with_keys(record)
    return tuple(child for _, child in children), static


def _unflatten(cls: type[Record]) -> Callable[[_Static, Iterable[Any]], Record]:
    def unflatten(static: _Static, children: Iterable[Any]) -> Record:
        record = object.__new__(cls)
        given, others = iter(children), iter(static.values)
        numbers = {name: next(given) for name in cls.numeric}
        for name in cls.roles:
            record.__dict__[name] = numbers[name] if name in numbers else _with_branches(next(others), given)
        return record

    return unflatten


def _without_branches(name: str, value: Any, found: list[tuple[Any, Any]]) -> Any:
    """A field's value with holes in the place of its branches, which are found in the order of sorted keys.

    So they are in one order for dicts that are equal, whose keys may have come in any.
    """
    if isinstance(value, Branch):
        found.append((jax.tree_util.GetAttrKey(name), value))
        return _HOLE
    if type(value) is dict:
        parts = {key: _without_branches(f"{name}.{key}", value[key], found) for key in sorted(value)}
        return {key: parts[key] for key in value}
    return value


def _with_branches(value: Any, given: Iterator[Any]) -> Any:
    if value is _HOLE:
        return next(given)
    if type(value) is dict:
        parts = {key: _with_branches(value[key], given) for key in sorted(value)}
        return {key: parts[key] for key in value}
    return value


def _key(value: Any) -> Hashable:
    """Something hashable that is equal for equal values: arrays by dtype, shape and bytes, pytrees by their leaves."""
    if isinstance(value, Tracer):
        return "traced", id(value)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(value)), _key(jax.random.key_data(value))
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        return array.dtype.name, array.shape, array.tobytes()
    leaves, structure = jax.tree.flatten(value)
    if structure == _LEAF and isinstance(value, Record):
        return type(value), tuple(map(_key, value.fields().values()))
    if structure == _LEAF:
        return "nan" if isinstance(value, float) and value != value else value
    return structure, tuple(map(_key, leaves))


def _restore(module: str, qualname: str, values: dict[str, Any]) -> Record:
    """Unpickles a record; where the class's name belongs to its factory, the factory leads to the class."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return getattr(found, "record", found)(**values)


def is_record(value: Any) -> bool:
    """Whether a value is a schedule, a function of the step or a `Live`."""
    return isinstance(value, Record)


class Live(Record):
    """A hyperparameter whose value lives in the state, from where `adjust` changes it without a retrace.

    Args:
      value: the first value: a number, or an array of shape ().

    Raises:
      TypeError: a function of the step; it cannot be both.

    optax: inject_hyperparams. torch: an entry of `param_groups`.
    """

    value: Hyper

    def check(self) -> None:
        """Raises TypeError for a schedule."""
        if isinstance(self.value, Record):
            raise TypeError(f"Live: value must be a number or an array; got {show(self.value)}")


register(Live, Live.__name__, Live)


class Function(Record):
    """A function of the step that the user wrote: callable like a schedule, static, and compared by identity."""

    function: Callable[..., Any]

    def __call__(self, step: Any) -> Any:
        """The value at a step."""
        # optax's schedules mix integer steps with floats, which must not fail where promotion is strict.
        with jax.numpy_dtype_promotion("standard"):
            return self.function(step)

    def __repr__(self) -> str:
        return show(self.function)
