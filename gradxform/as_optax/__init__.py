"""The whole of optax's public namespace, with gradxform's transforms, schedules and combinators where it has them.

    import gradxform.as_optax as optax

is all that a script written for optax has to change. Losses, projections, tree utilities and the other submodules are
optax's own; `docs/names.md` says which names are ours. The stubs beside this file say the same to type checkers and
editors.

optax: all of it. torch: none.
"""

import optax as _theirs

from gradxform.as_optax import (
    assignment as assignment,
    contrib as contrib,
    experimental as experimental,
    losses as losses,
    microbatching as microbatching,
    perturbations as perturbations,
    projections as projections,
    schedules as schedules,
    second_order as second_order,
    transforms as transforms,
    tree as tree,
    tree_utils as tree_utils,
)
from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
