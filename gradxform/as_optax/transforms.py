"""optax.transforms, with gradxform's functions where it has them."""

import optax.transforms as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
