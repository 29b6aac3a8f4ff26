"""optax.tree_utils, as it is."""

import optax.tree_utils as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
