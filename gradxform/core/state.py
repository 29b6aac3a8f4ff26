"""The state of a transform: one counter, and a record for each stage, whose attributes are found by their names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from opcode import opmap
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import jax

from gradxform.core.entries import Path, entries
from gradxform.core.hints import did_you_mean
from gradxform.core.hyperparameters import LiveValues, live_values, with_own_dicts
from gradxform.core.short import in_short, table_of

_UNPACKING = (opmap["UNPACK_SEQUENCE"], opmap["UNPACK_EX"])


class _Fields(NamedTuple):
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]: optax's name; nobody counts in a state
    stages: dict[str, Any]
    live: dict[str, jax.Array]


class State(_Fields):
    """The state of a transform.

    An attribute that exactly one record has is found here too: `state.mu` is `state.stages["scale_by_adam"].mu`. Of
    records within records the outer one is meant, as optax's scripts do: `state.inner_state.inner_state`.

    Attributes:
      count: int32 of shape (): how many updates were done.
      stages: what each stage remembers, by its name: slots and metrics, or a guest's own state.
      live: the hyperparameters that live in the state, by `stage.name`; `gx.adjust` changes them.

    optax: a tuple of states, one for each transform of a chain. torch: the state of torch.optim.Optimizer.
    """

    __slots__ = ()

    @property
    def hyperparams(self) -> LiveValues:
        """The live hyperparameters, also those of `inject_hyperparams`, under which name optax's states have them.

        What is written to it is written into the state: `state.hyperparams["learning_rate"] = 1e-4`. A name is the
        whole one, such as `scale_by_adam.b1`, or as much of its end as leaves no doubt.
        """
        return live_values(self.live, self.stages)

    def __getattr__(self, name: str) -> Any:
        """What one record has under a name. AttributeError for a name that none has, or more than one."""
        # For these JAX, pickle and notebooks look at everything.
        if name.startswith("_"):
            raise AttributeError(f"'State' object has no attribute {name!r}")
        found = [entry for entry in entries(self) if entry.name == name]
        outer = [each for each in found if not any(_is_within(each.path, other.path) for other in found)]
        if len(outer) == 1:
            return outer[0].value
        if outer:
            among = ", ".join(f"state{''.join(path)}" for path, _, _ in outer)
            raise AttributeError(f"more than one record of the state has {name!r}, say which: {among}")
        hint = did_you_mean(name, [*self._fields, "hyperparams", *_names(self)])
        raise AttributeError(f"no record of the state has {name!r}; {hint}{'; ' * bool(hint)}{self._there()}")

    def __dir__(self) -> list[str]:
        """What an editor offers: also the names that the records have."""
        return sorted({*super().__dir__(), *_names(self)})

    # optax's state of a chain is a tuple of states; ours would hand out a counter in the place of one of them.
    def __getitem__(self, key: object) -> NoReturn:
        """Raises TypeError, which says how a record is read."""
        raise TypeError(f"state[{key!r}]: the records of a state have names; {self._said()}")

    # What prints, copies or converts all kinds of tuples goes over their fields, and does so here too.
    def __iter__(self) -> Iterator[Any]:
        """The fields. Raises TypeError, which says how a record is read, where it is unpacked into variables."""
        if _is_unpacked(inspect.currentframe()):
            raise TypeError(f"a state is not unpacked: its records have names; {self._said()}")
        return super().__iter__()

    def _said(self) -> str:
        """How a record is read, and which there are."""
        kept = [entry for entry in entries(self) if entry.name not in self._fields]
        # Of slots and metrics rather a slot, which is mostly a tree.
        example = next((entry for entry in kept if not hasattr(entry.value, "shape")), kept[0] if kept else None)
        if example is None:
            return self._there()
        whole, short = f"state{''.join(example.path)}", f"state.{example.name}"
        return f"read {whole}, or {short} if one record alone has it; {self._there()}"

    def _there(self) -> str:
        # In a prefix of a state, as for out_axes, one thing stands for all records.
        stages = self.stages if isinstance(self.stages, dict) else {}
        records = {stage: _names(record) for stage, record in stages.items()}
        told = [f"{stage} ({', '.join(names)})" if names else stage for stage, names in records.items()]
        return f"state.stages has {', '.join(told) or 'none'}"

    # JAX and optax make their new states by it, and a written number is to change one state alone.
    def _replace(self, **fields: Any) -> State:  # pyright: ignore[reportIncompatibleMethodOverride]: as said above
        """A state with other fields, and with dicts of live hyperparameters of its own."""
        stages, live = with_own_dicts(self.stages, self.live)
        return State(**{**self._asdict(), "stages": stages, "live": live, **fields})

    def __repr__(self) -> str:
        return in_short(self)

    def _repr_html_(self) -> str:
        """A table in a notebook."""
        return table_of(self)


def _names(part: Any) -> list[str]:
    """The names of all fields of records in a part of a state, each once."""
    return [name for name in dict.fromkeys(entry.name for entry in entries(part)) if name not in State._fields]


def _is_within(path: Path, other: Path) -> bool:
    return path != other and path[: len(other)] == other


def _is_unpacked(method: FrameType | None) -> bool:
    """Whether what called a method is an assignment to several variables."""
    caller = None if method is None else method.f_back
    return caller is not None and caller.f_code.co_code[caller.f_lasti] in _UNPACKING
