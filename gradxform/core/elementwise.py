"""Whether a function treats each element of its arrays alone, as its program tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax

_OF_EACH_ELEMENT = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp complex conj convert_element_type copy
    copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma log
    log1p logistic lt max min mul ne neg nextafter not optimization_barrier or pow pvary real reduce_precision rem round
    rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor
"""
_OF_DEVICES = """
    all_gather all_gather_invariant all_to_all pmax pmin ppermute psum psum2 psum_invariant psum_scatter reduce_scatter
"""
ALONE, _COLLECTIVE = frozenset(_OF_EACH_ELEMENT.split()), frozenset(_OF_DEVICES.split())


def joining(function: Callable[..., Any], *trees: Any) -> str | None:
    """The first operation of a function's program that takes the elements of an array together.

    Returns:
      Its name, such as 'reduce_sum'; None if there is none, or if the program has collectives, so that who wrote it
      knew of devices.
    """

    def arrays(*trees: Any) -> list[Any]:
        return [leaf for leaf in jax.tree.leaves(function(*trees)) if isinstance(leaf, jax.Array)]

    found = list(_operations(jax.make_jaxpr(arrays)(*trees).jaxpr))
    if any(operation.primitive.name in _COLLECTIVE for operation in found):
        return None
    names = (operation.primitive.name for operation in found if _takes_arrays(operation))
    return next((name for name in names if name not in ALONE), None)


def _operations(jaxpr: Any) -> Iterator[Any]:
    """All operations but those that hold others; these are in the place of what holds them."""
    for operation in jaxpr.eqns:
        inner = [part for value in operation.params.values() for part in _programs(value)]
        # A scan over the rows of an array takes them one after the other.
        if not inner or _scans(operation):
            yield operation
        for part in inner:
            yield from _operations(part)


def _programs(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _programs(part)
    elif hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield from _programs(value.jaxpr)


def _scans(operation: Any) -> bool:
    """Whether it is a scan over arrays, of which its body sees one axis less."""
    if operation.primitive.name != "scan":
        return False
    body = operation.params["jaxpr"].jaxpr
    pairs = zip(operation.invars, body.invars, strict=True)
    return any(len(outside.aval.shape) != len(inside.aval.shape) for outside, inside in pairs)


def _takes_arrays(operation: Any) -> bool:
    return any(getattr(operand.aval, "shape", ()) for operand in operation.invars)
