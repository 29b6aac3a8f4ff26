"""optax.second_order, as it is."""

import optax.second_order as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
