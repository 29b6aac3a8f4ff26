"""from_optax: the state of optax's transforms becomes that of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.core.state import State
from gradxform.takeover.kinds import (
    HELD,
    IN_STEP,
    KNOWN,
    NOT_NEEDED,
    REMOVABLE,
    RENAMED,
    accepted,
    children,
    counted,
    dotted,
    has_state,
    is_missing,
    is_rule,
    kind_of,
    own_count,
    unmasked,
)
from gradxform.takeover.takeover import (
    MigrationReport,
    Path,
    fitted,
    is_pair,
    is_state,
    named,
    places,
    rebuilt,
    rule_of,
    told_apart,
)


def from_optax(state: Any, tx: Any, params: Any, *, count: int | None = None) -> tuple[Any, MigrationReport]:
    """The state of a transform, from that of a running transform of optax's that does the same, and a report.

        state, report = from_optax(optax_state, gx.adamw(1e-3), params)

    Slots go over, in our dtypes (float32 where optax keeps bfloat16), and so does the count of steps. Rules of one kind
    are matched in order; how optax's chains are nested does not matter. Wrappers such as `masked` and `partition` go
    over to the same wrappers around ours. `inject_hyperparams`, `apply_if_finite` and `MultiSteps` (between two
    accumulations) may also be there on one side alone; the values of the first go to those that are `live`.

    Args:
      state: optax's state, of optax's classes: one that Orbax restored has them if it had a template.
      tx: the transform that is to go on.
      params: the parameters.
      count: how many updates were done, for where optax does not count, as in `sgd` without a schedule, or where its
        counts disagree.

    Returns:
      The state, and a report. It prints as a table, and lists hyperparameters that differ from those in optax's state.

    Raises:
      ValueError: a rule of ours for which optax's state has nothing, or the other way round; an array that is missing
        or does not fit, with its path; counts that disagree.
      TypeError: what is no state of optax's.

    optax, torch: none.
    """
    template = tx.init(params)
    taker = _Taker(template, count)
    taker.take(template, state, (), None)
    new = {place.name: "not in optax's state" for place in taker.places.values() if place.name not in taker.kept}
    made = rebuilt(template, taker.values)
    told = [(RENAMED.get(name, name), name, value) for name, value in taker.told]
    notes = (*taker.notes, *told_apart(tx, made, "optax", told))
    return made, MigrationReport(taker.kept, new, taker.dropped, notes)


class _Taker:
    """Goes through both states side by side and gathers what our places get."""

    def __init__(self, template: Any, count: int | None) -> None:
        self.places, self.count = places(template), count
        self.values: dict[Path, jax.Array] = {}
        self.kept: dict[str, str] = {}
        self.dropped: dict[str, str] = {}
        self.notes: list[str] = []
        # Those of inject_hyperparams: all that ours has no place for, and those around the chain that is being filled.
        self.told: list[tuple[str, Any]] = []
        self.around: list[tuple[str, Any]] = []

    def take(self, ours: Any, theirs: Any, path: Path, count: int | None) -> None:
        """Fills our part at a path from theirs; `count` is what the part around goes by, if that is known."""
        if is_state(theirs):
            raise TypeError("from_optax takes optax's states, got one of gradxform's own; migrate takes that")
        if isinstance(ours, State):
            self.take_chain(ours, theirs, path, count)
        elif not has_state(ours):
            self.take_arrays(ours, theirs, path)
        elif is_pair(ours):
            if kind_of(ours) == kind_of(theirs):
                self.take_wrapper(ours, theirs, path, count)
            elif kind_of(ours) in REMOVABLE:
                self.begin_wrapper(ours, theirs, path, count)
            else:
                raise ValueError(
                    f"from_optax: the transform keeps {kind_of(ours)}, optax's state has {kind_of(theirs)}"
                )
        else:
            mine, other = children(ours), children(theirs)
            if list(mine) != list(other):
                raise ValueError(f"from_optax: the transform has parts {list(mine)}, optax's state {list(other)}")
            for key, part in mine.items():
                self.take(part, other[key], (*path, key), count)

    def take_wrapper(self, ours: Any, theirs: Any, path: Path, count: int | None) -> None:
        """Fills the state of a wrapper, or of a guest, from optax's of the same class."""
        if kind_of(theirs) == "MultiStepsState":
            count = int(theirs.gradient_step)
        elif type(theirs).__name__ not in IN_STEP:
            count = None
        for name in ours._fields:
            if name == "hyperparams":
                self.take_hyperparams(ours.hyperparams, theirs.hyperparams, (*path, name))
            elif name == "inner_states":
                self.take(ours.inner_states, unmasked(ours.inner_states, theirs.inner_states), (*path, name), count)
            elif name != "hyperparams_states":
                self.take(getattr(ours, name), getattr(theirs, name), (*path, name), count)

    def begin_wrapper(self, ours: Any, theirs: Any, path: Path, count: int | None) -> None:
        """Fills what a wrapper wraps, which optax had without it."""
        counts = set(_counts(theirs, set()).values())
        count = counts.pop() if len(counts) == 1 else count
        for name in {"count", "gradient_step"} & set(ours._fields):
            if count is not None:
                self.put((*path, name), jnp.array(count, jnp.int32))
        inner = REMOVABLE[kind_of(ours)]
        self.take(getattr(ours, inner), theirs, (*path, inner), count)

    def take_hyperparams(self, ours: Any, theirs: Any, path: Path) -> None:
        """Fills the values of inject_hyperparams."""
        for name, value in theirs.items():
            if name in ours:
                self.put((*path, name), value)
            else:
                self.told.append((name, value))

    def take_arrays(self, ours: Any, theirs: Any, path: Path, *, placeholders: bool = False) -> None:
        """Fills arrays from those at the same places; with placeholders, theirs of shape (1,) may be in excess."""
        mine, other = named(ours), named(theirs)
        for key in mine:
            if key not in other:
                name = self.places[(*path, *key)].name
                raise ValueError(f"from_optax: expected an array at {name}, optax's state has none there")
            self.put((*path, *key), other[key])
        for key in other:
            if key not in mine and not (placeholders and np.shape(other[key]) == (1,)):
                where = "/".join(key) or "the root"
                raise ValueError(
                    f"from_optax: optax's state has an array at {where!r}, where the transform's {dotted(path)} "
                    "has none; is it masked or partitioned otherwise?"
                )

    def take_chain(self, ours: State, theirs: Any, path: Path, count: int | None) -> None:
        """Fills the state of a chain of ours: pairs what its stages keep with what theirs do, in the order of both."""
        needs = list(_needs(ours.stages, (*path, "stages")))
        wrappers = {kind_of(part) for _, part in needs if not is_rule(part)}
        outside = len(self.around)
        items = list(self.items(theirs, wrappers))
        self.check_order(needs, items)
        count = self.put_count(ours, theirs, wrappers, path, count)
        begun = [(where, part) for where, part in needs if is_missing(part, items)]
        needs = [(where, part) for where, part in needs if not is_missing(part, items)]
        for kinds in dict.fromkeys(accepted(part) for _, part in needs):
            mine = [(where, part) for where, part in needs if accepted(part) == kinds]
            found = [item for item in items if kind_of(item) in kinds]
            if len(mine) != len(found):
                names = ", ".join(dotted(where) for where, _ in mine)
                raise ValueError(
                    f"from_optax: the transform has {len(mine)} for {' or '.join(kinds)} ({names}), optax's state has "
                    f"{len(found)}; in it there are {', '.join(map(kind_of, items)) or 'no arrays'}"
                )
            for (where, part), item in zip(mine, found, strict=True):
                if is_rule(part):
                    self.take_record(part, item, where)
                else:
                    self.take(part, item, where, count)
            items = [item for item in items if all(item is not taken for taken in found)]
        for where, part in begun:
            self.take(part, tuple(items), where, count)
            items = []
        for item in items:
            self.drop(item)
        for key in ours.live:
            self.take_live(key, path)
        del self.around[outside:]

    def check_order(self, needs: Sequence[tuple[Path, Any]], items: Sequence[Any]) -> None:
        """Notes that stages which go together come in another order."""
        mine = [accepted(part) for _, part in needs]
        theirs = [kinds for item in items for kinds in dict.fromkeys(mine) if kind_of(item) in kinds]
        if sorted(mine) == sorted(theirs) and mine != theirs:
            order = ", ".join(dotted(where) for where, _ in needs)
            self.notes.append(f"optax's state has its parts in another order than the transform ({order})")

    def take_record(self, ours: Any, theirs: Any, path: Path) -> None:
        """Fills what a rule remembers."""
        for slot in HELD[kind_of(theirs)].slots:
            is_factored = kind_of(theirs) == "FactoredState"
            self.take_arrays(getattr(ours, slot), getattr(theirs, slot), (*path, slot), placeholders=is_factored)
        for inner in getattr(type(ours), "inners", ()):
            self.take(getattr(ours, inner), getattr(theirs, inner), (*path, inner), own_count(theirs))

    def take_live(self, key: str, path: Path) -> None:
        """Fills a live hyperparameter with the value that inject_hyperparams has for it."""
        values = [value for name, value in self.around if f".{key}".endswith(f".{RENAMED.get(name, name)}")]
        if len(values) == 1:
            self.put((*path, "live", key), values[0])

    def put(self, path: Path, theirs: Any) -> None:
        """Fills one of our places."""
        place = self.places[path]
        if jnp.iscomplexobj(theirs) and not jnp.iscomplexobj(place.array) and not np.any(np.imag(theirs)):
            # optax keeps squares of complex gradients as complex numbers.
            theirs = theirs.real
        value, how = fitted(theirs, place.array)
        if value is None:
            raise ValueError(f"from_optax: {place.name} does not fit: {how} in optax's state")
        self.values[path], self.kept[place.name] = value, how

    def put_count(self, ours: State, theirs: Any, wrappers: set[str], path: Path, around: int | None) -> int | None:
        """Fills the count of a chain: what all counts beside each other say, else what is told, else that around."""
        counts = _counts(theirs, wrappers)
        if len(set(counts.values())) > 1 and self.count is None:
            told = ", ".join(f"{name} {value}" for name, value in counts.items())
            raise ValueError(f"from_optax: optax's counts disagree ({told}); say which it is, with count=...")
        if len(set(counts.values())) == 1:
            count = next(iter(counts.values()))
        else:
            count = around if self.count is None else self.count
        if count is not None:
            for where in counted(ours, path):
                self.put(where, jnp.array(count, jnp.int32))
        elif any(map(is_rule, ours.stages.values())):
            name = self.places[(*path, "count")].name
            self.notes.append(f"{name} is 0, as optax's state has none there; say count=... if schedules go by it")
        return count

    def items(self, theirs: Any, wanted: set[str]) -> Iterator[Any]:
        """The states in the containers of optax's chains, in order, and within wrappers that ours does without."""
        kind = kind_of(theirs)
        if is_pair(theirs) and kind in wanted | {"MaskedState", "PartitionState"}:
            yield theirs
        elif is_pair(theirs) and type(theirs).__name__ in REMOVABLE:
            if kind == "MultiStepsState" and np.any(theirs.mini_step):
                raise ValueError(
                    f"from_optax: MultiSteps has accumulated {theirs.mini_step} gradients, which the transform has no "
                    "place for; put it in MultiSteps too, or take over after an update"
                )
            inner = REMOVABLE[type(theirs).__name__]
            scheduled = getattr(theirs, "hyperparams_states", {})
            held = getattr(theirs, "hyperparams", {}).items()
            found = [(name, value) for name, value in held if name not in scheduled]
            self.around += found
            self.told += found
            lost = [
                name for name in theirs._fields if name not in (inner, "count", "hyperparams", "hyperparams_states")
            ]
            self.dropped |= {f"{kind}.{name}": "the transform does without this wrapper" for name in lost}
            yield from self.items(getattr(theirs, inner), wanted)
        elif is_pair(theirs):
            yield theirs
        elif isinstance(theirs, Mapping | tuple | list):
            for part in children(theirs).values():
                yield from self.items(part, wanted)
        elif theirs is not None:
            raise TypeError(
                f"from_optax takes states of optax's classes, got {type(theirs).__name__} among them; restore what was "
                "saved with optax's state as the template"
            )

    def drop(self, item: Any) -> None:
        """Leaves a state of optax's that no stage takes. ValueError if something is lost with it."""
        kept = [path for path, _ in named(item).items() if path[-1:] != ("count",)]
        if kept and kind_of(item) not in NOT_NEEDED:
            raise ValueError(
                f"from_optax: the transform has no rule for optax's {kind_of(item)}, which keeps {'/'.join(kept[0])}"
            )
        self.dropped |= {f"{kind_of(item)}.{'/'.join(path)}": "ours begins its own" for path in kept}


def _needs(ours: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """What is to be filled in the stages of a chain: records with slots, and states of optax's with arrays."""
    for key, part in children(ours).items():
        where = (*path, key)
        if is_rule(part):
            remembers = {name: getattr(part, name) for name in part._fields if name not in part.metrics}
            if rule_of(part) in KNOWN:
                yield where, part
            elif jax.tree.leaves(remembers) and rule_of(part) != "add_noise":
                raise ValueError(
                    f"from_optax knows of no state of optax's for {rule_of(part)}; it knows {', '.join(sorted(KNOWN))}"
                )
        elif is_pair(part) and not isinstance(part, State):
            if jax.tree.leaves(part):
                yield where, part
        elif isinstance(part, Mapping | tuple | list):
            yield from _needs(part, where)


def _counts(theirs: Any, wrappers: set[str], where: str = "") -> dict[str, int]:
    """How many updates optax's states have seen, by where they are; not those in wrappers that ours has as well."""
    counts: dict[str, int] = {}
    kind = type(theirs).__name__
    if is_pair(theirs):
        where = f"{where}{kind}"
        if kind_of(theirs) in wrappers and kind not in IN_STEP:
            return counts
        if "count" in theirs._fields:
            counts[where] = int(theirs.count)
        if kind == "MultiStepsState":
            counts[where] = int(theirs.gradient_step)
        if (own := own_count(theirs)) is not None:
            counts[where] = own
    if not is_pair(theirs) or kind in (*REMOVABLE, *IN_STEP):
        for key, part in children(theirs).items():
            if key != "hyperparams_states":
                counts |= _counts(part, wrappers, f"{where}/{key}/" if where else f"{key}/")
    return counts
