"""A state in short: shapes and dtypes in the place of arrays, numbers as they are."""

from __future__ import annotations

import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradxform.core.entries import entries, fields_within, has_fields
from gradxform.core.html import html_table, scrolling, text_lines
from gradxform.core.keep import is_encoded
from gradxform.core.text import FEW, MOST, and_more, bracketed, show, written_call


def in_short(value: Any) -> str:
    """A state, or a part of one, as text: shapes and dtypes in the place of arrays, numbers as they are."""
    if has_fields(value):
        # What a rule remembers of the parameters is a tree like them, whatever that is made of.
        within = fields_within(value)
        shown = [(name, getattr(value, name)) for name in value._fields]
        return written_call(
            type(value).__qualname__, [f"{n}={in_short(x) if n in within else leaves_in_short(x)}" for n, x in shown]
        )
    if isinstance(value, dict) and any(has_fields(item) or _holds_fields(item) for item in value.values()):
        items = [f"{key!r}: {in_short(item)}" for key, item in itertools.islice(value.items(), MOST)]
        return bracketed("{", [*items, *and_more(len(value) - MOST)], "}")
    if isinstance(value, tuple | list) and any(map(_holds_fields, value)):
        return bracketed("(", [*map(in_short, value[:MOST]), *and_more(len(value) - MOST)], ")")
    return leaves_in_short(value)


def leaves_in_short(tree: Any) -> str:
    """The leaves of a tree by their paths: `{dense/bias: f32[4], dense/kernel: f32[3,4]}`; of many the first."""
    flat = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_encoded)[0]
    if [path for path, _ in flat] == [()]:
        return _leaf_in_short(tree)
    few = len(flat) if len(flat) <= FEW + 2 else FEW
    named = [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in flat[:few]]
    items = [f"{name}: {_leaf_in_short(leaf)}" for name, leaf in named]
    return bracketed("{", [*items, *and_more(len(flat) - few)], "}")


def _leaf_in_short(leaf: Any) -> str:
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return show(leaf)
    if leaf.shape == () and _has_value(leaf):
        return str(np.asarray(leaf))
    # As JAX writes them: bf16[8,128].
    dtype = re.sub("float|uint|int|complex", lambda kind: kind[0][0], str(leaf.dtype))
    how = f" as {leaf.codec.words}" if is_encoded(leaf) else ""
    return f"{dtype}[{','.join(map(str, leaf.shape))}]{how}"


def _has_value(scalar: Any) -> bool:
    """Whether the number can be read here: it is not traced, donated, or on another process's devices alone."""
    if isinstance(scalar, jax.Array) and not isinstance(scalar, Tracer):
        is_key = jnp.issubdtype(scalar.dtype, jax.dtypes.prng_key)
        return not is_key and not scalar.is_deleted() and scalar.is_fully_addressable
    return isinstance(scalar, np.generic | np.ndarray)


def table_of(state: Any) -> str:
    """A state as HTML: a row for each field of each record, under the name by which it is read."""
    kept = [each for each in entries(state) if jax.tree.leaves(each.value) and not _holds_fields(each.value)]
    rows = [(["".join(path).removeprefix(".")], text_lines(leaves_in_short(value))) for path, _, value in kept[:MOST]]
    rows += [([more], []) for more in and_more(len(kept) - MOST)]
    return scrolling(type(state).__qualname__, html_table(("name", "value"), rows))


def _holds_fields(value: Any) -> bool:
    """Whether there are NamedTuples in it that have fields; those of optax without any stand for nothing."""
    if has_fields(value):
        return bool(value._fields)
    if isinstance(value, dict):
        return any(map(_holds_fields, value.values()))
    return isinstance(value, tuple | list) and any(map(_holds_fields, value))
