"""optax.losses, as it is."""

import optax.losses as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
