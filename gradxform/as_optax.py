"""The whole of optax's public namespace, with gradxform's transforms, schedules and combinators where it has them.

    import gradxform.as_optax as optax

is all that a script written for optax has to change. Losses, projections, tree utilities and the other submodules are
optax's own; `docs/names.md` says which names are ours.

Ours are found by their names: what optax has at its top level, and in contrib, schedules and transforms.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import optax as _optax
import optax.contrib as _contrib  # so that it is there as an attribute, as with `import optax`

import gradxform as _gradxform

if TYPE_CHECKING:
    # What an editor knows of the names; at run time they are made below.
    from optax import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]: all names are meant

_MIXED = (_contrib.__name__, _optax.schedules.__name__, _optax.transforms.__name__)


def _public(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _ours(names: dict[str, object]) -> dict[str, object]:
    """Of these names those that gradxform has as well, as gradxform has them."""
    both = [name for name, value in names.items() if callable(value) and name in dir(_gradxform)]
    return {name: getattr(_gradxform, name) for name in both if callable(getattr(_gradxform, name))}


def _mirror(module: ModuleType) -> ModuleType:
    """A submodule of optax under our name, so that both `optax.losses.l2_loss` and imports from it work."""
    name = module.__name__.replace("optax", __name__, 1)
    names = _public(module)
    mirrored = ModuleType(name, module.__doc__)
    vars(mirrored).update(names, **(_ours(names) if module.__name__ in _MIXED else {}))
    sys.modules[name] = mirrored
    return mirrored


_names = _public(_optax)
_submodules = {
    name: _mirror(value)
    for name, value in _names.items()
    if isinstance(value, ModuleType) and value.__name__ == f"optax.{name}"
}
globals().update(_names, **_ours(_names), **_submodules)
