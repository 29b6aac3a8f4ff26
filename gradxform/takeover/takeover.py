"""What the ways to take over a state share: its arrays by their names, how they are made to fit, and the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.keep import decoded, is_encoded, store
from gradxform.core.state import State
from gradxform.core.text import snake_case
from gradxform.core.transform import Transform
from gradxform.reading import parts
from gradxform.reading.hyperparameters import hyperparams

Path = tuple[str, ...]

AS_IT_WAS = "as it was"


class MigrationReport(NamedTuple):
    """What became of the arrays of a state, by names such as `scale_by_adam.mu/dense/kernel`. It prints as a table.

    Attributes:
      kept: what was taken over, and how: as it was, or from which name, or from which dtype.
      new: what begins anew, and why.
      dropped: what the old state has and the new one does not, and why.
      notes: what else there is to know.

    optax: none. torch: none.
    """

    kept: dict[str, str]
    new: dict[str, str]
    dropped: dict[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = []
        for title, told in (("kept", self.kept), ("new", self.new), ("dropped", self.dropped)):
            rows = [(row, how) for row, how in _grouped(told)]
            width = max((len(row) for row, _ in rows), default=0)
            lines += [title if rows else f"{title}: nothing", *(f"  {row:{width}}  {how}" for row, how in rows)]
        return "\n".join([*lines, *(["notes"] if self.notes else []), *(f"  {note}" for note in self.notes)])


class Place(NamedTuple):
    """An array of a state, and its name."""

    name: str
    array: Any


def is_state(tree: Any) -> bool:
    """Whether this is the state of a transform of ours, also as the dict that Orbax restores without a template."""
    return isinstance(tree, State) or (
        isinstance(tree, Mapping) and {"count", "stages"} <= set(tree) and isinstance(tree["stages"], Mapping)
    )


def is_pair(tree: Any) -> bool:
    """Whether this is a NamedTuple: a record of ours or a state of optax's."""
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def is_record(tree: Any) -> bool:
    """Whether this is what a rule of ours remembers."""
    return is_pair(tree) and type(tree).__qualname__.endswith(".State") and hasattr(tree, "metrics")


def rule_of(record: Any) -> str:
    """The name of the rule whose record this is."""
    return snake_case(type(record).__qualname__.removesuffix(".State").split(".")[-1])


def fields(state: Any) -> dict[str, Any]:
    """The fields of a State or of its dict."""
    return dict(state) if isinstance(state, Mapping) else state._asdict()


def named(tree: Any) -> dict[Path, Any]:
    """The leaves of a tree by their paths, the same for a NamedTuple and a dict; what a codec keeps is one."""
    return {_keys(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_encoded)[0]}


def states(tree: Any, path: Path = (), name: str = "") -> Iterator[tuple[Path, str, Any]]:
    """Each state of a transform of ours in a tree, with its path and its name, from the outside in.

    A name is a path without the word `stages`, with dots, and a dot at the end if there is one.
    """
    for keys, part in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_state)[0]:
        if is_state(part):
            here = (*path, *_keys(keys))
            within = name + "".join(f"{key}." for key in _keys(keys))
            yield here, within, part
            for stage, record in fields(part)["stages"].items():
                yield from states(record, (*here, "stages", stage), f"{within}{stage}.")


def places(tree: Any) -> dict[Path, Place]:
    """Each array of a state by its path."""
    found = {path: Place(".".join(path[:1]) + _leaf_name(path[1:]), leaf) for path, leaf in named(tree).items()}
    for path, name, state in states(tree):
        parts = fields(state)
        found[(*path, "count")] = Place(f"{name}count", parts["count"])
        for key, value in parts.get("live", {}).items():
            found[(*path, "live", key)] = Place(f"{name}live.{key}", value)
        for stage, record in parts["stages"].items():
            for (*keys,), leaf in named(record).items():
                where = (*path, "stages", stage, *keys)
                found[where] = Place(f"{name}{stage}" + "".join(f".{k}" for k in keys[:1]) + _leaf_name(keys[1:]), leaf)
    return found


def fitted(old: Any, like: Any) -> tuple[Any, str]:
    """An array kept as another is, and on its devices, and how it got there; or None, and why it does not fit.

    Args:
      old: an array, or what a codec keeps.
      like: as `old`.
    """
    if is_encoded(old) and is_encoded(like) and _kinds(old) == _kinds(like):
        return jax.tree.map(_placed, old, like), AS_IT_WAS
    if is_encoded(old):
        value, how = fitted(decoded(old), like)
        return value, how if value is None else f"{old.codec.words} as {_words(like)}"
    if is_encoded(like):
        value, how = fitted(old, decoded(like))
        if value is None:
            return None, how
        return jax.tree.map(_placed, store(value, like), like), f"{_words(old)} as {_words(like)}"
    shape, dtype = np.shape(old), old.dtype if hasattr(old, "dtype") else jnp.result_type(old)
    if shape != like.shape:
        return None, f"shape {like.shape}, was {shape}"
    if dtype == like.dtype:
        return _placed(old, like), AS_IT_WAS
    with jax.numpy_dtype_promotion("standard"):
        is_wider = jnp.promote_types(dtype, like.dtype) == like.dtype
    kinds = (jnp.floating, jnp.complexfloating, jnp.signedinteger, jnp.unsignedinteger)
    if not is_wider and not any(jnp.issubdtype(dtype, kind) and jnp.issubdtype(like.dtype, kind) for kind in kinds):
        return None, f"{like.dtype}, was {dtype}"
    return _placed(old, like), f"{dtype} as {like.dtype}" + ("" if is_wider else ", which is narrower")


def rebuilt(template: Any, values: Mapping[Path, Any]) -> Any:
    """A state with other arrays at some paths."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: values.get(_keys(path), leaf), template, is_leaf=is_encoded
    )


def told_apart(tx: Any, state: Any, whose: str, told: Iterable[tuple[str, str, Any]]) -> list[str]:
    """Notes on hyperparameters that are others here than they were there.

    Args:
      tx: the transform.
      state: its state.
      whose: who had them, as "optax".
      told: of each our name, and the name and the value there.
    """
    if not isinstance(tx, Transform):
        return []
    ours: dict[str, Any] = {".".join(path): value for path, value in parts.fields(tx)} | hyperparams(tx, state)
    notes = []
    for name, their_name, theirs in told:
        values = [value for key, value in ours.items() if key == name or key.endswith(f".{name}")]
        numbers = [value for value in values if jnp.isscalar(value) or hasattr(value, "dtype")]
        # To the digits that float32 has.
        if not numbers and np.any(theirs):
            notes.append(f"{their_name} was {np.asarray(theirs, float):.7g} with {whose}; the transform has no {name}")
        elif numbers and not any(np.isclose(np.asarray(n, float), np.asarray(theirs, float), 1e-6, 0) for n in numbers):
            here = " and ".join(sorted({f"{np.asarray(n, float):.7g}" for n in numbers}))
            notes.append(
                f"{their_name} was {np.asarray(theirs, float):.7g} with {whose}; in the transform it is {here}"
            )
    return notes


def _grouped(told: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rows of a table: the arrays of a slot in one row, if the same is to be said of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, how in told.items():
        groups.setdefault((name.split("/")[0], how), []).append(name)
    return [
        (names[0] if len(names) == 1 else f"{slot} ({len(names)} arrays)", how) for (slot, how), names in groups.items()
    ]


def _keys(path: Any) -> Path:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _kinds(kept: Any) -> Any:
    """What must be the same of two codecs' arrays, for one to be the other's."""
    return jax.tree.structure(kept), [(np.shape(part), part.dtype) for part in kept.parts.values()]


def _words(kept: Any) -> str:
    return kept.codec.words if is_encoded(kept) else str(jnp.result_type(kept))


def _leaf_name(keys: Any) -> str:
    return "".join(f"/{key}" for key in keys)


def _placed(old: Any, like: jax.Array) -> jax.Array:
    # NumPy's memory may be the user's: a copy of it can be donated.
    array = (old if isinstance(old, jax.Array) else jnp.array(old)).astype(like.dtype)
    if like.committed:
        return jax.device_put(array, like.sharding)
    # Orbax binds to a device what was not bound, where it could not meet parameters that lie on others.
    return jnp.array(np.asarray(array)) if array.committed and len(array.devices()) == 1 else array
