"""The whole of optax's public namespace, with gradxform's transforms, schedules and combinators where it has them.

    import gradxform.as_optax as optax

is all that a script written for optax has to change. Losses, projections, tree utilities and the other submodules are
optax's own; `docs/names.md` says which names are ours.

Ours are found by their names: what optax has at its top level, and in contrib, schedules and transforms.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import optax as _optax
import optax.contrib as _contrib  # so that it is there as an attribute, as with `import optax`

import gradxform as _gradxform

if TYPE_CHECKING:
    # What an editor knows of the names; at run time they are made below.
    from optax import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]: all names are meant

_MIXED = (_contrib.__name__, _optax.schedules.__name__, _optax.transforms.__name__)
_OURS = frozenset(dir(_gradxform))


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _fill(namespace: dict[str, Any], names: dict[str, Any], mixed: bool = True) -> None:
    """Puts names of optax into a module; in a mixed one gradxform's own, loaded when asked for, where it has them."""
    ours = {name for name, value in names.items() if mixed and callable(value) and name in _OURS}

    def load(name: str) -> Any:
        if name not in ours:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        namespace[name] = found = getattr(_gradxform, name)
        return found

    theirs = {name: value for name, value in names.items() if name not in ours}
    namespace.update(theirs, __all__=list(names), __getattr__=load, __dir__=lambda: sorted(names))


def _mirror(module: ModuleType) -> ModuleType:
    """A submodule of optax under our name, so that both `optax.losses.l2_loss` and imports from it work."""
    name = module.__name__.replace("optax", __name__, 1)
    mirrored = ModuleType(name, module.__doc__)
    _fill(vars(mirrored), _public(module), mixed=module.__name__ in _MIXED)
    sys.modules[name] = mirrored
    return mirrored


_names = _public(_optax)
_submodules = {
    name: _mirror(value)
    for name, value in _names.items()
    if isinstance(value, ModuleType) and value.__name__ == f"optax.{name}"
}
_fill(globals(), {**_names, **_submodules})
