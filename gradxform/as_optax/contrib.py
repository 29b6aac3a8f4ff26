"""optax.contrib, with gradxform's functions where it has them."""

import optax.contrib as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
