"""What `describe` returns: a transform and its memory, as text, as HTML and as a plain dict."""

from __future__ import annotations

import dataclasses
from typing import Any

from gradxform.reading import rendering


@dataclasses.dataclass(frozen=True)
class Setting:
    """A hyperparameter, or another argument, of a rule, a route or a guest.

    Attributes:
      name: what it is called; the parts of a pair are `betas.0` and `betas.1`.
      value: a number, or else the text with which the call is written.
      at_step: the value in the next update, of what follows a schedule or lives in the state; None where no state was
        given.
    """

    name: str
    value: float | int | bool | str | None
    at_step: float | None


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a state holds under one name.

    Attributes:
      name: the slot, the metric, or the field of a guest's state.
      kind: "slot", "metric", "key", "count", "live", or "array" of a guest.
      shape: what its shapes are, in words.
      dtypes: of its arrays, and how codecs keep them ("int8 in blocks of 128"); where neither parameters nor a state
        were given, what the declaration says.
      arrays: how many there are; None as above.
      bytes: of all of them; None as above.
    """

    name: str
    kind: str
    shape: str
    dtypes: tuple[str, ...]
    arrays: int | None
    bytes: int | None


@dataclasses.dataclass(frozen=True)
class Leaves:
    """A part of the parameters.

    Attributes:
      leaves: how many arrays it has.
      elements: how many numbers these have.
      bytes: what these take.
    """

    leaves: int
    elements: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Part:
    """A transform, or a rule or a guest in it.

    Attributes:
      path: the names that lead to it, by which `hyperparams` calls it too; () for the whole.
      kind: "transform", "rule", "route", as partition is one, "node", which is any other of ours, such as stored, or
        "guest", which is a transform of optax.
      settings: its hyperparameters, and those other arguments that are not as by default.
      kept: what the state holds for it, that of the parts within it left out.
      touched: the leaves that it sees and its mask lets through; None where no parameters were given.
      decayed: of a rule that treats all leaves and decays some, how many of them decay.
    """

    path: tuple[str, ...]
    kind: str
    settings: tuple[Setting, ...]
    kept: tuple[Kept, ...]
    touched: Leaves | None
    decayed: int | None


@dataclasses.dataclass(frozen=True)
class Group:
    """The leaves that a transform within a transform sees, as those of `partition` and `masked` do.

    Attributes:
      path: the names that lead to the transform.
      seen: its leaves.
      state_bytes: what its state takes.
      which: the paths of its leaves, each once, with * for the numbers by which alike layers are counted.
    """

    path: tuple[str, ...]
    seen: Leaves
    state_bytes: int
    which: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Description:
    """A transform, in words and numbers.

    It prints as a table, is one in a notebook, and `to_dict` makes plain numbers and strings of it.

    Attributes:
      call: the call that makes the transform.
      parts: the transform and everything in it, from the outside in and from the first to the last.
      groups: for transforms within transforms, which leaves they see; empty where no parameters were given.
      params: all leaves; None where no parameters were given.
      state_bytes: what the state takes; None where neither parameters nor a state were given.
      step: how many updates were done; None where no state was given.

    optax: none. torch: none.
    """

    call: str
    parts: tuple[Part, ...]
    groups: tuple[Group, ...]
    params: Leaves | None
    state_bytes: int | None
    step: int | None

    @property
    def ratio(self) -> float | None:
        """The bytes of the state over those of the parameters; None where one is not known or there are none."""
        if self.state_bytes is None or self.params is None or not self.params.bytes:
            return None
        return self.state_bytes / self.params.bytes

    def to_dict(self) -> dict[str, Any]:
        """Dicts, lists, numbers, strings and None, which `json.dumps` takes."""
        return {**_plain(self), "ratio": self.ratio}

    def __repr__(self) -> str:
        return rendering.text(self)

    def _repr_html_(self) -> str:
        return rendering.html(self)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
