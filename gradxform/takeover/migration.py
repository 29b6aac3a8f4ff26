"""migrate: the state of one transform becomes that of another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradxform.core import checks
from gradxform.core.keep import is_encoded
from gradxform.takeover.takeover import MigrationReport, Path, Place, fields, fitted, is_record, places, rebuilt, states

ABSENT = "not in the old state"


def migrate(
    old_state: Any, tx: Any, params: Any, *, names: Mapping[str, str] | None = None
) -> tuple[Any, MigrationReport]:
    """The state of a transform, from that of a transform with other rules, and a report of what became of what.

        state, report = migrate(checkpointer.restore(path), tx, params)

    An array is found by the name of its stage, that of its slot or metric, and the path of its parameter. Arrays of the
    same names and shapes are taken over, with the step count and live hyperparameters; the others are as in
    `tx.init(params)`. Where `stored` was added, removed or given another codec, arrays are encoded or decoded. Of two
    stages of one rule, such as `scale_by_adam` and `scale_by_adam_2`, the first becomes the first, unless `names` says
    otherwise.

    Args:
      old_state: the state of the other transform, or the nested dict that Orbax makes of one that it restores without a
        template.
      tx: the new transform; ours, optax's or a wrapper of either.
      params: the parameters.
      names: a dict from new names of stages to old ones, where they differ. Names of stages in transforms within
        transforms have their path in front, as in `{"masked.inner_state.trace": "trace"}` for a rule that was not
        masked before.

    Returns:
      The state, which shares arrays with the old one, and a report, which prints as a table.

    Raises:
      ValueError: nothing of the old state fits, a name in `names` that is not there, or one old stage for two.
      TypeError: `tx` is no transform.

    optax, torch: none.
    """
    if not hasattr(tx, "init"):
        raise TypeError(f"migrate takes a transform as its second argument, got {type(tx).__name__}")
    template = tx.init(params)
    new, old = places(template), places(old_state)
    origins = _origins(template, old_state, names or {})
    origins |= _live(template, origins) | _counts(template, origins, old)
    kept: dict[str, str] = {}
    begun: dict[str, str] = {}
    values, found = {}, set()
    for path, place in new.items():
        source = _origin(path, origins)
        if is_encoded(place.array) and source and source not in old:
            parts = {(*source, name): part for name, part in place.array.parts.items()}
            if all(name in old and _are_alike(old[name].array, part) for name, part in parts.items()):
                # What a codec keeps, as the dict that Orbax makes of it.
                encoded = place.array.replace(**{name[-1]: jnp.asarray(old[name].array) for name in parts})
                old[source] = Place(old[next(iter(parts))].name.rpartition("/")[0], encoded)
                found |= set(parts)
        if source not in old:
            begun[place.name] = ABSENT
            continue
        value, how = fitted(old[source].array, place.array)
        if value is None:
            begun[place.name] = how
        else:
            # A step may donate each array once: the count of two states is two arrays.
            values[path] = jnp.array(value, copy=True) if source in found else value
            was = old[source].name
            kept[place.name] = how if place.name == was else f"{how}, from {was.split('/')[0]}"
        found.add(source)
    if not kept and new:
        has = ", ".join(sorted({place.name.split("/")[0] for place in old.values()})) or "nothing"
        raise ValueError(f"migrate: nothing of the old state fits the transform; the old state has {has}")
    dropped = {place.name: "no place in the new state" for path, place in old.items() if path not in found}
    state = rebuilt(template, values)
    notes = (*_numbered(template, old_state, names or {}), *_late(state, begun))
    return state, MigrationReport(kept, begun, dropped, notes)


def _origins(template: Any, old_state: Any, names: Mapping[str, str]) -> dict[Path, Path | None]:
    """For each stage of the new state the stage of the old one that it goes on from, by their paths."""
    new, old = _stages(template), _stages(old_state)
    told: dict[str, Path] = {}
    for here, there in names.items():
        name = checks.found("migrate: names", here, list(new))
        told[name] = old[checks.found("migrate: names, in the old state", there, list(old))]
    if twice := [path for path, times in Counter(told.values()).items() if times > 1]:
        raise ValueError(f"migrate: names takes {'.'.join(twice[0][1:])} of the old state for more than one stage")
    origins: dict[Path, Path | None] = {}
    bare_new, bare_old = _bare(template), _bare(old_state)
    for name, path in new.items():
        source = told.get(name) or _origin(path, origins)
        if source not in old.values():
            alike = (there for there in old.values() if bare_old[there] == bare_new[path])
            source = next((there for there in alike if there not in origins.values()), None)
        is_free = source in old.values() and (name in told or source not in told.values())
        origins[path] = source if is_free else None
    return origins


def _bare(tree: Any) -> dict[Path, tuple[str, ...]]:
    """The names that lead to each stage, but for those of stages that hold a whole state, as `stored` does."""
    whole = {path for path, _, _ in states(tree) if path[-2:-1] == ("stages",)}
    return {
        path: tuple(key for at, key in enumerate(path) if key != "stages" and path[: at + 1] not in whole)
        for path in _stages(tree).values()
    }


def _are_alike(old: Any, new: Any) -> bool:
    return np.shape(old) == new.shape and jnp.result_type(old) == new.dtype


def _stages(tree: Any) -> dict[str, Path]:
    """The paths of all stages by their names, from the outside in."""
    return {
        f"{within}{stage}": (*path, "stages", stage)
        for path, within, part in states(tree)
        for stage in fields(part)["stages"]
    }


def _origin(path: Path, origins: Mapping[Path, Path | None]) -> Path | None:
    """The old path of a new one: as it is, but for what comes from elsewhere."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            source = origins[path[:length]]
            return source and (*source, *path[length:])
    return path


def _live(template: Any, origins: Mapping[Path, Path | None]) -> dict[Path, Path | None]:
    """Where the live hyperparameters of each stage come from: they have its name before their own."""
    found: dict[Path, Path | None] = {}
    for path, _, state in states(template):
        for key in state.live:
            # A stage's name may have dots too.
            stage = max((name for name in state.stages if key.startswith(f"{name}.")), key=len)
            source = origins[(*path, "stages", stage)]
            found[(*path, "live", key)] = source and (*source[:-2], "live", source[-1] + key.removeprefix(stage))
    return found


def _counts(template: Any, origins: Mapping[Path, Path | None], old: Mapping[Path, Place]) -> dict[Path, Path | None]:
    """Where each count comes from: from the state in which those stages were that remember something."""
    found: dict[Path, Path | None] = {}
    remembering = _slots(template)
    for name, stage in _stages(template).items():
        source = origins[stage]
        if source is None or name not in remembering:
            continue
        count, before = (*source[:-2], "count"), found.get((*stage[:-2], "count"))
        if before and int(old[before].array) != int(old[count].array):
            raise ValueError(
                f"migrate: {name} comes from a state after {old[count].array} steps, others beside it from one after "
                f"{old[before].array}; one state has one count"
            )
        found[(*stage[:-2], "count")] = count
    return found


def _numbered(template: Any, old_state: Any, names: Mapping[str, str]) -> list[str]:
    """Notes on stages of one name, of which there are more or fewer than there were."""
    new, old = ([_unnumbered(name) for name in _stages(tree)] for tree in (template, old_state))
    told = {_unnumbered(name) for pair in names.items() for name in pair}
    unsure = {
        _unnumbered(name): name
        for name in _slots(template)
        if 0 < old.count(_unnumbered(name)) != new.count(_unnumbered(name))
    }
    return [
        f"there are {new.count(base)} stages {base} where there were {old.count(base)}; they were matched by their "
        f"names; if others belong together, say so: names={{{last!r}: ...}}"
        for base, last in unsure.items()
        if base not in told
    ]


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _late(state: Any, begun: Mapping[str, str]) -> list[str]:
    """A note on stages that begin after the first step, as their bias correction does not know."""
    counts = {stage: count for stage, (count, slots) in _slots(state).items() if any(slot in begun for slot in slots)}
    return [
        f"{stage} begins at step {int(count) + 1} with slots that saw no gradient; bias corrections take them for older"
        for stage, count in counts.items()
        if np.any(count)
    ]


def _slots(state: Any) -> dict[str, tuple[Any, list[str]]]:
    """Each stage that remembers something, by its name, with its count and the names of the arrays of its slots."""
    found = {}
    for _, within, part in states(state):
        inside = places(part)
        for stage, record in fields(part)["stages"].items():
            slots = [
                f"{within}{place.name}"
                for where, place in inside.items()
                if where[:2] == ("stages", stage) and is_record(record) and where[2] not in record.metrics
            ]
            if slots:
                found[f"{within}{stage}"] = fields(part)["count"], slots
    return found
