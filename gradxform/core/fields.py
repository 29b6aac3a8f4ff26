"""What a field of a record may be: the roles that annotations give, the ranges of numbers, and the checks.

A `Hyper` field is a number, an array or a function of the step; the other roles are static.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from typing import Annotated, Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradxform.core.annotations import Names, Unknown, atoms
from gradxform.core.precision import is_too_small
from gradxform.core.text import show


@dataclasses.dataclass(frozen=True)
class Range:
    """Which numbers a hyperparameter may be."""

    words: str = "a real number"
    holds: Callable[[Any], Any] = lambda value: True


# To a type checker these are `Any`: whoever makes a rule passes a number, an array of shape () or a function of the
# step, and the rule itself reads the number that holds at the step. At run time the annotation gives the field its
# role, under whatever name it was imported. Concrete numbers are range-checked; schedules are not.
Hyper = Annotated[Any, Range()]
"""Annotates a hyperparameter: a number, an array of shape (), or a schedule, which is a function of the step.

In `update` of a rule it is the number that holds at the step. It is a leaf of the transform as a pytree, so that a new
value does not retrace, and `replace`, `live` and `sweep` find it by its name. Concrete numbers must be real.

optax: ScalarOrSchedule, a type without a check. torch: none; hyperparameters are numbers in a parameter group.
"""

NonNegative = Annotated[Any, Range("at least 0", lambda value: value >= 0)]
"""Annotates a hyperparameter as `Hyper` does; a concrete number must be at least 0, schedules are not checked.

optax: none. torch: none; constructors check their arguments.
"""

Positive = Annotated[Any, Range("more than 0", lambda value: value > 0)]
"""Annotates a hyperparameter as `Hyper` does; a concrete number must be more than 0, schedules are not checked.

optax: none. torch: none; constructors check their arguments.
"""

Decay = Annotated[Any, Range("at least 0 and less than 1", lambda value: (value >= 0) & (value < 1))]
"""Annotates the decay of a running mean as `Hyper` does; a concrete number must be at least 0 and less than 1.

A mean with a decay of 1 would never move; for sums there is `SumDecay`.

optax: none. torch: none; constructors check their arguments.
"""

SumDecay = Annotated[Any, Range("at least 0 and at most 1", lambda value: (value >= 0) & (value <= 1))]
"""Annotates the decay of a sum or a maximum as `Hyper` does; a concrete number must be at least 0 and at most 1.

With 1 nothing is forgotten, as in AdaGrad's sum of squares.

optax: none. torch: none; constructors check their arguments.
"""

Dtype = Annotated[Any, "a dtype or its name"]
"""Annotates a static argument that is a floating-point dtype of 16 bits at least, or its name, such as "bfloat16".

optax: chex.ArrayDType. torch: torch.dtype.
"""

Mask = Annotated[Any, "a pytree of bools, a prefix of the parameters, or a function of them that returns one"]
"""Annotates a mask: which leaves a rule sees.

A pytree of bools, a prefix of the parameters, or a function of them that returns one, such as `by_ndim(2)`. The engine
does the rest: leaves where it is False pass the rule unchanged.

optax: the mask of masked. torch: none; parameter groups.
"""

DecayMask = Annotated[Any, "a mask that says which leaves decay, in a rule that treats all of them"]
"""Annotates a mask as `Mask` does, of a rule that treats all leaves: it says which of them decay.

optax: the mask of add_decayed_weights. torch: none; parameter groups.
"""

WeightAxes = Annotated[Any, "which axes of each leaf are the rows and columns of its matrices"]
"""Annotates which axes of each leaf are the rows and the columns of its matrices.

`MatrixAxes` or optax's MuonDimensionNumbers, a pytree with these that is a prefix of the parameters, or a function of
them that returns one, such as `hidden_matrices`. None in it stands for what is no matrix.

optax: contrib.muon's weight_dimension_numbers. torch: none.
"""

Seed = Annotated[Any, "an integer, or a key of jax.random"]
"""Annotates the seed of random numbers: an integer, or a key of `jax.random`.

optax: an integer, or a key, by function. torch: torch.Generator.
"""

_NUMERIC = {"Hyper": Hyper, "NonNegative": NonNegative, "Positive": Positive, "Decay": Decay, "SumDecay": SumDecay}
_ROLES = {**_NUMERIC, "Dtype": Dtype, "Mask": Mask, "DecayMask": DecayMask, "WeightAxes": WeightAxes, "Seed": Seed}


def role_of(annotation: Any, names: Names) -> Any:
    """Which of the roles above an annotation speaks of, also inside `Hyper | None` and in a text; None for none.

    Args:
      annotation: a type, or text.
      names: what the names in a text stand for.
    """
    return next((role for role in map(role_of_atom, atoms(annotation, names)) if role is not None), None)


def role_of_atom(atom: Any) -> Any:
    """Which of the roles a type speaks of that is not made of others; None for none."""
    if isinstance(atom, Unknown):
        # Imported for type checkers alone: its own name is all that there is.
        return _ROLES.get(atom.text.split(".")[-1])
    told = getattr(atom, "__metadata__", ())
    return next((role for role in _ROLES.values() if get_args(role)[1] in told), None)


def is_numeric(role: Any) -> bool:
    """Whether a role is that of a hyperparameter: a number, an array or a function of the step."""
    return role in _NUMERIC.values()


def check_number(where: str, role: Any, value: Any) -> None:
    """Raises TypeError for what is no number and no array of numbers, ValueError for numbers that are out of range."""
    within: Range = role.__metadata__[0]
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    dtype = getattr(value, "dtype", None) if isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct) else None
    is_array = dtype is not None and any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer))
    if not is_number and not is_array:
        raise TypeError(f"{where} must be a real number, an array or a function of the step; got {show(value)}")
    is_known = not isinstance(value, Tracer | jax.ShapeDtypeStruct)
    if is_known and not np.all(within.holds(np.asarray(value, np.float64))):
        raise ValueError(f"{where} must be {within.words}; got {show(value)}")


def float_dtype(where: str, value: Any) -> np.dtype[Any]:
    """The dtype of a field, which may be told by its name; raises TypeError for what is none, or too small."""
    try:
        dtype = np.dtype(jnp.dtype(value))
    except TypeError as error:
        raise TypeError(f"{where} must be a dtype or its name, such as 'bfloat16'; got {show(value)}") from error
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"{where} must be a floating-point dtype; got {dtype.name}")
    if is_too_small(dtype):
        raise TypeError(f"{where} must be a dtype of 16 bits at least, as JAX promotes no smaller; got {dtype.name}")
    return dtype


def check_count(where: str, value: Any, least: int = 0) -> None:
    """Raises ValueError for what is no integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} must be an integer of at least {least}; got {value!r}")


def check_seed(where: str, value: Any) -> None:
    """Raises TypeError for what is no seed."""
    is_key = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    if not is_key and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{where} must be an integer, or a key of jax.random; got {show(value)}")
