"""What a user reads who asks for a name that is not there."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

import optax
import optax.contrib


def error(name: str, names: Sequence[str]) -> AttributeError:
    """The error that says where optax has the name, or which of ours come near it."""
    package = sys.modules[__package__ or ""]
    if not name.startswith("_") and any(name in vars(module) for module in (optax, optax.contrib)):
        hint = f"optax has it: take it from there, or `import {package.__name__}.as_optax as optax`, which has both"
    else:
        # torch writes AdamW, Keras Adam.
        same = [each for each in names if each.lower() == name.lower()]
        near = same or difflib.get_close_matches(name.lower(), names, 4)
        hint = f"did you mean {' or '.join(near)}?" if near else "docs/names.md lists what there is"
    return AttributeError(f"{package.__name__} has no {name!r}; {hint}", name=name, obj=package)
